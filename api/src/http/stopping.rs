//! Tells everything that is open that the server stops, and waits until it is closed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// The signal. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Stopping(Arc<watch::Sender<Stage>>);

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Not at all.
    Serving,
    /// Everything is served, but who asks is told to send requests elsewhere.
    Announced,
    /// What is open is to be closed.
    Begun,
}

/// While one lives, something is open.
#[derive(Debug)]
pub(crate) struct Open(watch::Receiver<Stage>);

impl Stopping {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Stage::Serving)))
    }

    /// Says that the signal will come.
    pub(crate) fn announce(&self) {
        self.0.send_replace(Stage::Announced);
    }

    /// Gives the signal.
    pub(crate) fn begin(&self) {
        self.0.send_replace(Stage::Begun);
    }

    /// Whether it was given, or will be.
    pub(crate) fn is_announced(&self) -> bool {
        *self.0.borrow() != Stage::Serving
    }

    /// Registers something that is open.
    pub(crate) fn open(&self) -> Open {
        Open(self.0.subscribe())
    }

    /// Waits until nothing is open, at most `within`. Answers whether that came true.
    pub(crate) async fn all_closed(&self, within: Duration) -> bool {
        tokio::time::timeout(within, self.0.closed()).await.is_ok()
    }
}

impl Open {
    /// Ready once the signal is given.
    pub(crate) async fn stopped(&mut self) {
        // An error means that the signal can no longer be given, because the server is gone.
        if self.0.wait_for(|stage| *stage == Stage::Begun).await.is_err() {
            tracing::debug!("the server is gone");
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn stopping_waits_for_what_is_open() {
        let stopping = Stopping::new();
        let mut open = stopping.open();
        assert!(!stopping.is_announced() && !stopping.all_closed(Duration::ZERO).await);
        stopping.announce();
        assert!(stopping.is_announced() && open.stopped().now_or_never().is_none());
        stopping.begin();
        open.stopped().await;
        drop(open);
        assert!(stopping.all_closed(Duration::from_secs(1)).await);
    }
}
