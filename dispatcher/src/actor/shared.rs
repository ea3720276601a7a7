//! What the actors of one arbiter share. They all live on its thread.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::Addr;
use angarium_entity::clock::SharedClock;
use angarium_entity::sealer::Sealer;
use angarium_entity::{DeliveryId, EndpointId, NodeId, Timestamp, WorkspaceId, shard};
use tokio::sync::mpsc;

use super::hub::{Granted, Hub, Settled, Wake};
use crate::cluster::Ownership;
use crate::machine::endpoint::WINDOW;
use crate::machine::governor::Governor;
use crate::machine::tallies::Tallies;
use crate::report::Report;
use crate::store::pager::Ask;
use crate::transport::Transport;
use crate::transport::plan::Plan;
use crate::{Metrics, Tracer};

/// What a hub is made from, on its own thread.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) plan: Plan,
    pub(crate) clock: SharedClock,
    pub(crate) sealer: Sealer,
    pub(crate) in_flight_max: usize,
    pub(crate) awake_max: usize,
    pub(crate) shard_count: i32,
    pub(crate) asks: mpsc::UnboundedSender<Ask>,
    pub(crate) reports: mpsc::UnboundedSender<Report>,
    pub(crate) memory: JobMemory,
    pub(crate) ownership: Ownership,
    /// Whether Redis tells what is due.
    pub(crate) has_schedule: bool,
    pub(crate) metrics: Metrics,
    pub(crate) tracer: Tracer,
}

/// Bytes of the jobs that wait in the memory of all arbiters.
#[derive(Clone, Debug, Default)]
pub(crate) struct JobMemory(Arc<AtomicUsize>);

impl JobMemory {
    /// Beyond this, each endpoint keeps one job and leaves the rest to the rows.
    const MAX: usize = 128 * 1024 * 1024;

    pub(crate) fn is_full(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= Self::MAX
    }

    /// An endpoint that kept `before` bytes keeps `after` now.
    fn change(&self, before: usize, after: usize) {
        self.0.fetch_add(after, Ordering::Relaxed);
        self.0.fetch_sub(before, Ordering::Relaxed);
    }
}

/// Shared by a hub and its endpoints.
pub(crate) struct Shared {
    pub(crate) hub: Addr<Hub>,
    pub(crate) transport: Transport,
    pub(crate) clock: SharedClock,
    pub(crate) sealer: Sealer,
    asks: mpsc::UnboundedSender<Ask>,
    reports: mpsc::UnboundedSender<Report>,
    shard_count: i32,
    governor: RefCell<Governor>,
    /// Deliveries with a request running.
    in_flight: RefCell<HashSet<DeliveryId>>,
    /// Deliveries with a result on its way to the rows, until the hub has heard that it is there.
    reported: RefCell<HashSet<DeliveryId>>,
    /// Endpoints whose actors have died, until they start again, with what those had reported and is not durable yet.
    dead: RefCell<HashMap<EndpointId, HashSet<DeliveryId>>>,
    /// Endpoints that wait only for their rate limit, and until when.
    limited: RefCell<HashMap<EndpointId, Timestamp>>,
    /// Requests that run, and results that are not durable yet.
    busy: Cell<usize>,
    /// The same by shard.
    busy_shards: RefCell<HashMap<i32, usize>>,
    /// Endpoints that wanted to send while the lease of this node did not hold.
    parked: RefCell<Vec<(EndpointId, WorkspaceId)>>,
    /// The version of the configuration that each endpoint goes by.
    configured: RefCell<HashMap<EndpointId, (WorkspaceId, i64)>>,
    /// What the breakers of those had counted that were forgotten a moment ago.
    pub(crate) tallies: RefCell<Tallies>,
    job_bytes: Cell<usize>,
    memory: JobMemory,
    pub(crate) metrics: Metrics,
    pub(crate) tracer: Tracer,
    pub(crate) draining: Cell<bool>,
    pub(crate) stopping: Cell<bool>,
    pub(crate) ownership: Ownership,
    /// Whether Redis tells what is due.
    pub(crate) has_schedule: bool,
}

