//! Who may send next: a bounded number of requests in flight, shared so that no one's requests are another one's wait.
//!
//! A grant is held until its request has ended and the result is durable, which a receiver that hangs may draw out for a
//! minute. So what is held counts, not only who waits:
//!
//! Workspace  may take more while it holds fewer than eight times what is still free: even ten thousand endpoints of one
//!            tenant leave a ninth to the others. How many more that is, is its room.
//! Endpoint   may take its first one while there is room, and more while it holds fewer than are left in the room beside a
//!            quarter of all. So those that came first and hang, with as many as they may, leave one to each of some
//!            hundred others at once, which is all that FIFO and STRICT ever need.
//! Turns      of those who wait, the workspace that holds the fewest comes first, and of its endpoints the one that holds
//!            the fewest; who has waited longest of equals.

use std::collections::{BTreeSet, HashMap};

use angarium_entity::{EndpointId, WorkspaceId};

/// A workspace holds fewer than this times what is free.
const WORKSPACE_SHARE: usize = 8;
/// One in so many grants is kept in the room of each workspace for endpoints that hold none.
const FIRST_SHARE: usize = 4;

/// Grants requests in flight on one arbiter.
#[derive(Debug)]
pub(crate) struct Governor {
    free: usize,
    /// What is kept in each room for the first grants of endpoints.
    for_first: usize,
    /// Counts the times that somebody joined a line.
    ticket: u64,
    /// Those with somebody waiting: by what they hold, then by who has waited longest.
    turns: BTreeSet<(usize, u64, WorkspaceId)>,
    workspaces: HashMap<WorkspaceId, Holder>,
    endpoints: HashMap<EndpointId, Asker>,
}

/// What a workspace holds, and who of it waits.
#[derive(Debug, Default)]
struct Holder {
    held: usize,
    ticket: u64,
    /// By what they hold, then by who has waited longest.
    waiting: BTreeSet<(usize, u64, EndpointId)>,
}

/// What an endpoint holds and waits for.
#[derive(Debug)]
struct Asker {
    workspace: WorkspaceId,
    held: usize,
    wanted: usize,
    ticket: u64,
}

impl Governor {
    pub(crate) fn new(in_flight_max: usize) -> Self {
        Self {
            free: in_flight_max,
            for_first: in_flight_max / FIRST_SHARE,
            ticket: 0,
            turns: BTreeSet::new(),
            workspaces: HashMap::new(),
            endpoints: HashMap::new(),
        }
    }

    /// Whether `endpoint` may send now; if not, it is told when its turn comes.
    pub(crate) fn ask(&mut self, workspace: WorkspaceId, endpoint: EndpointId) -> bool {
        let held = |held: Option<usize>| held.unwrap_or(0);
        let by_endpoint = held(self.endpoints.get(&endpoint).map(|asker| asker.held));
        let by_workspace = held(self.workspaces.get(&workspace).map(|holder| holder.held));
        let is_waiting = self.endpoints.get(&endpoint).is_some_and(|asker| asker.wanted > 0);
        if !is_waiting && self.may_take(by_workspace, by_endpoint) && !self.is_somebody_first(by_workspace, by_endpoint)
        {
            self.change(workspace, endpoint, |asker| asker.held += 1);
            self.free -= 1;
            return true;
        }
        self.change(workspace, endpoint, |asker| asker.wanted += 1);
        false
    }

    /// A request of `endpoint` ended, or a grant was not needed. Answers who may send now.
    pub(crate) fn release(&mut self, endpoint: EndpointId) -> Vec<EndpointId> {
        // A grant that was on its way to an endpoint which has died was taken back with the others.
        if let Some(asker) = self.endpoints.get(&endpoint).filter(|asker| asker.held > 0) {
            self.free += 1;
            self.change(asker.workspace, endpoint, |asker| asker.held -= 1);
        }
        self.grant()
    }

    /// `endpoint` has died: it waits for nothing any more, and of what it held only `kept` are still in use. Answers who
    /// may send now.
    pub(crate) fn abandon(&mut self, endpoint: EndpointId, kept: usize) -> Vec<EndpointId> {
        if let Some(asker) = self.endpoints.get(&endpoint) {
            self.free += asker.held.saturating_sub(kept);
            self.change(asker.workspace, endpoint, |asker| {
                asker.held = asker.held.min(kept);
                asker.wanted = 0;
            });
        }
        self.grant()
    }

