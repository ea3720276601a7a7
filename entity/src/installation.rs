//! What is fixed or shared for the whole installation. One row.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait as _;
use sea_orm::{ConnectionTrait, QuerySelect as _};

use crate::Timestamp;

/// The row with key 1.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "installation")]
pub struct Model {
    /// Always 1.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i16,
    /// Tells the keys of this installation from those of others in the same Redis.
    pub key: Uuid,
    /// Number of shards that endpoints hash into; fixed at install.
    pub shard_count: i32,
    /// Grows in the transaction of every change to what payloads must satisfy. A publish compares it with the version
    /// that its payload was checked by.
    pub catalogue_version: i64,
    /// Grows in the transaction in which a node joins or leaves. A publish compares it with what its node knows.
    pub membership_version: i64,
    /// When the schema was made.
    pub created_at: Timestamp,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Grows `catalogue_version`; call it in the transaction of the change.
///
/// # Errors
/// Those of the database.
pub async fn bump_catalogue_version(db: &impl ConnectionTrait) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(Column::CatalogueVersion, Expr::col(Column::CatalogueVersion).add(1))
        .exec(db)
        .await
        .map(drop)
}

/// The present `catalogue_version`.
///
/// # Errors
/// Those of the database.
pub async fn catalogue_version(db: &impl ConnectionTrait) -> Result<i64, DbErr> {
    let found = Entity::find().select_only().column(Column::CatalogueVersion).into_tuple().one(db).await?;
    found.ok_or_else(|| DbErr::RecordNotFound("the installation has no row".to_owned()))
}
