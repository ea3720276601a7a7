//! What becomes of endpoints. A deleted one is told if it matched to the end.

use angarium_entity::api_key::Scope;
use angarium_entity::change_log::Change;
use angarium_entity::endpoint::{self, Column, Entity};
use angarium_entity::{Timestamp, WorkspaceId};
use sea_orm::{ColumnTrait as _, DbErr, EntityTrait as _, QueryFilter as _};

use super::standing::{self, last_of};
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
        let all = Entity::find().filter(Column::WorkspaceId.eq(workspace));
        standing::load(state, self.0.on(all, state.db.backend(), workspace), places).await
    }

    async fn existing(
        &self,
        state: &AppState,
        workspace: WorkspaceId,
        progress: &Progress,
        limit: usize,
    ) -> Result<Vec<(Progress, Timestamp, endpoint::Model)>, AppError> {
        standing::existing(state, self.0.select(state.db.backend(), workspace)?, progress, limit).await
    }
}
