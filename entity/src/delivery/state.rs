//! The states of a delivery and the ways between them.

use super::{Model, Status};
use crate::Timestamp;

/// pending | retrying → succeeded | retrying | failed | exhausted; any open state → canceled; by hand, a final state
/// or retrying → retrying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// Waits for its turn.
    Pending,
    /// Waits for its time.
    Retrying {
        /// When the next attempt is due.
        next_attempt_at: Timestamp,
    },
    /// The endpoint answered 2xx.
    Succeeded {
        /// When.
        at: Timestamp,
    },
    /// Failed in a way that no retry can change.
    Failed {
        /// When.
        at: Timestamp,
    },
    /// Every attempt of the policy failed.
    Exhausted {
        /// When.
        at: Timestamp,
    },
    /// Stopped by a caller.
    Canceled {
        /// When.
        at: Timestamp,
    },
}

/// A step that the present state does not allow.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("a delivery that is {from} cannot {step}", from = self.from.name())]
pub struct InvalidTransition {
    from: Status,
    step: &'static str,
}

impl DeliveryState {
    /// The endpoint answered 2xx to an attempt that ended at `at`.
    ///
    /// # Errors
    /// [`InvalidTransition`] when the delivery is in a final state.
    pub fn succeed(self, at: Timestamp) -> Result<Self, InvalidTransition> {
        self.when_open("succeed", Self::Succeeded { at })
    }

    /// An attempt failed and the policy allows another at `next_attempt_at`.
    ///
    /// # Errors
    /// [`InvalidTransition`] when the delivery is in a final state.
    pub fn retry_at(self, next_attempt_at: Timestamp) -> Result<Self, InvalidTransition> {
        self.when_open("be retried", Self::Retrying { next_attempt_at })
    }

    /// An attempt failed at `at` in a way that no retry can change.
    ///
    /// # Errors
    /// [`InvalidTransition`] when the delivery is in a final state.
    pub fn fail(self, at: Timestamp) -> Result<Self, InvalidTransition> {
        self.when_open("fail", Self::Failed { at })
    }

    /// The last attempt of the policy failed at `at`.
    ///
    /// # Errors
    /// [`InvalidTransition`] when the delivery is in a final state.
    pub fn exhaust(self, at: Timestamp) -> Result<Self, InvalidTransition> {
        self.when_open("be exhausted", Self::Exhausted { at })
    }

    /// A caller stopped it at `at`.
    ///
    /// # Errors
    /// [`InvalidTransition`] when the delivery is in a final state.
    pub fn cancel(self, at: Timestamp) -> Result<Self, InvalidTransition> {
        self.when_open("be canceled", Self::Canceled { at })
    }

    /// A caller asked at `at` for it to be tried again at once.
    ///
    /// # Errors
    /// [`InvalidTransition`] when it is pending: it was not tried yet.
    pub fn retry_by_hand(self, at: Timestamp) -> Result<Self, InvalidTransition> {
        match self {
            Self::Pending => Err(InvalidTransition { from: Status::Pending, step: "be retried by hand" }),
            _ => Ok(Self::Retrying { next_attempt_at: at }),
        }
    }

    /// The stored word for it.
    pub const fn status(self) -> Status {
        match self {
            Self::Pending => Status::Pending,
            Self::Retrying { .. } => Status::Retrying,
            Self::Succeeded { .. } => Status::Succeeded,
            Self::Failed { .. } => Status::Failed,
            Self::Exhausted { .. } => Status::Exhausted,
            Self::Canceled { .. } => Status::Canceled,
        }
    }

    /// When the next attempt is due, if it waits for a time.
    pub const fn next_attempt_at(self) -> Option<Timestamp> {
        match self {
            Self::Retrying { next_attempt_at } => Some(next_attempt_at),
            _ => None,
        }
    }

    /// When it became final, if it did.
    pub const fn completed_at(self) -> Option<Timestamp> {
        match self {
            Self::Succeeded { at } | Self::Failed { at } | Self::Exhausted { at } | Self::Canceled { at } => Some(at),
            Self::Pending | Self::Retrying { .. } => None,
        }
    }

    fn when_open(self, step: &'static str, next: Self) -> Result<Self, InvalidTransition> {
        let from = self.status();
        if from.is_open() { Ok(next) } else { Err(InvalidTransition { from, step }) }
    }
}

impl From<&Model> for DeliveryState {
    fn from(row: &Model) -> Self {
        let at = row.completed_at.unwrap_or(row.updated_at);
        match row.status {
            Status::Pending => Self::Pending,
            Status::Retrying => Self::Retrying { next_attempt_at: row.next_attempt_at.unwrap_or(row.updated_at) },
            Status::Succeeded => Self::Succeeded { at },
            Status::Failed => Self::Failed { at },
            Status::Exhausted => Self::Exhausted { at },
            Status::Canceled => Self::Canceled { at },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000);
    const FINAL: [DeliveryState; 4] = [
        DeliveryState::Succeeded { at: NOW },
        DeliveryState::Failed { at: NOW },
        DeliveryState::Exhausted { at: NOW },
        DeliveryState::Canceled { at: NOW },
    ];

    #[test]
    fn an_open_delivery_can_go_anywhere() {
        for open in [DeliveryState::Pending, DeliveryState::Retrying { next_attempt_at: NOW }] {
            assert_eq!(open.succeed(NOW), Ok(FINAL[0]));
            assert_eq!(open.fail(NOW), Ok(FINAL[1]));
            assert_eq!(open.exhaust(NOW), Ok(FINAL[2]));
            assert_eq!(open.cancel(NOW), Ok(FINAL[3]));
            assert_eq!(open.retry_at(NOW).map(DeliveryState::next_attempt_at), Ok(Some(NOW)));
        }
    }

    #[test]
    fn a_final_delivery_moves_only_by_hand() {
        for done in FINAL {
            assert!(done.succeed(NOW).is_err() && done.fail(NOW).is_err() && done.exhaust(NOW).is_err());
            assert!(done.cancel(NOW).is_err() && done.retry_at(NOW).is_err());
            assert_eq!(done.retry_by_hand(NOW), Ok(DeliveryState::Retrying { next_attempt_at: NOW }));
            assert!(done.completed_at().is_some() && done.next_attempt_at().is_none());
        }
    }

    #[test]
    fn a_pending_delivery_cannot_be_retried_by_hand() {
        let refused = DeliveryState::Pending.retry_by_hand(NOW).expect_err("it was not tried yet");
        assert_eq!(refused.to_string(), "a delivery that is PENDING cannot be retried by hand");
    }
}
