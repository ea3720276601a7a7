//! Which endpoints a hub must remind soon. The rows know it too: what is lost here, a sweep finds.

use std::collections::{BTreeSet, HashMap};

use angarium_entity::{EndpointId, Timestamp};

/// Endpoints by the time at which they are to look into their rows; each once, at its earliest.
#[derive(Debug, Default)]
pub(crate) struct Wheel {
    by_time: BTreeSet<(Timestamp, EndpointId)>,
    due_at: HashMap<EndpointId, Timestamp>,
}

impl Wheel {
    /// Reminds `endpoint` at `at`, or earlier if that was wished for before.
    pub(crate) fn set(&mut self, at: Timestamp, endpoint: EndpointId) {
        match self.due_at.get(&endpoint) {
            Some(before) if *before <= at => return,
            Some(before) => drop(self.by_time.remove(&(*before, endpoint))),
            None => {}
        }
        self.due_at.insert(endpoint, at);
        self.by_time.insert((at, endpoint));
    }

    /// Takes out who is due at `now`, earliest first.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Vec<EndpointId> {
        let mut due = Vec::new();
        while let Some(&(at, endpoint)) = self.by_time.first() {
            if at > now {
                break;
            }
            self.by_time.pop_first();
            self.due_at.remove(&endpoint);
            due.push(endpoint);
        }
        due
    }

    /// Forgets the others.
    pub(crate) fn retain(&mut self, keep: impl Fn(EndpointId) -> bool) {
        self.by_time.retain(|(_, endpoint)| keep(*endpoint));
        self.due_at.retain(|endpoint, _| keep(*endpoint));
    }

    /// When the next one is due.
    pub(crate) fn next_at(&self) -> Option<Timestamp> {
        self.by_time.first().map(|&(at, _)| at)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_time.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_endpoint_is_reminded_once_at_its_earliest_time() {
        let at = Timestamp::from_millis;
        let [a, b, c] = std::array::from_fn(|_| EndpointId::new(at(1)));
        let mut wheel = Wheel::default();
        wheel.set(at(30), a);
        wheel.set(at(20), b);
        wheel.set(at(25), c);
        wheel.set(at(10), c);
        wheel.set(at(40), c);
        assert_eq!((wheel.next_at(), wheel.len()), (Some(at(10)), 3));
        assert_eq!(wheel.take_due(at(29)), [c, b]);
        wheel.set(at(5), b);
        assert_eq!(wheel.take_due(at(30)), [b, a]);
        assert_eq!((wheel.next_at(), wheel.len()), (None, 0));
    }
}
