//! Whether a subscription delivers: derived from itself and its endpoint, never stored.

use angarium_entity::{Timestamp, endpoint, subscription};
use async_graphql::Enum;

/// Whether a subscription delivers: the first that holds of DISABLED, EXPIRED, `PENDING_CONFIRMATION`, SUSPENDED,
/// PAUSED, ACTIVE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(name = "WebhookSubscriptionStatus")]
pub enum Status {
    /// Delivering.
    Active,
    /// Switched off by its owner.
    Disabled,
    /// Past `expiresAt`.
    Expired,
    /// Its endpoint is paused.
    Paused,
    /// Waiting for the endpoint to confirm.
    PendingConfirmation,
    /// Its endpoint is suspended.
    Suspended,
}

impl Status {
    /// That of a subscription at `now`.
    pub fn of(subscription: &subscription::Model, endpoint: &endpoint::Model, now: Timestamp) -> Self {
        if !subscription.enabled {
            return Self::Disabled;
        }
        if subscription.is_expired(now) {
            return Self::Expired;
        }
        if subscription.is_pending() {
            return Self::PendingConfirmation;
        }
        match endpoint.status {
            endpoint::Status::Suspended => Self::Suspended,
            endpoint::Status::Paused => Self::Paused,
            endpoint::Status::Active => Self::Active,
        }
    }
}

/// The same for people; none when it delivers.
pub fn explain(status: Status, subscription: &subscription::Model, endpoint: &endpoint::Model) -> Option<String> {
    let because = |what: &str| match &endpoint.status_reason {
        Some(reason) => format!("{what}: {reason}"),
        None => format!("{what}."),
    };
    match status {
        Status::Active => None,
        Status::Disabled => Some("Switched off by its owner.".to_owned()),
        Status::Expired => subscription.expires_at.map(|end| format!("Expired at {end}.")),
        Status::PendingConfirmation => Some(match subscription.confirmation_expires_at {
            Some(end) => format!(
                "Its endpoint was sent a link that has to be opened before {end}; after that, ask for another message."
            ),
            None => "Its endpoint has to echo the challenge that it is sent.".to_owned(),
        }),
        Status::Paused => Some(because("Its endpoint is paused")),
        Status::Suspended => Some(because("Its endpoint is suspended")),
    }
}
