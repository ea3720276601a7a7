//! What the streams of subscriptions and endpoints share: an entry says only that something changed, and their rows
//! say what it is now.

use std::collections::HashMap;
use std::hash::Hash;

use angarium_entity::change_log::Change;
use sea_orm::{
    ColumnTrait, Condition, DbErr, EntityTrait, QueryFilter as _, QueryOrder as _, QuerySelect as _, Select,
};

use super::{Entry, Progress};
use crate::app::AppError;

/// The place of the last entry about each.
pub(super) fn last_of<I: Eq + Hash>(entries: &[Entry], id: impl Fn(&Change) -> Option<I>) -> HashMap<I, usize> {
    entries.iter().enumerate().filter_map(|(index, entry)| Some((id(&entry.change)?, index))).collect()
}

/// Rows with their places, in that order.
pub(super) fn placed<M>(rows: Vec<M>, place: impl Fn(&M) -> Option<usize>) -> Vec<(usize, M)> {
    let mut placed: Vec<(usize, M)> = rows.into_iter().filter_map(|row| Some((place(&row)?, row))).collect();
    placed.sort_unstable_by_key(|(index, _)| *index);
    placed
}

/// The next rows of a snapshot, oldest first.
pub(super) fn behind<E: EntityTrait>(
    select: Select<E>,
    created_at: E::Column,
    id: E::Column,
    progress: &Progress,
    limit: usize,
) -> Select<E> {
    let after = progress.last.map(|(at, last)| {
        let same_time = Condition::all().add(created_at.eq(at)).add(id.gt(last));
        Condition::any().add(created_at.gt(at)).add(same_time)
    });
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    let select = select.filter(Condition::all().add_option(after));
    select.order_by_asc(created_at).order_by_asc(id).limit(limit)
}

/// The filter was checked when the stream began.
pub(super) fn failed(error: AppError) -> DbErr {
    match error {
        AppError::Database(error) => error,
        other => DbErr::Custom(other.to_string()),
    }
}
