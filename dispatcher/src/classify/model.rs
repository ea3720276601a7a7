//! The life of one delivery against its policy written out as a list of delays.

use angarium_entity::retry_policy::Growth;
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use super::*;
use crate::machine::random_steps;

const START: Timestamp = Timestamp::from_millis(1_000_000_000);
const STANDARD_S: [u64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
const DAY_MS: u64 = 86_400_000;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// An attempt ends, when it is due: with 2xx, or else so, with a draw of jitter in percent and `Retry-After`.
    Succeed,
    Fail {
        jitter: u8,
        asked_ms: Option<u64>,
    },
    /// A probe of the circuit breaker ends in the same way.
    Probe {
        jitter: u8,
        asked_ms: Option<u64>,
    },
    Cancel,
    /// A person asks for it again, so many milliseconds later.
    Retry(u64),
}

#[derive(Clone, Debug)]
struct Life {
    policy: RetryPolicy,
    /// Before each retry of a round, in milliseconds, before jitter.
    delays_ms: Vec<u64>,
    now: Timestamp,
    /// Of this round.
    attempts: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fresh,
    /// Due no sooner and no later than that.
    Waits(Timestamp, Timestamp),
    Ended,
    Exhausted,
}

impl Life {
    fn is_open(&self) -> bool {
        matches!(self.state, State::Fresh | State::Waits(..))
    }

    fn fail(&mut self, jitter: u8, asked_ms: Option<u64>) {
        self.attempts += 1;
        match self.delays_ms.get(self.attempts - 1) {
            Some(delay) => self.wait(*delay, jitter, asked_ms),
            None => self.state = State::Exhausted,
        }
    }

    /// No attempt is used up: the step before it comes again, and the first where there was none.
    fn probe(&mut self, jitter: u8, asked_ms: Option<u64>) {
        let delay = self.delays_ms.get(self.attempts.saturating_sub(1)).copied().unwrap_or(0);
        self.wait(delay, jitter, asked_ms);
    }

    fn wait(&mut self, delay: u64, jitter: u8, asked_ms: Option<u64>) {
        // From 80 to 120 percent, as drawn; to the millisecond.
        let drawn = delay * (8_000 + 40 * u64::from(jitter)) / 10_000;
        let wait = drawn.max(asked_ms.unwrap_or(0).min(DAY_MS));
        self.state = State::Waits(later(self.now, wait.saturating_sub(1)), later(self.now, wait + 1));
    }
}

fn later(at: Timestamp, millis: u64) -> Timestamp {
    at + Duration::from_millis(millis)
}

fn policies() -> BoxedStrategy<(RetryPolicy, Vec<u64>)> {
    let standard = (1..=10_u16).prop_map(|max_attempts| {
        let delays = STANDARD_S[..usize::from(max_attempts) - 1].iter().map(|seconds| seconds * 1_000).collect();
        (RetryPolicy::Standard { max_attempts }, delays)
    });
    let custom = proptest::collection::vec(0..1_000_000_u64, 0..6)
        .prop_map(|delays_ms| (RetryPolicy::Custom { delays_ms: delays_ms.clone() }, delays_ms));
    let growth = prop_oneof![Just(Growth::Fixed), Just(Growth::Linear), Just(Growth::Exponential)];
    let computed = (growth, 1..100_000_u64, 1..1_000_000_u64, 1..=50_u16);
    let computed = computed.prop_map(|(growth, initial_delay_ms, max_delay_ms, max_attempts)| {
        let mut grown = initial_delay_ms;
        let mut delays = Vec::new();
        while delays.len() + 1 < usize::from(max_attempts) {
            delays.push(grown.min(max_delay_ms));
            grown = match growth {
                Growth::Fixed => grown,
                Growth::Linear => grown + initial_delay_ms,
                Growth::Exponential => grown.saturating_mul(2),
            };
        }
        (RetryPolicy::Computed { growth, initial_delay_ms, max_delay_ms, max_attempts }, delays)
    });
    prop_oneof![standard, custom, computed].boxed()
}

struct Model;

