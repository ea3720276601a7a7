//! The rows that an installation starts with.

use std::collections::HashMap;

use angarium_entity::event_type::reserved::{self, Reserved};
use angarium_entity::{Database, EventTypeId, Timestamp, event_type, installation, shard};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait as _, DbErr, EntityTrait, QueryFilter as _, Set};
use uuid::Uuid;

/// Makes the row of the installation and its shards, and Angarium's own event types, if they are not there. Safe to call
/// from many processes at once.
pub(crate) async fn install(db: &Database, now: Timestamp) -> Result<installation::Model, DbErr> {
    catalogue(db, now).await?;
    if let Some(found) = installation::Entity::find_by_id(1_i16).one(db.read()).await? {
        return Ok(found);
    }
    let transaction = db.begin().await?;
    let row = installation::ActiveModel {
        id: Set(1),
        shard_count: Set(shard::COUNT),
        key: Set(Uuid::now_v7()),
        catalogue_version: Set(0),
        membership_version: Set(0),
        created_at: Set(now),
    };
    let fresh = installation::Entity::insert(row)
        .on_conflict(OnConflict::column(installation::Column::Id).do_nothing().to_owned())
        .exec_without_returning(&transaction)
        .await?;
    if fresh > 0 {
        let shards = (0..shard::COUNT).map(|id| shard::ActiveModel { id: Set(id), owner_id: Set(None), epoch: Set(0) });
        shard::Entity::insert_many(shards).exec_without_returning(&transaction).await?;
    }
    transaction.commit().await?;
    let found = installation::Entity::find_by_id(1_i16).one(db.write()).await?;
    found.ok_or_else(|| DbErr::RecordNotFound("the installation has no row".to_owned()))
}

/// Brings Angarium's own part of the catalogue up to what this version publishes.
async fn catalogue(db: &Database, now: Timestamp) -> Result<(), DbErr> {
    use event_type::{ActiveModel, Column, Entity};
    let names = reserved::ALL.iter().map(|entry| entry.name);
    let found = Entity::find().filter(Column::Name.is_in(names)).all(db.read()).await?;
    let found: HashMap<String, event_type::Model> = found.into_iter().map(|row| (row.name.clone(), row)).collect();
    let is_present = |entry: &&Reserved| {
        found.get(entry.name).is_some_and(|row| {
            row.description.as_deref() == Some(entry.description)
                && row.sample_payload.as_deref() == Some(entry.sample_payload)
                && row.archived_at.is_none()
        })
    };
    let missing: Vec<ActiveModel> = reserved::ALL
        .iter()
        .filter(|entry| !is_present(entry))
        .map(|entry| ActiveModel {
            id: Set(EventTypeId::new(now)),
            name: Set(entry.name.to_owned()),
            service: Set(Some(reserved::SERVICE.to_owned())),
            description: Set(Some(entry.description.to_owned())),
            sample_payload: Set(Some(entry.sample_payload.to_owned())),
            archived_at: Set(None),
            created_at: Set(now),
            updated_at: Set(now),
            ..ActiveModel::default()
        })
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let changed = [Column::Service, Column::Description, Column::SamplePayload, Column::ArchivedAt, Column::UpdatedAt];
    Entity::insert_many(missing)
        .on_conflict(OnConflict::column(Column::Name).update_columns(changed).to_owned())
        .exec_without_returning(db.write())
        .await
        .map(drop)
}
