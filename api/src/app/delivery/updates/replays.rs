//! How a replay goes on, until it ends.

use angarium_entity::api_key::Scope;
use angarium_entity::change_log::{Change, ReplayChange};
use angarium_entity::{ReplayId, Timestamp, WorkspaceId, replay};
use sea_orm::{ColumnTrait as _, DbErr, QueryFilter as _};

use super::{Entry, Progress, Subject};
use crate::AppState;
use crate::app::AppError;

/// One replay.
#[derive(Clone, Copy, Debug)]
pub struct Replays(pub ReplayId);

impl Replays {
    async fn row(&self, state: &AppState, workspace: WorkspaceId) -> Result<Option<replay::Model>, DbErr> {
        replay::Entity::of(workspace).filter(replay::Column::Id.eq(self.0)).one(state.db.read()).await
    }
}

impl Subject for Replays {
    type Item = replay::Model;

    const SCOPE: Scope = Scope::DeliveryRead;
    const CODE: u8 = 6;

    fn check(&self) -> Result<(), AppError> {
        Ok(())
    }

    /// A replay that has ended changes no more, and its last change is in the log already.
    async fn is_over(&self, state: &AppState, workspace: WorkspaceId) -> Result<bool, AppError> {
        let row = self.row(state, workspace).await?;
        let row = row.ok_or_else(|| AppError::NotFound("the replay does not exist".to_owned()))?;
        Ok(row.status != replay::Status::Running)
    }

    fn is_last(&self, row: &replay::Model) -> bool {
        row.status != replay::Status::Running
    }

    async fn load(
        &self,
        state: &AppState,
        workspace: WorkspaceId,
        entries: &[Entry],
    ) -> Result<Vec<(usize, replay::Model)>, DbErr> {
        let is_meant =
            |entry: &Entry| matches!(entry.change, Change::Replay(ReplayChange { replay_id }) if replay_id == self.0);
        let Some(index) = entries.iter().rposition(is_meant) else { return Ok(Vec::new()) };
        Ok(self.row(state, workspace).await?.into_iter().map(|row| (index, row)).collect())
    }

    async fn existing(
        &self,
        state: &AppState,
        workspace: WorkspaceId,
        progress: &Progress,
        _limit: usize,
    ) -> Result<Vec<(Progress, Timestamp, replay::Model)>, AppError> {
        if progress.step > 0 {
            return Ok(Vec::new());
        }
        let row = self.row(state, workspace).await?;
        let progress = |row: &replay::Model| Progress { step: 1, last: Some((row.created_at, row.id.uuid())) };
        Ok(row.into_iter().map(|row| (progress(&row), state.now(), row)).collect())
    }
}
