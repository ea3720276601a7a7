//! One hub for each arbiter: the endpoints that hash to it, its wheel, and what its endpoints share.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use actix::prelude::*;
use angarium_entity::{DeliveryId, EndpointId, Timestamp};
use serde::Serialize;
use tokio::sync::oneshot;

use super::endpoint::{self, Configure, EndpointActor, Hear};
use super::shared::{Setup, Shared};
use crate::machine::deaths::Deaths;
use crate::machine::endpoint::Input;
use crate::machine::wheel::Wheel;
use crate::schedule::AHEAD;
use crate::store::pager::Asker;

mod facts;
mod hints;
mod moves;
mod questions;
mod rest;
#[cfg(test)]
mod tests;

pub(crate) use facts::{Died, Granted, Idle, PageRead, ResultsRecorded, SettingsRead, Settled};
pub(crate) use hints::{Changed, Deliver, Express, ExpressFound, ExpressRead, Kick, Reload, Remind, Wake};
pub(crate) use moves::{AwakeWorkspaces, BusyShards, CheckVersions, Forget, Keep, MaySendAgain, Release, Revoke};
pub(crate) use questions::{AreInFlight, Drain, LimitedUntil, Observe, Stop};

pub(crate) struct Hub {
    shared: Rc<Shared>,
    queued: Arc<AtomicUsize>,
    endpoints: HashMap<EndpointId, Stub>,
    /// Actors of endpoints that it has made.
    made: u64,
    /// So many awake endpoints are too many, see [`rest`]; and how many always may be.
    crowd: usize,
    awake_max: usize,
    wheel: Wheel,
    /// Endpoints that want to look again, such as at the end of a hold. It may last for a day, in which each may be
    /// forgotten and woken any number of times.
    wakes: Wheel,
    /// Endpoints whose actors have died, by when they may have another; and how often they have died lately.
    revivals: Wheel,
    deaths: Deaths,
    timer: Option<(Timestamp, SpawnHandle)>,
    drained: Vec<oneshot::Sender<()>>,
    /// Reads of what skips the line that are under way, and what was recorded since they began: they may still show that
    /// as open.
    express_reads: usize,
    settled_since: HashSet<DeliveryId>,
    /// Shards that are being given away, and who waits for them to be quiet.
    releasing: Vec<(Arc<[i32]>, oneshot::Sender<()>)>,
}

/// An endpoint that is awake. The hub is the only holder of its address, so dropping it lets the actor end.
struct Stub {
    addr: Addr<EndpointActor>,
    /// The so-manieth that its hub has made.
    number: u64,
    /// An actor that ends while this is there has died.
    _wanted: Rc<()>,
    sent: u64,
    /// When it was idle, and how many messages it had handled by then.
    idle: Option<(Timestamp, u64)>,
}

/// What a hub is doing, for operators and tests.
#[derive(Clone, Debug, Default, Serialize)]
pub struct HubReport {
    /// Endpoints that are awake.
    pub endpoints: usize,
    /// Requests running.
    pub in_flight: usize,
    /// Requests running, and results that are not durable yet.
    pub busy: usize,
    /// Endpoints that are going to be reminded.
    pub wheel: usize,
    /// Endpoints that are going to look again, such as at the end of a hold.
    pub wakes: usize,
    /// Bytes of jobs in memory, roughly.
    pub job_bytes: usize,
}

impl Hub {
    /// Call it on the thread of the arbiter.
    pub(crate) fn new(ctx: &mut Context<Self>, setup: &Setup, queued: Arc<AtomicUsize>, mailbox: usize) -> Self {
        ctx.set_mailbox_capacity(mailbox);
        let shared = Shared::new(ctx.address(), setup);
        Self {
            shared,
            queued,
            endpoints: HashMap::new(),
            made: 0,
            crowd: setup.awake_max,
            awake_max: setup.awake_max,
            wheel: Wheel::default(),
            wakes: Wheel::default(),
            revivals: Wheel::default(),
            deaths: Deaths::default(),
            timer: None,
            drained: Vec::new(),
            express_reads: 0,
            settled_since: HashSet::new(),
            releasing: Vec::new(),
        }
    }

