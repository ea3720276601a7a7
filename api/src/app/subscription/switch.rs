//! Switching subscriptions on and off.

use std::collections::HashMap;

use angarium_entity::api_key::Scope;
use angarium_entity::{SubscriptionId, WorkspaceId, subscription, workspace};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait as _, DatabaseTransaction, EntityTrait, ExprTrait as _, QueryFilter as _};

use super::{ErrorCode, change_of, endpoints_of};
use crate::app::reach::{Reach, within};
use crate::app::{Path, Problem, Problems, Refusal, logged};
use crate::{AppState, Caller};

/// Most subscriptions of one call.
const SWITCHED_MAX: usize = 100;

/// Switches subscriptions on or off, all or none, and answers those that changed, in the order of `ids`.
///
/// # Errors
/// [`Refusal`].
pub async fn switch(
    state: &AppState,
    caller: &Caller,
    ids: &[String],
    enabled: bool,
) -> Result<Vec<subscription::Model>, Refusal<ErrorCode>> {
    caller.require(Scope::WebhookSubscribe)?;
    let field = Path::argument("ids");
    if ids.len() > SWITCHED_MAX {
        let message = format!("holds more than {SWITCHED_MAX} subscriptions");
        return Err(Problem { code: ErrorCode::TooMany, message, field }.into());
    }
    let ids: Vec<Option<SubscriptionId>> = ids.iter().map(|id| id.parse().ok()).collect();
    let transaction = state.db.begin().await?;
    let mut found = take_all(&transaction, Reach::of(caller)?, &ids).await?;
    let mut problems = Problems::default();
    let now = state.now();
    for (index, id) in ids.iter().enumerate() {
        match id.and_then(|id| found.get(&id)) {
            None => problems.add(ErrorCode::NotFound, &field.item(index), "does not exist"),
            Some(row) if enabled && row.is_expired(now) => {
                problems.add(ErrorCode::Expired, &field.item(index), "is expired; renew it first");
            }
            Some(_) => {}
        }
    }
    problems.unless_any(Some(())).map_err(Refusal::Problems)?;
    let mut changed: Vec<subscription::Model> =
        ids.into_iter().flatten().filter_map(|id| found.remove(&id)).filter(|row| row.enabled != enabled).collect();
    if changed.is_empty() {
        return Ok(changed);
    }
    subscription::Entity::update_many()
        .col_expr(subscription::Column::Enabled, Expr::value(enabled))
        .col_expr(subscription::Column::HeldSince, Expr::value((!enabled).then_some(now)))
        .col_expr(subscription::Column::Version, Expr::col(subscription::Column::Version).add(1))
        .col_expr(subscription::Column::UpdatedAt, Expr::value(now))
        .filter(subscription::Column::Id.is_in(changed.iter().map(|row| row.id)))
        .exec(&transaction)
        .await?;
    let endpoints = endpoints_of(&transaction, changed.iter().map(|row| row.id)).await?;
    let changes = changed.iter().map(|row| (row.workspace_id, change_of(row)));
    logged::commit(state, transaction, now, changes).await?;
    for row in &mut changed {
        row.enabled = enabled;
        row.held_since = (!enabled).then_some(now);
        row.version += 1;
        row.updated_at = now;
    }
    for endpoint in endpoints {
        state.dispatcher.endpoint_changed(endpoint);
    }
    Ok(changed)
}

/// Those of `ids` that the caller can see, as they are now that nobody else changes them until the transaction ends.
async fn take_all(
    db: &DatabaseTransaction,
    reach: Reach,
    ids: &[Option<SubscriptionId>],
) -> Result<HashMap<SubscriptionId, subscription::Model>, Refusal<ErrorCode>> {
    let wanted = ids.iter().copied().flatten();
    let select = within!(subscription, reach).filter(subscription::Column::Id.is_in(wanted));
    let mut workspaces: Vec<WorkspaceId> =
        select.clone().all(db).await?.into_iter().map(|row| row.workspace_id).collect();
    // Always in the same order, or two calls could wait for each other.
    workspaces.sort_unstable();
    workspaces.dedup();
    for id in workspaces {
        workspace::bump_config_version(db, id).await?;
    }
    Ok(select.all(db).await?.into_iter().map(|row| (row.id, row)).collect())
}
