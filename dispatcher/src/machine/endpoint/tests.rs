//! The machine against a small world: rows that change, hints that come late, reads that see an older state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use angarium_entity::attempt::Trigger;
use angarium_entity::delivery::Status;
use angarium_entity::json::StringList;
use angarium_entity::{EndpointId, EventId, SubscriptionId, WorkspaceId, event};

use super::*;
use crate::machine::breaker::Ended;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);
pub(super) const PATIENCE: Patience =
    Patience { suspend_after: Duration::from_hours(120), suspended: false, gone: false };
const STRICT: Rules = Rules { ordering: Ordering::Strict, ..FIFO };
const FIFO: Rules =
    Rules { ordering: Ordering::Fifo, max_in_flight: 1, rate_limit: None, hold: Hold::No, patience: PATIENCE };

pub(crate) fn job(seq: i64) -> Job {
    let event = event::Model {
        id: EventId::new(NOW),
        workspace_id: WorkspaceId::new(NOW),
        event_type: "x".to_owned(),
        payload: "{}".to_owned(),
        channels: StringList::default(),
        idempotency_key: None,
        occurred_at: NOW,
        test: false,
        created_at: NOW,
        sealed: None,
        trace_parent: None,
        trace_state: None,
    };
    Job {
        delivery_id: DeliveryId::new(NOW),
        endpoint_id: EndpointId::new(NOW),
        subscription_id: SubscriptionId::new(NOW),
        seq,
        ready_at: NOW,
        timed: false,
        status: Status::Pending,
        attempt_count: 0,
        round: 1,
        round_attempts: 0,
        is_probe: false,
        event: Arc::new(event),
    }
}

fn retry(ready_at: Timestamp) -> Job {
    Job { status: Status::Retrying, ready_at, timed: true, attempt_count: 1, round_attempts: 1, ..job(0) }
}

/// A machine whose every question for a grant is answered at once.
struct World {
    machine: EndpointMachine,
    now: Timestamp,
    started: Vec<Job>,
    reads: Vec<usize>,
    releases: usize,
    wake_at: Option<Timestamp>,
}

impl World {
    /// Configured, and told that no rows wait.
    fn new(rules: Rules) -> Self {
        let mut world = Self {
            machine: EndpointMachine::new(),
            now: NOW,
            started: vec![],
            reads: vec![],
            releases: 0,
            wake_at: None,
        };
        world.give(Input::Configured(rules));
        world.give(Input::Page { jobs: vec![], full: false });
        world.reads.clear();
        world
    }

    fn give(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            for output in self.machine.step(self.now, WINDOW, input) {
                match output {
                    Output::Ask => inputs.push(Input::Granted),
                    Output::Release => self.releases += 1,
                    Output::Start(job) => self.started.push(job),
                    Output::Read { limit } => self.reads.push(limit),
                    Output::WakeAt(at) => self.wake_at = Some(at),
                }
            }
        }
    }

    fn finish(&mut self, job: &Job) {
        self.end(job, true);
    }

    fn end(&mut self, job: &Job, is_final: bool) {
        self.give(Input::Finished { delivery: job.delivery_id, hold: None });
        self.give(Input::Recorded { delivery: job.delivery_id, is_final });
    }

    /// Finishes whatever is started until nothing starts any more; answers the places in the order of starting.
    fn run(&mut self) -> Vec<i64> {
        let mut places = Vec::new();
        while !self.started.is_empty() {
            let job = self.started.remove(0);
            places.push(job.seq);
            self.finish(&job);
        }
        places
    }
}

#[test]
fn fifo_sends_one_at_a_time_in_publish_order() {
    let mut world = World::new(FIFO);
    world.give(Input::Arrived((1..=20).map(job).collect()));
    assert_eq!(world.started.len(), 1);
    assert_eq!(world.run(), Vec::from_iter(1..=20));
    assert!(world.machine.is_idle(NOW) && world.reads.is_empty());
}

