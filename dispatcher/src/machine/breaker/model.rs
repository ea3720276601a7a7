//! The breaker against what people are told of it: five different deliveries, the table of waits, and the patience.

use std::collections::BTreeSet;

use angarium_entity::{EndpointId, WorkspaceId};
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use uuid::Uuid;

use super::*;
use crate::machine::random_steps;

const START: Timestamp = Timestamp::from_millis(1_000_000);
/// Seconds before the first probe, the second and so on; the last goes on.
const WAITS: [u64; 6] = [30, 60, 120, 240, 480, 600];
const HOUR: Duration = Duration::from_hours(1);
const SUSPEND_AFTER: Duration = Duration::from_hours(2);

#[derive(Clone, Copy, Debug)]
enum Step {
    Wait(Duration),
    /// An attempt of a delivery ends. It is a probe if the circuit is half-open by then and it is said to be one.
    End {
        delivery: u128,
        ended: Ended,
        is_probe: bool,
        is_test: bool,
    },
    /// A person starts it afresh.
    Afresh,
    /// An old row is read again.
    Reread,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Clone, Debug)]
struct Told {
    now: Timestamp,
    /// Deliveries that failed since the last success.
    failed: BTreeSet<u128>,
    failing_since: Option<Timestamp>,
    probe_at: Option<Timestamp>,
    /// How often the circuit was opened since it was closed.
    opened: usize,
    suspended: bool,
    /// It has answered 410.
    gone: bool,
    /// The rules know of that.
    gone_in_rules: bool,
    generation: i32,
    /// Whether the last step suspended it, or ended that.
    suspends: bool,
    recovers: bool,
}

impl Told {
    fn is_half_open(&self) -> bool {
        self.probe_at.is_some_and(|at| at <= self.now)
    }

    fn close(&mut self) {
        (self.probe_at, self.opened) = (None, 0);
        self.failed.clear();
    }

    fn open_for(&mut self, wait: Duration) {
        self.probe_at = Some(self.now + wait);
        self.opened += 1;
    }

    fn end(&mut self, delivery: u128, ended: Ended, is_probe: bool, is_test: bool) {
        if ended == Ended::Succeeded {
            self.close();
            self.failing_since = None;
            self.recovers = !self.gone && std::mem::take(&mut self.suspended);
            return;
        }
        let since = *self.failing_since.get_or_insert(self.now);
        self.gone |= ended == Ended::Gone;
        if self.gone {
            return self.close();
        }
        let wait = Duration::from_secs(WAITS[self.opened.min(WAITS.len() - 1)]);
        if is_probe {
            self.open_for(if self.suspended { HOUR } else { wait });
        } else if ended == Ended::Failed && !is_test {
            self.failed.insert(delivery);
            if self.failed.len() >= 5 && self.probe_at.is_none() {
                self.open_for(wait);
            }
        }
        if !self.suspended && !is_test && since + SUSPEND_AFTER <= self.now {
            self.probe_at = Some(self.now + HOUR);
            (self.suspended, self.suspends) = (true, true);
        }
    }
}

struct Model;

impl ReferenceStateMachine for Model {
    type State = Told;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Told> {
        Just(Told {
            now: START,
            failed: BTreeSet::new(),
            failing_since: None,
            probe_at: None,
            opened: 0,
            suspended: false,
            gone: false,
            gone_in_rules: false,
            generation: 0,
            suspends: false,
            recovers: false,
        })
        .boxed()
    }

    fn transitions(told: &Told) -> BoxedStrategy<Step> {
        let wait = prop_oneof![Just(1), Just(29), Just(30), Just(600), Just(3_600)].prop_map(Duration::from_secs);
        let ended = prop_oneof![
            10 => Just(Ended::Failed),
            1 => Just(Ended::Succeeded),
            1 => Just(Ended::Asked),
            1 => Just(Ended::Gone),
        ];
        let is_probe = if told.is_half_open() { proptest::bool::ANY.boxed() } else { Just(false).boxed() };
        let end = (1..9_u128, ended, is_probe, proptest::bool::weighted(0.1));
        let end = end.prop_map(|(delivery, ended, is_probe, is_test)| Step::End {
            delivery,
            ended,
            is_probe: is_probe && !is_test,
            is_test,
        });
        prop_oneof![10 => end, 4 => wait.prop_map(Step::Wait), 1 => Just(Step::Afresh), 1 => Just(Step::Reread)].boxed()
    }

    fn preconditions(told: &Told, step: &Step) -> bool {
        !matches!(step, Step::End { is_probe: true, .. }) || told.is_half_open()
    }

    fn apply(mut told: Told, step: &Step) -> Told {
        (told.suspends, told.recovers) = (false, false);
        match *step {
            Step::Wait(wait) => told.now = told.now + wait,
            Step::End { delivery, ended, is_probe, is_test } => told.end(delivery, ended, is_probe, is_test),
            Step::Afresh => {
                told.close();
                told.generation += 1;
                (told.failing_since, told.suspended) = (None, false);
                (told.gone, told.gone_in_rules) = (false, false);
            }
            Step::Reread => told.gone_in_rules = told.gone,
        }
        told
    }
}

impl StateMachineTest for Model {
    /// With what the rules said before the step: whether it is suspended, and whether because it is gone.
    type SystemUnderTest = (Breaker, bool, bool);
    type Reference = Self;

    fn init_test(_: &Told) -> Self::SystemUnderTest {
        (Breaker::new(row(0)), false, false)
    }

    fn apply((mut breaker, suspended, gone): Self::SystemUnderTest, told: &Told, step: Step) -> Self::SystemUnderTest {
        match step {
            Step::Wait(_) => {}
            Step::End { delivery, ended, is_probe, is_test } => {
                let end = End { delivery: DeliveryId(Uuid::from_u128(delivery)), ended, is_probe, is_test };
                let patience = Patience { suspend_after: SUSPEND_AFTER, suspended, gone };
                let verdict = breaker.judge(told.now, end, patience);
                assert_eq!(verdict.failing_since.is_some(), told.suspends, "whether it is to be suspended");
                assert_eq!(verdict.recovered, told.recovers, "whether it is back");
            }
            Step::Afresh | Step::Reread => breaker.learn(row(told.generation)),
        }
        // Who reads them in another process knows of nothing else.
        if told.gone_in_rules && matches!(step, Step::Reread) {
            breaker = Breaker::new(breaker.health);
        }
        (breaker, told.suspended, told.gone_in_rules)
    }

    fn check_invariants((breaker, ..): &Self::SystemUnderTest, told: &Told) {
        assert_eq!(breaker.probe_at(), told.probe_at, "when the next probe may start");
        assert_eq!(breaker.is_half_open(told.now), told.is_half_open(), "whether one is let through");
        assert_eq!(breaker.health.failing_since, told.failing_since, "since when it has been failing");
    }
}

fn row(generation: i32) -> endpoint_health::Model {
    let (endpoint, workspace) = (EndpointId(Uuid::from_u128(1)), WorkspaceId(Uuid::from_u128(1)));
    endpoint_health::Model { generation, ..endpoint_health::Model::unknown(endpoint, workspace) }
}

prop_state_machine! {
    #![proptest_config(random_steps(300))]

    #[test]
    fn the_circuit_opens_waits_and_closes_as_people_are_told(sequential 1..80 => Model);
}
