//! The circuit breaker of one endpoint, and how long the server is patient with it.
//!
//! Opens   when [`OPENS_AFTER`] different deliveries have failed one after the other, with no success in between. It is
//!         the deliveries that are counted and not their attempts: a single one that fails is retried as its own policy
//!         says, however short its delays; but when several fail, the endpoint is what fails, and the backlog must not
//!         burn its attempts, nor hold requests of others, to find that out again and again. Five is where one bad
//!         payload, or a few, is no longer the likely reason.
//! Counts  every failure except an answer that says itself when to come back (`Retry-After` holds the endpoint) and 410
//!         (which suspends it). A test that fails counts as an attempt, but never opens the circuit. An answer without
//!         the echo of a challenge is none: it is a subscription that is not confirmed, and the endpoint is there.
//! Waits   30 s, then twice as long after each probe that failed, up to 10 minutes. Then whatever is due first goes out
//!         as a probe, alone. It is an attempt of its delivery, but uses up nothing of its policy, no more than what waits
//!         meanwhile does: the delivery then waits for the same step again, so that the next probe is of another one. One
//!         success, of a probe, a test or of what was still running, closes the circuit.
//! Patience  an endpoint that has failed for longer than its workspace allows, without one success, is suspended. Then it
//!         is probed every hour; a success ends the suspension.
//! Gone    an endpoint that answered 410 is not probed: it said enough. Whatever else ends afterwards opens no circuit, until
//!         a person starts it afresh. In the rows it is one that is suspended and has no time for a probe.

use std::time::Duration;

use angarium_entity::endpoint_health::{self, Circuit, NOTED_EVERY};
use angarium_entity::{DeliveryId, Timestamp};

/// So many different deliveries in a row open the circuit.
pub(crate) const OPENS_AFTER: usize = 5;
/// First and longest wait before a probe.
const WAIT_MIN: Duration = Duration::from_secs(30);
const WAIT_MAX: Duration = Duration::from_mins(10);
/// Wait before a probe of an endpoint that is suspended.
const WAIT_SUSPENDED: Duration = Duration::from_hours(1);

/// How an attempt ended, as far as its endpoint is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// 2xx.
    Succeeded,
    /// Any other way.
    Failed,
    /// The receiver asked to be left alone for a while.
    Asked,
    /// 410.
    Gone,
}

/// An attempt that ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) delivery: DeliveryId,
    pub(crate) ended: Ended,
    /// The breaker let it through to ask whether the endpoint is back.
    pub(crate) is_probe: bool,
    pub(crate) is_test: bool,
}

/// What the rules say of the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// How long it may fail without one success.
    pub(crate) suspend_after: Duration,
    /// It was longer, and the endpoint is suspended.
    pub(crate) suspended: bool,
    /// It is suspended because it answered 410.
    pub(crate) gone: bool,
}

/// What the end of an attempt means for its endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// To be written, if it is worth that.
    pub(crate) health: Option<endpoint_health::Model>,
    /// Whether people see a difference: another summary, or the circuit.
    pub(crate) is_news: bool,
    /// It has failed since then, which is so long that it is to be suspended.
    pub(crate) failing_since: Option<Timestamp>,
    /// It was suspended, and is back.
    pub(crate) recovered: bool,
}

/// What a breaker has counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Since a person started it afresh for the so-manieth time.
    generation: i32,
    /// Different deliveries that failed since the last success: at most [`OPENS_AFTER`].
    failed: Vec<DeliveryId>,
}

/// The breaker.
#[derive(Clone, Debug)]
pub(crate) struct Breaker {
    health: endpoint_health::Model,
    /// As it was last written, or is being written.
    noted: endpoint_health::Model,
    /// Different deliveries that failed since the last success.
    failed: Vec<DeliveryId>,
    /// It has answered 410: the rules say so once that is durable.
    gone: bool,
}

