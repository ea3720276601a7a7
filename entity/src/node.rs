//! Running processes.

use sea_orm::entity::prelude::*;

use crate::{NodeId, Timestamp};

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "node")]
pub struct Model {
    /// Key; new at every start.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: NodeId,
    /// Where its API listens, for people.
    pub address: String,
    /// When it started.
    pub started_at: Timestamp,
    /// When it last said that it lives.
    pub heartbeat_at: Timestamp,
    /// Whether it is handing its shards over.
    pub draining: bool,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
