//! A clock of which actors die, since nothing that a test may send makes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use angarium_entity::clock::{Clock, ManualClock, Sleep};
use angarium_entity::{Timestamp, clock::SharedClock};

/// Who looks next from a thread of actors panics. A hub hardly ever looks and an endpoint at every step, so that is an
/// endpoint with something to do. An attempt looks when its answer comes, and fails alone; then its endpoint looks.
#[derive(Clone, Debug)]
pub struct DeadlyClock {
    clock: ManualClock,
    panics: Arc<AtomicUsize>,
}

impl DeadlyClock {
    /// Shows what `clock` shows, and harms nobody yet.
    pub fn new(clock: ManualClock) -> Self {
        Self { clock, panics: Arc::default() }
    }

    /// So many looks are deadly.
    pub fn arm(&self, panics: usize) {
        self.panics.store(panics, Ordering::SeqCst);
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
        let one_less = |panics: usize| panics.checked_sub(1);
        let is_deadly = is_actor && self.panics.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok();
        assert!(!is_deadly, "a test wants a panic");
        self.clock.now()
    }

    fn sleep_until(&self, at: Timestamp) -> Sleep {
        self.clock.sleep_until(at)
    }
}