    /// Gives what is free to those whose turn it is.
    fn grant(&mut self) -> Vec<EndpointId> {
        let mut granted = Vec::new();
        while let Some((workspace, endpoint)) = self.next() {
            self.free -= 1;
            self.change(workspace, endpoint, |asker| {
                asker.held += 1;
                asker.wanted -= 1;
            });
            granted.push(endpoint);
        }
        granted
    }

    fn may_take(&self, by_workspace: usize, by_endpoint: usize) -> bool {
        // Each that it takes is one more that it holds, and one less that is free.
        let room = (self.free * WORKSPACE_SHARE).saturating_sub(by_workspace).div_ceil(WORKSPACE_SHARE + 1);
        let kept = if by_endpoint == 0 { 0 } else { self.for_first };
        by_endpoint < room.min(self.free).saturating_sub(kept)
    }

    /// Whether somebody waits who may take a grant, and holds no more.
    fn is_somebody_first(&self, by_workspace: usize, by_endpoint: usize) -> bool {
        let Some((workspace, endpoint)) = self.next() else { return false };
        let first = (self.workspaces[&workspace].held, self.endpoints[&endpoint].held);
        first <= (by_workspace, by_endpoint)
    }

    /// Who comes next of those who may take a grant now.
    fn next(&self) -> Option<(WorkspaceId, EndpointId)> {
        self.turns.iter().find_map(|(by_workspace, _, workspace)| {
            let (by_endpoint, _, endpoint) = self.workspaces.get(workspace)?.waiting.first()?;
            self.may_take(*by_workspace, *by_endpoint).then_some((*workspace, *endpoint))
        })
    }

