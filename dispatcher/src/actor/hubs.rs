//! How everybody else reaches the actors: by endpoint.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::Addr;
use angarium_entity::{DeliveryId, EndpointId, Timestamp, WorkspaceId};
use tokio::sync::oneshot;

use super::hub::{
    AreInFlight, AwakeWorkspaces, BusyShards, Changed, CheckVersions, Deliver, Express, ExpressFound, ExpressRead,
    Forget, Hub, Keep, Kick, MaySendAgain, PageRead, Release, Reload, Remind, ResultsRecorded, Revoke, SettingsRead,
};
use crate::cluster::{Ownership, Route};
use crate::job::Job;
use crate::peers::{Hint, Peers};
use crate::settings::Settings;
use crate::store::completion::Recorded;
use crate::store::pager::Asker;

/// Jobs that may lie in the mailbox of a hub. Beyond, it is only told which endpoints have something to read.
pub(super) const QUEUED_JOBS_MAX: usize = 20_000;

/// The way to one hub.
#[derive(Clone, Debug)]
pub(crate) struct HubPort {
    pub(crate) addr: Addr<Hub>,
    /// Jobs in its mailbox.
    pub(crate) queued: Arc<AtomicUsize>,
}

/// The way to every hub, and to those of other nodes. On this node, an endpoint belongs to the same one for as long as
/// the process lives.
#[derive(Clone, Debug)]
pub(crate) struct Hubs {
    ports: Arc<[HubPort]>,
    ownership: Ownership,
    peers: Peers,
}

#[expect(
    clippy::disallowed_methods,
    reason = "hints shrink when a hub is behind; answers are bounded by its questions"
)]
impl Hubs {
    pub(crate) fn new(ports: Vec<HubPort>, ownership: Ownership, peers: Peers) -> Self {
        Self { ports: ports.into(), ownership, peers }
    }

    pub(crate) fn all(&self) -> &[HubPort] {
        &self.ports
    }

    pub(crate) fn of(&self, endpoint: EndpointId) -> &HubPort {
        &self.ports[self.index(endpoint)]
    }

    /// Hands over what was just committed, in its order, by a transaction that saw this version of the membership. With
    /// other nodes about, somebody else's publish may have been answered before this one began and not be known here
    /// yet: the line is read from the rows.
    pub(crate) fn deliver(&self, jobs: impl IntoIterator<Item = Job>, membership_version: Option<i64>) {
        if !self.ownership.is_alone_at(membership_version) {
            self.look(jobs.into_iter().map(|job| job.endpoint_id));
            return;
        }
        for (port, jobs) in self.by_hub(jobs, |job| job.endpoint_id) {
            let count = jobs.len();
            if port.queued.load(Ordering::Relaxed) + count > QUEUED_JOBS_MAX {
                self.look(jobs.iter().map(|job| job.endpoint_id));
            } else {
                port.queued.fetch_add(count, Ordering::Relaxed);
                port.addr.do_send(Deliver(jobs));
            }
        }
    }

    /// Hands over what skips the line of its endpoint.
    pub(crate) fn express(&self, job: Job) {
        match self.ownership.route(job.endpoint_id) {
            Route::Node(node) => self.peers.tell(node, Hint::Express(job.delivery_id)),
            Route::Here | Route::Nowhere => self.of(job.endpoint_id).addr.do_send(Express(job)),
        }
    }

    /// Reads what skips the line from the rows, and hands over what is this node's. What ends meanwhile is left out, though
    /// the rows may not have shown it yet.
    pub(crate) async fn find_express<E>(&self, read: impl Future<Output = Result<Vec<Job>, E>>) -> Result<(), E> {
        for port in self.all() {
            port.addr.do_send(ExpressRead);
        }
        let found = read.await;
        let (jobs, result) = found.map_or_else(|error| (Vec::new(), Err(error)), |jobs| (jobs, Ok(())));
        let mut found: Vec<Vec<Job>> = self.ports.iter().map(|_| Vec::new()).collect();
        for job in jobs.into_iter().filter(|job| self.ownership.holds(job.endpoint_id)) {
            found[self.index(job.endpoint_id)].push(job);
        }
        for (port, jobs) in self.all().iter().zip(found) {
            port.addr.do_send(ExpressFound(jobs));
        }
        result
    }

    /// Something may wait in the rows for these endpoints. What those that are at work have waiting they were told of;
    /// if that was lost, a sweep that finds them idle tells them.
    pub(crate) fn kick(&self, endpoints: Vec<EndpointId>) {
        for (port, endpoints) in self.by_hub(endpoints, |endpoint| *endpoint) {
            port.addr.do_send(Kick { endpoints, only_idle: true });
        }
    }

