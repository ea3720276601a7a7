//! What is fixed or shared for the whole installation. One row.

use sea_orm::entity::prelude::*;

use crate::Timestamp;

/// The row with key 1.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "installation")]
pub struct Model {
    /// Always 1.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i16,
    /// Number of shards that endpoints hash into; fixed at install.
    pub shard_count: i32,
    /// When the schema was made.
    pub created_at: Timestamp,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
