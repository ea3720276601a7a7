//! What one endpoint does next.
//!
//! Line    first attempts, in publish order. Rows are the truth: when more wait than fit in memory (`more`), hints are
//!         ignored and the line is read from the rows, always from their front, so that a row which became visible late
//!         is not passed over. What the machine already has, or had while the rows were being read, is left out.
//!         Hints come in publish order, and one that is left out is replaced by a kick.
//!         Hints that come during a read join behind what it brings. A hint for a place that the line has passed may be
//!         one whose delivery is long done, so the rows are asked instead.
//! Due     retries whose time has come. They share the slots with the line; who has been ready longest goes first.
//! Strict  the next starts only when the one before is final and that is durable. A head that waits for its next attempt
//!         holds the endpoint until then, and like every hold leaves the line to the rows. What memory holds behind a
//!         result that did not end its delivery is not used: the rows know who is next.
//! Slots   one request at a time (FIFO, STRICT), or up to `max_in_flight` (NONE), each with a grant of the governor.
//! Rate    a request needs a token when it starts; while there is none, memory waits.
//! Circuit while it is open the endpoint is held; then one request is let through as a probe, alone.
//! Behind  results that were not yet made durable are bounded: beyond [`UNRECORDED_MAX`] nothing new starts.
//! Express what skips the line, and a hold as well: test events. It uses a grant, but none of the slots.
//! Held    while the endpoint is paused, suspended or asked to be left alone, nothing starts and nothing is kept:
//!         the rows are read again when the hold ends.

use std::collections::{HashMap, HashSet, VecDeque};

use angarium_entity::endpoint::Ordering;
use angarium_entity::{DeliveryId, Timestamp, endpoint_health};

use self::backlog::Backlog;
pub(crate) use self::message::{Hold, Input, Output, Rules};
use super::breaker::{Breaker, End, Patience, Tally, Verdict};
use super::rate::Tokens;
use crate::job::Job;

mod backlog;
mod message;

/// Deliveries of the line, and of the due ones, that are kept in memory.
pub(crate) const WINDOW: usize = 256;
/// When fewer than this wait in memory and more in the rows, they are read.
const LOW_WATER: usize = WINDOW / 4;
/// Ended attempts whose results are not durable yet.
pub(crate) const UNRECORDED_MAX: usize = 64;

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own; no two exclude each other")]
#[derive(Debug, Default)]
pub(crate) struct EndpointMachine {
    rules: Option<Rules>,
    waiting: Backlog,
    /// Jobs that skip the line.
    express: VecDeque<Job>,
    in_flight: HashSet<DeliveryId>,
    /// Those of them that skipped the line.
    express_in_flight: HashSet<DeliveryId>,
    /// Ended, and not durable yet, with what their answers asked for. The rules follow when it is durable.
    unrecorded: HashMap<DeliveryId, Option<Hold>>,
    /// Whether the rows may hold what memory does not.
    more: bool,
    /// A read is under way.
    reading: bool,
    /// Something was left to the rows since that read was asked for.
    missed: bool,
    /// Something was changed since: what that read brings is too old.
    stale: bool,
    /// The endpoint does not exist, or cannot be used.
    gone: bool,
    /// The head of a STRICT line waits for its next attempt until then.
    line_hold: Option<Timestamp>,
    tokens: Tokens,
    /// None before the rules are known for the first time.
    breaker: Option<Breaker>,
    /// Recorded since that read was asked for: it may still show them as open.
    settled: HashSet<DeliveryId>,
    /// Arrived since that read was asked for.
    late: Vec<Job>,
    /// The last place of the line that was started.
    passed: i64,
    asked: usize,
    draining: bool,
    woken_at: Option<Timestamp>,
}

impl EndpointMachine {
    /// A machine that reads its line from the rows first: nobody knows what waited there while it did not exist.
    pub(crate) fn new() -> Self {
        Self { more: true, ..Self::default() }
    }

