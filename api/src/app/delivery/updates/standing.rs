//! What the streams of subscriptions and endpoints share: an entry says only that something changed, and their rows
//! say what it is now.

use std::collections::HashMap;
use std::hash::Hash;

use angarium_entity::change_log::Change;
use angarium_entity::{EndpointId, SubscriptionId, Timestamp, endpoint, subscription};
use sea_orm::{
    ColumnTrait as _, Condition, DbErr, EntityTrait, QueryFilter as _, QueryOrder as _, QuerySelect as _, Select, Value,
};
use uuid::Uuid;

use super::{Entry, Progress};
use crate::AppState;
use crate::app::AppError;

/// A row that changes, and that a stream tells of as it is now.
pub(super) trait Standing: Sized + Send + Sync {
    type Of: EntityTrait<Model = Self>;
    type Id: Copy + Eq + Hash + Into<Value> + Send + Sync;

    /// The columns of its ID and of when it was made.
    const ID: <Self::Of as EntityTrait>::Column;
    const CREATED_AT: <Self::Of as EntityTrait>::Column;

    fn id(&self) -> Self::Id;
    fn uuid(&self) -> Uuid;
    fn created_at(&self) -> Timestamp;
    fn updated_at(&self) -> Timestamp;
}

macro_rules! standing {
    ($module:ident, $id:ty) => {
        impl Standing for $module::Model {
            type Of = $module::Entity;
            type Id = $id;

            const ID: $module::Column = $module::Column::Id;
            const CREATED_AT: $module::Column = $module::Column::CreatedAt;

            fn id(&self) -> $id {
                self.id
            }

            fn uuid(&self) -> Uuid {
                self.id.uuid()
            }

            fn created_at(&self) -> Timestamp {
                self.created_at
            }

            fn updated_at(&self) -> Timestamp {
                self.updated_at
            }
        }
    };
}

standing!(endpoint, EndpointId);
standing!(subscription, SubscriptionId);

/// The place of the last entry about each.
pub(super) fn last_of<I: Eq + Hash>(entries: &[Entry], id: impl Fn(&Change) -> Option<I>) -> HashMap<I, usize> {
    entries.iter().enumerate().filter_map(|(index, entry)| Some((id(&entry.change)?, index))).collect()
}

/// The rows of `select` that these entries are about, each at the place of the last entry about it.
pub(super) async fn load<M: Standing>(
    state: &AppState,
    select: Result<Select<M::Of>, AppError>,
    places: HashMap<M::Id, usize>,
) -> Result<Vec<(usize, M)>, DbErr> {
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let select = select.map_err(failed)?.filter(M::ID.is_in(places.keys().copied()));
    let rows = select.all(state.db.read()).await?;
    let mut placed: Vec<(usize, M)> = rows.into_iter().filter_map(|row| Some((*places.get(&row.id())?, row))).collect();
    placed.sort_unstable_by_key(|(index, _)| *index);
    Ok(placed)
}

/// The next rows of a snapshot, oldest first, each with the progress made by it and when it was changed.
pub(super) async fn existing<M: Standing>(
    state: &AppState,
    select: Select<M::Of>,
    progress: &Progress,
    limit: usize,
) -> Result<Vec<(Progress, Timestamp, M)>, AppError> {
    let after = progress.last.map(|(at, last)| {
        let same_time = Condition::all().add(M::CREATED_AT.eq(at)).add(M::ID.gt(last));
        Condition::any().add(M::CREATED_AT.gt(at)).add(same_time)
    });
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    let select = select.filter(Condition::all().add_option(after));
    let rows = select.order_by_asc(M::CREATED_AT).order_by_asc(M::ID).limit(limit).all(state.db.read()).await?;
    let told = rows.into_iter().map(|row| {
        let progress = Progress { step: 0, last: Some((row.created_at(), row.uuid())) };
        (progress, row.updated_at(), row)
    });
    Ok(told.collect())
}

/// The filter was checked when the stream began.
pub(super) fn failed(error: AppError) -> DbErr {
    match error {
        AppError::Database(error) => error,
        other => DbErr::Custom(other.to_string()),
    }
}