#[test]
fn without_order_as_many_run_as_are_allowed() {
    let mut world = World::new(Rules {
        ordering: Ordering::None,
        max_in_flight: 3,
        rate_limit: None,
        hold: Hold::No,
        patience: PATIENCE,
    });
    world.give(Input::Arrived((1..=5).map(job).collect()));
    assert_eq!(world.started.len(), 3);
    let first = world.started.remove(0);
    world.finish(&first);
    assert_eq!(world.started.len(), 3);
    assert_eq!(world.run().len(), 4);
}

#[test]
fn a_retry_that_was_ready_earlier_goes_before_the_line_and_a_later_one_behind_its_head() {
    let mut world = World::new(FIFO);
    let (early, late) = (retry(NOW - Duration::from_secs(1)), retry(NOW + Duration::from_secs(1)));
    let busy = job(1);
    world.give(Input::Arrived(vec![busy.clone()]));
    world.give(Input::Arrived(vec![job(2), job(3)]));
    world.give(Input::Kicked);
    world.give(Input::Page { jobs: vec![early, late], full: false });
    assert_eq!(world.run(), [1, 0, 2, 3, 0]);
}

#[test]
fn what_does_not_fit_into_memory_is_read_from_the_rows_in_order() {
    let mut world = World::new(FIFO);
    let mut rows: BTreeMap<i64, Job> = (1..=1_000).map(|seq| (seq, job(seq))).collect();
    for chunk in Vec::from_iter(rows.values().cloned()).chunks(100) {
        world.give(Input::Arrived(chunk.to_vec()));
    }
    let mut places = Vec::new();
    while !world.started.is_empty() {
        let done = world.started.remove(0);
        places.push(done.seq);
        world.give(Input::Finished { delivery: done.delivery_id, hold: None });
        rows.remove(&done.seq);
        world.give(Input::Recorded { delivery: done.delivery_id, is_final: true });
        if let Some(limit) = world.reads.pop() {
            let jobs: Vec<_> = rows.values().take(limit).cloned().collect();
            let full = jobs.len() == limit;
            world.give(Input::Page { jobs, full });
        }
    }
    assert_eq!(places, Vec::from_iter(1..=1_000));
    assert!(world.machine.is_idle(NOW));
}

#[test]
fn a_read_that_shows_an_older_state_repeats_nothing() {
    let mut world = World::new(FIFO);
    let [running, next] = [job(1), job(2)];
    world.give(Input::Arrived(vec![running.clone()]));
    world.give(Input::Kicked);
    assert_eq!(world.reads.len(), 1);
    world.started.clear();
    world.finish(&running);
    world.give(Input::Page { jobs: vec![running, next], full: false });
    assert_eq!(world.run(), [2]);
}

#[test]
fn a_hint_that_comes_after_its_delivery_is_done_is_checked_against_the_rows() {
    let mut world = World::new(FIFO);
    let done = job(1);
    world.give(Input::Arrived(vec![done.clone()]));
    assert_eq!(world.run(), [1]);
    world.give(Input::Arrived(vec![done]));
    assert!(world.started.is_empty());
    assert_eq!(world.reads.len(), 1);
    world.give(Input::Page { jobs: vec![], full: false });
    assert!(world.machine.is_idle(NOW));
}

#[test]
fn hints_during_a_read_join_behind_what_it_brings() {
    let mut world = World::new(FIFO);
    world.give(Input::Kicked);
    world.give(Input::Arrived(vec![job(3)]));
    assert!(world.started.is_empty());
    world.give(Input::Page { jobs: vec![job(1), job(2)], full: false });
    assert_eq!(world.run(), [1, 2, 3]);
}

#[test]
fn a_kick_during_a_read_is_not_lost() {
    let mut world = World::new(FIFO);
    world.give(Input::Kicked);
    world.give(Input::Kicked);
    assert_eq!(world.reads.len(), 1);
    world.give(Input::Page { jobs: vec![], full: false });
    assert_eq!(world.reads.len(), 2);
}

