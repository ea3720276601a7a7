//! The governor against lists: who holds, who waits, and the rules of the module said in words of one line each.

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use uuid::Uuid;

use super::*;
use crate::machine::random_steps;

const ENDPOINTS: usize = 7;
const WORKSPACES: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Step {
    Ask(usize),
    /// One of the grants that are held is given back.
    Release(usize),
    /// An endpoint dies: it wishes for nothing any more, and of what it held so many at most are still in use.
    Abandon(usize, usize),
}

#[derive(Clone, Debug)]
struct Crowd {
    max: usize,
    /// The endpoint of each grant.
    held: Vec<usize>,
    /// The endpoint of each wish.
    wished: Vec<usize>,
    /// Endpoints, and workspaces, in the order in which they began to wait or got something last.
    endpoints: Vec<usize>,
    workspaces: Vec<usize>,
    /// Who got a grant in the last step.
    granted: Vec<usize>,
}

fn workspace(endpoint: usize) -> usize {
    endpoint % WORKSPACES
}

fn to_the_end(line: &mut Vec<usize>, who: usize) {
    line.retain(|other| *other != who);
    line.push(who);
}

impl Crowd {
    fn held_by(&self, endpoint: usize) -> usize {
        self.held.iter().filter(|held| **held == endpoint).count()
    }

    fn held_by_workspace(&self, number: usize) -> usize {
        self.held.iter().filter(|held| workspace(**held) == number).count()
    }

    fn free(&self) -> usize {
        self.max - self.held.len()
    }

    /// How many more a workspace may take, one by one: while it holds fewer than eight times what is free.
    fn room(&self, number: usize) -> usize {
        let (free, held) = (self.free(), self.held_by_workspace(number));
        (0..free).take_while(|more| held + more < 8 * (free - more)).count()
    }

    fn may_take(&self, endpoint: usize) -> bool {
        let (held, room) = (self.held_by(endpoint), self.room(workspace(endpoint)));
        // A quarter is for those who have none.
        if held == 0 { room > 0 } else { held + self.max / 4 < room }
    }

    fn give(&mut self, endpoint: usize) {
        self.held.push(endpoint);
        self.granted.push(endpoint);
        to_the_end(&mut self.endpoints, endpoint);
        to_the_end(&mut self.workspaces, workspace(endpoint));
    }

    fn give_what_is_free(&mut self) {
        while let Some(endpoint) = self.next() {
            let wish = self.wished.iter().position(|other| *other == endpoint);
            self.wished.remove(wish.expect("it waits"));
            self.give(endpoint);
        }
    }

    fn wish(&mut self, endpoint: usize) {
        if !self.wished.contains(&endpoint) {
            to_the_end(&mut self.endpoints, endpoint);
        }
        if !self.wished.iter().any(|other| workspace(*other) == workspace(endpoint)) {
            to_the_end(&mut self.workspaces, workspace(endpoint));
        }
        self.wished.push(endpoint);
    }

    /// The workspace that holds the fewest, of its endpoints the one that holds the fewest, who has waited longest.
    fn next(&self) -> Option<usize> {
        let place = |line: &[usize], who: usize| line.iter().position(|other| *other == who);
        self.wished.iter().copied().filter(|endpoint| self.may_take(*endpoint)).min_by_key(|endpoint| {
            let number = workspace(*endpoint);
            let of_workspace = (self.held_by_workspace(number), place(&self.workspaces, number));
            (of_workspace, self.held_by(*endpoint), place(&self.endpoints, *endpoint))
        })
    }
}

struct Model;

impl ReferenceStateMachine for Model {
    type State = Crowd;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Crowd> {
        let new = |max| Crowd {
            max,
            held: Vec::new(),
            wished: Vec::new(),
            endpoints: Vec::new(),
            workspaces: Vec::new(),
            granted: Vec::new(),
        };
        (1..24_usize).prop_map(new).boxed()
    }

