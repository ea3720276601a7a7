//! Past events being sent again, as a job.

use sea_orm::FromJsonQueryResult;
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{ApiKeyId, ReplayId, SubscriptionId, Timestamp, WorkspaceId};

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "replay")]
pub struct Model {
    /// Key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ReplayId,
    /// Its tenant.
    pub workspace_id: WorkspaceId,
    /// Where it stands.
    pub status: Status,
    /// Which events, as JSON.
    pub target: String,
    /// The subscriptions that it goes to; null for every one that matches.
    pub subscription_ids: Option<Subscriptions>,
    /// Deliveries created per second at most.
    pub rate_per_second: Option<i32>,
    /// Events that match; null until counted.
    pub matched_count: Option<i32>,
    /// Deliveries created so far.
    pub created_count: i32,
    /// Items that were planned; 0 again once nothing is left of the plan of a stopped one. See [`crate::replay_item`].
    pub item_count: i32,
    /// How far the plan is made, in the order of the making of what it chooses; null at its beginning and its end.
    pub planned_at: Option<Timestamp>,
    /// The same, among those of one instant.
    pub planned_id: Option<Uuid>,
    /// When the next deliveries may be made.
    pub next_batch_at: Option<Timestamp>,
    /// Why it failed.
    pub failure_reason: Option<String>,
    /// The key that made it.
    pub created_by: Option<ApiKeyId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
}

/// Subscriptions by their IDs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, FromJsonQueryResult)]
#[serde(transparent)]
pub struct Subscriptions(pub Vec<SubscriptionId>);

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The replays of a workspace: where a query on behalf of a caller starts.
    pub fn of(workspace: WorkspaceId) -> Select<Self> {
        Self::find().filter(Column::WorkspaceId.eq(workspace))
    }
}

/// Where a replay stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Working.
    Running,
    /// Finished.
    Completed,
    /// Stopped by a caller.
    Canceled,
    /// Stopped by an error.
    Failed,
}
