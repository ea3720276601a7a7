//! One actor for each endpoint that has something to do: the shell around [`EndpointMachine`].
//!
//! It holds only what the rows can rebuild. It is stopped by dropping its last address, which lets it handle what is in
//! its mailbox first; a panic ends it too, and then its hub makes another that starts from the rows, once what the dead
//! one had reported is in them. An attempt that panics fails alone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use angarium_entity::endpoint::Ordering;
use angarium_entity::{DeliveryId, EndpointId, Timestamp};

use super::hub::{Died, Idle};
use super::shared::Shared;
use crate::deliver::deliver_once;
use crate::job::Job;
use crate::machine::breaker::End;
use crate::machine::endpoint::{EndpointMachine, Hold, Input, Output, Rules};
use crate::report::{EndpointHold, Report};
use crate::settings::Settings;
use crate::store::pager::{Ask, Asker};

/// After we failed ourselves, the endpoint is left alone for this long. Mostly we lack files, and not for long.
pub(super) const PAUSE_AFTER_OWN_FAULT: Duration = Duration::from_secs(10);

pub(crate) struct EndpointActor {
    id: EndpointId,
    /// What it calls itself in its questions.
    asker: Asker,
    machine: EndpointMachine,
    settings: Option<Arc<Settings>>,
    /// Questions for the settings without an answer. Only the answer to the last one is good.
    settings_asked: u32,
    /// Under way as far as the machine knows, and kept until the settings know their subscriptions.
    unstarted: Vec<Job>,
    shared: Rc<Shared>,
    /// Messages of the hub that were handled; the hub compares it with what it has sent.
    handled: u64,
    told_idle: bool,
    job_bytes: usize,
    limited_until: Option<Timestamp>,
    /// There for as long as the hub wants this actor to live. What actix says of an end is of no use: to an actor that has
    /// panicked it says the same as to one that was stopped.
    wanted: Weak<()>,
}

/// Something for the machine.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Hear(pub(crate) Input);

/// The settings have changed: use the old ones no more, and read the new ones.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Reload;

/// Break off what runs: nothing of it can become durable any more.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Abort;

/// The settings as they were asked for; none when the endpoint is gone.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Configure(pub(crate) Option<Arc<Settings>>);

impl EndpointActor {
    pub(crate) fn new(asker: Asker, shared: Rc<Shared>, wanted: Weak<()>) -> Self {
        let machine = EndpointMachine::new();
        Self {
            id: asker.endpoint,
            asker,
            machine,
            settings: None,
            settings_asked: 0,
            unstarted: Vec::new(),
            shared,
            handled: 0,
            told_idle: false,
            job_bytes: 0,
            limited_until: None,
            wanted,
        }
    }

    fn step(&mut self, input: Input, ctx: &mut Context<Self>) {
        let now = self.shared.clock.now();
        if matches!(input, Input::Granted) && !self.shared.ownership.may_send() {
            // The machine still waits for this grant, and gets one when the lease holds again.
            self.shared.release_grant(self.id);
            if let Some(settings) = &self.settings {
                self.shared.park(settings.workspace_id, self.id);
            }
            return;
        }
        // What lies in the mailbox from before must not start anything any more.
        let mut inputs = vec![input];
        inputs.extend((!self.may_start()).then_some(Input::Drain));
        while let Some(input) = inputs.pop() {
            for output in self.machine.step(now, self.shared.room(), input) {
                match output {
                    Output::Ask => inputs.extend(self.ask_for_grant().then_some(Input::Granted)),
                    Output::Release => self.shared.release_grant(self.id),
                    Output::Start(job) => self.start(job, ctx),
                    Output::Read { limit } => {
                        let shard = self.shared.shard_of(self.id);
                        let strict =
                            self.settings.as_ref().is_some_and(|settings| settings.rules.ordering == Ordering::Strict);
                        self.shared.ask(Ask::Page { asker: self.asker, shard, limit, strict });
                    }
                    Output::WakeAt(at) => self.shared.wake_at(self.id, at),
                }
            }
        }
        self.after_step(now);
    }

    /// Not while the node drains, nor while its shard is being given away.
    fn may_start(&self) -> bool {
        !self.shared.draining.get() && self.shared.ownership.holds(self.id)
    }

