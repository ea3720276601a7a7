//! A clock of which actors die, since nothing that a test may send makes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use angarium_entity::clock::{Clock, ManualClock, Sleep};
use angarium_entity::{Timestamp, clock::SharedClock};

/// Who looks next from a thread of actors dies of it. A hub hardly ever looks and an endpoint at every step, so that is
/// an endpoint with something to do.
#[derive(Clone, Debug)]
pub struct DeadlyClock {
    clock: ManualClock,
    is_armed: Arc<AtomicBool>,
}

impl DeadlyClock {
    /// Shows what `clock` shows, and harms nobody yet.
    pub fn new(clock: ManualClock) -> Self {
        Self { clock, is_armed: Arc::default() }
    }

    /// The next one dies.
    pub fn arm(&self) {
        self.is_armed.store(true, Ordering::SeqCst);
    }

    /// For a server.
    pub fn shared(&self) -> SharedClock {
        Arc::new(self.clone())
    }
}

impl Clock for DeadlyClock {
    fn now(&self) -> Timestamp {
        let thread = std::thread::current();
        let is_actor = thread.name().is_some_and(|name| name.contains("|arbiter:"));
        assert!(!is_actor || !self.is_armed.swap(false, Ordering::SeqCst), "a test wants an actor to die");
        self.clock.now()
    }

    fn sleep_until(&self, at: Timestamp) -> Sleep {
        self.clock.sleep_until(at)
    }
}
