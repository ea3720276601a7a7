//! What can happen to an endpoint.

use std::time::Duration;

use angarium_entity::Timestamp;
use angarium_entity::endpoint::Ordering;
use proptest::prelude::*;

use crate::machine::endpoint::Hold;

/// Where it says `usize`, it is one of those that are there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Some are published, to go out after a while or at once, and the endpoint is told: of them, or to look.
    Publish {
        count: usize,
        after: Option<Duration>,
        told: Told,
    },
    /// One that skips the line.
    Test,
    /// An old hint comes late, or again.
    Hint(usize),
    Sweep,
    /// A request ends.
    Finish(usize, End),
    /// The result of one becomes durable, in any order.
    Record(usize),
    Wait(Duration),
    Order(Ordering),
    Pause,
    Resume,
    /// Somebody cancels a delivery.
    Cancel(usize),
    /// Somebody asks for a delivery again.
    Retry(usize),
    /// Whether the governor has no grants.
    Busy(bool),
    Drain,
    GoOn,
    /// The lease was lost, or the actor has died: another machine begins.
    Abort,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Once,
    Twice,
    ToLook,
}

/// How a request ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Delivered,
    /// It is tried again after this.
    Failed(Duration),
    /// The same, and the endpoint is left alone until then.
    Asked(Duration),
    /// 410.
    Gone,
}

impl End {
    /// What it asks of the endpoint, if it came `at`.
    pub(super) fn hold(self, at: Timestamp) -> Option<Hold> {
        match self {
            Self::Delivered | Self::Failed(_) => None,
            Self::Asked(wait) => Some(Hold::Until(at + wait)),
            Self::Gone => Some(Hold::Paused),
        }
    }
}

/// A step, and whether a page from before it arrives after it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Move {
    pub(super) step: Step,
    pub(super) late_page: bool,
}

/// Any step, those most often that keep an endpoint going.
pub(super) fn any_move() -> BoxedStrategy<Move> {
    let one = || 0..64_usize;
    let wait = || prop_oneof![Just(100), Just(1_000), Just(5_000), Just(20_000)].prop_map(Duration::from_millis);
    let told = prop_oneof![3 => Just(Told::Once), 1 => Just(Told::Twice), 1 => Just(Told::ToLook)];
    let end = prop_oneof![
        4 => Just(End::Delivered),
        3 => wait().prop_map(End::Failed),
        1 => wait().prop_map(End::Asked),
        1 => Just(End::Gone),
    ];
    let ordering = prop_oneof![Just(Ordering::Fifo), Just(Ordering::None), Just(Ordering::Strict)];
    let step = prop_oneof![
        6 => (1..4_usize, proptest::option::weighted(0.2, wait()), told)
            .prop_map(|(count, after, told)| Step::Publish { count, after, told }),
        10 => (one(), end).prop_map(|(at, end)| Step::Finish(at, end)),
        8 => one().prop_map(Step::Record),
        4 => wait().prop_map(Step::Wait),
        1 => Just(Step::Test),
        1 => one().prop_map(Step::Hint),
        1 => Just(Step::Sweep),
        1 => Just(Step::Pause),
        3 => Just(Step::Resume),
        1 => one().prop_map(Step::Cancel),
        2 => one().prop_map(Step::Retry),
        2 => proptest::bool::ANY.prop_map(Step::Busy),
        1 => Just(Step::Drain),
        2 => Just(Step::GoOn),
        1 => Just(Step::Abort),
        2 => ordering.prop_map(Step::Order),
    ];
    (step, proptest::bool::ANY).prop_map(|(step, late_page)| Move { step, late_page }).boxed()
}
