//! Running processes.

use sea_orm::entity::prelude::*;

use crate::{NodeId, Timestamp};

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "node")]
pub struct Model {
    /// Key; new at every start, and whenever it joins again.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: NodeId,
    /// When it joined, by the clock of the database.
    pub started_at: Timestamp,
    /// Until when it delivers unless it says again that it lives, by the clock of the database. Later, others may delete
    /// the row, and with it the right to deliver.
    pub lease_until: Timestamp,
    /// Whether it is handing its shards over.
    pub draining: bool,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