impl ReferenceStateMachine for Model {
    type State = Life;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Life> {
        let new = |(policy, delays_ms)| Life { policy, delays_ms, now: START, attempts: 0, state: State::Fresh };
        policies().prop_map(new).boxed()
    }

    fn transitions(_: &Life) -> BoxedStrategy<Step> {
        let asked = proptest::option::weighted(0.3, 0..2 * DAY_MS);
        let fail = (0..100_u8, asked).prop_map(|(jitter, asked_ms)| Step::Fail { jitter, asked_ms });
        let retry = (0..100_000_u64).prop_map(Step::Retry);
        let probe = fail.clone().prop_map(|fail| match fail {
            Step::Fail { jitter, asked_ms } => Step::Probe { jitter, asked_ms },
            other => other,
        });
        prop_oneof![20 => fail, 5 => probe, 1 => Just(Step::Succeed), 1 => Just(Step::Cancel), 3 => retry].boxed()
    }

    fn apply(mut life: Life, step: &Step) -> Life {
        if let (State::Waits(_, due), Step::Succeed | Step::Fail { .. } | Step::Probe { .. }) = (life.state, step) {
            life.now = due;
        }
        match *step {
            Step::Succeed | Step::Cancel if life.is_open() => life.state = State::Ended,
            Step::Fail { jitter, asked_ms } if life.is_open() => life.fail(jitter, asked_ms),
            Step::Probe { jitter, asked_ms } if life.is_open() => life.probe(jitter, asked_ms),
            Step::Retry(millis) if life.state != State::Fresh => {
                life.now = later(life.now, millis);
                (life.attempts, life.state) = (0, State::Waits(life.now, life.now));
            }
            _ => {}
        }
        life
    }
}

impl StateMachineTest for Model {
    /// With the attempts of its round.
    type SystemUnderTest = (DeliveryState, u16);
    type Reference = Self;

    fn init_test(_: &Life) -> Self::SystemUnderTest {
        (DeliveryState::Pending, 0)
    }

    fn apply((state, attempts): Self::SystemUnderTest, life: &Life, step: Step) -> Self::SystemUnderTest {
        let (now, is_open) = (life.now, state.status().is_open());
        let refused = |_| {
            assert!(!is_open || matches!(step, Step::Retry(_)), "an open delivery may take every step");
            state
        };
        match step {
            Step::Succeed => (state.succeed(now).unwrap_or_else(refused), attempts + 1),
            Step::Cancel => (state.cancel(now).unwrap_or_else(refused), attempts),
            Step::Retry(_) => state.retry_by_hand(now).map_or((state, attempts), |state| (state, 0)),
            Step::Fail { jitter, asked_ms } if is_open => {
                let asked = asked_ms.map(Duration::from_millis);
                let jitter = f64::from(jitter) / 100.0;
                (after_failure(state, &life.policy, attempts + 1, jitter, asked, now), attempts + 1)
            }
            Step::Probe { jitter, asked_ms } if is_open => {
                let asked = asked_ms.map(Duration::from_millis);
                (after_probe(state, &life.policy, attempts, f64::from(jitter) / 100.0, asked, now), attempts)
            }
            Step::Fail { .. } | Step::Probe { .. } => (state, attempts),
        }
    }

    fn check_invariants((state, _): &Self::SystemUnderTest, life: &Life) {
        let is_as_said = match (life.state, state) {
            (State::Fresh, DeliveryState::Pending)
            | (State::Ended, DeliveryState::Succeeded { .. } | DeliveryState::Canceled { .. })
            | (State::Exhausted, DeliveryState::Exhausted { .. }) => true,
            (State::Waits(from, to), DeliveryState::Retrying { next_attempt_at }) => {
                (from..=to).contains(next_attempt_at)
            }
            _ => false,
        };
        assert!(is_as_said, "{state:?}, but the list says {:?}", life.state);
    }
}

prop_state_machine! {
    #![proptest_config(random_steps(300))]

    #[test]
    fn every_round_of_a_delivery_is_retried_after_the_delays_of_its_policy_until_they_are_used_up(
        sequential 1..80 => Model
    );
}
