//! Which endpoints are forgotten because they have nothing to do.
//!
//! After a minute; and early, the longest idle first, when more than [`crate::config::AWAKE_MAX`] are awake. One event may
//! be for thousands of endpoints that then wait for hours: memory is bounded by those that work, and not by those that
//! did within a minute. What memory alone knows of an endpoint is about its last seconds, so that nobody is forgotten
//! before [`EARLY_TIMEOUT`].

use std::time::Duration;

use actix::prelude::*;
use angarium_entity::Timestamp;

use super::super::endpoint::PAUSE_AFTER_OWN_FAULT;
use super::{Hub, Stub};

/// An endpoint that had nothing to do for this long is forgotten.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
/// The same when there are too many. The pause after our own fault is in no row, nor are the tokens of the last second.
const EARLY_TIMEOUT: Duration = PAUSE_AFTER_OWN_FAULT.saturating_add(Duration::from_secs(2));
/// Pause between two looks for such endpoints.
const LOOK_EVERY: Duration = Duration::from_secs(15);

impl Hub {
    /// Forgets what has been idle for long, now and from time to time.
    pub(super) fn passivate(&mut self, ctx: &mut Context<Self>) {
        let now = self.shared.clock.now();
        self.endpoints.retain(|_, stub| stub.idle_since().is_none_or(|since| since + IDLE_TIMEOUT > now));
        self.shared.tallies.borrow_mut().prune(now);
        self.deaths.prune(now);
        self.crowd = self.awake_max;
        let sleep = self.shared.clock.sleep(LOOK_EVERY);
        ctx.spawn(sleep.into_actor(self).map(|(), hub, ctx| hub.passivate(ctx)));
    }

    /// Call it before one more is woken.
    pub(super) fn make_room(&mut self) {
        if self.endpoints.len() < self.crowd {
            return;
        }
        let idle = self.endpoints.values().filter_map(Stub::idle_since).collect();
        if let Some(last) = forgotten_early(idle, self.shared.clock.now()) {
            self.endpoints.retain(|_, stub| stub.idle_since().is_none_or(|since| since > last));
        }
        self.crowd = next_crowd(self.awake_max, self.endpoints.len());
        self.endpoints.shrink_to(self.crowd);
    }
}

impl Stub {
    /// Since when it has had nothing to do, and nothing is on its way to it.
    fn idle_since(&self) -> Option<Timestamp> {
        self.idle.and_then(|(since, handled)| (handled == self.sent).then_some(since))
    }
}

/// Of endpoints that have been idle since these times, those are forgotten early that have since then, or for longer:
/// the longest idle half, as far as that is long enough.
fn forgotten_early(mut idle: Vec<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    let half = idle.len() / 2;
    if half == 0 {
        return None;
    }
    let (_, &mut middle, _) = idle.select_nth_unstable(half);
    let last = middle.min(now - EARLY_TIMEOUT);
    idle.iter().any(|since| *since <= last).then_some(last)
}

/// With so many awake after a look at all of them, whatever it has found, the next one is when there are this many: each
/// is paid for by those that have been woken since.
fn next_crowd(awake_max: usize, awake: usize) -> usize {
    awake_max.max(awake + (awake / 4).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + seconds * 1_000)
    }

    #[test]
    fn the_longest_idle_half_is_forgotten_and_nobody_before_time() {
        let idle = |seconds: &[i64]| seconds.iter().copied().map(at).collect::<Vec<_>>();
        assert_eq!(forgotten_early(idle(&[5, 1, 4, 2, 3]), at(60)), Some(at(3)));
        assert_eq!(forgotten_early(idle(&[5, 1, 4, 2, 3]), at(14)), Some(at(2)));
        assert_eq!(forgotten_early(idle(&[5, 1, 4, 2, 3]), at(13)), Some(at(1)));
        assert_eq!(forgotten_early(idle(&[5, 1, 4, 2, 3]), at(12)), None);
        assert_eq!(forgotten_early(idle(&[9, 9, 9, 1]), at(20)), Some(at(8)), "those that fell idle later stay");
        assert_eq!(forgotten_early(idle(&[1]), at(60)), None);
        assert_eq!(forgotten_early(Vec::new(), at(60)), None);
        assert!(EARLY_TIMEOUT > PAUSE_AFTER_OWN_FAULT && EARLY_TIMEOUT < IDLE_TIMEOUT);
    }

    #[test]
    fn looking_at_a_crowd_in_which_nobody_has_been_idle_for_long_costs_little_for_each_that_is_woken() {
        const WOKEN: usize = 100_000;
        for awake_max in [0, 1, 4, 4_096] {
            let (mut crowd, mut looked_at) = (awake_max, 0);
            for awake in 0..WOKEN {
                if awake >= crowd {
                    looked_at += awake;
                    crowd = next_crowd(awake_max, awake);
                }
            }
            assert!(looked_at < 6 * WOKEN, "{looked_at} for {awake_max}");
        }
    }
}
