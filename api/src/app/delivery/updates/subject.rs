//! What the streams are told apart by.

use std::fmt::Debug;

use angarium_entity::api_key::Scope;
use angarium_entity::change_log::Change;
use angarium_entity::{Timestamp, WorkspaceId};
use sea_orm::DbErr;
use uuid::Uuid;

use super::Progress;
use crate::AppState;
use crate::app::AppError;

/// What a stream tells of.
pub trait Subject: Send + Sync + 'static {
    /// What a message carries.
    type Item: Debug + Send + 'static;

    /// What a caller needs.
    const SCOPE: Scope;
    /// Tells the cursors of the streams apart; never changed.
    const CODE: u8;

    /// Refuses what would silently never match.
    ///
    /// # Errors
    /// [`AppError::BadInput`].
    fn check(&self) -> Result<(), AppError>;

    /// Whether all was told already that there will ever be. Asked when the stream begins, behind the listener; where a
    /// stream is about one object this is where it looks for it.
    ///
    /// # Errors
    /// [`AppError::NotFound`] when there is no such object.
    fn is_over(
        &self,
        _state: &AppState,
        _workspace: WorkspaceId,
    ) -> impl Future<Output = Result<bool, AppError>> + Send {
        std::future::ready(Ok(false))
    }

    /// Whether the stream ends behind this.
    fn is_last(&self, _item: &Self::Item) -> bool {
        false
    }

    /// The entries that are meant, by their place in `entries` and in that order, with what they are about. Several
    /// about the same may be told as one, at the place of the last.
    fn load(
        &self,
        state: &AppState,
        workspace: WorkspaceId,
        entries: &[Entry],
    ) -> impl Future<Output = Result<Vec<(usize, Self::Item)>, DbErr>> + Send;

    /// Whether an entry is about more than one. It is told alone, page by page, by [`Subject::spread`]; whoever breaks
    /// off before the end of it is told of all of them again.
    fn is_wide(&self, _entry: &Entry) -> bool {
        false
    }

    /// At most `limit` of what a wide entry is about, behind the one with the ID `after`. Fewer when there is no more.
    fn spread(
        &self,
        _state: &AppState,
        _workspace: WorkspaceId,
        _entry: &Entry,
        _after: Option<Uuid>,
        _limit: u64,
    ) -> impl Future<Output = Result<Vec<(Uuid, Self::Item)>, DbErr>> + Send {
        std::future::ready(Ok(Vec::new()))
    }

    /// At most `limit` of what exists after `progress`, each with the progress made by it and its time. Fewer when
    /// there is no more.
    fn existing(
        &self,
        _state: &AppState,
        _workspace: WorkspaceId,
        _progress: &Progress,
        _limit: usize,
    ) -> impl Future<Output = Result<Vec<(Progress, Timestamp, Self::Item)>, AppError>> + Send {
        std::future::ready(Ok(Vec::new()))
    }
}

/// An entry of a row of the log.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it says.
    pub change: Change,
    pub(super) at: Timestamp,
    pub(super) xid: i64,
    pub(super) seq: i64,
    /// Entries of the row told once this one is; none for all of them.
    pub(super) told: Option<usize>,
}
