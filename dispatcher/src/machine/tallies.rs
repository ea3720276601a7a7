//! What the breakers of endpoints had counted that were forgotten a moment ago. Without it, an endpoint that is forgotten
//! between any two of its failures would never open its circuit.

use std::collections::HashMap;
use std::time::Duration;

use angarium_entity::{EndpointId, Timestamp};

use super::breaker::Tally;

/// So long it is kept.
const KEPT_FOR: Duration = Duration::from_mins(1);
/// Of so many endpoints. Those that are one too many count from the beginning.
const KEPT_MAX: usize = 4_096;

/// By endpoint, with the time at which it was forgotten.
#[derive(Debug, Default)]
pub(crate) struct Tallies(HashMap<EndpointId, (Timestamp, Tally)>);

impl Tallies {
    pub(crate) fn keep(&mut self, now: Timestamp, endpoint: EndpointId, tally: Tally) {
        if self.0.len() < KEPT_MAX {
            self.0.insert(endpoint, (now, tally));
        }
    }

    pub(crate) fn take(&mut self, now: Timestamp, endpoint: EndpointId) -> Option<Tally> {
        let (since, tally) = self.0.remove(&endpoint)?;
        (now < since + KEPT_FOR).then_some(tally)
    }

    /// Drops what is too old. Call it from time to time.
    pub(crate) fn prune(&mut self, now: Timestamp) {
        self.0.retain(|_, (since, _)| now < *since + KEPT_FOR);
        if self.0.is_empty() {
            self.0.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use angarium_entity::{DeliveryId, WorkspaceId, endpoint_health};

    use super::*;
    use crate::machine::breaker::{Breaker, End, Ended, Patience};

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn tally() -> Tally {
        let health = endpoint_health::Model::unknown(EndpointId::new(NOW), WorkspaceId::new(NOW));
        let mut breaker = Breaker::new(health);
        let end = End { delivery: DeliveryId::new(NOW), ended: Ended::Failed, is_probe: false, is_test: false };
        let patience = Patience { suspend_after: KEPT_FOR, suspended: false, gone: false };
        breaker.judge(NOW, end, patience);
        breaker.tally().expect("it has counted")
    }

    #[test]
    fn it_is_kept_for_a_minute_and_handed_over_once() {
        let [a, b] = std::array::from_fn(|_| EndpointId::new(NOW));
        let mut tallies = Tallies::default();
        let (tally, late) = (tally(), NOW + KEPT_FOR - Duration::from_millis(1));
        tallies.keep(NOW, a, tally.clone());
        tallies.keep(NOW, b, tally.clone());
        tallies.prune(late);
        assert_eq!((tallies.take(late, a), tallies.take(late, a)), (Some(tally), None));
        assert_eq!(tallies.take(NOW + KEPT_FOR, b), None);
    }

    #[test]
    fn it_is_kept_of_so_many_and_no_more() {
        let mut tallies = Tallies::default();
        let tally = tally();
        for _ in 0..2 * KEPT_MAX {
            tallies.keep(NOW, EndpointId::new(NOW), tally.clone());
        }
        assert_eq!(tallies.0.len(), KEPT_MAX);
        tallies.prune(NOW + KEPT_FOR);
        assert_eq!(tallies.0.capacity(), 0);
    }
}