    /// Tells an endpoint, waking it if need be and if it is this node's. What is another's is in its rows, and so is what
    /// comes for one whose actor has died.
    fn tell(&mut self, endpoint: EndpointId, input: Input) {
        if self.shared.is_dead(endpoint) {
            return;
        }
        let may_wake = !self.shared.draining.get() && self.shared.ownership.holds(endpoint);
        if !may_wake && !self.endpoints.contains_key(&endpoint) {
            return;
        }
        if !self.endpoints.contains_key(&endpoint) {
            self.make_room();
        }
        let shared = &self.shared;
        let stub = self.endpoints.entry(endpoint).or_insert_with(|| {
            self.made += 1;
            let (asker, wanted) = (Asker { endpoint, actor: self.made }, Rc::new(()));
            let addr = EndpointActor::new(asker, shared.clone(), Rc::downgrade(&wanted)).start();
            Stub { addr, number: self.made, _wanted: wanted, sent: 0, idle: None }
        });
        stub.send(Hear(input));
    }

    /// Tells an endpoint only if it is awake. Answers whether it was.
    fn tell_awake(&mut self, endpoint: EndpointId, input: Input) -> bool {
        if self.shared.is_dead(endpoint) {
            return false;
        }
        let Some(stub) = self.endpoints.get_mut(&endpoint) else { return false };
        stub.send(Hear(input));
        true
    }

    /// With a schedule in Redis, what is further away than [`AHEAD`] comes from there when it is near.
    fn remind_soon(&mut self, at: Timestamp, endpoint: EndpointId) {
        if !self.shared.has_schedule || at <= self.shared.clock.now() + AHEAD {
            self.wheel.set(at, endpoint);
        }
    }

    /// Wakes the hub when the next endpoint is due.
    fn arm_timer(&mut self, ctx: &mut Context<Self>) {
        let wheels = [&self.wheel, &self.wakes, &self.revivals];
        let Some(next) = wheels.into_iter().filter_map(Wheel::next_at).min() else { return };
        if self.timer.as_ref().is_some_and(|(at, _)| *at <= next) {
            return;
        }
        if let Some((_, timer)) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        let sleep = self.shared.clock.sleep_until(next);
        let timer = ctx.spawn(sleep.into_actor(self).map(|(), hub, ctx| hub.fire(ctx)));
        self.timer = Some((next, timer));
    }

    fn fire(&mut self, ctx: &mut Context<Self>) {
        self.timer = None;
        let now = self.shared.clock.now();
        for endpoint in self.wheel.take_due(now) {
            self.tell(endpoint, Input::Kicked);
        }
        // Who wished for a later time as well says so again when it has looked.
        for endpoint in self.wakes.take_due(now) {
            self.tell(endpoint, Input::Tick);
        }
        for endpoint in self.revivals.take_due(now) {
            self.revive(endpoint, now);
        }
        self.arm_timer(ctx);
    }
}

#[expect(clippy::disallowed_methods, reason = "the hub counts what it sends to its endpoints")]
impl Stub {
    fn send(&mut self, message: Hear) {
        self.sent += 1;
        self.addr.do_send(message);
    }

    fn configure(&mut self, message: Configure) {
        self.sent += 1;
        self.addr.do_send(message);
    }

    fn reload(&mut self) {
        self.sent += 1;
        self.addr.do_send(endpoint::Reload);
    }
}

impl Actor for Hub {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.passivate(ctx);
    }
}

impl Drop for Hub {
    /// A hub that dies of a panic takes its endpoints along, silently. Ending the process is the recovery that is
    /// tested best: everything is rebuilt from the rows.
    fn drop(&mut self) {
        if !self.shared.stopping.get() {
            tracing::error!("a hub has died; ending the process");
            std::process::abort();
        }
    }
}
