//! How long an endpoint whose actor has died is left alone. One that dies of what waits for it would die again with every
//! hint; and each death breaks off what runs, which is sent again.

use std::collections::HashMap;
use std::time::Duration;

use angarium_entity::{EndpointId, Timestamp};

/// After the first death. Each further one doubles it.
pub(crate) const PAUSE_MIN: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_mins(10);
/// Who has lived for so long has not died of what waited for it.
const FORGIVEN_AFTER: Duration = Duration::from_mins(10);

/// By endpoint, how often its actors have died one after the other, and when the last was made; none while it is dead.
#[derive(Debug, Default)]
pub(crate) struct Deaths(HashMap<EndpointId, (u32, Option<Timestamp>)>);

impl Deaths {
    /// Answers how long it is left alone.
    pub(crate) fn died(&mut self, now: Timestamp, endpoint: EndpointId) -> Duration {
        let (deaths, revived_at) = self.0.entry(endpoint).or_default();
        if revived_at.is_some_and(|at| at + FORGIVEN_AFTER <= now) {
            *deaths = 0;
        }
        let pause = PAUSE_MIN * 2_u32.pow((*deaths).min(16));
        *deaths = deaths.saturating_add(1);
        *revived_at = None;
        pause.min(PAUSE_MAX)
    }

    /// It may live again.
    pub(crate) fn revived(&mut self, now: Timestamp, endpoint: EndpointId) {
        if let Some((_, revived_at)) = self.0.get_mut(&endpoint) {
            *revived_at = Some(now);
        }
    }

    /// Forgets those that have lived for long. Call it from time to time.
    pub(crate) fn prune(&mut self, now: Timestamp) {
        self.0.retain(|_, (_, revived_at)| revived_at.is_none_or(|at| now < at + FORGIVEN_AFTER));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_death_doubles_the_pause_up_to_ten_minutes_until_it_has_lived_for_as_long() {
        let mut now = Timestamp::from_millis(1_000_000);
        let [endpoint, other] = std::array::from_fn(|_| EndpointId::new(now));
        let mut deaths = Deaths::default();
        for pause in [5, 10, 20, 40, 80, 160, 320, 600, 600, 600] {
            assert_eq!(deaths.died(now, endpoint), Duration::from_secs(pause));
            now = now + Duration::from_secs(pause);
            deaths.prune(now);
            deaths.revived(now, endpoint);
            now = now + FORGIVEN_AFTER - Duration::from_millis(1);
            deaths.prune(now);
        }
        assert_eq!(deaths.died(now, other), PAUSE_MIN);
        assert_eq!(deaths.died(now + Duration::from_millis(1), endpoint), PAUSE_MIN);
        deaths.revived(now, endpoint);
        deaths.revived(now, other);
        deaths.prune(now + FORGIVEN_AFTER);
        assert!(deaths.0.is_empty());
    }
}
