//! Facts: answers of the store, and what the endpoints tell their hub.

use std::sync::Arc;

use actix::prelude::*;
use angarium_entity::{EndpointId, Timestamp};

use super::super::endpoint::{Configure, Hear};
use super::{Hub, Stub};
use crate::job::Job;
use crate::machine::deaths::PAUSE_MIN;
use crate::machine::endpoint::Input;
use crate::settings::Settings;
use crate::store::completion::Recorded;
use crate::store::pager::Asker;

/// The settings of an endpoint; none when it is gone or cannot be used.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct SettingsRead {
    pub(crate) asker: Asker,
    pub(crate) settings: Option<Arc<Settings>>,
}

impl Handler<SettingsRead> for Hub {
    type Result = ();

    fn handle(&mut self, SettingsRead { asker, settings }: SettingsRead, _: &mut Self::Context) {
        if let Some(stub) = self.asker(asker) {
            stub.configure(Configure(settings));
        }
    }
}

/// What waits for an endpoint in the rows.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct PageRead {
    pub(crate) asker: Asker,
    pub(crate) jobs: Vec<Job>,
    pub(crate) full: bool,
    /// When the first of those that are not due yet will be.
    pub(crate) next_due: Option<Timestamp>,
}

impl Handler<PageRead> for Hub {
    type Result = ();

    fn handle(&mut self, PageRead { asker, jobs, full, next_due }: PageRead, ctx: &mut Self::Context) {
        if let Some(at) = next_due {
            self.remind_soon(at, asker.endpoint);
            self.arm_timer(ctx);
        }
        if let Some(stub) = self.asker(asker) {
            stub.send(Hear(Input::Page { jobs, full }));
        }
    }
}

/// These results are durable.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct ResultsRecorded(pub(crate) Vec<Recorded>);

impl Handler<ResultsRecorded> for Hub {
    type Result = ();

    fn handle(&mut self, ResultsRecorded(results): ResultsRecorded, ctx: &mut Self::Context) {
        for Recorded { endpoint_id, delivery_id, is_final, next_attempt_at, is_void } in results {
            self.shared.recorded(endpoint_id, delivery_id);
            if is_void {
                self.tell_awake(endpoint_id, Input::Void(delivery_id));
            }
            self.tell_awake(endpoint_id, Input::Recorded { delivery: delivery_id, is_final });
            if self.express_reads > 0 {
                self.settled_since.insert(delivery_id);
            }
            if let Some(at) = next_attempt_at {
                self.remind_soon(at, endpoint_id);
            }
        }
        self.arm_timer(ctx);
    }
}

/// An endpoint may send: its turn has come.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Granted(pub(crate) EndpointId);

impl Handler<Granted> for Hub {
    type Result = ();

    fn handle(&mut self, Granted(endpoint): Granted, _: &mut Self::Context) {
        // What was on its way to one that has died was taken back then. What it still holds is for its results.
        if !self.tell_awake(endpoint, Input::Granted) && !self.shared.is_dead(endpoint) {
            self.shared.release_grant(endpoint);
        }
    }
}

/// An endpoint has nothing to do, after so many messages of its hub.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Idle {
    pub(crate) endpoint: EndpointId,
    pub(crate) handled: u64,
}

impl Handler<Idle> for Hub {
    type Result = ();

    fn handle(&mut self, Idle { endpoint, handled }: Idle, _: &mut Self::Context) {
        let now = self.shared.clock.now();
        if let Some(stub) = self.endpoints.get_mut(&endpoint) {
            stub.idle = Some((now, handled));
        }
    }
}

/// The actor of an endpoint died of a panic.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Died(pub(crate) EndpointId);

impl Handler<Died> for Hub {
    type Result = ();

    fn handle(&mut self, Died(endpoint): Died, ctx: &mut Self::Context) {
        let now = self.shared.clock.now();
        let pause = self.deaths.died(now, endpoint);
        let after = tracing::field::debug(pause);
        tracing::error!(%endpoint, after, "the actor of an endpoint has died; it starts again from the rows");
        self.endpoints.remove(&endpoint);
        self.revivals.set(now + pause, endpoint);
        self.arm_timer(ctx);
    }
}

impl Hub {
    /// Who has asked, unless it has died or been forgotten since.
    fn asker(&mut self, Asker { endpoint, actor }: Asker) -> Option<&mut Stub> {
        if self.shared.is_dead(endpoint) {
            return None;
        }
        self.endpoints.get_mut(&endpoint).filter(|stub| stub.number == actor)
    }

    /// Lets an endpoint live again, unless something that its dead actor had reported is not durable yet.
    pub(super) fn revive(&mut self, endpoint: EndpointId, now: Timestamp) {
        if self.shared.revive(endpoint) {
            self.deaths.revived(now, endpoint);
            self.tell(endpoint, Input::Kicked);
        } else {
            self.revivals.set(now + PAUSE_MIN, endpoint);
        }
    }
}

/// Nothing runs any more of the hub or of a shard, and every result of it is durable.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Settled;

impl Handler<Settled> for Hub {
    type Result = ();

    fn handle(&mut self, Settled: Settled, _: &mut Self::Context) {
        self.tell_released();
        if self.shared.busy() == 0 {
            for waiting in self.drained.drain(..) {
                let _ = waiting.send(());
            }
        }
    }
}
