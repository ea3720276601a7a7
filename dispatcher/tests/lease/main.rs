//! The leases, modelled: every order in which two nodes, the database and Redis can act, up to a bound.
//!
//! The code is in `cluster`, `store::completion` and `schedule`; [`protocol`] says which function each action stands for, and
//! [`schedule`] the same for what Redis may forget.
//! No guard is there without need: without any of them, an order of events is found that breaks a promise.

mod ends;
mod protocol;
mod schedule;
mod world;

use protocol::{Guard, Protocol};
use schedule::Schedule;
use stateright::{Checker as _, HasDiscoveries, Model as _};

#[test]
fn with_every_guard_requests_and_results_of_two_nodes_never_meet() {
    holds(Protocol::default());
}

#[test]
fn with_every_guard_the_schedule_is_that_of_its_owner() {
    holds(Protocol { scheduled: true, ..Protocol::default() });
}

/// All promises, in every order of events.
fn holds(protocol: Protocol) {
    let checker = protocol.checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    eprintln!("{} states, the furthest after {} steps", checker.unique_state_count(), checker.max_depth());
}

/// Without `guard` the promise is broken.
fn breaks(guard: Guard, promise: &'static str) {
    let protocol = Protocol { without: Some(guard), scheduled: guard == Guard::Epoch };
    let enough = HasDiscoveries::AnyOf([promise].into());
    let checker = protocol.checker().finish_when(enough).spawn_bfs().join();
    let path = checker.discovery(promise).unwrap_or_else(|| panic!("nothing breaks it: {promise}"));
    let steps: Vec<_> = path.into_actions();
    eprintln!("without {guard:?}, after {} states: {steps:?}", checker.unique_state_count());
}

#[test]
fn without_the_check_of_the_lease_a_frozen_node_sends_beside_its_successor() {
    breaks(Guard::LeaseCheck, "no two requests are on the wire at once");
}

#[test]
fn without_the_fence_a_result_of_a_buried_node_is_written() {
    breaks(Guard::Fence, "nobody writes results but the owner");
}

#[test]
fn without_compare_and_set_a_result_whose_commit_was_not_answered_counts_twice() {
    breaks(Guard::CompareAndSet, "every result counts once");
}

#[test]
fn without_a_look_at_the_owner_a_claim_takes_the_shard_of_a_living_node() {
    breaks(Guard::ClaimOfTheFree, "no two requests are on the wire at once");
}

#[test]
fn without_the_epoch_a_frozen_node_puts_the_schedule_back() {
    breaks(Guard::Epoch, "the schedule never goes back");
}

#[test]
fn without_the_wait_a_request_of_the_dead_is_still_on_the_wire() {
    breaks(Guard::Wait, "no two requests are on the wire at once");
}

#[test]
fn without_keeping_the_shard_while_it_waits_the_next_owner_does_not_wait() {
    breaks(Guard::KeepWhileWaiting, "no two requests are on the wire at once");
}

#[test]
fn if_a_second_claim_forgot_the_dead_the_wait_would_be_lost_with_the_answer_to_the_first() {
    breaks(Guard::ClaimedTwice, "no two requests are on the wire at once");
}

#[test]
fn without_the_epoch_in_a_release_one_that_comes_late_gives_away_what_was_taken_again() {
    breaks(Guard::ReleaseNamesEpoch, "no two requests are on the wire at once");
}

#[test]
fn if_a_shard_went_on_whose_release_was_not_answered_the_next_owner_would_send_beside_it() {
    breaks(Guard::LeavingIsQuiet, "no two requests are on the wire at once");
}

#[test]
fn with_every_guard_a_schedule_that_redis_forgets_is_missed_and_every_retry_leaves() {
    let checker = Schedule::default().checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    eprintln!("{} states, the furthest after {} steps", checker.unique_state_count(), checker.max_depth());
    assert_eq!(never_delivered(Schedule::default()), None);
}

/// Where it may come to that a delivery is never made, though nothing more goes wrong.
fn never_delivered(schedule: Schedule) -> Option<schedule::World> {
    ends::first_without(&schedule, schedule::World::is_delivered, schedule::Action::is_fault)
}

/// Without `guard` the promise about the schedule is broken.
fn unschedules(guard: schedule::Guard, promise: &'static str) {
    let enough = HasDiscoveries::AnyOf([promise].into());
    let checker = Schedule { without: Some(guard) }.checker().finish_when(enough).spawn_bfs().join();
    let path = checker.discovery(promise).unwrap_or_else(|| panic!("nothing breaks it: {promise}"));
    eprintln!("without {guard:?}, after {} states: {:?}", checker.unique_state_count(), path.into_actions());
}

#[test]
fn without_the_generation_an_emptied_schedule_is_taken_for_one_in_which_nothing_waits() {
    unschedules(schedule::Guard::Generation, "a schedule that is read says all that its owner relies on");
}

#[test]
fn if_something_were_written_while_a_schedule_is_made_of_rows_from_before_it_would_be_missing() {
    unschedules(schedule::Guard::OneTask, "a schedule that is read says all that its owner relies on");
}

#[test]
fn without_the_epoch_a_frozen_node_writes_below_its_successor() {
    unschedules(schedule::Guard::Epoch, "nothing is written below a newer owner");
}

#[test]
fn without_the_sweep_a_retry_never_leaves_that_a_crash_has_kept_from_the_schedule() {
    let stuck = never_delivered(Schedule { without: Some(schedule::Guard::Sweep) });
    eprintln!("{:?}", stuck.expect("nothing needs the sweep"));
}
