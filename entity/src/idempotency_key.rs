//! Keys that make a publish safe to repeat, for 48 hours.

use std::time::Duration;

use sea_orm::entity::prelude::*;

use crate::{EventId, Timestamp, WorkspaceId};

/// How long a key is remembered.
pub const KEPT: Duration = Duration::from_hours(48);
/// Most characters of a key.
pub const LEN_MAX: usize = 256;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "idempotency_key")]
pub struct Model {
    /// The tenant that used it.
    #[sea_orm(primary_key, auto_increment = false)]
    pub workspace_id: WorkspaceId,
    /// The key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: String,
    /// The event that it first published.
    pub event_id: EventId,
    /// SHA-256 of type, channels and payload: the same key with other content is refused.
    pub fingerprint: Vec<u8>,
    /// Since when.
    pub created_at: Timestamp,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
