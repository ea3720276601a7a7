//! A wire between two parts: a TCP proxy that can be silent, slow or cut.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Most bytes that are carried at once.
const CHUNK: usize = 64 * 1024;

/// What a wire does with what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Carries it.
    Whole,
    /// Carries it after a while.
    Slow(Duration),
    /// Loses it both ways without a word, as a firewall does that drops. Connections seem to open.
    Silent,
    /// Carries what is asked, but no answer.
    Mute,
    /// Breaks every connection, and each new one.
    Cut,
}

/// A running proxy in front of one address.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    wire: watch::Sender<Wire>,
    carried: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl Link {
    /// Starts one on a free port of an address of this machine.
    pub async fn start(host: IpAddr, target: SocketAddr) -> Self {
        let listener = TcpListener::bind((host, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (wire, watched) = watch::channel(Wire::Whole);
        let carried = Arc::new(AtomicUsize::new(0));
        let counted = carried.clone();
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (watched, counted) = (watched.clone(), counted.clone());
                tokio::spawn(async move {
                    counted.fetch_add(1, Ordering::Relaxed);
                    carry(stream, target, watched).await;
                    counted.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Self { address, wire, carried, server }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what it does, for the connections that there are as well.
    pub fn set(&self, wire: Wire) {
        self.wire.send_replace(wire);
    }

    /// How many connections it carries.
    pub fn connections(&self) -> usize {
        self.carried.load(Ordering::Relaxed)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.server.abort();
        self.wire.send_replace(Wire::Cut);
    }
}

async fn carry(stream: TcpStream, target: SocketAddr, watched: watch::Receiver<Wire>) {
    let is_cut = |wire: &Wire| *wire == Wire::Cut;
    let mut cut = watched.clone();
    let carrying = async {
        passes(&mut watched.clone(), true).await;
        let Ok(other) = TcpStream::connect(target).await else { return };
        // As the parts themselves do: small answers must not wait for each other.
        let _ = (stream.set_nodelay(true), other.set_nodelay(true));
        let ((from, to), (other_from, other_to)) = (stream.into_split(), other.into_split());
        tokio::join!(pump(from, other_to, watched.clone(), true), pump(other_from, to, watched, false));
    };
    tokio::select! {
        () = carrying => {}
        _ = cut.wait_for(is_cut) => {}
    }
}

/// Carries one direction until its end, which is carried too.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut watched: watch::Receiver<Wire>, asks: bool) {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = from.read(&mut chunk).await.unwrap_or(0);
        passes(&mut watched, asks).await;
        let wire = *watched.borrow();
        if let Wire::Slow(by) = wire {
            tokio::time::sleep(by).await;
        }
        if read == 0 || to.write_all(&chunk[..read]).await.is_err() {
            let _ = to.shutdown().await;
            return;
        }
    }
}

/// Waits until the wire carries this direction.
async fn passes(watched: &mut watch::Receiver<Wire>, asks: bool) {
    let open = |wire: &Wire| match wire {
        Wire::Silent => false,
        Wire::Mute => asks,
        _ => true,
    };
    // An error means that the proxy is gone, and the connection goes with it.
    let _ = watched.wait_for(open).await;
}