#[test]
fn a_retry_by_hand_whose_last_result_is_not_confirmed_yet_is_read_from_the_rows() {
    let mut world = World::new(FIFO);
    let failed = job(1);
    world.give(Input::Arrived(vec![failed.clone()]));
    world.started.clear();
    world.give(Input::Finished { delivery: failed.delivery_id, hold: None });
    world.give(Input::Changed(failed.delivery_id));
    world.give(Input::Recorded { delivery: failed.delivery_id, is_final: true });
    world.give(Input::Page { jobs: vec![], full: false });
    let again = Job { status: Status::Retrying, timed: true, attempt_count: 1, ..failed };
    if !world.reads.is_empty() {
        world.give(Input::Kicked);
    }
    world.give(Input::Page { jobs: vec![again], full: false });
    assert_eq!(world.started.len(), 1);
}

#[test]
fn while_held_nothing_starts_and_afterwards_the_rows_are_read_again() {
    let mut world = World::new(FIFO);
    let asked = job(1);
    world.give(Input::Arrived(vec![asked.clone(), job(2)]));
    world.started.clear();
    let until = NOW + Duration::from_secs(60);
    world.give(Input::Finished { delivery: asked.delivery_id, hold: Some(Hold::Until(until)) });
    world.give(Input::Recorded { delivery: asked.delivery_id, is_final: true });
    world.give(Input::Arrived(vec![job(3)]));
    assert!(world.started.is_empty() && world.machine.waiting_bytes() == 0);
    assert_eq!(world.wake_at, Some(until));
    assert!(world.machine.is_idle(NOW), "the rows remember what waits");
    world.now = until;
    world.give(Input::Tick);
    world.give(Input::Page { jobs: vec![job(2), job(3)], full: false });
    assert_eq!(world.run(), [2, 3]);
}

#[test]
fn a_pause_holds_until_the_rules_change_and_a_late_grant_is_given_back() {
    let mut world = World::new(FIFO);
    assert!(matches!(world.machine.step(NOW, WINDOW, Input::Arrived(vec![job(1)]))[..], [Output::Ask]));
    world.give(Input::Configured(Rules { hold: Hold::Paused, ..FIFO }));
    world.give(Input::Granted);
    assert_eq!((world.releases, world.started.len()), (1, 0));
    world.give(Input::Configured(FIFO));
    world.give(Input::Page { jobs: vec![job(1)], full: false });
    assert_eq!(world.run(), [1]);
}

#[test]
fn who_resumes_an_endpoint_need_not_wait_for_results_that_asked_for_nothing() {
    let rules = Rules { ordering: Ordering::None, max_in_flight: 2, ..FIFO };
    let mut world = World::new(rules);
    world.give(Input::Arrived((1..=2).map(job).collect()));
    let [gone, other] = [world.started.remove(0), world.started.remove(0)];
    world.give(Input::Finished { delivery: gone.delivery_id, hold: Some(Hold::Paused) });
    world.give(Input::Finished { delivery: other.delivery_id, hold: None });
    world.give(Input::Recorded { delivery: gone.delivery_id, is_final: false });
    world.give(Input::Configured(Rules { hold: Hold::Paused, ..rules }));
    world.give(Input::Configured(rules));
    world.give(Input::Page { jobs: vec![job(3)], full: false });
    assert_eq!(world.run(), [3]);
    world.give(Input::Recorded { delivery: other.delivery_id, is_final: true });
    world.give(Input::Arrived(vec![job(4)]));
    assert_eq!(world.run(), [4], "nor does the hold come back");
}

#[test]
fn too_many_results_that_are_not_durable_stop_the_line() {
    let mut world = World::new(FIFO);
    world.give(Input::Arrived((1..=200).map(job).collect()));
    let mut unrecorded = Vec::new();
    while let Some(job) = world.started.pop() {
        world.give(Input::Finished { delivery: job.delivery_id, hold: None });
        unrecorded.push(job);
    }
    assert_eq!(unrecorded.len(), UNRECORDED_MAX);
    world.give(Input::Recorded { delivery: unrecorded[0].delivery_id, is_final: true });
    assert_eq!(world.started.len(), 1);
}

