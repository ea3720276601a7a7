//! What a hub must be reminded of soon. The rows know it too: what is lost here, a sweep finds.

use std::collections::{BTreeMap, HashMap};

use angarium_entity::{DeliveryId, EndpointId, Timestamp};

/// A delivery and where it goes.
type Entry = (EndpointId, DeliveryId);

/// Deliveries by the time at which they are due; each at most once.
#[derive(Debug, Default)]
pub(crate) struct Wheel {
    by_time: BTreeMap<(Timestamp, DeliveryId), EndpointId>,
    due_at: HashMap<DeliveryId, Timestamp>,
}

impl Wheel {
    /// Reminds at `at` of a delivery; an earlier wish for the same one is forgotten.
    pub(crate) fn set(&mut self, at: Timestamp, (endpoint, delivery): Entry) {
        if let Some(before) = self.due_at.insert(delivery, at) {
            self.by_time.remove(&(before, delivery));
        }
        self.by_time.insert((at, delivery), endpoint);
    }

    /// Takes out what is due at `now`, earliest first.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Vec<Entry> {
        let mut due = Vec::new();
        while let Some((&(at, delivery), &endpoint)) = self.by_time.first_key_value() {
            if at > now {
                break;
            }
            self.by_time.pop_first();
            self.due_at.remove(&delivery);
            due.push((endpoint, delivery));
        }
        due
    }

    /// When the next one is due.
    pub(crate) fn next_at(&self) -> Option<Timestamp> {
        self.by_time.first_key_value().map(|(&(at, _), _)| at)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_time.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_comes_out_once_earliest_first_and_a_new_time_replaces_the_old() {
        let at = Timestamp::from_millis;
        let endpoint = EndpointId::new(at(1));
        let [a, b, c] = std::array::from_fn(|_| DeliveryId::new(at(1)));
        let mut wheel = Wheel::default();
        wheel.set(at(30), (endpoint, a));
        wheel.set(at(20), (endpoint, b));
        wheel.set(at(10), (endpoint, c));
        wheel.set(at(25), (endpoint, c));
        assert_eq!(wheel.next_at(), Some(at(20)));
        assert_eq!(wheel.take_due(at(25)), [(endpoint, b), (endpoint, c)]);
        assert_eq!((wheel.take_due(at(29)), wheel.len()), (vec![], 1));
        assert_eq!(wheel.take_due(at(30)), [(endpoint, a)]);
        assert_eq!(wheel.next_at(), None);
    }
}
