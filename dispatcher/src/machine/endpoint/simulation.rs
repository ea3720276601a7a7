//! Many random lives of one endpoint: hints are late, doubled or shrunk to a kick, reads see the rows as they were when
//! the read was asked for or at any time until it is answered, results become durable late, holds come and go. Always:
//! one request at a time, first attempts in publish order, and nothing sent twice or never. With STRICT some are
//! scheduled, canceled or asked for again by hand, and none starts while another is begun, or its end not durable.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use angarium_entity::delivery::Status;

use super::tests::{PATIENCE, job};
use super::*;

/// A small generator; the seed is printed when a life fails.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}

/// What a read found, and whether there may be more.
type Seen = (Vec<Job>, bool);

#[derive(Clone)]
struct Row {
    job: Job,
    open: bool,
}

struct Life {
    chance: Chance,
    now: Timestamp,
    machine: EndpointMachine,
    rules: Rules,
    rows: HashMap<DeliveryId, Row>,
    next_seq: i64,
    /// Hints on their way; none where the hub was behind and is only told to look.
    hints: VecDeque<Option<Vec<Job>>>,
    /// Reads that wait for their answer: the limit, and the answer if the rows were read already.
    reads: VecDeque<(usize, Option<Seen>)>,
    running: Vec<Job>,
    ended: Vec<(Job, bool)>,
    grants: usize,
    /// Places in the order of their first attempts, and how often each delivery was sent.
    firsts: Vec<i64>,
    sends: HashMap<DeliveryId, i32>,
    /// When the last requests started, and how many at that time.
    last_starts: (Timestamp, usize),
}

impl Life {
    fn new(seed: u64, ordering: Ordering, rate_limit: Option<usize>) -> Self {
        let max_in_flight = if ordering == Ordering::None { 4 } else { 1 };
        let mut life = Self {
            chance: Chance(u64::MAX / 7919 * seed),
            now: Timestamp::from_millis(1_000_000),
            machine: EndpointMachine::new(),
            rules: Rules { ordering, max_in_flight, rate_limit, hold: Hold::No, patience: PATIENCE },
            rows: HashMap::new(),
            next_seq: 1,
            hints: VecDeque::new(),
            reads: VecDeque::new(),
            running: Vec::new(),
            ended: Vec::new(),
            grants: 0,
            firsts: Vec::new(),
            sends: HashMap::new(),
            last_starts: (Timestamp::default(), 0),
        };
        life.give(Input::Configured(life.rules));
        life
    }

    fn give(&mut self, input: Input) {
        // A small room makes the way through the rows the usual one.
        for output in self.machine.step(self.now, 8, input) {
            match output {
                Output::Ask => self.grants += 1,
                Output::Release | Output::WakeAt(_) => {}
                Output::Read { limit } => self.reads.push_back((limit, None)),
                Output::Start(job) => self.start(job),
            }
        }
    }

    fn start(&mut self, job: Job) {
        assert!(self.rows[&job.delivery_id].open, "a closed delivery was sent");
        assert_eq!(self.rows[&job.delivery_id].job.attempt_count, job.attempt_count, "an attempt was repeated");
        *self.sends.entry(job.delivery_id).or_default() += 1;
        if job.attempt_count == 0 && !job.timed {
            self.firsts.push(job.seq);
        }
        self.last_starts = (self.now, if self.last_starts.0 == self.now { self.last_starts.1 + 1 } else { 1 });
        assert!(self.rules.rate_limit.is_none_or(|limit| self.last_starts.1 <= limit), "too many requests in a second");
        if self.is_strict() {
            self.check_line(&job);
        }
        self.running.push(job);
        assert!(self.running.len() <= self.rules.max_in_flight, "too many requests at once");
    }

    fn is_strict(&self) -> bool {
        self.rules.ordering == Ordering::Strict
    }

    /// With STRICT: what starts is the only one that is begun, and what is fresh is the first of the line.
    fn check_line(&self, job: &Job) {
        assert!(
            self.running.is_empty() && self.ended.is_empty(),
            "the one before has not ended, or that is not durable"
        );
        assert!(job.ready_at <= self.now, "it was sent before its time");
        let others = || self.rows.values().filter(|row| row.open).map(|row| &row.job);
        let others = || others().filter(|other| other.delivery_id != job.delivery_id);
        assert!(!others().any(Job::is_begun), "the one before is not final");
        if !job.timed {
            let in_line = |other: &&Job| !other.timed || other.status == Status::Retrying;
            assert!(others().filter(in_line).all(|other| job.seq < other.seq), "it left the order of the line");
        }
    }

