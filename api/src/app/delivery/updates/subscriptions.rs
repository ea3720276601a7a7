//! What becomes of subscriptions. A deleted one is told if it matched to the end.
//!
//! Status  of a subscription follows that of its endpoint. Such a change is one entry of the log and concerns whoever
//!         delivers to the endpoint when it is read.

use angarium_entity::api_key::Scope;
use angarium_entity::change_log::Change;
use angarium_entity::subscription::{self, Column, Entity};
use angarium_entity::{EndpointId, SubscriptionId, Timestamp, WorkspaceId};
use sea_orm::{ColumnTrait as _, DbErr, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _};
use uuid::Uuid;

use super::standing::{self, failed, last_of};
use super::{Entry, Progress, Subject};
use crate::AppState;
use crate::app::AppError;
use crate::app::subscription::Filter;

/// The subscriptions that match a filter.
#[derive(Clone, Debug, Default)]
pub struct Subscriptions(pub Filter);

impl Subject for Subscriptions {
    type Item = subscription::Model;

    const SCOPE: Scope = Scope::WebhookRead;
    const CODE: u8 = 4;

    fn check(&self) -> Result<(), AppError> {
        self.0.check()
    }

    async fn load(
        &self,
        state: &AppState,
        workspace: WorkspaceId,
        entries: &[Entry],
    ) -> Result<Vec<(usize, subscription::Model)>, DbErr> {
        let places = last_of(entries, |change| match change {
            Change::Subscription(change) => Some(change.subscription_id),
            _ => None,
        });
        let all = Entity::find().filter(Column::WorkspaceId.eq(workspace));
        standing::load(state, self.0.on(all, state), places).await
    }

    fn is_wide(&self, entry: &Entry) -> bool {
        endpoint_of(entry).is_some()
    }

    async fn spread(
        &self,
        state: &AppState,
        workspace: WorkspaceId,
        entry: &Entry,
        after: Option<Uuid>,
        limit: u64,
    ) -> Result<Vec<(Uuid, subscription::Model)>, DbErr> {
        let Some(endpoint) = endpoint_of(entry) else { return Ok(Vec::new()) };
        let mut select = self.0.select(state, workspace).map_err(failed)?.filter(Column::EndpointId.eq(endpoint));
        if let Some(after) = after {
            select = select.filter(Column::Id.gt(SubscriptionId(after)));
        }
        let rows = select.order_by_asc(Column::Id).limit(limit).all(state.db.read()).await?;
        Ok(rows.into_iter().map(|row| (row.id.uuid(), row)).collect())
    }

    async fn existing(
        &self,
        state: &AppState,
        workspace: WorkspaceId,
        progress: &Progress,
        limit: usize,
    ) -> Result<Vec<(Progress, Timestamp, subscription::Model)>, AppError> {
        standing::existing(state, self.0.select(state, workspace)?, progress, limit).await
    }
}

/// The endpoint whose status changed.
fn endpoint_of(entry: &Entry) -> Option<EndpointId> {
    match &entry.change {
        Change::Endpoint(change) if change.is_status => Some(change.endpoint_id),
        _ => None,
    }
}