    /// Changes what an endpoint holds and wants, and keeps every line in its order.
    fn change(&mut self, workspace: WorkspaceId, endpoint: EndpointId, change: impl FnOnce(&mut Asker)) {
        let holder = self.workspaces.entry(workspace).or_default();
        let new = Asker { workspace, held: 0, wanted: 0, ticket: 0 };
        let asker = self.endpoints.entry(endpoint).or_insert(new);
        let joins = holder.waiting.is_empty();
        self.turns.remove(&(holder.held, holder.ticket, workspace));
        holder.waiting.remove(&(asker.held, asker.ticket, endpoint));

        let (held, wanted) = (asker.held, asker.wanted);
        change(asker);
        holder.held = holder.held + asker.held - held;
        // Whoever joins a line, or got what it waited for, stands behind its equals.
        self.ticket += 1;
        if held < asker.held || wanted == 0 {
            asker.ticket = self.ticket;
        }
        if held < asker.held || joins {
            holder.ticket = self.ticket;
        }
        if asker.wanted > 0 {
            holder.waiting.insert((asker.held, asker.ticket, endpoint));
        } else if asker.held == 0 {
            self.endpoints.remove(&endpoint);
        }
        if !holder.waiting.is_empty() {
            self.turns.insert((holder.held, holder.ticket, workspace));
        } else if holder.held == 0 {
            self.workspaces.remove(&workspace);
        }
    }
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use angarium_entity::Timestamp;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1);

    #[test]
    fn a_workspace_with_a_crowd_waits_as_long_as_one_with_a_single_endpoint() {
        let (crowd, single) = (WorkspaceId::new(NOW), WorkspaceId::new(NOW));
        let many: [EndpointId; 100] = std::array::from_fn(|_| EndpointId::new(NOW));
        let one = EndpointId::new(NOW);
        let mut governor = Governor::new(1);
        assert!(governor.ask(crowd, many[0]));
        for endpoint in &many[1..] {
            assert!(!governor.ask(crowd, *endpoint));
        }
        assert!(!governor.ask(single, one));
        assert_eq!(governor.release(many[0]), [many[1]]);
        assert_eq!(governor.release(many[1]), [one]);
        assert_eq!(governor.release(one), [many[2]]);
    }

    #[test]
    fn an_endpoint_gets_one_grant_at_a_time_and_in_the_end_all_that_it_asked_for() {
        let workspace = WorkspaceId::new(NOW);
        let [greedy, modest] = [EndpointId::new(NOW), EndpointId::new(NOW)];
        let mut governor = Governor::new(1);
        assert!(governor.ask(workspace, greedy));
        assert!((0..3).all(|_| !governor.ask(workspace, greedy)) && !governor.ask(workspace, modest));
        let mut order = vec![greedy];
        while let Some(last) = order.last().copied()
            && let [next] = governor.release(last)[..]
        {
            order.push(next);
        }
        assert_eq!(order, [greedy, greedy, modest, greedy, greedy]);
        assert!(governor.ask(workspace, modest));
    }

    #[test]
    fn who_waits_and_asks_for_more_keeps_its_place() {
        let busy = EndpointId::new(NOW);
        let [first, second] = [(); 2].map(|()| (WorkspaceId::new(NOW), EndpointId::new(NOW)));
        let mut governor = Governor::new(1);
        assert!(governor.ask(WorkspaceId::new(NOW), busy));
        for (workspace, endpoint) in [first, second, first] {
            assert!(!governor.ask(workspace, endpoint));
        }
        assert_eq!(governor.release(busy), [first.1]);
    }

    #[test]
    fn every_grant_comes_back() {
        let (workspace, endpoint) = (WorkspaceId::new(NOW), EndpointId::new(NOW));
        let mut governor = Governor::new(4);
        for _ in 0..3 {
            assert!(governor.ask(workspace, endpoint) && governor.ask(workspace, endpoint));
            assert!(!governor.ask(workspace, endpoint), "one is kept for who has none, and as many as it holds");
            assert_eq!(governor.release(endpoint), [endpoint]);
            assert!(governor.release(endpoint).is_empty());
            assert!(governor.release(endpoint).is_empty());
            assert_eq!(governor.free, 4);
            assert!(governor.endpoints.is_empty() && governor.workspaces.is_empty() && governor.turns.is_empty());
        }
    }

    #[test]
    fn a_hundred_endpoints_that_hang_with_64_in_flight_do_not_keep_a_healthy_one_waiting() {
        let (hanging, healthy) = (WorkspaceId::new(NOW), EndpointId::new(NOW));
        for workspace in [hanging, WorkspaceId::new(NOW)] {
            let mut governor = Governor::new(2_000);
            let crowd: [EndpointId; 100] = std::array::from_fn(|_| EndpointId::new(NOW));
            for _ in 0..64 {
                for endpoint in crowd {
                    governor.ask(hanging, endpoint);
                }
            }
            let held: Vec<_> = crowd.iter().map(|endpoint| governor.endpoints[endpoint].held).collect();
            assert!(held.iter().all(|held| *held >= 12), "each of them gets its share: {held:?}");
            for _ in 0..10_000 {
                assert!(governor.ask(workspace, healthy), "a grant at once");
                assert!(governor.ask(workspace, healthy), "and another");
                for _ in 0..2 {
                    assert!(governor.release(healthy).is_empty(), "what it gives back stays free for it");
                }
            }
        }
    }

    #[test]
    fn endpoints_that_took_all_they_could_one_after_the_other_leave_one_to_each_that_comes() {
        let workspace = WorkspaceId::new(NOW);
        let mut governor = Governor::new(2_048);
        for _ in 0..100 {
            let hanging = EndpointId::new(NOW);
            for _ in 0..64 {
                governor.ask(workspace, hanging);
            }
        }
        let others: [EndpointId; 300] = std::array::from_fn(|_| EndpointId::new(NOW));
        for _ in 0..10 {
            assert!(others.iter().all(|other| governor.ask(workspace, *other)), "a grant at once");
            for other in others {
                let granted = governor.release(other);
                assert!(granted.is_empty(), "what it gives back stays free for those who have none");
            }
        }
    }

    #[test]
    fn ten_thousand_endpoints_of_one_workspace_leave_a_ninth_to_the_others() {
        let (crowd, other) = (WorkspaceId::new(NOW), WorkspaceId::new(NOW));
        let mut governor = Governor::new(1_800);
        let granted = (0..10_000).filter(|_| governor.ask(crowd, EndpointId::new(NOW))).count();
        assert_eq!(granted, 1_600);
        assert!((0..100).all(|_| governor.ask(other, EndpointId::new(NOW))));
    }
}
