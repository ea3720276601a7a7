//! A wire between two parts: a TCP proxy that can be silent, slow or cut.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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
    counts: Arc<Counts>,
    server: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Counts {
    carried: AtomicUsize,
    hit: AtomicUsize,
}

impl Counts {
    fn hit(&self) {
        self.hit.fetch_add(1, Ordering::Relaxed);
    }
}

impl Link {
    /// Starts one on a free port of an address of this machine.
    pub async fn start(host: IpAddr, target: SocketAddr) -> Self {
        let listener = TcpListener::bind((host, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (wire, watched) = watch::channel(Wire::Whole);
        let counts = Arc::new(Counts::default());
        let counted = counts.clone();
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (watched, counted) = (watched.clone(), counted.clone());
                tokio::spawn(async move {
                    counted.carried.fetch_add(1, Ordering::Relaxed);
                    carry(stream, target, watched, &counted).await;
                    counted.carried.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Self { address, wire, counts, server }
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
        self.counts.carried.load(Ordering::Relaxed)
    }

    /// How many things the wire has not carried as it should, so far: what was held up or lost on its way, a connection
    /// that broke with a question that had no answer yet, and each that was wanted in vain. A connection on which nothing
    /// happened is none.
    pub fn hits(&self) -> usize {
        self.counts.hit.load(Ordering::Relaxed)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.server.abort();
        self.wire.send_replace(Wire::Cut);
    }
}

async fn carry(stream: TcpStream, target: SocketAddr, watched: watch::Receiver<Wire>, counts: &Counts) {
    let is_cut = |wire: &Wire| *wire == Wire::Cut;
    if matches!(*watched.borrow(), Wire::Cut | Wire::Silent) {
        counts.hit();
    }
    // Whether a question has no answer yet.
    let is_asked = AtomicBool::new(false);
    let mut cut = watched.clone();
    let carrying = async {
        passes(&mut watched.clone(), true).await;
        let Ok(other) = TcpStream::connect(target).await else { return };
        // As the parts themselves do: small answers must not wait for each other.
        let _ = (stream.set_nodelay(true), other.set_nodelay(true));
        let ((from, to), (other_from, other_to)) = (stream.into_split(), other.into_split());
        let asks = pump(from, other_to, watched.clone(), &is_asked, true, counts);
        tokio::join!(asks, pump(other_from, to, watched, &is_asked, false, counts));
    };
    tokio::select! {
        () = carrying => {}
        _ = cut.wait_for(is_cut) => {
            if is_asked.into_inner() {
                counts.hit();
            }
        }
    }
}

/// Carries one direction until its end, which is carried too.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut watched: watch::Receiver<Wire>,
    is_asked: &AtomicBool,
    asks: bool,
    counts: &Counts,
) {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = from.read(&mut chunk).await.unwrap_or(0);
        let is_disturbed = match *watched.borrow() {
            Wire::Silent | Wire::Slow(_) => true,
            Wire::Mute => !asks,
            Wire::Whole | Wire::Cut => false,
        };
        if read > 0 {
            is_asked.store(asks, Ordering::Relaxed);
            if is_disturbed {
                counts.hit();
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    const LOCALHOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// A link to somebody who answers everything but `?`, and a connection through it that was used once.
    async fn used() -> (Link, TcpStream) {
        let listener = TcpListener::bind((LOCALHOST, 0)).await.expect("a free port");
        let link = Link::start(LOCALHOST, listener.local_addr().expect("an address")).await;
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    while let Ok(byte) = stream.read_u8().await {
                        if byte != b'?' && stream.write_u8(byte).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        let mut stream = TcpStream::connect(link.address()).await.expect("it listens");
        stream.write_u8(b'a').await.expect("it is carried");
        assert_eq!(stream.read_u8().await.expect("it is answered"), b'a');
        (link, stream)
    }

    async fn is_hit(link: &Link) {
        let hit = async {
            while link.hits() == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(crate::MOMENT, hit).await.expect("something was hit");
    }

    #[tokio::test]
    async fn a_wire_on_which_nothing_happens_hits_nothing_whatever_is_done_to_it() {
        for wire in [Wire::Slow(Duration::ZERO), Wire::Silent, Wire::Mute, Wire::Cut] {
            let (link, mut stream) = used().await;
            link.set(wire);
            if wire == Wire::Cut {
                assert!(stream.read_u8().await.is_err(), "it breaks");
            }
            link.set(Wire::Whole);
            assert_eq!(link.hits(), 0, "{wire:?}");
        }
    }

    #[tokio::test]
    async fn what_is_held_up_is_hit() {
        for wire in [Wire::Slow(Duration::ZERO), Wire::Silent, Wire::Mute] {
            let (link, mut stream) = used().await;
            link.set(wire);
            stream.write_u8(b'b').await.expect("it is taken");
            is_hit(&link).await;
            link.set(Wire::Whole);
            assert_eq!(stream.read_u8().await.expect("it comes in the end"), b'b', "{wire:?}");
        }
    }

    #[tokio::test]
    async fn a_cut_hits_questions_without_an_answer_and_who_wants_a_connection() {
        let (link, mut stream) = used().await;
        stream.write_all(b"?c").await.expect("it is carried");
        assert_eq!(stream.read_u8().await.expect("the second is answered"), b'c');
        stream.write_u8(b'?').await.expect("it is carried");
        let (other, _idle) = used().await;
        // The byte is on its way to somebody who says nothing; all that can be seen is that nothing else is.
        tokio::time::timeout(Duration::from_millis(50), stream.read_u8()).await.expect_err("there is no answer");
        link.set(Wire::Cut);
        is_hit(&link).await;

        other.set(Wire::Cut);
        let mut late = TcpStream::connect(other.address()).await.expect("the proxy listens");
        assert!(late.read_u8().await.is_err(), "it breaks");
        assert_eq!(other.hits(), 1);
    }
}
