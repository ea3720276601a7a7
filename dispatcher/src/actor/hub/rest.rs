//! Which endpoints are forgotten because they have nothing to do.
//!
//! After a minute; and early, the longest idle first, when more than [`crate::config::AWAKE_MAX`] are awake. One event may
//! be for thousands of endpoints that then wait for hours: memory is bounded by those that work, and not by those that
//! did within a minute.

use std::time::Duration;

use actix::prelude::*;
use angarium_entity::Timestamp;

use super::{Hub, Stub};

/// An endpoint that had nothing to do for this long is forgotten.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
/// Pause between two looks for such endpoints.
const LOOK_EVERY: Duration = Duration::from_secs(15);

impl Hub {
    /// Forgets what has been idle for long, now and from time to time.
    pub(super) fn passivate(&mut self, ctx: &mut Context<Self>) {
        let now = self.shared.clock.now();
        self.endpoints.retain(|_, stub| stub.idle_since().is_none_or(|since| since + IDLE_TIMEOUT > now));
        self.crowd = self.awake_max;
        let sleep = self.shared.clock.sleep(LOOK_EVERY);
        ctx.spawn(sleep.into_actor(self).map(|(), hub, ctx| hub.passivate(ctx)));
    }

    /// Call it before one more is woken.
    pub(super) fn make_room(&mut self) {
        if self.endpoints.len() < self.crowd {
            return;
        }
        let mut idle: Vec<Timestamp> = self.endpoints.values().filter_map(Stub::idle_since).collect();
        let half = idle.len() / 2;
        if half > 0 {
            let (_, &mut middle, _) = idle.select_nth_unstable(half);
            self.endpoints.retain(|_, stub| stub.idle_since().is_none_or(|since| since > middle));
        }
        // Each look at all of them is paid for by as many that have been woken since.
        self.crowd = self.awake_max.max(self.endpoints.len() + self.endpoints.len() / 4);
        self.endpoints.shrink_to(self.crowd);
    }
}

impl Stub {
    /// Since when it has had nothing to do, and nothing is on its way to it.
    fn idle_since(&self) -> Option<Timestamp> {
        self.idle.and_then(|(since, handled)| (handled == self.sent).then_some(since))
    }
}
