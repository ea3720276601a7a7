//! Ending an endpoint, and what waits for it.

use angarium_dispatcher::Cancel;
use angarium_entity::api_key::Scope;
use angarium_entity::change_log::EndpointChange;
use angarium_entity::{EndpointId, Timestamp, delivery, endpoint, signing_secret, subscription, workspace};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait as _,
    IntoActiveModel as _, QueryFilter as _, Set,
};

use super::{ErrorCode, by_id, take};
use crate::app::reach::{Reach, within};
use crate::app::{Path, Problem, Refusal, logged};
use crate::{AppState, Caller};

/// Why what waits for a deleted endpoint is canceled.
const DELETED: &str = "The endpoint was deleted.";
const DISCARDED: &str = "The backlog of the endpoint was discarded.";

/// Deletes an endpoint that no subscription uses. With `discard`, what waits for it is canceled first.
///
/// # Errors
/// [`Refusal`].
pub async fn delete(
    state: &AppState,
    caller: &Caller,
    id: &str,
    discard: bool,
) -> Result<EndpointId, Refusal<ErrorCode>> {
    caller.require(Scope::WebhookSubscribe)?;
    let reach = Reach::of(caller)?;
    let seen = look(state, reach, id).await?;
    refuse_use(state.db.read(), seen.id).await?;
    let all = Cancel::Endpoint { id: seen.id, before: None };
    if discard {
        state.dispatcher.cancel(seen.workspace_id, all, DELETED).await?;
    }
    let transaction = state.db.begin().await?;
    let row = take(&transaction, reach, id).await??;
    refuse_use(&transaction, row.id).await?;
    if !discard && something_waits(&transaction, &row).await? {
        let message = "has deliveries that wait; discard them, or resume it and let them go out".to_owned();
        return Err(Problem { code: ErrorCode::DeliveriesWaiting, message, field: Path::argument("id") }.into());
    }
    let deleted = mark(&transaction, row, state.now()).await?;
    let change = EndpointChange::of(deleted.id).into();
    logged::commit(state, transaction, deleted.updated_at, [(deleted.workspace_id, change)]).await?;
    state.dispatcher.endpoint_changed(deleted.id);
    // What somebody retried by hand in the meantime.
    state.dispatcher.cancel(deleted.workspace_id, all, DELETED).await?;
    Ok(deleted.id)
}

/// Marks an endpoint as deleted. Its row stays, since deliveries name it; its secrets go.
pub(in crate::app) async fn mark(
    db: &DatabaseTransaction,
    row: endpoint::Model,
    now: Timestamp,
) -> Result<endpoint::Model, DbErr> {
    let of_endpoint = signing_secret::Column::EndpointId.eq(row.id);
    signing_secret::Entity::delete_many().filter(of_endpoint).exec(db).await?;
    workspace::count(db, row.workspace_id, workspace::Column::EndpointCount, -1).await?;
    let mut changed = row.into_active_model();
    changed.deleted_at = Set(Some(now));
    changed.updated_at = Set(now);
    changed.update(db).await
}

/// Cancels what waits for an endpoint: all of it, or what was made before an instant in RFC 3339. Answers how many.
///
/// # Errors
/// [`Refusal`].
pub async fn discard(
    state: &AppState,
    caller: &Caller,
    id: &str,
    before: Option<&str>,
) -> Result<(endpoint::Model, u64), Refusal<ErrorCode>> {
    caller.require(Scope::WebhookSubscribe)?;
    let before = before.map(Timestamp::parse_rfc3339).transpose().map_err(|error| Problem {
        code: ErrorCode::Invalid,
        message: format!("is {error}"),
        field: Path::argument("before"),
    })?;
    let row = look(state, Reach::of(caller)?, id).await?;
    let what = Cancel::Endpoint { id: row.id, before };
    let count = state.dispatcher.cancel(row.workspace_id, what, DISCARDED).await?;
    Ok((row, count))
}

async fn look(state: &AppState, reach: Reach, id: &str) -> Result<endpoint::Model, Refusal<ErrorCode>> {
    let not_found = || Problem::not_found(ErrorCode::NotFound, Path::argument("id"));
    let id = id.parse().map_err(|_| not_found())?;
    let found = within!(endpoint, reach).filter(by_id(id)).one(state.db.read()).await?;
    Ok(found.ok_or_else(not_found)?)
}

async fn refuse_use(db: &impl ConnectionTrait, id: EndpointId) -> Result<(), Refusal<ErrorCode>> {
    use subscription::Column;
    let uses = subscription::Entity::find().filter(Column::EndpointId.eq(id)).filter(Column::DeletedAt.is_null());
    if uses.one(db).await?.is_some() {
        let message = "is used by a subscription; delete that, or give it another endpoint".to_owned();
        return Err(Problem { code: ErrorCode::InUse, message, field: Path::argument("id") }.into());
    }
    Ok(())
}

/// Whether the endpoint has an open delivery: in its line, or waiting for its time. Each has a partial index.
async fn something_waits(db: &impl ConnectionTrait, row: &endpoint::Model) -> Result<bool, DbErr> {
    use delivery::{Column, Entity};
    let line = Entity::find()
        .filter(Column::Shard.eq(row.shard))
        .filter(Column::EndpointId.eq(row.id))
        .filter(Expr::cust(r#""delivery"."status" = 'PENDING'"#))
        .filter(Column::NextAttemptAt.is_null());
    let waiting = Entity::find().filter(Column::EndpointId.eq(row.id)).filter(Column::NextAttemptAt.is_not_null());
    Ok(line.one(db).await?.is_some() || waiting.one(db).await?.is_some())
}