    fn transitions(_: &Crowd) -> BoxedStrategy<Step> {
        let release = (0..64_usize).prop_map(Step::Release);
        let abandon = (0..ENDPOINTS, 0..2_usize).prop_map(|(endpoint, kept)| Step::Abandon(endpoint, kept));
        prop_oneof![6 => (0..ENDPOINTS).prop_map(Step::Ask), 4 => release, 1 => abandon].boxed()
    }

    fn apply(mut crowd: Crowd, step: &Step) -> Crowd {
        crowd.granted.clear();
        match *step {
            Step::Ask(endpoint) if !crowd.wished.contains(&endpoint) && crowd.may_take(endpoint) => {
                crowd.give(endpoint);
            }
            Step::Ask(endpoint) => crowd.wish(endpoint),
            Step::Release(at) => {
                if !crowd.held.is_empty() {
                    crowd.held.remove(at % crowd.held.len());
                }
                crowd.give_what_is_free();
            }
            Step::Abandon(endpoint, kept) => {
                crowd.wished.retain(|other| *other != endpoint);
                let kept = crowd.held_by(endpoint).min(kept);
                crowd.held.retain(|other| *other != endpoint);
                crowd.held.extend(std::iter::repeat_n(endpoint, kept));
                crowd.give_what_is_free();
            }
        }
        crowd
    }
}

fn endpoint_id(endpoint: usize) -> EndpointId {
    EndpointId(Uuid::from_u128(endpoint as u128))
}

fn workspace_id(endpoint: usize) -> WorkspaceId {
    WorkspaceId(Uuid::from_u128(workspace(endpoint) as u128))
}

impl StateMachineTest for Model {
    /// With the grants as they were before.
    type SystemUnderTest = (Governor, Vec<usize>);
    type Reference = Self;

    fn init_test(crowd: &Crowd) -> Self::SystemUnderTest {
        (Governor::new(crowd.max), Vec::new())
    }

    fn apply((mut governor, held): Self::SystemUnderTest, crowd: &Crowd, step: Step) -> Self::SystemUnderTest {
        let granted = match step {
            Step::Ask(endpoint) => Vec::from_iter(
                governor.ask(workspace_id(endpoint), endpoint_id(endpoint)).then(|| endpoint_id(endpoint)),
            ),
            Step::Release(at) if !held.is_empty() => governor.release(endpoint_id(held[at % held.len()])),
            Step::Release(_) => Vec::new(),
            Step::Abandon(endpoint, kept) => governor.abandon(endpoint_id(endpoint), kept),
        };
        assert_eq!(granted, Vec::from_iter(crowd.granted.iter().copied().map(endpoint_id)), "who got a grant");
        (governor, crowd.held.clone())
    }

    fn check_invariants((governor, _): &Self::SystemUnderTest, crowd: &Crowd) {
        assert_eq!(governor.free, crowd.max - crowd.held.len(), "grants were made or lost");
        assert_eq!(crowd.next(), None, "somebody waits who may take a grant");
    }

    fn teardown((mut governor, held): Self::SystemUnderTest, mut crowd: Crowd) {
        let mut left = held.len() + crowd.wished.len();
        while let Some(endpoint) = crowd.held.pop() {
            let granted = governor.release(endpoint_id(endpoint));
            let number = |id: EndpointId| (0..ENDPOINTS).find(|number| endpoint_id(*number) == id);
            crowd.held.extend(granted.into_iter().filter_map(number));
            left -= 1;
        }
        assert_eq!((left, governor.free), (0, crowd.max), "in the end everybody gets all that was asked for");
        assert!(governor.endpoints.is_empty() && governor.workspaces.is_empty() && governor.turns.is_empty());
    }
}

prop_state_machine! {
    #![proptest_config(random_steps(300))]

    #[test]
    fn grants_go_to_whom_the_rules_name_and_nobody_waits_who_may_have_one(sequential 1..80 => Model);
}
