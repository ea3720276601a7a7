//! Ending a subscription.

use angarium_dispatcher::Cancel;
use angarium_entity::api_key::Scope;
use angarium_entity::change_log::EndpointChange;
use angarium_entity::{EndpointId, SubscriptionId, Timestamp, confirmation, endpoint, subscription, workspace};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, DatabaseTransaction, DbErr, EntityTrait as _, IntoActiveModel as _,
    QueryFilter as _, Set,
};

use super::{ErrorCode, change_of, endpoints, take};
use crate::app::reach::Reach;
use crate::app::{Refusal, logged};
use crate::{AppState, Caller};

const DELETED: &str = "The subscription was deleted.";
const ENDPOINT_DELETED: &str = "The endpoint was deleted with its last subscription.";

/// Deletes a subscription, and with it the endpoint that was made for it, if it was its last and is not to be kept.
/// What is open is canceled; the next start of the dispatcher finishes that should this process die.
///
/// # Errors
/// [`Refusal`].
pub async fn delete(
    state: &AppState,
    caller: &Caller,
    id: &str,
    keep_endpoint: bool,
) -> Result<SubscriptionId, Refusal<ErrorCode>> {
    caller.require(Scope::WebhookSubscribe)?;
    let transaction = state.db.begin().await?;
    let before = take(&transaction, Reach::of(caller)?, id).await??;
    let (id, workspace_id, endpoint_id) = (before.id, before.workspace_id, before.endpoint_id);
    let now = state.now();
    workspace::count(&transaction, workspace_id, workspace::Column::SubscriptionCount, -1).await?;
    let mut changed = before.into_active_model();
    changed.deleted_at = Set(Some(now));
    changed.updated_at = Set(now);
    let row = changed.update(&transaction).await?;
    confirmation::close(&transaction, id, now).await?;
    let is_endpoint_gone = leave(&transaction, endpoint_id, keep_endpoint, now).await?;
    let gone = is_endpoint_gone.then(|| EndpointChange::of(endpoint_id).into());
    let changes = [change_of(&row)].into_iter().chain(gone).map(|change| (workspace_id, change));
    logged::commit(state, transaction, now, changes).await?;
    state.dispatcher.endpoint_changed(endpoint_id);
    state.dispatcher.cancel(workspace_id, Cancel::Subscription(id), DELETED).await?;
    if is_endpoint_gone {
        // What subscriptions that moved to another endpoint have left here.
        let all = Cancel::Endpoint { id: endpoint_id, before: None };
        state.dispatcher.cancel(workspace_id, all, ENDPOINT_DELETED).await?;
    }
    Ok(id)
}

/// Deletes an endpoint that was made with a subscription and has lost its last one. One that is kept is from now on
/// like one that was made by itself.
async fn leave(db: &DatabaseTransaction, id: EndpointId, keep: bool, now: Timestamp) -> Result<bool, DbErr> {
    use subscription::Column;
    let Some(row) = endpoint::Entity::find_by_id(id).one(db).await? else { return Ok(false) };
    let others = subscription::Entity::find().filter(Column::EndpointId.eq(id)).filter(Column::DeletedAt.is_null());
    if !row.inline || others.one(db).await?.is_some() {
        return Ok(false);
    }
    if keep {
        let mut kept = row.into_active_model();
        kept.inline = Set(false);
        kept.update(db).await?;
        return Ok(false);
    }
    endpoints::mark_deleted(db, row, now).await?;
    Ok(true)
}
