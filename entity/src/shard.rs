//! Endpoints hash into shards; a node owns a shard for as long as its row in `node` exists.
//!
//! Source  XXH3: <https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md>

use sea_orm::entity::prelude::*;

use crate::{EndpointId, NodeId};

/// Shards of a new installation. Fixed from then on: a delivery stores its shard.
pub const COUNT: i32 = 1024;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "shard")]
pub struct Model {
    /// 0 to one less than the number of shards.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i32,
    /// The node that delivers for it. It may be one that is gone, and then anybody may take it.
    pub owner_id: Option<NodeId>,
    /// Grows with every change of owner; what carries an older one is refused.
    pub epoch: i64,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The shard of an endpoint, of `count`.
pub fn of(endpoint: EndpointId, count: i32) -> i32 {
    let hash = xxhash_rust::xxh3::xxh3_64(endpoint.0.as_bytes());
    let count = u64::try_from(count.max(1)).unwrap_or(1);
    i32::try_from(hash % count).unwrap_or(0)
}
