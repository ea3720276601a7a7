//! Past events being sent again, as a job.

use sea_orm::entity::prelude::*;

use crate::{ApiKeyId, ReplayId, Timestamp, WorkspaceId};

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
    /// Deliveries created per second at most.
    pub rate_per_second: Option<i32>,
    /// Events that match; null until counted.
    pub matched_count: Option<i32>,
    /// Deliveries created so far.
    pub created_count: i32,
    /// Why it failed.
    pub failure_reason: Option<String>,
    /// The key that made it.
    pub created_by: Option<ApiKeyId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

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
