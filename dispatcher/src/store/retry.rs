//! A retry by hand.

use angarium_entity::change_log::DeliveryChange;
use angarium_entity::delivery::{self, DeliveryState};
use angarium_entity::{Database, DeliveryId, Timestamp, WorkspaceId, event};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait as _;

use super::sql;
use crate::handle::RetryError;

/// Starts a new round of a delivery, due at `now`. Compare-and-set on the row as it was read, so that two callers, or
/// a caller and a result, never undo each other.
pub(crate) async fn retry(
    db: &Database,
    workspace: WorkspaceId,
    id: DeliveryId,
    now: Timestamp,
) -> Result<(delivery::Model, Vec<WorkspaceId>), RetryError> {
    let transaction = db.begin().await?;
    let before = delivery::Entity::of(workspace).filter(delivery::Column::Id.eq(id)).one(&transaction).await?;
    let before = before.ok_or(RetryError::NotFound)?;
    let state = DeliveryState::from(&before);
    let next = state.retry_by_hand(now).map_err(|_| RetryError::NotRetryable(before.status.name()))?;
    if event::Entity::find_by_id(before.event_id).one(&transaction).await?.is_none() {
        return Err(RetryError::NotRetryable("without its payload, which retention removed"));
    }
    // What was final comes back as the last in its line; what is still open keeps its place.
    let seq = if before.status.is_open() { before.seq } else { sql::take_place(&transaction).await? };
    let moved = delivery::Entity::update_many()
        .col_expr(delivery::Column::Seq, Expr::value(seq))
        .col_expr(delivery::Column::Status, Expr::value(next.status()))
        .col_expr(delivery::Column::StatusReason, Expr::value(Option::<String>::None))
        .col_expr(delivery::Column::NextAttemptAt, Expr::value(next.next_attempt_at()))
        .col_expr(delivery::Column::CompletedAt, Expr::value(Option::<Timestamp>::None))
        .col_expr(delivery::Column::Round, Expr::col(delivery::Column::Round).add(1))
        .col_expr(delivery::Column::RoundAttempts, Expr::value(0))
        .col_expr(delivery::Column::UpdatedAt, Expr::value(now))
        .filter(delivery::Column::Id.eq(id))
        .filter(delivery::Column::AttemptCount.eq(before.attempt_count))
        .filter(delivery::Column::Round.eq(before.round))
        .exec(&transaction)
        .await?;
    if moved.rows_affected == 0 {
        return Err(RetryError::NotRetryable("being changed by somebody else"));
    }
    let change = DeliveryChange {
        delivery_id: before.id,
        event_id: before.event_id,
        endpoint_id: before.endpoint_id,
        subscription_id: before.subscription_id,
        attempt_id: None,
        previous_status: Some(before.status.name().to_owned()),
        status: next.status().name().to_owned(),
    };
    let changes = sql::append_changes(&transaction, now, [(workspace, vec![change])]).await?;
    transaction.commit().await?;
    let after = delivery::Model {
        status: next.status(),
        status_reason: None,
        next_attempt_at: next.next_attempt_at(),
        completed_at: None,
        round: before.round + 1,
        round_attempts: 0,
        seq,
        updated_at: now,
        ..before
    };
    Ok((after, changes))
}