#[test]
fn while_draining_what_runs_may_end_and_nothing_else_starts() {
    let mut world = World::new(FIFO);
    let running = job(1);
    world.give(Input::Arrived(vec![running.clone(), job(2)]));
    world.give(Input::Drain);
    assert_eq!(world.machine.unsettled(), 1);
    world.started.clear();
    world.finish(&running);
    assert!(world.started.is_empty() && world.machine.unsettled() == 0);
}

#[test]
fn a_test_event_skips_the_line_and_a_hold_and_takes_no_slot() {
    let mut world = World::new(FIFO);
    world.give(Input::Arrived(vec![job(1), job(2)]));
    let test = job(9);
    world.give(Input::Express(test.clone()));
    assert_eq!(world.started.iter().map(|job| job.seq).collect::<Vec<_>>(), [1, 9]);
    world.give(Input::Configured(Rules { hold: Hold::Paused, ..FIFO }));
    world.give(Input::Express(job(10)));
    assert_eq!(world.started.len(), 3);
    world.give(Input::Express(test));
    assert_eq!(world.started.len(), 3, "a doubled hint starts nothing");
}

#[test]
fn a_test_event_that_is_canceled_while_it_waits_for_a_grant_is_not_sent() {
    let mut world = World::new(FIFO);
    let test = job(1);
    assert!(matches!(world.machine.step(NOW, WINDOW, Input::Express(test.clone()))[..], [Output::Ask]));
    world.give(Input::Changed(test.delivery_id));
    world.give(Input::Granted);
    assert_eq!((world.releases, world.started.len()), (1, 0));
}

#[test]
fn new_rules_make_it_read_the_rows_again() {
    let mut world = World::new(FIFO);
    let running = job(1);
    world.give(Input::Arrived(vec![running.clone(), job(2), job(3)]));
    world.started.clear();
    // The second was canceled meanwhile.
    world.give(Input::Configured(FIFO));
    assert_eq!((world.machine.waiting_bytes(), world.reads.len()), (0, 1));
    world.give(Input::Page { jobs: vec![running.clone(), job(3)], full: false });
    world.finish(&running);
    assert_eq!(world.run(), [3]);
}

#[test]
fn while_new_rules_are_being_read_nothing_starts_by_the_old_ones() {
    let mut world = World::new(FIFO);
    world.give(Input::Unconfigured);
    world.give(Input::Arrived(vec![job(1)]));
    world.give(Input::Express(job(2)));
    assert!(world.started.is_empty());
    world.give(Input::Configured(FIFO));
    world.give(Input::Page { jobs: vec![job(1)], full: false });
    assert_eq!(world.started.len(), 2);
}

#[test]
fn a_strict_line_waits_for_its_head_to_be_final_and_its_end_durable() {
    let mut world = World::new(STRICT);
    let jobs: Vec<_> = (1..=3).map(job).collect();
    world.give(Input::Arrived(jobs.clone()));
    let head = world.started.remove(0);
    world.give(Input::Finished { delivery: head.delivery_id, hold: None });
    assert!(world.started.is_empty(), "its end is not durable");
    world.give(Input::Recorded { delivery: head.delivery_id, is_final: false });
    let until = NOW + Duration::from_secs(5);
    let failed = Job { ready_at: until, timed: true, status: Status::Retrying, round_attempts: 1, ..head };
    world.give(Input::Page { jobs: vec![jobs[1].clone(), jobs[2].clone(), failed.clone()], full: false });
    assert!(world.started.is_empty() && world.machine.waiting_bytes() == 0 && world.machine.is_idle(NOW));
    assert_eq!(world.wake_at, Some(until));
    world.now = until;
    world.give(Input::Tick);
    world.give(Input::Page { jobs: vec![jobs[1].clone(), jobs[2].clone(), failed], full: false });
    assert_eq!(world.run(), [1, 2, 3]);
}

