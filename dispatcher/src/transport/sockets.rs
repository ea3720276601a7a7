//! Sockets for questions to name servers. The resolver keeps from us why it has none, and a name that could not be asked
//! for because this process has too few files is no word about the receiver.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

use hickory_resolver::net::runtime::{RuntimeProvider, TokioRuntimeProvider};

type Opening<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

/// Those of tokio, with a count of what could not be opened. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Sockets {
    tokio: TokioRuntimeProvider,
    lack: Arc<Lack>,
}

#[derive(Debug, Default)]
struct Lack {
    count: AtomicU64,
    /// The error of the system.
    last: AtomicI32,
}

impl std::fmt::Debug for Sockets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sockets").field("lack", &self.lack).finish_non_exhaustive()
    }
}

impl Sockets {
    /// How many could not be opened for want of files or memory.
    pub(super) fn lacked(&self) -> u64 {
        self.lack.count.load(Ordering::Acquire)
    }

    /// Why the last of these was not.
    pub(super) fn last_lack(&self) -> io::Error {
        io::Error::from_raw_os_error(self.lack.last.load(Ordering::Acquire))
    }

    fn watched<T: 'static>(&self, opening: Opening<T>) -> Opening<T> {
        let lack = self.lack.clone();
        Box::pin(async move {
            let opened = opening.await;
            if let Err(error) = &opened
                && is_lack(error)
                && let Some(number) = error.raw_os_error()
            {
                lack.last.store(number, Ordering::Release);
                lack.count.fetch_add(1, Ordering::AcqRel);
            }
            opened
        })
    }
}

/// Whether this process has no file, socket or memory left.
pub(super) fn is_lack(error: &io::Error) -> bool {
    // ENFILE, EMFILE and ENOBUFS of Linux, which have no kind of their own.
    error.kind() == io::ErrorKind::OutOfMemory || matches!(error.raw_os_error(), Some(23 | 24 | 105))
}

impl RuntimeProvider for Sockets {
    type Handle = <TokioRuntimeProvider as RuntimeProvider>::Handle;
    type Timer = <TokioRuntimeProvider as RuntimeProvider>::Timer;
    type Udp = <TokioRuntimeProvider as RuntimeProvider>::Udp;
    type Tcp = <TokioRuntimeProvider as RuntimeProvider>::Tcp;

    fn create_handle(&self) -> Self::Handle {
        self.tokio.create_handle()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        from: Option<SocketAddr>,
        within: Option<Duration>,
    ) -> Opening<Self::Tcp> {
        self.watched(self.tokio.connect_tcp(server, from, within))
    }

    fn bind_udp(&self, local: SocketAddr, server: SocketAddr) -> Opening<Self::Udp> {
        self.watched(self.tokio.bind_udp(local, server))
    }
}