    /// Takes one input at `now` and says what to do. `room` is how many jobs may be kept in memory.
    pub(crate) fn step(&mut self, now: Timestamp, room: usize, input: Input) -> Vec<Output> {
        let mut outputs = Vec::new();
        match input {
            Input::Configured(rules) => {
                self.rules = Some(rules);
                self.gone = false;
                self.line_hold = None;
                // What waits may have been canceled, or its subscription switched off.
                self.waiting.clear();
                self.late.clear();
                self.leave_to_rows();
                self.stale = self.reading;
            }
            Input::Unconfigured => {
                self.rules = None;
                self.leave_to_rows();
            }
            Input::Gone => self.forget(),
            _ if self.gone && !matches!(input, Input::Finished { .. } | Input::Recorded { .. } | Input::Granted) => {}
            Input::Arrived(jobs) => jobs.into_iter().for_each(|job| self.arrive(job, room)),
            Input::Express(job) => {
                if !self.knows(job.delivery_id) {
                    self.express.push_back(job);
                }
            }
            Input::Kicked => self.leave_to_rows(),
            Input::Page { jobs, full } => self.take_page(jobs, full),
            Input::Changed(delivery) => {
                let is_other = |job: &Job| job.delivery_id != delivery;
                self.late.retain(is_other);
                self.express.retain(is_other);
                self.waiting.remove(delivery);
                self.line_hold = None;
                self.leave_to_rows();
                self.stale = self.reading;
            }
            Input::Granted => self.take_grant(now, &mut outputs),
            Input::Finished { delivery, hold } => {
                self.in_flight.remove(&delivery);
                self.express_in_flight.remove(&delivery);
                self.unrecorded.insert(delivery, hold);
            }
            Input::Void(delivery) => {
                if let Some(breaker) = &mut self.breaker {
                    breaker.is_back();
                }
                self.unrecorded.entry(delivery).and_modify(|hold| *hold = None);
            }
            Input::Recorded { delivery, is_final } => {
                let recorded = self.unrecorded.remove(&delivery);
                if self.reading {
                    self.settled.insert(delivery);
                }
                if recorded.is_some() && !is_final && self.is_strict() {
                    // It is the head again, or somebody else's business: what is behind it must not pass.
                    self.waiting.clear();
                    self.late.clear();
                    self.line_hold = None;
                    self.leave_to_rows();
                    self.stale = self.reading;
                }
                if let (Some(asked), Some(rules)) = (recorded.flatten(), self.rules.as_mut()) {
                    // The rows say it now, and so will the next rules.
                    rules.hold = rules.hold.stricter(asked);
                }
            }
            Input::Drain => self.draining = true,
            Input::GoOn => {
                self.draining = false;
                self.leave_to_rows();
            }
            Input::Tick => self.woken_at = None,
        }
        self.look_at_head(now);
        self.go_on(now, room, &mut outputs);
        outputs
    }

    /// Whether it may be forgotten: nothing is left to do that the rows do not know. While the endpoint is held the
    /// rows wait, and memory need not. What skips the line does so whether or not the rules are known yet.
    pub(crate) fn is_idle(&self, now: Timestamp) -> bool {
        let nothing_waits = self.waiting.is_empty() && !self.more;
        let nothing_is_asked = !self.reading && self.asked == 0;
        self.is_settled() && nothing_is_asked && self.express.is_empty() && (nothing_waits || self.is_held(now))
    }

    /// Gives back the memory of what has gone through it. An emptied map keeps room for what was in it, some KiB in all,
    /// and a node has many endpoints that are idle.
    pub(crate) fn rest(&mut self, now: Timestamp) {
        if self.waiting.is_empty() {
            self.waiting.clear();
        }
        self.in_flight.shrink_to_fit();
        self.express_in_flight.shrink_to_fit();
        self.unrecorded.shrink_to_fit();
        self.settled.shrink_to_fit();
        self.express.shrink_to_fit();
        self.late.shrink_to_fit();
        self.tokens.rest(now);
    }

    /// Held by its rules, or by what an answer asked for and the rows do not say yet: rules that were read before the
    /// answer was durable must not end its hold.
    fn is_held(&self, now: Timestamp) -> bool {
        self.holds().any(|hold| match hold {
            Hold::No => false,
            Hold::Until(at) => now < at,
            Hold::Paused => true,
        })
    }

    fn holds(&self) -> impl Iterator<Item = Hold> {
        let asked = self.unrecorded.values().copied().flatten();
        let line = self.line_hold.map(Hold::Until);
        let circuit = self.breaker.as_ref().and_then(Breaker::probe_at).map(Hold::Until);
        self.rules.map(|rules| rules.hold).into_iter().chain(asked).chain(line).chain(circuit)
    }

