//! What goes into the machine, and what comes out.

use angarium_entity::endpoint::Ordering;
use angarium_entity::{DeliveryId, Timestamp};

use crate::job::Job;
use crate::machine::breaker::Patience;

/// What the machine must know of its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) ordering: Ordering,
    pub(crate) max_in_flight: usize,
    /// Requests per second; none means no limit.
    pub(crate) rate_limit: Option<usize>,
    pub(crate) hold: Hold,
    pub(crate) patience: Patience,
}

/// Whether deliveries go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// They do.
    No,
    /// Not before then.
    Until(Timestamp),
    /// Not until somebody changes that.
    Paused,
}

impl Hold {
    /// The one that lasts longer.
    pub(crate) fn stricter(self, other: Self) -> Self {
        match (self, other) {
            (Self::Paused, _) | (_, Self::Paused) => Self::Paused,
            (Self::Until(one), Self::Until(another)) => Self::Until(one.max(another)),
            (Self::No, hold) | (hold, Self::No) => hold,
        }
    }
}

#[derive(Debug)]
pub(crate) enum Input {
    /// The rules, at the start and at every change.
    Configured(Rules),
    /// The rules have changed, and are being read. Nothing starts by the old ones.
    Unconfigured,
    /// The endpoint, or all that it had to send, is gone.
    Gone,
    /// Just committed, in publish order. A hint: the rows say the same.
    Arrived(Vec<Job>),
    /// This skips the line.
    Express(Job),
    /// Something may wait in the rows.
    Kicked,
    /// What was read from the rows: the front of the line and what is due. `full` when there may be more of either.
    Page { jobs: Vec<Job>, full: bool },
    /// Somebody else has moved this delivery: what memory knows of it is not true any more.
    Changed(DeliveryId),
    /// A grant that was waited for.
    Granted,
    /// A request ended. What comes next depends on what its end says of the endpoint.
    Finished { delivery: DeliveryId, hold: Option<Hold> },
    /// What an ended attempt asked for counts for nothing: nothing of it was written.
    Void(DeliveryId),
    /// The result of an ended attempt is durable. `is_final` when it is known that the delivery is.
    Recorded { delivery: DeliveryId, is_final: bool },
    /// Start nothing more.
    Drain,
    /// Start again after all.
    GoOn,
    /// Look again: time has passed.
    Tick,
}

#[derive(Debug)]
pub(crate) enum Output {
    /// Ask the governor for a grant; the answer is [`Input::Granted`], now or later.
    Ask,
    /// Give a grant back.
    Release,
    /// Send this. Uses up a grant until [`Input::Finished`].
    Start(Job),
    /// Read the front of the line and what is due, at most so many of each.
    Read { limit: usize },
    /// Come back at this time.
    WakeAt(Timestamp),
}
