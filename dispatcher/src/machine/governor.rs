//! Who may send next: a bounded number of requests in flight, granted in turn to workspaces, and within a workspace
//! in turn to its endpoints, so that no one's queue is another one's wait.

use std::collections::{HashMap, VecDeque};

use angarium_entity::{EndpointId, WorkspaceId};

/// Grants requests in flight on one arbiter.
#[derive(Debug)]
pub(crate) struct Governor {
    free: usize,
    /// Workspaces with somebody waiting, in turn.
    turns: VecDeque<WorkspaceId>,
    waiting: HashMap<WorkspaceId, VecDeque<EndpointId>>,
    /// How many grants each endpoint waits for. It stands in its line once, and gets one at each turn.
    wanted: HashMap<EndpointId, usize>,
}

impl Governor {
    pub(crate) fn new(in_flight_max: usize) -> Self {
        Self { free: in_flight_max, turns: VecDeque::new(), waiting: HashMap::new(), wanted: HashMap::new() }
    }

    /// Whether `endpoint` may send now; if not, it is told when its turn comes.
    pub(crate) fn ask(&mut self, workspace: WorkspaceId, endpoint: EndpointId) -> bool {
        if self.free > 0 && self.turns.is_empty() {
            self.free -= 1;
            return true;
        }
        let wanted = self.wanted.entry(endpoint).or_default();
        *wanted += 1;
        if *wanted == 1 {
            let line = self.waiting.entry(workspace).or_default();
            if line.is_empty() {
                self.turns.push_back(workspace);
            }
            line.push_back(endpoint);
        }
        false
    }

    /// A request ended, or a grant was not needed. Answers who may send in its place.
    pub(crate) fn release(&mut self) -> Option<EndpointId> {
        let Some(workspace) = self.turns.pop_front() else {
            self.free += 1;
            return None;
        };
        let line = self.waiting.get_mut(&workspace)?;
        let endpoint = line.pop_front()?;
        match self.wanted.get_mut(&endpoint) {
            Some(wanted) if *wanted > 1 => {
                *wanted -= 1;
                line.push_back(endpoint);
            }
            _ => drop(self.wanted.remove(&endpoint)),
        }
        if line.is_empty() {
            self.waiting.remove(&workspace);
        } else {
            self.turns.push_back(workspace);
        }
        Some(endpoint)
    }
}

#[cfg(test)]
mod tests {
    use angarium_entity::Timestamp;

    use super::*;

    #[test]
    fn a_workspace_with_a_crowd_waits_as_long_as_one_with_a_single_endpoint() {
        let now = Timestamp::from_millis(1);
        let (crowd, single) = (WorkspaceId::new(now), WorkspaceId::new(now));
        let many: [EndpointId; 100] = std::array::from_fn(|_| EndpointId::new(now));
        let one = EndpointId::new(now);
        let mut governor = Governor::new(1);
        assert!(governor.ask(crowd, many[0]));
        for endpoint in &many[1..] {
            assert!(!governor.ask(crowd, *endpoint));
        }
        assert!(!governor.ask(single, one));
        assert_eq!(governor.release(), Some(many[1]));
        assert_eq!(governor.release(), Some(one));
        assert_eq!(governor.release(), Some(many[2]));
    }

    #[test]
    fn an_endpoint_gets_one_grant_at_a_time_and_in_the_end_all_that_it_asked_for() {
        let now = Timestamp::from_millis(1);
        let workspace = WorkspaceId::new(now);
        let [greedy, modest] = [EndpointId::new(now), EndpointId::new(now)];
        let mut governor = Governor::new(1);
        assert!(governor.ask(workspace, greedy));
        assert!((0..3).all(|_| !governor.ask(workspace, greedy)) && !governor.ask(workspace, modest));
        let granted: Vec<_> = std::iter::from_fn(|| governor.release()).collect();
        assert_eq!(granted, [greedy, modest, greedy, greedy]);
        assert!(governor.ask(workspace, modest));
    }

    #[test]
    fn every_grant_comes_back() {
        let now = Timestamp::from_millis(1);
        let (workspace, endpoint) = (WorkspaceId::new(now), EndpointId::new(now));
        let mut governor = Governor::new(2);
        assert!(governor.ask(workspace, endpoint) && governor.ask(workspace, endpoint));
        assert!(!governor.ask(workspace, endpoint));
        assert_eq!(governor.release(), Some(endpoint));
        assert_eq!((governor.release(), governor.release()), (None, None));
        assert!(governor.ask(workspace, endpoint) && governor.ask(workspace, endpoint));
        assert!(!governor.ask(workspace, endpoint));
    }
}