    fn publish(&mut self) {
        let mut jobs: Vec<_> = (0..=self.chance.below(6))
            .map(|offset| Job { ready_at: self.now, ..job(self.next_seq + i64::try_from(offset).expect("small")) })
            .collect();
        self.next_seq += i64::try_from(jobs.len()).expect("small");
        if self.is_strict() && self.chance.one_in(4) {
            for job in &mut jobs {
                (job.timed, job.ready_at) = (true, self.now + Duration::from_secs(1 + self.chance.below(20)));
            }
        }
        for job in &jobs {
            self.rows.insert(job.delivery_id, Row { job: job.clone(), open: true });
        }
        jobs.retain(|job| !job.timed);
        let shrunk = self.chance.one_in(10);
        self.hints.push_back((!shrunk).then_some(jobs));
    }

    /// What a read of the rows finds now, and whether there may be more.
    fn page(&self, limit: usize) -> Seen {
        let open = || self.rows.values().filter(|row| row.open).map(|row| row.job.clone());
        let is_again = |job: &Job| self.is_strict() && job.status == Status::Retrying;
        let mut line: Vec<_> = open().filter(|job| !job.timed).collect();
        line.sort_by_key(|job| job.seq);
        let mut again: Vec<_> = open().filter(is_again).collect();
        again.sort_by_key(|job| job.seq);
        let mut due: Vec<_> = open().filter(|job| job.timed && !is_again(job) && job.ready_at <= self.now).collect();
        due.sort_by_key(|job| job.ready_at);
        let full = [&line, &again, &due].iter().any(|front| front.len() >= limit);
        if again.len() >= limit {
            line.retain(|job| job.seq < again[limit - 1].seq);
        }
        if line.len() >= limit {
            again.retain(|job| job.is_begun() || job.seq < line[limit - 1].seq);
        }
        let jobs = [line, again, due].into_iter().flat_map(|front| front.into_iter().take(limit)).collect();
        (jobs, full)
    }

    fn answer_read(&mut self) {
        let Some((limit, seen)) = self.reads.pop_front() else { return };
        let (jobs, full) = seen.unwrap_or_else(|| self.page(limit));
        self.give(Input::Page { jobs, full });
    }

    /// Somebody cancels a delivery, or asks for it again.
    fn move_by_hand(&mut self) {
        let at_work = |id: &DeliveryId| {
            self.running.iter().chain(self.ended.iter().map(|(job, _)| job)).any(|job| job.delivery_id == *id)
        };
        let mut idle: Vec<_> = self.rows.keys().copied().filter(|id| !at_work(id)).collect();
        if idle.is_empty() {
            return;
        }
        idle.sort_unstable();
        let id = idle[usize::try_from(self.chance.below(idle.len() as u64)).expect("small")];
        let (now, last) = (self.now, self.next_seq);
        let row = self.rows.get_mut(&id).expect("it is there");
        match (row.open, row.job.status) {
            (true, Status::Pending) => {
                row.open = false;
                // Its hint is in the mailbox before the message that it was canceled.
                for hint in self.hints.iter_mut().flatten() {
                    hint.retain(|job| job.delivery_id != id);
                }
                self.give(Input::Configured(self.rules));
            }
            (was_open, _) => {
                row.open = true;
                let round = row.job.round + 1;
                row.job = Job {
                    status: Status::Retrying,
                    timed: true,
                    ready_at: now,
                    round,
                    round_attempts: 0,
                    ..row.job.clone()
                };
                if !was_open {
                    row.job.seq = last;
                    self.next_seq += 1;
                }
                self.give(Input::Changed(id));
            }
        }
    }

    fn finish(&mut self) {
        if self.running.is_empty() {
            return;
        }
        let index = usize::try_from(self.chance.below(self.running.len() as u64)).expect("small");
        let job = self.running.remove(index);
        let hold = match self.chance.below(12) {
            0 => Some(Hold::Until(self.now + Duration::from_secs(self.chance.below(30)))),
            _ => None,
        };
        let delivery = job.delivery_id;
        let succeeded = !self.chance.one_in(4);
        self.ended.push((job, succeeded));
        self.give(Input::Finished { delivery, hold });
    }