#[test]
fn what_stands_in_a_strict_line_again_keeps_its_place_and_what_is_scheduled_joins_when_due() {
    let mut world = World::new(STRICT);
    let by_hand = Job { round: 2, round_attempts: 0, seq: 4, ..retry(NOW) };
    let scheduled = Job { timed: true, ready_at: NOW + Duration::from_secs(1), ..job(2) };
    let later = Job { ready_at: NOW + Duration::from_secs(2), ..job(5) };
    let begun = Job { seq: 9, ..retry(NOW) };
    world.give(Input::Kicked);
    world.now = NOW + Duration::from_secs(3);
    world.give(Input::Page { jobs: vec![job(3), later, by_hand, begun, scheduled], full: false });
    assert_eq!(world.run(), [9, 3, 4, 2, 5]);
}

#[test]
fn a_head_of_a_strict_line_that_was_only_probed_is_begun() {
    let probed = Job { round_attempts: 0, seq: 3, ..retry(NOW) };
    let mut world = World::new(STRICT);
    world.give(Input::Kicked);
    // The other became visible late.
    world.give(Input::Page { jobs: vec![job(2), probed.clone()], full: false });
    assert_eq!(world.run(), [3, 2]);
    let trigger = |job: &Job| Job { is_probe: false, ..job.clone() }.trigger();
    assert_eq!(trigger(&probed), Trigger::Retry);
    assert_eq!(trigger(&Job { round: 2, ..probed }), Trigger::Manual);
}

#[test]
fn a_change_to_the_head_of_a_strict_line_frees_the_line() {
    let mut world = World::new(STRICT);
    let head = Job { seq: 1, ..retry(NOW + Duration::from_secs(60)) };
    world.give(Input::Kicked);
    world.give(Input::Page { jobs: vec![head.clone(), job(2)], full: false });
    assert!(world.started.is_empty());
    world.give(Input::Changed(head.delivery_id));
    world.give(Input::Page { jobs: vec![job(2)], full: false });
    assert_eq!(world.run(), [2]);
}

#[test]
fn a_test_event_skips_a_strict_line_that_waits_for_its_head() {
    let mut world = World::new(STRICT);
    world.give(Input::Kicked);
    world.give(Input::Page { jobs: vec![retry(NOW + Duration::from_secs(60))], full: false });
    world.give(Input::Express(job(7)));
    assert_eq!(world.run(), [7]);
}

#[test]
fn an_endpoint_that_becomes_strict_waits_for_all_that_was_begun_before() {
    let mut world = World::new(Rules { ordering: Ordering::None, max_in_flight: 2, ..FIFO });
    world.give(Input::Arrived((1..=4).map(job).collect()));
    let [one, two] = [world.started.remove(0), world.started.remove(0)];
    world.give(Input::Configured(STRICT));
    world.give(Input::Page {
        jobs: [one.clone(), two.clone()].into_iter().chain((3..=4).map(job)).collect(),
        full: false,
    });
    world.finish(&one);
    assert!(world.started.is_empty());
    world.finish(&two);
    assert_eq!(world.run(), [3, 4]);
}

#[test]
fn what_was_begun_first_is_not_held_by_what_was_begun_after_it_and_is_due_later() {
    let mut world = World::new(Rules { ordering: Ordering::None, max_in_flight: 2, ..FIFO });
    world.give(Input::Arrived((1..=2).map(job).collect()));
    let [one, two] = [world.started.remove(0), world.started.remove(0)];
    world.give(Input::Configured(STRICT));
    world.give(Input::Page { jobs: vec![one.clone(), two.clone()], full: false });
    for job in [&one, &two] {
        world.give(Input::Finished { delivery: job.delivery_id, hold: None });
    }
    world.give(Input::Recorded { delivery: two.delivery_id, is_final: false });
    let two = Job { seq: 2, ..retry(NOW + Duration::from_hours(1)) };
    world.give(Input::Page { jobs: vec![one.clone(), two.clone()], full: false });
    world.give(Input::Recorded { delivery: one.delivery_id, is_final: false });
    world.give(Input::Page { jobs: vec![Job { seq: 1, ..retry(NOW) }, two], full: false });
    assert_eq!(world.started.iter().map(|job| job.seq).collect::<Vec<_>>(), [1]);
}

