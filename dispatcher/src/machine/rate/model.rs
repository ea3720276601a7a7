//! The tokens against a list of all that was ever started.

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use super::*;
use crate::machine::random_steps;

#[derive(Clone, Copy, Debug)]
enum Step {
    Wait(u64),
    /// So many want to start.
    Start(usize),
    Limit(usize),
}

#[derive(Clone, Debug)]
struct Starts {
    now: Timestamp,
    limit: usize,
    at: Vec<Timestamp>,
}

impl Starts {
    /// Those of the second that ends now.
    fn of_the_second(&self) -> impl Iterator<Item = Timestamp> + '_ {
        self.at.iter().copied().filter(|at| self.now < *at + SECOND)
    }

    fn free(&self) -> usize {
        self.limit.saturating_sub(self.of_the_second().count())
    }
}

struct Model;

impl ReferenceStateMachine for Model {
    type State = Starts;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Starts> {
        (1..8_usize).prop_map(|limit| Starts { now: Timestamp::from_millis(1), limit, at: Vec::new() }).boxed()
    }

    fn transitions(_: &Starts) -> BoxedStrategy<Step> {
        let wait = prop_oneof![0..3_u64, 0..1_100_u64, Just(999), Just(1_000)];
        prop_oneof![
            4 => wait.prop_map(Step::Wait),
            4 => (1..5_usize).prop_map(Step::Start),
            1 => (0..8_usize).prop_map(Step::Limit),
        ]
        .boxed()
    }

    fn apply(mut starts: Starts, step: &Step) -> Starts {
        match *step {
            Step::Wait(millis) => starts.now = starts.now + Duration::from_millis(millis),
            Step::Start(count) => (0..count.min(starts.free())).for_each(|_| starts.at.push(starts.now)),
            Step::Limit(limit) => starts.limit = limit,
        }
        starts
    }
}

impl StateMachineTest for Model {
    type SystemUnderTest = Tokens;
    type Reference = Self;

    fn init_test(_: &Starts) -> Tokens {
        Tokens::default()
    }

    fn apply(mut tokens: Tokens, starts: &Starts, step: Step) -> Tokens {
        if let Step::Start(count) = step {
            for _ in 0..count {
                if tokens.free(starts.now, starts.limit) > 0 {
                    tokens.take(starts.now);
                }
            }
        }
        assert_eq!(tokens.free(starts.now, starts.limit), starts.free(), "tokens that are left");
        assert_eq!(tokens.next_at(), starts.of_the_second().min().map(|at| at + SECOND), "when the next comes back");
        tokens
    }
}

prop_state_machine! {
    #![proptest_config(random_steps(300))]

    #[test]
    fn as_many_may_start_as_the_last_second_leaves(sequential 1..80 => Model);
}