impl Shared {
    /// Call it on the thread of the arbiter.
    pub(crate) fn new(hub: Addr<Hub>, setup: &Setup) -> Rc<Self> {
        let transport =
            Transport::new(setup.plan.clone()).expect("the same client was made once before the threads were started");
        Rc::new(Self {
            hub,
            transport,
            clock: setup.clock.clone(),
            sealer: setup.sealer.clone(),
            asks: setup.asks.clone(),
            reports: setup.reports.clone(),
            shard_count: setup.shard_count,
            governor: RefCell::new(Governor::new(setup.in_flight_max)),
            in_flight: RefCell::default(),
            reported: RefCell::default(),
            dead: RefCell::default(),
            limited: RefCell::default(),
            busy: Cell::new(0),
            busy_shards: RefCell::default(),
            parked: RefCell::default(),
            configured: RefCell::default(),
            tallies: RefCell::default(),
            job_bytes: Cell::new(0),
            memory: setup.memory.clone(),
            metrics: setup.metrics.clone(),
            tracer: setup.tracer.clone(),
            draining: Cell::new(false),
            stopping: Cell::new(false),
            ownership: setup.ownership.clone(),
            has_schedule: setup.has_schedule,
        })
    }

    /// Asks the store. When it is gone the process is stopping, and no answer is needed.
    pub(crate) fn ask(&self, ask: Ask) {
        let _ = self.asks.send(ask);
    }

    /// Has the hub tell `endpoint` at `at` to look again.
    #[expect(clippy::disallowed_methods, reason = "once for each hold of an endpoint")]
    pub(crate) fn wake_at(&self, endpoint: EndpointId, at: Timestamp) {
        self.hub.do_send(Wake { endpoint, at });
    }

    pub(crate) fn shard_of(&self, endpoint: EndpointId) -> i32 {
        shard::of(endpoint, self.shard_count)
    }

    /// Whether a request may start now; if not, the hub is told later.
    pub(crate) fn ask_for_grant(&self, workspace: WorkspaceId, endpoint: EndpointId) -> bool {
        if !self.ownership.may_send() {
            self.park(workspace, endpoint);
            return false;
        }
        self.governor.borrow_mut().ask(workspace, endpoint)
    }

    /// The lease of this node does not hold: who wants to send is asked again when it does.
    pub(crate) fn park(&self, workspace: WorkspaceId, endpoint: EndpointId) {
        self.parked.borrow_mut().push((endpoint, workspace));
    }

    /// Those who wanted to send meanwhile.
    pub(crate) fn take_parked(&self) -> Vec<(EndpointId, WorkspaceId)> {
        self.parked.take()
    }

    /// An endpoint goes by the configuration with this version, or is not awake any more.
    pub(crate) fn goes_by(&self, endpoint: EndpointId, version: Option<(WorkspaceId, i64)>) {
        match version {
            Some(version) => self.configured.borrow_mut().insert(endpoint, version),
            None => self.configured.borrow_mut().remove(&endpoint),
        };
    }

    pub(crate) fn awake_workspaces(&self) -> Vec<WorkspaceId> {
        let awake: HashSet<_> = self.configured.borrow().values().map(|(workspace, _)| *workspace).collect();
        awake.into_iter().collect()
    }

    /// Endpoints that go by an older configuration than these.
    pub(crate) fn outdated(&self, versions: &HashMap<WorkspaceId, i64>) -> Vec<EndpointId> {
        let configured = self.configured.borrow();
        let outdated = configured
            .iter()
            .filter(|(_, (workspace, known))| versions.get(workspace).is_some_and(|version| version > known));
        outdated.map(|(endpoint, _)| *endpoint).collect()
    }

    /// The node that this one is now.
    pub(crate) fn node(&self) -> Option<NodeId> {
        self.ownership.node()
    }

    /// Gives a grant back, perhaps to somebody who waits for one.
    pub(crate) fn release_grant(&self, endpoint: EndpointId) {
        let granted = self.governor.borrow_mut().release(endpoint);
        self.tell_granted(granted);
    }

    #[expect(clippy::disallowed_methods, reason = "one message for each grant, and grants are bounded")]
    fn tell_granted(&self, granted: Vec<EndpointId>) {
        for endpoint in granted {
            self.hub.do_send(Granted(endpoint));
        }
    }

    pub(crate) fn started(&self, endpoint: EndpointId, delivery: DeliveryId) {
        self.in_flight.borrow_mut().insert(delivery);
        self.busy.set(self.busy.get() + 1);
        *self.busy_shards.borrow_mut().entry(self.shard_of(endpoint)).or_default() += 1;
    }

    /// A request ended; its result still has to become durable.
    pub(crate) fn ended(&self, delivery: DeliveryId) {
        self.in_flight.borrow_mut().remove(&delivery);
    }

    /// Hands a result to the committer. It keeps its grant until it is durable, which bounds what waits there.
    pub(crate) fn report(&self, report: Report) {
        self.reported.borrow_mut().insert(report.job.delivery_id);
        let _ = self.reports.send(report);
    }

