//! What an attempt came to.

use angarium_entity::change_log::DeliveryChange;
use angarium_entity::delivery::DeliveryState;
use angarium_entity::{NodeId, Timestamp, attempt};

use crate::job::Job;
use crate::machine::breaker::{Ended, Verdict};

/// An ended attempt, to be made durable.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// The node that made it, by its name at that time.
    pub(crate) node: Option<NodeId>,
    pub(crate) job: Job,
    pub(crate) attempt: attempt::Model,
    /// Whether there was a request. Otherwise the attempt is not one: it is not counted and not stored.
    pub(crate) is_sent: bool,
    /// Where the delivery goes, unless somebody moved it meanwhile.
    pub(crate) next: DeliveryState,
    /// Why, for people.
    pub(crate) reason: Option<String>,
    /// Whether the answer confirms the subscription.
    pub(crate) confirms: bool,
    /// What the answer means for the whole endpoint.
    pub(crate) hold: Option<EndpointHold>,
    /// How the attempt ended, as far as the endpoint is concerned.
    pub(crate) ended: Ended,
    /// What that means for its health.
    pub(crate) verdict: Verdict,
}

/// A hold that a receiver asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EndpointHold {
    /// `Retry-After`.
    Until(Timestamp),
    /// 410 Gone, or it failed for too long.
    Suspended(String),
    /// The head of a STRICT line failed for good, and the owner wants to decide what comes next.
    Paused(String),
}

impl Report {
    /// Whether it uses up one of the attempts that the retry policy allows: a probe does not.
    pub(crate) fn spends(&self) -> bool {
        self.is_sent && !self.job.is_probe
    }

    pub(crate) fn change(&self) -> DeliveryChange {
        DeliveryChange {
            delivery_id: self.job.delivery_id,
            event_id: self.job.event.id,
            endpoint_id: self.job.endpoint_id,
            subscription_id: self.job.subscription_id,
            attempt_id: self.is_sent.then_some(self.attempt.id),
            previous_status: Some(self.job.status.name().to_owned()),
            status: self.next.status().name().to_owned(),
        }
    }
}
