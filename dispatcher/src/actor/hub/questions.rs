//! Questions to a hub, and the order to end.

use actix::prelude::*;
use angarium_entity::{DeliveryId, EndpointId, Timestamp};
use tokio::sync::oneshot;

use super::{Hub, HubReport};
use crate::machine::endpoint::Input;

/// What is the hub doing?
#[derive(Message)]
#[rtype(result = "HubReport")]
pub(crate) struct Observe;

impl Handler<Observe> for Hub {
    type Result = MessageResult<Observe>;

    fn handle(&mut self, Observe: Observe, _: &mut Self::Context) -> Self::Result {
        MessageResult(HubReport {
            endpoints: self.endpoints.len(),
            in_flight: self.shared.in_flight(),
            busy: self.shared.busy(),
            wheel: self.wheel.len(),
            wakes: self.wakes.len(),
            job_bytes: self.shared.job_bytes(),
        })
    }
}

/// Which of these have a request running?
#[derive(Message)]
#[rtype(result = "Vec<bool>")]
pub(crate) struct AreInFlight(pub(crate) Vec<DeliveryId>);

impl Handler<AreInFlight> for Hub {
    type Result = Vec<bool>;

    fn handle(&mut self, AreInFlight(deliveries): AreInFlight, _: &mut Self::Context) -> Self::Result {
        deliveries.into_iter().map(|delivery| self.shared.is_in_flight(delivery)).collect()
    }
}

/// Until when does each of these wait for its rate limit?
#[derive(Message)]
#[rtype(result = "Vec<Option<Timestamp>>")]
pub(crate) struct LimitedUntil(pub(crate) Vec<EndpointId>);

impl Handler<LimitedUntil> for Hub {
    type Result = Vec<Option<Timestamp>>;

    fn handle(&mut self, LimitedUntil(endpoints): LimitedUntil, _: &mut Self::Context) -> Self::Result {
        endpoints.into_iter().map(|endpoint| self.shared.limited_until(endpoint)).collect()
    }
}

/// Start nothing more; answered when nothing runs and every result is durable.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Drain(pub(crate) oneshot::Sender<()>);

impl Handler<Drain> for Hub {
    type Result = ();

    fn handle(&mut self, Drain(done): Drain, _: &mut Self::Context) {
        self.shared.draining.set(true);
        for stub in self.endpoints.values_mut() {
            stub.send(super::Hear(Input::Drain));
        }
        if self.shared.busy() == 0 {
            let _ = done.send(());
        } else {
            self.drained.push(done);
        }
    }
}

/// The process ends: what is in memory is not needed any more.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Stop;

impl Handler<Stop> for Hub {
    type Result = ();

    fn handle(&mut self, Stop: Stop, _: &mut Self::Context) {
        self.shared.stopping.set(true);
        self.endpoints.clear();
    }
}
