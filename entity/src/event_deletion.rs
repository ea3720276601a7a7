//! Events that were deleted and whose deliveries are still being deleted, in steps. The row outlives the process, so the
//! next start goes on.

use sea_orm::entity::prelude::*;

use crate::{EventId, Timestamp, WorkspaceId};

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "event_deletion")]
pub struct Model {
    /// The event that is gone.
    #[sea_orm(primary_key, auto_increment = false)]
    pub event_id: EventId,
    /// Its tenant.
    pub workspace_id: WorkspaceId,
    /// When it was deleted.
    pub created_at: Timestamp,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