impl Breaker {
    /// Goes on from what the row says.
    pub(crate) fn new(health: endpoint_health::Model) -> Self {
        Self { health, noted: health, failed: Vec::new(), gone: false }
    }

    /// What it has counted and no row says, for whoever goes on from the row.
    pub(crate) fn tally(&self) -> Option<Tally> {
        let (generation, failed) = (self.health.generation, self.failed.clone());
        (!failed.is_empty()).then_some(Tally { generation, failed })
    }

    /// Goes on counting, unless the row says that this was started afresh, or has succeeded, since.
    pub(crate) fn go_on(&mut self, tally: Tally) {
        let failures = usize::try_from(self.health.consecutive_failures).unwrap_or(0);
        let is_of_now = tally.generation == self.health.generation && tally.failed.len() <= failures;
        if is_of_now && self.failed.is_empty() {
            self.failed = tally.failed;
        }
    }

    /// The row was read again. Only what a person did to it is news: all else was written from here.
    pub(crate) fn learn(&mut self, row: endpoint_health::Model) {
        if row.generation > self.health.generation {
            *self = Self::new(row);
        }
    }

    /// When the next probe may start; none while the circuit is closed.
    pub(crate) fn probe_at(&self) -> Option<Timestamp> {
        self.health.probe_at
    }

    /// Whether one attempt is let through, and only one.
    pub(crate) fn is_half_open(&self, now: Timestamp) -> bool {
        self.health.circuit(now) == Circuit::HalfOpen
    }

    /// Judges the end of an attempt at `now`.
    pub(crate) fn judge(&mut self, now: Timestamp, end: End, patience: Patience) -> Verdict {
        let before = self.health;
        let mut verdict = Verdict::default();
        if end.ended == Ended::Succeeded {
            verdict.recovered = patience.suspended && !self.is_gone(patience);
            self.failed.clear();
            self.health.succeed(now);
        } else {
            self.health.fail(now);
            self.open(now, end, patience);
            let is_too_long = !self.is_gone(patience) && self.health.failing_for(now) >= patience.suspend_after;
            if is_too_long && !patience.suspended && !end.is_test {
                self.health.probe_at = Some(now + WAIT_SUSPENDED);
                verdict.failing_since = self.health.failing_since;
            }
        }
        let circuit = |health: &endpoint_health::Model| (health.status, health.probe_at);
        verdict.is_news = circuit(&before) != circuit(&self.health);
        verdict.health = self.is_worth_noting().then_some(self.health);
        if verdict.health.is_some() {
            self.noted = self.health;
        }
        verdict
    }

    /// The 410 counted for nothing: its delivery was deleted before it was durable.
    pub(crate) fn is_back(&mut self) {
        self.gone = false;
    }

    fn is_gone(&self, patience: Patience) -> bool {
        self.gone || patience.gone
    }

    fn open(&mut self, now: Timestamp, end: End, patience: Patience) {
        self.gone |= end.ended == Ended::Gone;
        if self.is_gone(patience) {
            self.failed.clear();
            (self.health.opened, self.health.probe_at) = (0, None);
        } else if end.is_probe && self.health.probe_at.is_some() {
            self.open_for(if patience.suspended { WAIT_SUSPENDED } else { self.next_wait() }, now);
        } else if end.ended == Ended::Failed && !end.is_test && !self.failed.contains(&end.delivery) {
            if self.failed.len() < OPENS_AFTER {
                self.failed.push(end.delivery);
            }
            if self.failed.len() >= OPENS_AFTER && self.health.probe_at.is_none() {
                self.open_for(self.next_wait(), now);
            }
        }
    }

    fn open_for(&mut self, wait: Duration, now: Timestamp) {
        self.health.opened = self.health.opened.saturating_add(1);
        self.health.probe_at = Some(now + wait);
    }