    fn is_strict(&self) -> bool {
        self.rules.is_some_and(|rules| rules.ordering == Ordering::Strict)
    }

    /// With STRICT, a head that was tried before and is not due yet holds everything behind it.
    fn look_at_head(&mut self, now: Timestamp) {
        if self.line_hold.is_some_and(|until| until <= now) {
            self.line_hold = None;
        }
        if let Some(until) = self.waiting.stands_until(now) {
            self.line_hold = Some(until);
        }
    }

    fn is_settled(&self) -> bool {
        self.in_flight.is_empty() && self.unrecorded.is_empty()
    }

    /// What the rows say of the health of the endpoint. Tell it before the rules.
    pub(crate) fn learn(&mut self, health: endpoint_health::Model) {
        match &mut self.breaker {
            Some(breaker) => breaker.learn(health),
            None => self.breaker = Some(Breaker::new(health)),
        }
    }

    /// What its breaker has counted and no row says.
    pub(crate) fn tally(&self) -> Option<Tally> {
        self.breaker.as_ref().and_then(Breaker::tally)
    }

    /// What the breaker of a machine before this one had counted. Tell it after the health.
    pub(crate) fn go_on_counting(&mut self, tally: Tally) {
        if let Some(breaker) = &mut self.breaker {
            breaker.go_on(tally);
        }
    }

    /// What the end of an attempt means for the endpoint. Ask before [`Input::Finished`].
    pub(crate) fn judge(&mut self, now: Timestamp, end: End, patience: Patience) -> Verdict {
        self.breaker.as_mut().map(|breaker| breaker.judge(now, end, patience)).unwrap_or_default()
    }

    fn is_half_open(&self, now: Timestamp) -> bool {
        self.breaker.as_ref().is_some_and(|breaker| breaker.is_half_open(now))
    }

    /// Whether an attempt of it has ended whose result is not durable yet.
    pub(crate) fn is_unrecorded(&self, delivery: DeliveryId) -> bool {
        self.unrecorded.contains_key(&delivery)
    }

