//! One event on its way to one endpoint, its whole life.
//!
//! Due     `next_attempt_at` is null while a PENDING delivery waits for its turn in the line, and set while it waits
//!         for a time: always in RETRYING. Final deliveries have none.
//! Rounds  `attempt_count` counts all attempts; `round_attempts` those since the last manual retry, which started
//!         round `round`, but for probes of the circuit breaker. The retry policy counts within a round. A result of an
//!         earlier round is recorded as an attempt but no longer decides the state.
//! Order   `seq` comes from a database sequence in publish order and orders the line of an endpoint.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{DeliveryId, EndpointId, EventId, ReplayId, SubscriptionId, Timestamp, WorkspaceId};

pub mod state;

pub use state::DeliveryState;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "delivery")]
pub struct Model {
    /// Key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: DeliveryId,
    /// Its tenant.
    pub workspace_id: WorkspaceId,
    /// What is delivered.
    pub event_id: EventId,
    /// Where to.
    pub endpoint_id: EndpointId,
    /// The subscription that decided; the oldest that matched.
    pub subscription_id: SubscriptionId,
    /// Shard of the endpoint.
    pub shard: i32,
    /// Place in publish order.
    pub seq: i64,
    /// Where it stands.
    pub status: Status,
    /// Why it ended or waits, in words.
    pub status_reason: Option<String>,
    /// Why it exists.
    pub trigger: Trigger,
    /// The replay that made it.
    pub replay_id: Option<ReplayId>,
    /// Name of the event's type.
    pub event_type: String,
    /// Attempts made.
    pub attempt_count: i32,
    /// 1, and one more after each manual retry.
    pub round: i32,
    /// Attempts made in this round, without probes: what the retry policy has used up.
    pub round_attempts: i32,
    /// When the next attempt is due.
    pub next_attempt_at: Option<Timestamp>,
    /// When the latest attempt started.
    pub last_attempt_at: Option<Timestamp>,
    /// HTTP status of the latest response.
    pub response_status_code: Option<i32>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it became final.
    pub completed_at: Option<Timestamp>,
}

/// No relations: attempts are read by delivery, many at once.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The deliveries of a workspace: where a query on behalf of a caller starts.
    pub fn of(workspace: WorkspaceId) -> Select<Self> {
        Self::find().filter(Column::WorkspaceId.eq(workspace))
    }
}

impl Model {
    /// See [`is_begun`].
    pub fn is_begun(&self) -> bool {
        is_begun(self.status, self.round, self.round_attempts)
    }
}

/// Whether a delivery was tried and waits for its next attempt: nothing of a STRICT line passes it. What was only asked
/// for by hand stands where it joined, also while it was but probed.
pub fn is_begun(status: Status, round: i32, round_attempts: i32) -> bool {
    status == Status::Retrying && (round_attempts > 0 || round == 1)
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))", rename_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Not attempted yet.
    Pending,
    /// Failed at least once, or asked for by hand; another attempt is due.
    Retrying,
    /// The endpoint answered 2xx.
    Succeeded,
    /// Failed in a way that no retry can change.
    Failed,
    /// Every attempt of the policy failed.
    Exhausted,
    /// Stopped by a caller.
    Canceled,
}

impl Status {
    /// Whether an attempt may still come.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Retrying)
    }

    /// The name, as stored and as in GraphQL.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Retrying => "RETRYING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Exhausted => "EXHAUSTED",
            Self::Canceled => "CANCELED",
        }
    }
}

/// Why a delivery exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))", rename_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Trigger {
    /// A published event.
    Event,
    /// A replay.
    Replay,
    /// A test.
    Test,
}

#[cfg(test)]
mod tests {
    use sea_orm::ActiveEnum;
    use sea_orm::Iterable;

    use super::*;

    #[test]
    fn stored_names_are_those_of_graphql() {
        for status in Status::iter() {
            assert_eq!(status.to_value(), status.name());
        }
    }
}