    fn ask_for_settings(&mut self) {
        self.settings_asked += 1;
        self.shared.ask(Ask::Settings(self.asker));
    }

    fn ask_for_grant(&self) -> bool {
        // The machine asks only once it has its rules, which come with the settings.
        self.settings.as_ref().is_some_and(|settings| self.shared.ask_for_grant(settings.workspace_id, self.id))
    }

    #[expect(clippy::disallowed_methods, reason = "at most one message for each time that it falls idle")]
    fn after_step(&mut self, now: Timestamp) {
        let job_bytes = self.machine.waiting_bytes();
        self.shared.keeps(self.job_bytes, job_bytes);
        self.job_bytes = job_bytes;
        let limited_until = self.machine.limited_until(now);
        if limited_until != self.limited_until {
            self.limited_until = limited_until;
            self.shared.limits(self.id, limited_until);
        }
        // The settings may tell of something to do.
        let idle = self.settings_asked == 0 && self.machine.is_idle(now);
        if idle && !self.told_idle {
            self.machine.rest(now);
            self.shared.hub.do_send(Idle { endpoint: self.id, handled: self.handled });
        }
        self.told_idle = idle;
    }

    fn start(&mut self, job: Job, ctx: &mut Context<Self>) {
        let Some(settings) = self.settings.clone() else { return };
        // Its shard stays here from now on, until the result is durable.
        self.shared.started(self.id, job.delivery_id);
        if settings.subscription(job.subscription_id).is_none() {
            // It was published between the commit that made its subscription and the word of it.
            self.unstarted.push(job);
            self.ask_for_settings();
            return;
        }
        self.send(settings, job, ctx);
    }

    fn send(&mut self, settings: Arc<Settings>, job: Job, ctx: &mut Context<Self>) {
        let shared = self.shared.clone();
        let delivery = job.delivery_id;
        let node = shared.node();
        let attempt = async move {
            let (transport, tracer) = (&shared.transport, &shared.tracer);
            let mut report =
                deliver_once(transport, shared.clock.as_ref(), &shared.sealer, tracer, &settings, job).await;
            if let Some(report) = &mut report {
                report.node = node;
            }
            report
        };
        ctx.spawn(attempt.into_actor(self).map(move |report, actor, ctx| {
            actor.shared.ended(delivery);
            match report {
                Some(report) => actor.finished(report, ctx),
                None => actor.failed_ourselves(delivery, ctx),
            }
        }));
    }

    fn finished(&mut self, mut report: Report, ctx: &mut Context<Self>) {
        let delivery = report.job.delivery_id;
        // The rules of now, not those that the request was made by: somebody may have resumed it meanwhile.
        // What was never sent says nothing about the receiver.
        if report.is_sent
            && let Some(patience) = self.settings.as_ref().map(|settings| settings.rules.patience)
        {
            let (is_probe, is_test) = (report.job.is_probe, report.job.event.test);
            let end = End { delivery, ended: report.ended, is_probe, is_test };
            let judged =
                catch_unwind(AssertUnwindSafe(|| self.machine.judge(report.attempt.completed_at, end, patience)));
            let Ok(verdict) = judged else {
                tracing::error!(%delivery, endpoint = %self.id, "the end of an attempt could not be judged");
                return self.failed_ourselves(delivery, ctx);
            };
            report.verdict = verdict;
        }
        // A pause that the owner wished for goes before.
        if let Some(since) = report.verdict.failing_since
            && !matches!(report.hold, Some(EndpointHold::Paused(_)))
        {
            report.hold = Some(EndpointHold::Suspended(format!(
                "Every attempt since {since} has failed. It is tried again every hour, and goes on by itself when an \
                 attempt succeeds; or mend it and resume it."
            )));
        }
        let hold = report.hold.as_ref().map(|hold| match hold {
            EndpointHold::Until(at) => Hold::Until(*at),
            EndpointHold::Suspended(_) | EndpointHold::Paused(_) => Hold::Paused,
        });
        self.shared.report(report);
        self.step(Input::Finished { delivery, hold }, ctx);
    }

