//! What becomes of endpoints. A deleted one is told if it matched to the end.

use angarium_entity::api_key::Scope;
use angarium_entity::change_log::Change;
use angarium_entity::endpoint::{self, Column, Entity};
use angarium_entity::{Timestamp, WorkspaceId};
use sea_orm::{ColumnTrait as _, DbErr, EntityTrait as _, QueryFilter as _};

use super::standing::{behind, failed, last_of, placed};
use super::{Entry, Progress, Subject};
use crate::AppState;
use crate::app::AppError;
use crate::app::endpoint::Filter;

/// The endpoints that match a filter.
#[derive(Clone, Debug, Default)]
pub struct Endpoints(pub Filter);

impl Subject for Endpoints {
    type Item = endpoint::Model;

    const SCOPE: Scope = Scope::WebhookRead;
    const CODE: u8 = 5;

    fn check(&self) -> Result<(), AppError> {
        self.0.check()
    }

    async fn load(
        &self,
        state: &AppState,
        workspace: WorkspaceId,
        entries: &[Entry],
    ) -> Result<Vec<(usize, endpoint::Model)>, DbErr> {
        let places = last_of(entries, |change| match change {
            Change::Endpoint(change) => Some(change.endpoint_id),
            _ => None,
        });
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let all = Entity::find().filter(Column::WorkspaceId.eq(workspace));
        let select = self.0.on(all, state.db.backend(), workspace).map_err(failed)?;
        let rows = select.filter(Column::Id.is_in(places.keys().copied())).all(state.db.read()).await?;
        Ok(placed(rows, |row| places.get(&row.id).copied()))
    }

    async fn existing(
        &self,
        state: &AppState,
        workspace: WorkspaceId,
        progress: &Progress,
        limit: usize,
    ) -> Result<Vec<(Progress, Timestamp, endpoint::Model)>, AppError> {
        let select = self.0.select(state.db.backend(), workspace)?;
        let rows = behind(select, Column::CreatedAt, Column::Id, progress, limit).all(state.db.read()).await?;
        let told = rows.into_iter().map(|row| {
            let progress = Progress { step: 0, last: Some((row.created_at, row.id.uuid())) };
            (progress, row.updated_at, row)
        });
        Ok(told.collect())
    }
}
