//! Deliveries whose event is not there any more. Nothing can be sent of them, and in the front of a line they would hide
//! what waits behind them.

use angarium_entity::delivery::{self, Status};
use angarium_entity::{DeliveryId, Timestamp, event_deletion};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{LockType, Query};
use sea_orm::{DbErr, QueryOrder, QuerySelect};

use crate::store::cancel::{Canceler, end};

const REASON: &str = "The payload of its event is gone.";

/// Fails them, and answers how many were still open. Those of an event that is being deleted go with it.
pub(super) async fn fail(canceler: &Canceler, ids: &[DeliveryId], now: Timestamp) -> Result<usize, DbErr> {
    use delivery::Column;
    let transaction = canceler.db.begin().await?;
    let marked = Query::select().column(event_deletion::Column::EventId).from(event_deletion::Entity).take();
    let open = delivery::Entity::find()
        .filter(Column::Id.is_in(ids.iter().copied()))
        .filter(Column::Status.is_in([Status::Pending, Status::Retrying]))
        .filter(Column::EventId.not_in_subquery(marked))
        .order_by_asc(Column::CreatedAt)
        .order_by_asc(Column::Id)
        .lock(LockType::Update)
        .all(&transaction)
        .await?;
    // All of a page are of one endpoint.
    let Some(workspace) = open.first().map(|row| row.workspace_id) else { return Ok(0) };
    let logged = end(&transaction, workspace, &open, (Status::Failed, REASON), now).await?;
    transaction.commit().await?;
    tracing::error!(deliveries = open.len(), endpoint = %open[0].endpoint_id, "deliveries without their event have failed");
    canceler.metrics.ended(Status::Failed, open.len());
    canceler.logged.tell(logged);
    Ok(open.len())
}
