//! The leases, modelled: every order in which two nodes, the database and Redis can act, up to a bound.
//!
//! The code is in `cluster`, `store::completion` and `schedule`; [`protocol`] says which function each action stands for.
//! No guard is there without need: without any of them, an order of events is found that breaks a promise.

mod protocol;
mod world;

use protocol::{Guard, Protocol};
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
