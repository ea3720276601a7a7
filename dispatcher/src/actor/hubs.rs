//! How everybody else reaches the actors: by endpoint.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::Addr;
use angarium_entity::{DeliveryId, EndpointId, Timestamp};
use tokio::sync::oneshot;

use super::hub::{
    Changed, Deliver, Drain, Express, Hub, Kick, PageRead, Reload, Remind, ResultsRecorded, SettingsRead,
};
use crate::job::Job;
use crate::settings::Settings;
use crate::store::completion::Recorded;

/// Jobs that may lie in the mailbox of a hub. Beyond, it is only told which endpoints have something to read.
pub(super) const QUEUED_JOBS_MAX: usize = 20_000;

/// The way to one hub.
#[derive(Clone, Debug)]
pub(crate) struct HubPort {
    pub(crate) addr: Addr<Hub>,
    /// Jobs in its mailbox.
    pub(crate) queued: Arc<AtomicUsize>,
}

/// The way to every hub. An endpoint belongs to the same one for as long as the process lives.
#[derive(Clone, Debug)]
pub(crate) struct Hubs(Arc<[HubPort]>);

#[expect(
    clippy::disallowed_methods,
    reason = "hints shrink when a hub is behind; answers are bounded by its questions"
)]
impl Hubs {
    pub(crate) fn new(ports: Vec<HubPort>) -> Self {
        Self(ports.into())
    }

    pub(crate) fn all(&self) -> &[HubPort] {
        &self.0
    }

    pub(crate) fn of(&self, endpoint: EndpointId) -> &HubPort {
        &self.0[self.index(endpoint)]
    }

    /// Hands over what was just committed, in its order.
    pub(crate) fn deliver(&self, jobs: impl IntoIterator<Item = Job>) {
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
        self.of(job.endpoint_id).addr.do_send(Express(job));
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
        for (port, mut endpoints) in self.by_hub(endpoints, |endpoint| *endpoint) {
            endpoints.sort_unstable();
            endpoints.dedup();
            port.addr.do_send(Kick { endpoints, only_idle: false });
        }
    }

    /// When endpoints have something due.
    pub(crate) fn remind(&self, endpoints: impl IntoIterator<Item = (Timestamp, EndpointId)>) {
        for (port, endpoints) in self.by_hub(endpoints, |(_, endpoint)| *endpoint) {
            port.addr.do_send(Remind(endpoints));
        }
    }

    /// Somebody has moved a delivery in its row.
    pub(crate) fn changed(&self, endpoint: EndpointId, delivery: DeliveryId) {
        self.of(endpoint).addr.do_send(Changed { endpoint, delivery });
    }

    /// These results are durable.
    pub(crate) fn recorded(&self, results: impl IntoIterator<Item = Recorded>) {
        for (port, results) in self.by_hub(results, |result| result.endpoint_id) {
            port.addr.do_send(ResultsRecorded(results));
        }
    }

    /// The settings of an endpoint have changed.
    pub(crate) fn reload(&self, endpoint: EndpointId) {
        self.of(endpoint).addr.do_send(Reload(endpoint));
    }

    /// Answers a question for settings.
    pub(crate) fn settings(&self, endpoint: EndpointId, settings: Option<Arc<Settings>>) {
        self.of(endpoint).addr.do_send(SettingsRead { endpoint, settings });
    }

    /// Answers a question for a page.
    pub(crate) fn page(&self, page: PageRead) {
        self.of(page.endpoint).addr.do_send(page);
    }

    /// Start nothing more, and do not wait for what runs.
    pub(crate) fn drain(&self) {
        for port in self.all() {
            let (done, _) = oneshot::channel();
            port.addr.do_send(Drain(done));
        }
    }

    fn index(&self, endpoint: EndpointId) -> usize {
        // The low half of a UUIDv7 is random.
        let random = endpoint.0.as_u64_pair().1;
        usize::try_from(random % self.0.len() as u64).unwrap_or(0)
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
        groups.into_iter().map(|(index, items)| (&self.0[index], items))
    }
}