    fn record(&mut self) {
        if self.ended.is_empty() {
            return;
        }
        let (job, succeeded) = self.ended.remove(0);
        let ready_at = self.now + Duration::from_secs(self.chance.below(20));
        let is_probe = self.chance.one_in(4);
        let row = self.rows.get_mut(&job.delivery_id).expect("rows are not deleted here");
        row.open = !succeeded;
        row.job.attempt_count += 1;
        // A probe uses up nothing.
        row.job.round_attempts += i32::from(!is_probe);
        row.job.status = Status::Retrying;
        row.job.timed = true;
        row.job.ready_at = ready_at;
        self.give(Input::Recorded { delivery: job.delivery_id, is_final: succeeded });
    }

    fn live(&mut self) {
        match self.chance.below(16) {
            0..=2 => self.publish(),
            3 | 4 => {
                if let Some(hint) = self.hints.pop_front() {
                    if self.chance.one_in(8) {
                        self.hints.push_back(hint.clone());
                    }
                    self.give(hint.map_or(Input::Kicked, Input::Arrived));
                }
            }
            5 => {
                if let Some(index) = (0..self.reads.len()).find(|index| self.reads[*index].1.is_none()) {
                    self.reads[index].1 = Some(self.page(self.reads[index].0));
                }
            }
            6 | 7 => self.answer_read(),
            8..=10 => self.finish(),
            11 | 12 => self.record(),
            13 => self.grant(),
            14 => {
                self.now = self.now + Duration::from_secs(self.chance.below(10));
                self.give(Input::Kicked);
            }
            15 if self.is_strict() && self.chance.one_in(3) => self.move_by_hand(),
            _ if self.chance.one_in(4) => {
                self.rules.hold = if self.chance.one_in(2) { Hold::Paused } else { Hold::No };
                self.give(Input::Configured(self.rules));
            }
            _ => self.grant(),
        }
    }

    fn grant(&mut self) {
        if self.grants > 0 {
            self.grants -= 1;
            self.give(Input::Granted);
        }
    }

    /// Lets everything come to its end, with the sweep finding what got lost.
    fn settle(&mut self) {
        self.rules.hold = Hold::No;
        for round in 0.. {
            assert!(round < 10_000, "it does not come to its end");
            self.hints.clear();
            self.now = self.now + Duration::from_secs(60);
            self.give(Input::Configured(self.rules));
            self.give(Input::Kicked);
            while !self.reads.is_empty() || self.grants > 0 || !self.running.is_empty() || !self.ended.is_empty() {
                self.answer_read();
                self.grant();
                self.finish();
                self.record();
            }
            if self.rows.values().all(|row| !row.open) {
                return;
            }
        }
    }

    fn check(&self) {
        for (id, row) in &self.rows {
            assert_eq!(self.sends.get(id).copied().unwrap_or(0), row.job.attempt_count, "as many requests as attempts");
        }
        if self.rules.ordering == Ordering::None {
            assert_eq!(self.firsts.len(), self.rows.len(), "each delivery has one first attempt");
            return;
        }
        assert!(self.firsts.is_sorted(), "first attempts left the publish order");
        if self.is_strict() {
            return;
        }
        assert_eq!(self.firsts.len(), self.rows.len(), "each delivery has one first attempt");
    }
}

fn lives(ordering: Ordering, rate_limit: Option<usize>) {
    for seed in 1..=100 {
        let lived = std::panic::catch_unwind(|| {
            let mut life = Life::new(seed, ordering, rate_limit);
            for _ in 0..600 {
                life.live();
            }
            life.settle();
            life.check();
        });
        assert!(lived.is_ok(), "the life with seed {seed} went wrong");
    }
}

#[test]
fn a_hundred_lives_of_a_fifo_endpoint_send_each_delivery_in_order_and_never_twice() {
    lives(Ordering::Fifo, None);
}

#[test]
fn a_hundred_lives_of_an_endpoint_without_order_send_each_delivery_and_never_twice() {
    lives(Ordering::None, None);
}

#[test]
fn a_hundred_lives_of_a_strict_endpoint_never_start_a_delivery_before_the_one_before_is_final() {
    lives(Ordering::Strict, None);
}

#[test]
fn a_hundred_lives_of_an_endpoint_with_a_rate_limit_keep_it_and_send_each_delivery() {
    lives(Ordering::None, Some(3));
    lives(Ordering::Strict, Some(1));
}