    /// With STRICT, what a node that has died had sent may still be under way: it has ended after the timeout.
    fn rules_after_takeover(&self, settings: &Settings) -> Rules {
        let mut rules = settings.rules;
        if rules.ordering == Ordering::Strict
            && let Some(taken_at) = self.shared.ownership.taken_at(self.id)
            && taken_at + settings.timeout > self.shared.clock.now()
        {
            rules.hold = rules.hold.stricter(Hold::Until(taken_at + settings.timeout));
        }
        rules
    }

    /// Gives back every grant, for attempts whose end nobody will hear of.
    fn give_back(&self) {
        for delivery in self.machine.in_flight_ids() {
            self.shared.ended(delivery);
        }
        for _ in 0..self.machine.unsettled() {
            self.shared.settled(self.id);
        }
    }

    fn failed_ourselves(&mut self, delivery: DeliveryId, ctx: &mut Context<Self>) {
        let until = self.shared.clock.now() + PAUSE_AFTER_OWN_FAULT;
        self.step(Input::Finished { delivery, hold: Some(Hold::Until(until)) }, ctx);
        self.shared.settled(self.id);
        self.step(Input::Recorded { delivery, is_final: false }, ctx);
    }
}

impl Actor for EndpointActor {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        self.ask_for_settings();
    }
}

impl Handler<Hear> for EndpointActor {
    type Result = ();

    fn handle(&mut self, Hear(input): Hear, ctx: &mut Self::Context) {
        self.handled += 1;
        self.told_idle = false;
        if let Input::Recorded { delivery, .. } = &input
            && self.machine.is_unrecorded(*delivery)
        {
            self.shared.settled(self.id);
        }
        self.step(input, ctx);
    }
}

impl Handler<Reload> for EndpointActor {
    type Result = ();

    fn handle(&mut self, Reload: Reload, ctx: &mut Self::Context) {
        self.handled += 1;
        self.told_idle = false;
        self.ask_for_settings();
        self.step(Input::Unconfigured, ctx);
    }
}

impl Handler<Abort> for EndpointActor {
    type Result = ();

    fn handle(&mut self, Abort: Abort, ctx: &mut Self::Context) {
        self.give_back();
        self.machine = EndpointMachine::new();
        ctx.terminate();
    }
}

impl Handler<Configure> for EndpointActor {
    type Result = ();

    fn handle(&mut self, Configure(settings): Configure, ctx: &mut Self::Context) {
        self.handled += 1;
        self.told_idle = false;
        self.settings_asked = self.settings_asked.saturating_sub(1);
        if self.settings_asked > 0 {
            return;
        }
        if let Some(settings) = &settings {
            self.machine.learn(settings.health);
            let tally = self.shared.tallies.borrow_mut().take(self.shared.clock.now(), self.id);
            if let Some(tally) = tally {
                self.machine.go_on_counting(tally);
            }
        }
        let rules = settings.as_ref().map(|settings| self.rules_after_takeover(settings));
        self.shared
            .goes_by(self.id, settings.as_ref().map(|settings| (settings.workspace_id, settings.config_version)));
        let input = rules.map_or(Input::Gone, Input::Configured);
        self.settings = settings;
        let unstarted = std::mem::take(&mut self.unstarted);
        self.step(input, ctx);
        for job in unstarted {
            let may_send = self.may_start() && self.shared.ownership.may_send();
            if let Some(settings) = self.settings.clone().filter(|_| may_send) {
                // Should the subscription still be unknown, that is our own fault, and nothing is sent.
                self.send(settings, job, ctx);
            } else {
                self.shared.ended(job.delivery_id);
                self.failed_ourselves(job.delivery_id, ctx);
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "once, when the actor has died of a panic")]
impl Drop for EndpointActor {
    fn drop(&mut self) {
        self.shared.keeps(self.job_bytes, 0);
        self.shared.goes_by(self.id, None);
        if self.limited_until.is_some() {
            self.shared.limits(self.id, None);
        }
        if self.shared.stopping.get() {
            return;
        }
        if self.wanted.strong_count() == 0 {
            // It was told to end, and mostly has nothing any more.
            self.give_back();
            if let Some(tally) = self.machine.tally().filter(|_| self.shared.ownership.holds(self.id)) {
                self.shared.tallies.borrow_mut().keep(self.shared.clock.now(), self.id, tally);
            }
            return;
        }
        self.shared.died(self.id, self.machine.unsettled_ids());
        self.shared.hub.do_send(Died(self.id));
    }
}
