//! The rows that an installation starts with.

use angarium_entity::{Database, Timestamp, installation, shard};
use sea_orm::sea_query::OnConflict;
use sea_orm::{DbErr, EntityTrait, Set};

/// Makes the row of the installation and its shards, if they are not there. Safe to call from many processes at once.
pub(crate) async fn install(db: &Database, now: Timestamp) -> Result<installation::Model, DbErr> {
    if let Some(found) = installation::Entity::find_by_id(1_i16).one(db.read()).await? {
        return Ok(found);
    }
    let transaction = db.begin().await?;
    let row = installation::ActiveModel { id: Set(1), shard_count: Set(shard::COUNT), created_at: Set(now) };
    let fresh = installation::Entity::insert(row)
        .on_conflict(OnConflict::column(installation::Column::Id).do_nothing().to_owned())
        .exec_without_returning(&transaction)
        .await?;
    if fresh > 0 {
        let shards = (0..shard::COUNT).map(|id| shard::ActiveModel {
            id: Set(id),
            owner_id: Set(None),
            epoch: Set(0),
            lease_until: Set(Timestamp::default()),
        });
        shard::Entity::insert_many(shards).exec_without_returning(&transaction).await?;
    }
    transaction.commit().await?;
    let found = installation::Entity::find_by_id(1_i16).one(db.write()).await?;
    found.ok_or_else(|| DbErr::RecordNotFound("the installation has no row".to_owned()))
}
