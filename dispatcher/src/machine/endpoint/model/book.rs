//! What an endpoint has to do, said as plainly as possible: a list of deliveries, and one rule for who is next.

use std::time::Duration;

use angarium_entity::delivery::Status;
use angarium_entity::endpoint::Ordering;
use angarium_entity::{DeliveryId, Timestamp};
use uuid::Uuid;

use super::step::{End, Step};
use crate::job::Job;
use crate::machine::endpoint::tests::job;
use crate::machine::endpoint::{Hold, Rules};

#[derive(Clone, Debug)]
pub(super) struct Row {
    /// As the next attempt of it would be.
    pub(super) job: Job,
    /// As it was when it was published.
    pub(super) published: Job,
    pub(super) open: bool,
    /// It skips the line.
    pub(super) test: bool,
}

/// A request that has ended, whose result is not durable.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) row: usize,
    round: i32,
    at: Timestamp,
    pub(super) end: End,
}

#[derive(Clone, Debug)]
pub(super) struct Book {
    pub(super) now: Timestamp,
    pub(super) rules: Rules,
    pub(super) rows: Vec<Row>,
    /// Rows whose requests are under way, with their rounds.
    pub(super) running: Vec<(usize, i32)>,
    pub(super) ended: Vec<Ended>,
    /// Nothing more is to start.
    pub(super) draining: bool,
    /// There are no grants to be had.
    pub(super) busy: bool,
    /// Every request that was started.
    pub(super) started: Vec<(Timestamp, usize)>,
    /// Those before count for no rate any more: whoever made them is gone.
    counts_from: usize,
    last_seq: i64,
}

impl Book {
    pub(super) fn new(ordering: Ordering, max_in_flight: usize, rate_limit: Option<usize>) -> Self {
        let max_in_flight = if ordering == Ordering::None { max_in_flight } else { 1 };
        let patience = crate::machine::endpoint::tests::PATIENCE;
        Self {
            now: Timestamp::from_millis(1_000_000),
            rules: Rules { ordering, max_in_flight, rate_limit, hold: Hold::No, patience },
            rows: Vec::new(),
            running: Vec::new(),
            ended: Vec::new(),
            draining: false,
            busy: false,
            started: Vec::new(),
            counts_from: 0,
            last_seq: 0,
        }
    }

    /// The step happens, and then starts whatever may start.
    pub(super) fn take(&mut self, step: Step) {
        match step {
            Step::Publish { count, after, .. } => (0..count).for_each(|_| self.add(after, false)),
            Step::Test => self.add(None, true),
            Step::Hint(_) | Step::Sweep => {}
            Step::Wait(wait) => self.now = self.now + wait,
            Step::Order(ordering) => self.rules.ordering = ordering,
            Step::Pause => self.rules.hold = Hold::Paused,
            Step::Resume => self.rules.hold = Hold::No,
            Step::Drain => self.draining = true,
            Step::GoOn => self.draining = false,
            Step::Busy(busy) => self.busy = busy,
            Step::Cancel(at) => {
                if let Some(row) = self.pick_row(at) {
                    self.rows[row].open = false;
                }
            }
            Step::Retry(at) => self.retry(at),
            Step::Finish(at, end) => {
                if let Some(place) = pick(self.running.len(), at) {
                    let (row, round) = self.running.remove(place);
                    self.ended.push(Ended { row, round, at: self.now, end });
                }
            }
            Step::Record(at) => self.record(at),
            Step::Abort => {
                // What runs is broken off, and of what has ended nothing is written: to the rows nothing has happened.
                self.running.clear();
                self.ended.clear();
                self.draining = false;
                self.counts_from = self.started.len();
            }
        }
        while let Some(row) = self.next() {
            self.running.push((row, self.rows[row].job.round));
            self.started.push((self.now, row));
        }
    }

    /// The row that a step is about.
    pub(super) fn pick_row(&self, at: usize) -> Option<usize> {
        pick(self.rows.len(), at)
    }

    pub(super) fn pick_running(&self, at: usize) -> Option<usize> {
        pick(self.running.len(), at).map(|place| self.running[place].0)
    }

    pub(super) fn pick_ended(&self, at: usize) -> Option<Ended> {
        pick(self.ended.len(), at).map(|place| self.ended[place])
    }

    /// Whether a retry by hand is refused.
    pub(super) fn refuses_retry(&self, row: usize) -> bool {
        let row = &self.rows[row];
        row.test || (row.open && row.job.status == Status::Pending)
    }

    /// Whether a hint that it was published may still come. One of a delivery that was canceled, asked for again, or sent
    /// before the lease was lost, has come before the word of that.
    pub(super) fn may_be_hinted(&self, row: usize) -> bool {
        let Row { job, published, open, test } = &self.rows[row];
        let is_untouched = *open && job.status == Status::Pending && job.attempt_count == 0;
        let first = self.started.iter().position(|(_, started)| *started == row);
        let was_started = job.round == 1 && first.is_some_and(|first| first >= self.counts_from);
        !test && !published.timed && (is_untouched || was_started)
    }