    pub(crate) fn in_flight_ids(&self) -> impl Iterator<Item = DeliveryId> + '_ {
        self.in_flight.iter().copied()
    }

    /// Those that run, and those that have ended and are not durable yet.
    pub(crate) fn unsettled_ids(&self) -> impl Iterator<Item = DeliveryId> + '_ {
        self.in_flight.iter().chain(self.unrecorded.keys()).copied()
    }

    /// Grants that are in use.
    pub(crate) fn unsettled(&self) -> usize {
        self.in_flight.len() + self.unrecorded.len()
    }

    /// Bytes of the jobs in memory, roughly.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting.bytes()
    }

    /// Until when nothing starts because of the rate limit, though something waits.
    pub(crate) fn limited_until(&mut self, now: Timestamp) -> Option<Timestamp> {
        let limit = self.rules?.rate_limit?;
        (!self.waiting.is_empty() && self.tokens.free(now, limit) == 0).then(|| self.tokens.next_at())?
    }

    fn knows(&self, id: DeliveryId) -> bool {
        self.waiting.contains(id)
            || self.in_flight.contains(&id)
            || self.unrecorded.contains_key(&id)
            || self.express.iter().any(|job| job.delivery_id == id)
    }

    fn forget(&mut self) {
        self.waiting.clear();
        self.late.clear();
        self.express.clear();
        self.line_hold = None;
        self.rules = None;
        self.more = false;
        self.gone = true;
    }

    fn leave_to_rows(&mut self) {
        self.more = true;
        self.missed = true;
    }

    fn arrive(&mut self, job: Job, room: usize) {
        if self.knows(job.delivery_id) {
            return;
        }
        if self.reading && self.late.len() < room {
            self.late.push(job);
        } else if self.more || self.waiting.in_line() >= room || job.seq <= self.passed {
            self.leave_to_rows();
        } else {
            self.keep(job);
        }
    }

    fn keep(&mut self, job: Job) {
        if let Some(rules) = self.rules
            && !self.knows(job.delivery_id)
        {
            self.waiting.keep(job, rules.ordering);
        }
    }

    fn take_page(&mut self, jobs: Vec<Job>, full: bool) {
        self.reading = false;
        let settled = std::mem::take(&mut self.settled);
        // A page from before a change is not kept; another is read.
        let jobs = if std::mem::take(&mut self.stale) { Vec::new() } else { jobs };
        for job in jobs {
            if !settled.contains(&job.delivery_id) {
                self.keep(job);
            }
        }
        self.more = full || self.missed;
        for job in std::mem::take(&mut self.late) {
            if !settled.contains(&job.delivery_id) {
                self.arrive(job, WINDOW);
            }
        }
    }

    fn take_grant(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        // More may come than were asked for: those of a predecessor that has died.
        self.asked = self.asked.saturating_sub(1);
        let is_stopped = self.draining || self.rules.is_none();
        let express = if is_stopped { None } else { self.express.pop_front() };
        let job = match express {
            Some(job) => {
                self.express_in_flight.insert(job.delivery_id);
                Some(job)
            }
            None if self.may_start(now) > 0 => self.pop(),
            None => None,
        };
        match job {
            Some(mut job) => {
                job.is_probe = self.is_half_open(now) && !self.express_in_flight.contains(&job.delivery_id);
                self.tokens.take(now);
                self.in_flight.insert(job.delivery_id);
                outputs.push(Output::Start(job));
            }
            None => outputs.push(Output::Release),
        }
    }

    /// How many more of the line and the due may start now.
    fn free_slots(&self, now: Timestamp) -> usize {
        let Some(rules) = self.rules else { return 0 };
        if self.draining || self.is_held(now) || self.unrecorded.len() >= UNRECORDED_MAX {
            return 0;
        }
        if rules.ordering == Ordering::Strict && !self.unrecorded.is_empty() {
            return 0;
        }
        let is_alone = rules.ordering != Ordering::None || self.is_half_open(now);
        let slots = if is_alone { 1 } else { rules.max_in_flight };
        slots.saturating_sub(self.in_flight.len() - self.express_in_flight.len())
    }

    /// How many of what waits may start now: for each a slot, and a token of the rate limit.
    fn may_start(&mut self, now: Timestamp) -> usize {
        let wanted = self.free_slots(now).min(self.waiting.len());
        match self.rules.and_then(|rules| rules.rate_limit) {
            Some(limit) if wanted > 0 => wanted.min(self.tokens.free(now, limit)),
            _ => wanted,
        }
    }

    fn pop(&mut self) -> Option<Job> {
        let job = self.waiting.pop()?;
        if !job.timed {
            self.passed = self.passed.max(job.seq);
        }
        Some(job)
    }

    fn go_on(&mut self, now: Timestamp, room: usize, outputs: &mut Vec<Output>) {
        if self.rules.is_none() || self.draining {
            return;
        }
        let held = self.is_held(now);
        if held {
            // The rows keep what waits; when the hold ends they are read in order.
            self.waiting.clear();
            self.leave_to_rows();
            let end = |hold| if let Hold::Until(at) = hold { Some(at) } else { None };
            let last = self.holds().filter_map(end).filter(|at| *at > now).max();
            self.wake_at(last, outputs);
        }
        let may_start = self.may_start(now);
        if may_start == 0 && self.free_slots(now) > 0 {
            let limited = self.limited_until(now);
            self.wake_at(limited, outputs);
        }
        let wanted = self.express.len() + may_start;
        for _ in self.asked..wanted {
            self.asked += 1;
            outputs.push(Output::Ask);
        }
        if !held && self.more && !self.reading && self.waiting.len() < LOW_WATER.min(room.max(1)) {
            self.reading = true;
            self.missed = false;
            let known = self.waiting.len() + self.in_flight.len() + self.unrecorded.len();
            outputs.push(Output::Read { limit: room.clamp(1, WINDOW) + known });
        }
    }

    fn wake_at(&mut self, at: Option<Timestamp>, outputs: &mut Vec<Output>) {
        if let Some(at) = at
            && self.woken_at != Some(at)
        {
            self.woken_at = Some(at);
            outputs.push(Output::WakeAt(at));
        }
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod simulation;
#[cfg(test)]
pub(crate) mod tests;
