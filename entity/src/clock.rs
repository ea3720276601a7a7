//! Where time comes from. Nothing else in the workspace asks the system for the time of day.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::Timestamp;

/// A future that is ready when an instant has come.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The time of day, and waiting for it. Tests pass one that they move by hand.
pub trait Clock: Send + Sync + 'static {
    /// The present instant.
    fn now(&self) -> Timestamp;

    /// Ready once [`Clock::now`] is at or after `at`.
    fn sleep_until(&self, at: Timestamp) -> Sleep;

    /// Ready once `wait` has passed.
    fn sleep(&self, wait: Duration) -> Sleep {
        self.sleep_until(self.now() + wait)
    }
}

/// A clock shared by everything in a process.
pub type SharedClock = Arc<dyn Clock>;

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the system")]
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    fn sleep_until(&self, at: Timestamp) -> Sleep {
        let wait = at.since(self.now());
        Box::pin(tokio::time::sleep(wait))
    }
}

/// A clock that stands still until it is moved.
#[cfg(feature = "testing")]
#[derive(Clone, Debug)]
pub struct ManualClock {
    now: Arc<tokio::sync::watch::Sender<Timestamp>>,
}

#[cfg(feature = "testing")]
impl ManualClock {
    /// A clock that shows `now`.
    pub fn at(now: Timestamp) -> Self {
        Self { now: Arc::new(tokio::sync::watch::Sender::new(now)) }
    }

    /// Moves the clock forward, waking what waited for the time passed.
    pub fn advance(&self, by: Duration) {
        self.now.send_modify(|now| *now = *now + by);
    }
}

#[cfg(feature = "testing")]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    fn sleep_until(&self, at: Timestamp) -> Sleep {
        let mut now = self.now.subscribe();
        Box::pin(async move {
            // An error means that the clock is gone, and with it the test that moved it.
            if now.wait_for(|now| *now >= at).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}
