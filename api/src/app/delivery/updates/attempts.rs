//! Attempts as they end.

use std::collections::HashMap;

use angarium_entity::api_key::Scope;
use angarium_entity::change_log::DeliveryChange;
use angarium_entity::{AttemptId, WorkspaceId, attempt};
use sea_orm::{ColumnTrait as _, DbErr, EntityTrait as _, QueryFilter as _};

use super::deliveries::{load, of_delivery, statuses};
use super::{Entry, Subject};
use crate::AppState;
use crate::app::AppError;
use crate::app::delivery::Filter;

/// The attempts of deliveries that match a filter.
#[derive(Clone, Debug, Default)]
pub struct Attempts(pub Filter);

impl Subject for Attempts {
    type Item = attempt::Model;

    const SCOPE: Scope = Scope::DeliveryRead;
    const CODE: u8 = 2;

    fn check(&self) -> Result<(), AppError> {
        self.0.check_patterns()
    }

    async fn load(
        &self,
        state: &AppState,
        workspace: WorkspaceId,
        entries: &[Entry],
    ) -> Result<Vec<(usize, attempt::Model)>, DbErr> {
        let ended: Vec<(usize, AttemptId, &DeliveryChange)> = entries
            .iter()
            .enumerate()
            .filter_map(|(index, entry)| {
                let change = of_delivery(entry)?;
                Some((index, change.attempt_id?, change))
            })
            .collect();
        if ended.is_empty() {
            return Ok(Vec::new());
        }
        let attempts = attempt::Entity::find()
            .filter(attempt::Column::WorkspaceId.eq(workspace))
            .filter(attempt::Column::Id.is_in(ended.iter().map(|(_, id, _)| *id)))
            .all(state.db.read())
            .await?;
        let mut attempts: HashMap<AttemptId, attempt::Model> =
            attempts.into_iter().map(|attempt| (attempt.id, attempt)).collect();
        let deliveries = load(state, workspace, &self.0, ended.iter().map(|(_, _, change)| change.delivery_id)).await?;
        let told = ended.into_iter().filter_map(|(index, id, change)| {
            let delivery = deliveries.get(&change.delivery_id)?;
            let (before, after) = statuses(change, delivery.status);
            let attempt = attempts.remove(&id)?;
            self.0.matches_change(delivery, before, after).then_some((index, attempt))
        });
        Ok(told.collect())
    }
}