    /// The hub has heard that a result is durable, or that there will be none.
    pub(crate) fn recorded(&self, endpoint: EndpointId, delivery: DeliveryId) {
        self.reported.borrow_mut().remove(&delivery);
        let left_by_the_dead = self.dead.borrow_mut().get_mut(&endpoint).is_some_and(|left| left.remove(&delivery));
        if left_by_the_dead {
            self.settled(endpoint);
        }
    }

    /// The actor of an endpoint has died, with these attempts running or not durable. What ran is broken off. What it had
    /// reported becomes durable all the same, and until then it counts as its actor had it: its shard stays, and nobody
    /// reads its row, which is still open.
    pub(crate) fn died(&self, endpoint: EndpointId, unsettled: impl Iterator<Item = DeliveryId>) {
        let (left, broken_off): (HashSet<_>, HashSet<_>) =
            unsettled.partition(|delivery| self.reported.borrow().contains(delivery));
        let kept = left.len();
        self.dead.borrow_mut().insert(endpoint, left);
        for delivery in broken_off {
            self.ended(delivery);
            self.quieter(endpoint);
        }
        let granted = self.governor.borrow_mut().abandon(endpoint, kept);
        self.tell_granted(granted);
    }

    /// Whether the actor of an endpoint has died, and no other may be started yet.
    pub(crate) fn is_dead(&self, endpoint: EndpointId) -> bool {
        self.dead.borrow().contains_key(&endpoint)
    }

    /// Lets an endpoint whose actor has died have another, unless something that it had reported is not durable yet.
    /// Answers whether it may.
    pub(crate) fn revive(&self, endpoint: EndpointId) -> bool {
        let mut dead = self.dead.borrow_mut();
        let may_live = dead.get(&endpoint).is_none_or(HashSet::is_empty);
        if may_live {
            dead.remove(&endpoint);
        }
        may_live
    }

    /// A result is durable, or there will be none: the grant is free again.
    pub(crate) fn settled(&self, endpoint: EndpointId) {
        self.release_grant(endpoint);
        self.quieter(endpoint);
    }

    #[expect(clippy::disallowed_methods, reason = "once for each shard that is given away, and at the end of a drain")]
    fn quieter(&self, endpoint: EndpointId) {
        self.busy.set(self.busy.get().saturating_sub(1));
        let shard = self.shard_of(endpoint);
        let mut busy_shards = self.busy_shards.borrow_mut();
        let left = busy_shards.get_mut(&shard).map_or(0, |count| {
            *count = count.saturating_sub(1);
            *count
        });
        if left == 0 {
            busy_shards.remove(&shard);
        }
        drop(busy_shards);
        let is_quiet = left == 0 && !self.ownership.holds(endpoint);
        if is_quiet || self.draining.get() && self.busy.get() == 0 {
            self.hub.do_send(Settled);
        }
    }

    /// Shards with a request running, or a result that is not durable yet.
    pub(crate) fn busy_shards(&self) -> Vec<i32> {
        self.busy_shards.borrow().keys().copied().collect()
    }

    pub(crate) fn busy(&self) -> usize {
        self.busy.get()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.borrow().len()
    }

    pub(crate) fn is_in_flight(&self, delivery: DeliveryId) -> bool {
        self.in_flight.borrow().contains(&delivery)
    }

    /// Until when an endpoint waits for its rate limit.
    pub(crate) fn limited_until(&self, endpoint: EndpointId) -> Option<Timestamp> {
        self.limited.borrow().get(&endpoint).copied()
    }

    /// An endpoint waits for its rate limit until then, or not any more.
    pub(crate) fn limits(&self, endpoint: EndpointId, until: Option<Timestamp>) {
        match until {
            Some(until) => self.limited.borrow_mut().insert(endpoint, until),
            None => self.limited.borrow_mut().remove(&endpoint),
        };
    }

    /// How many jobs an endpoint may keep in memory.
    pub(crate) fn room(&self) -> usize {
        if self.memory.is_full() { 1 } else { WINDOW }
    }

    /// An endpoint that kept `before` bytes keeps `after` now.
    pub(crate) fn keeps(&self, before: usize, after: usize) {
        self.job_bytes.set(self.job_bytes.get().saturating_sub(before) + after);
        self.memory.change(before, after);
    }

    pub(crate) fn job_bytes(&self) -> usize {
        self.job_bytes.get()
    }
}