    fn next_wait(&self) -> Duration {
        let times = u32::try_from(self.health.opened).unwrap_or(0).min(16);
        (WAIT_MIN * 2_u32.pow(times)).min(WAIT_MAX)
    }

    /// Whether anything but the time of the last success is new, or that is old.
    fn is_worth_noting(&self) -> bool {
        let (noted, health) = (self.noted, self.health);
        let timeless =
            |health| endpoint_health::Model { last_success_at: None, updated_at: Timestamp::default(), ..health };
        let since = |at: Option<Timestamp>| at.unwrap_or_default();
        timeless(noted) != timeless(health)
            || since(health.last_success_at).since(since(noted.last_success_at)) >= NOTED_EVERY
    }
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use angarium_entity::{EndpointId, WorkspaceId};

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);
    const S: fn(u64) -> Duration = Duration::from_secs;
    const PATIENCE: Patience = Patience { suspend_after: Duration::from_hours(120), suspended: false, gone: false };

    fn breaker() -> Breaker {
        Breaker::new(endpoint_health::Model::unknown(EndpointId::new(NOW), WorkspaceId::new(NOW)))
    }

    fn end(ended: Ended) -> End {
        End { delivery: DeliveryId::new(NOW), ended, is_probe: false, is_test: false }
    }

    fn opened(breaker: &mut Breaker, now: Timestamp) {
        for _ in 0..OPENS_AFTER {
            assert_eq!(breaker.probe_at(), None);
            breaker.judge(now, end(Ended::Failed), PATIENCE);
        }
    }

    #[test]
    fn five_different_deliveries_in_a_row_open_it_and_the_waits_grow_to_ten_minutes() {
        let (mut breaker, mut now) = (breaker(), NOW);
        opened(&mut breaker, now);
        for wait in [30, 60, 120, 240, 480, 600, 600] {
            assert_eq!(breaker.probe_at(), Some(now + S(wait)));
            assert!(!breaker.is_half_open(now + S(wait - 1)));
            now = now + S(wait);
            assert!(breaker.is_half_open(now));
            let running = breaker.clone().judge(now, end(Ended::Failed), PATIENCE);
            assert!(!running.is_news, "what was still running does not lengthen the wait");
            breaker.judge(now, End { is_probe: true, ..end(Ended::Failed) }, PATIENCE);
        }
        let closed = breaker.judge(now, End { is_probe: true, ..end(Ended::Succeeded) }, PATIENCE);
        assert!(closed.is_news && !closed.recovered && breaker.probe_at().is_none());
        opened(&mut breaker, now);
        assert_eq!(breaker.probe_at(), Some(now + S(30)), "a success starts the waits afresh");
    }

    #[test]
    fn what_was_counted_counts_for_who_goes_on_from_the_row_unless_the_row_knows_better() {
        let mut former = breaker();
        assert_eq!(former.tally(), None);
        for _ in 1..OPENS_AFTER {
            former.judge(NOW, end(Ended::Failed), PATIENCE);
        }
        let (row, tally) = (former.health, former.tally().expect("it has counted"));
        let fails_once_more = |row| {
            let mut next = Breaker::new(row);
            next.go_on(tally.clone());
            next.judge(NOW, end(Ended::Failed), PATIENCE);
            next.probe_at()
        };
        assert_eq!(fails_once_more(row), Some(NOW + WAIT_MIN));
        assert_eq!(fails_once_more(endpoint_health::Model { generation: 1, ..row }), None, "it was started afresh");
        assert_eq!(
            fails_once_more(endpoint_health::Model { consecutive_failures: 1, ..row }),
            None,
            "it has succeeded"
        );
        former.judge(NOW, end(Ended::Succeeded), PATIENCE);
        assert_eq!(former.tally(), None);
    }

    #[test]
    fn one_delivery_that_fails_again_and_again_never_opens_it() {
        let mut breaker = breaker();
        let stubborn = end(Ended::Failed);
        for _ in 0..50 {
            breaker.judge(NOW, stubborn, PATIENCE);
        }
        assert_eq!((breaker.probe_at(), breaker.health.consecutive_failures), (None, 50));
    }

    #[test]
    fn a_success_in_between_and_answers_that_ask_for_time_do_not_count() {
        let mut breaker = breaker();
        for ended in [Ended::Failed, Ended::Asked, Ended::Failed, Ended::Succeeded].repeat(10) {
            breaker.judge(NOW, end(ended), PATIENCE);
            breaker.judge(NOW, End { is_test: true, ..end(Ended::Failed) }, PATIENCE);
        }
        assert_eq!(breaker.probe_at(), None);
    }

    #[test]
    fn who_fails_for_too_long_is_suspended_and_then_probed_every_hour_until_it_is_back() {
        let mut breaker = breaker();
        let stubborn = end(Ended::Failed);
        assert_eq!(breaker.judge(NOW, stubborn, PATIENCE).failing_since, None);
        let now = NOW + PATIENCE.suspend_after;
        assert_eq!(breaker.judge(now, stubborn, PATIENCE).failing_since, Some(NOW));
        let suspended = Patience { suspended: true, ..PATIENCE };
        let hour = Duration::from_hours(1);
        assert_eq!(breaker.probe_at(), Some(now + hour));
        let probe = End { is_probe: true, ..stubborn };
        assert_eq!(breaker.judge(now + hour, probe, suspended).failing_since, None);
        assert_eq!(breaker.probe_at(), Some(now + hour + hour));
        let back = breaker.judge(now + hour + hour, End { ended: Ended::Succeeded, ..probe }, suspended);
        assert!(back.recovered && breaker.probe_at().is_none());
    }

    #[test]
    fn who_is_gone_is_not_probed() {
        let mut breaker = breaker();
        opened(&mut breaker, NOW);
        breaker.judge(NOW + S(30), End { is_probe: true, ..end(Ended::Gone) }, PATIENCE);
        assert_eq!(breaker.probe_at(), None);
    }

    #[test]
    fn who_is_gone_is_not_probed_either_when_what_was_still_running_fails() {
        let mut breaker = breaker();
        breaker.judge(NOW, end(Ended::Gone), PATIENCE);
        let late = NOW + PATIENCE.suspend_after;
        for _ in 0..2 * OPENS_AFTER {
            let verdict = breaker.judge(late, end(Ended::Failed), PATIENCE);
            assert_eq!((breaker.probe_at(), verdict.failing_since), (None, None));
        }
        // Another process knows it from the rows.
        let mut other = Breaker::new(breaker.health);
        for _ in 0..2 * OPENS_AFTER {
            other.judge(late, end(Ended::Failed), Patience { gone: true, ..PATIENCE });
            assert_eq!(other.probe_at(), None);
        }
        breaker.learn(endpoint_health::Model { generation: 1, failing_since: None, ..breaker.health });
        opened(&mut breaker, late);
        assert!(breaker.probe_at().is_some(), "a person has started it afresh");
    }

    #[test]
    fn an_endpoint_that_only_succeeds_is_written_every_ten_seconds() {
        let mut breaker = breaker();
        let written = (0..1_000).filter(|tenth| {
            let now = NOW + Duration::from_millis(100 * tenth);
            breaker.judge(now, end(Ended::Succeeded), PATIENCE).health.is_some()
        });
        // Ten of them until there are ten recent attempts, and one every ten seconds.
        assert_eq!(written.count(), 10 + 9);
    }

    #[test]
    fn what_a_person_starts_afresh_is_learned_and_what_is_older_is_not() {
        let mut breaker = breaker();
        let old = breaker.health;
        opened(&mut breaker, NOW);
        breaker.learn(old);
        assert!(breaker.probe_at().is_some());
        breaker.learn(endpoint_health::Model { generation: 1, ..old });
        assert_eq!(breaker.probe_at(), None);
    }
}