#[test]
fn a_rate_limit_lets_so_many_start_in_a_second_and_wakes_the_endpoint_for_the_next() {
    let mut world = World::new(Rules { rate_limit: Some(2), ..FIFO });
    world.give(Input::Arrived((1..=5).map(job).collect()));
    assert_eq!(world.run(), [1, 2]);
    let next = NOW + Duration::from_secs(1);
    assert_eq!((world.wake_at, world.machine.limited_until(NOW)), (Some(next), Some(next)));
    assert!(!world.machine.is_idle(NOW), "memory waits");
    world.now = next;
    world.give(Input::Tick);
    assert_eq!(world.run(), [3, 4]);
    world.give(Input::Express(job(9)));
    assert_eq!(world.run(), [9], "a test waits for nothing");
}

#[test]
fn while_the_circuit_is_open_nothing_starts_and_then_one_probe_asks_whether_the_endpoint_is_back() {
    let mut world = World::new(Rules { ordering: Ordering::None, max_in_flight: 8, ..FIFO });
    world.machine.learn(endpoint_health::Model::unknown(EndpointId::new(NOW), WorkspaceId::new(NOW)));
    let jobs: Vec<_> = (1..=20).map(job).collect();
    world.give(Input::Arrived(jobs[..8].to_vec()));
    let judge = |world: &mut World, job: &Job, ended| {
        let end = End { delivery: job.delivery_id, ended, is_probe: job.is_probe, is_test: false };
        let verdict = world.machine.judge(world.now, end, PATIENCE);
        world.finish(job);
        verdict
    };
    let running = std::mem::take(&mut world.started);
    for job in &running {
        assert!(!job.is_probe);
        judge(&mut world, job, Ended::Failed);
    }
    world.give(Input::Arrived(jobs[8..].to_vec()));
    let until = NOW + Duration::from_secs(30);
    assert!(world.started.is_empty() && world.machine.is_idle(NOW));
    assert_eq!(world.wake_at, Some(until));
    world.give(Input::Express(job(99)));
    let test = world.started.remove(0);
    assert!(!test.is_probe, "a test waits for nothing");
    world.finish(&test);

    world.now = until;
    world.give(Input::Tick);
    world.give(Input::Page { jobs: jobs[8..].to_vec(), full: false });
    assert_eq!(world.started.len(), 1, "one alone");
    let probe = world.started.remove(0);
    assert!(probe.is_probe);
    let verdict = judge(&mut world, &probe, Ended::Succeeded);
    assert!(verdict.is_news);
    world.give(Input::Page { jobs: jobs[9..].to_vec(), full: false });
    assert_eq!(world.started.len(), 8);
}

#[test]
fn two_jobs_at_one_place_do_not_have_their_endpoint_ask_for_ever() {
    let mut world = World::new(FIFO);
    world.give(Input::Arrived(vec![job(1)]));
    world.give(Input::Kicked);
    world.give(Input::Page { jobs: vec![job(2), job(2)], full: false });
    assert_eq!(world.run(), [1, 2]);
    assert!(world.machine.is_idle(NOW));
}

#[test]
fn what_skips_the_line_is_not_forgotten_while_the_rules_are_read_again() {
    let mut world = World::new(FIFO);
    let probe_at = Some(NOW + Duration::from_secs(30));
    let health = endpoint_health::Model::unknown(EndpointId::new(NOW), WorkspaceId::new(NOW));
    world.machine.learn(endpoint_health::Model { probe_at, ..health });
    world.give(Input::Unconfigured);
    assert!(world.machine.is_idle(NOW), "the circuit is open, and the rows remember what waits");
    world.give(Input::Express(job(1)));
    assert!(!world.machine.is_idle(NOW) && world.started.is_empty());
    world.give(Input::Configured(FIFO));
    assert_eq!(world.run(), [1]);
    world.give(Input::Express(job(2)));
    world.give(Input::Gone);
    assert!(!world.machine.is_idle(NOW), "it is under way");
    world.run();
    assert!(world.machine.is_idle(NOW), "who is gone gets nothing");
}
