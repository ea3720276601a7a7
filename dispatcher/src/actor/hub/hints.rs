//! Hints: each may be lost, late or doubled. They wake and warm.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use actix::prelude::*;
use angarium_entity::{DeliveryId, EndpointId, Timestamp};

use super::Hub;
use crate::job::Job;
use crate::machine::endpoint::Input;

/// These were just committed, in this order.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Deliver(pub(crate) Vec<Job>);

impl Handler<Deliver> for Hub {
    type Result = ();

    fn handle(&mut self, Deliver(jobs): Deliver, _: &mut Self::Context) {
        self.queued.fetch_sub(jobs.len(), Ordering::Relaxed);
        let mut by_endpoint: HashMap<EndpointId, Vec<Job>> = HashMap::new();
        for job in jobs {
            by_endpoint.entry(job.endpoint_id).or_default().push(job);
        }
        for (endpoint, jobs) in by_endpoint {
            self.tell(endpoint, Input::Arrived(jobs));
        }
    }
}

/// This was just committed and skips the line.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Express(pub(crate) Job);

impl Handler<Express> for Hub {
    type Result = ();

    fn handle(&mut self, Express(job): Express, _: &mut Self::Context) {
        self.tell(job.endpoint_id, Input::Express(job));
    }
}

/// What skips its line is about to be read from the rows. [`ExpressFound`] follows.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct ExpressRead;

impl Handler<ExpressRead> for Hub {
    type Result = ();

    fn handle(&mut self, ExpressRead: ExpressRead, _: &mut Self::Context) {
        self.express_reads += 1;
    }
}

/// What such a read has found for the endpoints of this hub.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct ExpressFound(pub(crate) Vec<Job>);

impl Handler<ExpressFound> for Hub {
    type Result = ();

    fn handle(&mut self, ExpressFound(jobs): ExpressFound, _: &mut Self::Context) {
        for job in jobs {
            if !self.settled_since.contains(&job.delivery_id) {
                self.tell(job.endpoint_id, Input::Express(job));
            }
        }
        self.express_reads = self.express_reads.saturating_sub(1);
        if self.express_reads == 0 {
            self.settled_since.clear();
        }
    }
}

/// Something may wait in the rows for these endpoints.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Kick {
    pub(crate) endpoints: Vec<EndpointId>,
    /// Leave those alone that are at work: most of what a sweep finds is just what they work on.
    pub(crate) only_idle: bool,
}

impl Handler<Kick> for Hub {
    type Result = ();

    fn handle(&mut self, Kick { endpoints, only_idle }: Kick, _: &mut Self::Context) {
        for endpoint in endpoints {
            let at_work = |stub: &super::Stub| stub.idle.is_none_or(|(_, handled)| handled != stub.sent);
            if only_idle && self.endpoints.get(&endpoint).is_some_and(at_work) {
                continue;
            }
            if only_idle {
                self.shared.metrics.woken_by_sweep();
            }
            self.tell(endpoint, Input::Kicked);
        }
    }
}

/// When these endpoints have something due.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Remind(pub(crate) Vec<(Timestamp, EndpointId)>);

impl Handler<Remind> for Hub {
    type Result = ();

    fn handle(&mut self, Remind(endpoints): Remind, ctx: &mut Self::Context) {
        for (at, endpoint) in endpoints {
            self.remind_soon(at, endpoint);
        }
        self.arm_timer(ctx);
    }
}

/// Somebody else has moved a delivery.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Changed {
    pub(crate) endpoint: EndpointId,
    pub(crate) delivery: DeliveryId,
}

impl Handler<Changed> for Hub {
    type Result = ();

    fn handle(&mut self, Changed { endpoint, delivery }: Changed, _: &mut Self::Context) {
        self.tell(endpoint, Input::Changed(delivery));
    }
}

/// The settings of an endpoint have changed.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Reload(pub(crate) EndpointId);

impl Handler<Reload> for Hub {
    type Result = ();

    fn handle(&mut self, Reload(endpoint): Reload, _: &mut Self::Context) {
        if let Some(stub) = self.endpoints.get_mut(&endpoint) {
            stub.reload();
        } else {
            // It may have been resumed with something waiting; waking it reads its settings.
            self.tell(endpoint, Input::Kicked);
        }
    }
}

/// An endpoint wants to look again at this time.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Wake {
    pub(crate) endpoint: EndpointId,
    pub(crate) at: Timestamp,
}

impl Handler<Wake> for Hub {
    type Result = ();

    fn handle(&mut self, Wake { endpoint, at }: Wake, ctx: &mut Self::Context) {
        self.wakes.set(at, endpoint);
        self.arm_timer(ctx);
    }
}