    /// Something may wait in the rows for these endpoints, also for those that are at work.
    pub(crate) fn look(&self, endpoints: impl IntoIterator<Item = EndpointId>) {
        let endpoints = self.here(endpoints, |endpoint| (*endpoint, Hint::Look(*endpoint)));
        for (port, mut endpoints) in self.by_hub(endpoints, |endpoint| *endpoint) {
            endpoints.sort_unstable();
            endpoints.dedup();
            port.addr.do_send(Kick { endpoints, only_idle: false });
        }
    }

    /// When endpoints have something due, wherever they are.
    pub(crate) fn remind(&self, endpoints: impl IntoIterator<Item = (Timestamp, EndpointId)>) {
        self.remind_here(self.here(endpoints, |(at, endpoint)| (*endpoint, Hint::Remind(*at, *endpoint))));
    }

    /// When endpoints of this node have something due.
    pub(crate) fn remind_here(&self, endpoints: impl IntoIterator<Item = (Timestamp, EndpointId)>) {
        for (port, endpoints) in self.by_hub(endpoints, |(_, endpoint)| *endpoint) {
            port.addr.do_send(Remind(endpoints));
        }
    }

    /// Somebody has moved a delivery in its row.
    pub(crate) fn changed(&self, endpoint: EndpointId, delivery: DeliveryId) {
        for () in self.here([()], |()| (endpoint, Hint::Changed(endpoint, delivery))) {
            self.of(endpoint).addr.do_send(Changed { endpoint, delivery });
        }
    }

    /// These results are durable.
    pub(crate) fn recorded(&self, results: impl IntoIterator<Item = Recorded>) {
        for (port, results) in self.by_hub(results, |result| result.endpoint_id) {
            port.addr.do_send(ResultsRecorded(results));
        }
    }

    /// The settings of an endpoint have changed.
    pub(crate) fn reload(&self, endpoint: EndpointId) {
        for () in self.here([()], |()| (endpoint, Hint::Reload(endpoint))) {
            self.of(endpoint).addr.do_send(Reload(endpoint));
        }
    }

    /// What another node has said. It took the endpoint for this node's: if it is another's by now, nobody is told, and
    /// that one reads its rows.
    pub(crate) fn heard(&self, hints: impl IntoIterator<Item = Hint>) {
        for hint in hints {
            match hint {
                Hint::Look(endpoint) => {
                    self.of(endpoint).addr.do_send(Kick { endpoints: vec![endpoint], only_idle: false });
                }
                Hint::Remind(at, endpoint) => self.of(endpoint).addr.do_send(Remind(vec![(at, endpoint)])),
                Hint::Reload(endpoint) => self.of(endpoint).addr.do_send(Reload(endpoint)),
                Hint::Changed(endpoint, delivery) => {
                    self.of(endpoint).addr.do_send(Changed { endpoint, delivery });
                }
                // Its row has to be read first.
                Hint::Express(_) => {}
            }
        }
    }

    /// Which of these have a request running, on whichever node, in the order of the question.
    pub(crate) async fn in_flight(&self, deliveries: &[(EndpointId, DeliveryId)]) -> Vec<bool> {
        let mut answer = self.in_flight_here(deliveries).await;
        let mut elsewhere: HashMap<_, Vec<usize>> = HashMap::new();
        for (place, (endpoint, _)) in deliveries.iter().enumerate() {
            if let Route::Node(node) = self.ownership.route(*endpoint) {
                elsewhere.entry(node).or_default().push(place);
            }
        }
        let asked = elsewhere.into_iter().map(|(node, places)| async move {
            let question = places.iter().map(|place| deliveries[*place]).collect();
            (self.peers.ask_in_flight(node, question).await, places)
        });
        for (running, places) in futures_util::future::join_all(asked).await {
            for (place, running) in places.into_iter().zip(running) {
                answer[place] |= running;
            }
        }
        answer
    }

    /// Which of these have a request running on this node.
    pub(crate) async fn in_flight_here(&self, deliveries: &[(EndpointId, DeliveryId)]) -> Vec<bool> {
        let mut answer = vec![false; deliveries.len()];
        for (index, port) in self.ports.iter().enumerate() {
            let (places, ids): (Vec<_>, Vec<_>) = deliveries
                .iter()
                .enumerate()
                .filter(|(_, (endpoint, _))| self.index(*endpoint) == index)
                .map(|(place, (_, delivery))| (place, *delivery))
                .unzip();
            if ids.is_empty() {
                continue;
            }
            // A hub that has ended runs nothing.
            for (place, running) in places.into_iter().zip(port.addr.send(AreInFlight(ids)).await.unwrap_or_default()) {
                answer[place] = running;
            }
        }
        answer
    }