    /// Neither under way nor without a durable result.
    pub(super) fn is_idle(&self, row: usize) -> bool {
        self.rows[row].open
            && self.running.iter().all(|(running, _)| *running != row)
            && self.ended.iter().all(|ended| ended.row != row)
    }

    fn add(&mut self, after: Option<Duration>, test: bool) {
        self.last_seq += 1;
        let new = job(self.last_seq);
        let delivery_id = DeliveryId(Uuid::from_u128(self.rows.len() as u128 + 1));
        let (ready_at, timed) = (self.now + after.unwrap_or_default(), after.is_some());
        let job = Job { delivery_id, ready_at, timed, ..new };
        self.rows.push(Row { published: job.clone(), job, open: true, test });
    }

    fn retry(&mut self, at: usize) {
        let Some(row) = self.pick_row(at).filter(|row| !self.refuses_retry(*row)) else { return };
        let Row { job, open, .. } = &mut self.rows[row];
        if !*open {
            self.last_seq += 1;
            job.seq = self.last_seq;
        }
        *open = true;
        (job.status, job.timed, job.ready_at) = (Status::Retrying, true, self.now);
        (job.round, job.round_attempts) = (job.round + 1, 0);
    }

    fn record(&mut self, at: usize) {
        let Some(place) = pick(self.ended.len(), at) else { return };
        let Ended { row, round, at, end } = self.ended.remove(place);
        if let Some(hold) = end.hold(at) {
            self.rules.hold = self.rules.hold.stricter(hold);
        }
        let Row { job, open, test, .. } = &mut self.rows[row];
        job.attempt_count += 1;
        if job.round != round {
            return;
        }
        job.round_attempts += 1;
        match end {
            End::Delivered => *open = false,
            _ if *test => *open = false,
            End::Failed(delay) | End::Asked(delay) => job.ready_at = at + delay,
            End::Gone => {}
        }
        (job.status, job.timed) = (Status::Retrying, true);
    }

    /// Who starts next.
    fn next(&self) -> Option<usize> {
        if self.draining || self.busy {
            return None;
        }
        let idle = || (0..self.rows.len()).filter(|row| self.is_idle(*row));
        if let Some(test) = idle().find(|row| self.rows[*row].test) {
            return Some(test);
        }
        let lately = |at: Timestamp| self.now < at + Duration::from_secs(1);
        let spent = self.started[self.counts_from..].iter().filter(|(at, _)| lately(*at)).count();
        let is_strict = self.rules.ordering == Ordering::Strict;
        let slots = if self.rules.ordering == Ordering::None { self.rules.max_in_flight } else { 1 };
        let used = self.running.iter().filter(|(row, _)| !self.rows[*row].test).count();
        if self.is_held()
            || used >= slots
            || self.rules.rate_limit.is_some_and(|limit| spent >= limit)
            || (is_strict && !self.ended.is_empty())
        {
            return None;
        }
        let job = |row: &usize| &self.rows[*row].job;
        if is_strict { self.next_in_strict_line(&Vec::from_iter(idle())) } else { first_ready(idle(), job, self.now) }
    }

    /// What was begun goes before everything else, due or not. Then the line; what is scheduled joins it when it is due.
    fn next_in_strict_line(&self, idle: &[usize]) -> Option<usize> {
        let job = |row: &usize| &self.rows[*row].job;
        let is_again = |row: &usize| job(row).status == Status::Retrying;
        let begun = idle.iter().copied().filter(|row| job(row).is_begun());
        if let Some(begun) = begun.min_by_key(|row| job(row).seq) {
            return Some(begun).filter(|row| job(row).ready_at <= self.now);
        }
        let head = idle.iter().copied().filter(|row| is_again(row) || !job(row).timed).min_by_key(|row| job(row).seq);
        let scheduled = idle.iter().copied().filter(|row| !is_again(row) && job(row).timed);
        let due = first_ready(scheduled, job, self.now);
        match (head, due) {
            (Some(head), Some(due)) if !is_again(&head) && job(&due).ready_at <= job(&head).ready_at => Some(due),
            (head, due) => head.or(due),
        }
    }

    /// By its owner, by an answer, or by one whose result is on its way into the rows.
    fn is_held(&self) -> bool {
        let asked = self.ended.iter().filter_map(|ended| ended.end.hold(ended.at));
        asked.chain([self.rules.hold]).any(|hold| match hold {
            Hold::No => false,
            Hold::Until(at) => self.now < at,
            Hold::Paused => true,
        })
    }
}

/// Who has been ready longest; of equals what waited for its time, and then the first of the line.
fn first_ready<'a>(
    rows: impl Iterator<Item = usize>,
    job: impl Fn(&usize) -> &'a Job,
    now: Timestamp,
) -> Option<usize> {
    rows.filter(|row| job(row).ready_at <= now).min_by_key(|row| {
        let place = if job(row).timed { i64::try_from(*row).unwrap_or(i64::MAX) } else { job(row).seq };
        (job(row).ready_at, !job(row).timed, place)
    })
}

/// The place that a step means in a list.
fn pick(len: usize, at: usize) -> Option<usize> {
    at.checked_rem(len)
}