    /// Starts nothing more for these shards. Ready when nothing of them is in flight and every result is durable.
    pub(crate) fn release(&self, shards: Vec<i32>) -> impl Future<Output = ()> + Send + use<> {
        let shards: Arc<[i32]> = shards.into();
        let waiting: Vec<_> = self
            .ports
            .iter()
            .map(|port| {
                let (done, is_done) = oneshot::channel();
                port.addr.do_send(Release { shards: shards.clone(), done });
                is_done
            })
            .collect();
        async move {
            for quiet in waiting {
                if quiet.await.is_err() {
                    // The hub was told to keep them, or has ended.
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// These shards stay after all.
    pub(crate) fn keep(&self, shards: Vec<i32>) {
        if shards.is_empty() {
            return;
        }
        let shards: Arc<[i32]> = shards.into();
        for port in self.all() {
            port.addr.do_send(Keep(shards.clone()));
        }
    }

    /// These shards are another's now.
    pub(crate) fn forget(&self, shards: Vec<i32>) {
        let shards: Arc<[i32]> = shards.into();
        for port in self.all() {
            port.addr.do_send(Forget(shards.clone()));
        }
    }

    /// Breaks everything off: nothing of it can become durable any more.
    pub(crate) async fn revoke(&self) {
        for port in self.all() {
            // A hub that has ended has nothing.
            let _ = port.addr.send(Revoke).await;
        }
    }

    /// The lease holds again.
    pub(crate) fn may_send_again(&self) {
        for port in self.all() {
            port.addr.do_send(MaySendAgain);
        }
    }

    /// Shards with a request running, or a result that is not durable yet.
    pub(crate) async fn busy_shards(&self) -> HashSet<i32> {
        let mut busy = HashSet::new();
        for port in self.all() {
            busy.extend(port.addr.send(BusyShards).await.unwrap_or_default());
        }
        busy
    }

    /// Workspaces of the endpoints that are awake.
    pub(crate) async fn awake_workspaces(&self) -> Vec<WorkspaceId> {
        let mut awake = HashSet::new();
        for port in self.all() {
            awake.extend(port.addr.send(AwakeWorkspaces).await.unwrap_or_default());
        }
        awake.into_iter().collect()
    }

    /// Has those read their settings again that have older ones.
    pub(crate) fn check_versions(&self, versions: &HashMap<WorkspaceId, i64>) {
        let versions = Arc::new(versions.clone());
        for port in self.all() {
            port.addr.do_send(CheckVersions(versions.clone()));
        }
    }

    /// Answers a question for settings.
    pub(crate) fn settings(&self, asker: Asker, settings: Option<Arc<Settings>>) {
        self.of(asker.endpoint).addr.do_send(SettingsRead { asker, settings });
    }

    /// Answers a question for a page.
    pub(crate) fn page(&self, page: PageRead) {
        self.of(page.asker.endpoint).addr.do_send(page);
    }

    fn index(&self, endpoint: EndpointId) -> usize {
        // The low half of a UUIDv7 is random.
        let random = endpoint.0.as_u64_pair().1;
        usize::try_from(random % self.ports.len() as u64).unwrap_or(0)
    }

    /// Those of `items` whose endpoint is here. Other nodes are told of theirs.
    fn here<T>(&self, items: impl IntoIterator<Item = T>, of: impl Fn(&T) -> (EndpointId, Hint)) -> Vec<T> {
        let is_here = |item: &T| {
            let (endpoint, hint) = of(item);
            match self.ownership.route(endpoint) {
                Route::Here => true,
                Route::Node(node) => {
                    self.peers.tell(node, hint);
                    false
                }
                Route::Nowhere => false,
            }
        };
        items.into_iter().filter(is_here).collect()
    }

    fn by_hub<T>(
        &self,
        items: impl IntoIterator<Item = T>,
        endpoint: impl Fn(&T) -> EndpointId,
    ) -> impl Iterator<Item = (&HubPort, Vec<T>)> {
        let mut groups: HashMap<usize, Vec<T>> = HashMap::new();
        for item in items {
            groups.entry(self.index(endpoint(&item))).or_default().push(item);
        }
        groups.into_iter().map(|(index, items)| (&self.ports[index], items))
    }
}
