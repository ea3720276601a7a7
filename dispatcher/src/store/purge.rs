//! Deletes the rows of deleted workspaces, in bounded steps; the workspace's own row is the last.
//!
//! Restart  the row of the workspace says that it is deleted until nothing else of it is left: any process goes on.
//! Late     a publish that began before the workspace was deleted, or the result of a request that was running, may be
//!          committed behind a step. So the row stays for [`LINGER`], and goes only when nothing was found.

use std::time::Duration;

use angarium_entity::clock::SharedClock;
use angarium_entity::{
    Database, DeliveryId, EndpointId, SubscriptionId, Timestamp, WorkspaceId, attempt, delivery, endpoint,
    endpoint_health, endpoint_revision, replay, signing_secret, subscription, subscription_revision, workspace,
};
use sea_orm::entity::prelude::*;
use sea_orm::{ConnectionTrait, DbErr, QueryOrder, QuerySelect, Statement};

use super::replay::delete_plan;

/// Pause between two looks for deleted workspaces: one read of an index that holds only these.
const EVERY: Duration = Duration::from_secs(5);
/// Rows of one step.
const STEP: u64 = 500;
/// Pause between two steps.
const PAUSE: Duration = Duration::from_millis(10);
/// Longer than anything runs that could still write a row.
const LINGER: Duration = Duration::from_mins(2);
/// Workspaces that are read at once.
const WORKSPACES_MAX: u64 = 16;

/// Tables with rows of a workspace, and the column by which a step of them is chosen. Those that others refer to come
/// after those. Replays, deliveries, subscriptions and endpoints go with what belongs to them, before.
const BEFORE_ENDPOINTS: [(&str, &str); 6] = [
    ("creation_key", "key"),
    ("confirmation", "event_id"),
    ("event", "id"),
    ("event_deletion", "event_id"),
    ("idempotency_key", "key"),
    ("change_log", "seq"),
];
const AFTER_ENDPOINTS: [(&str, &str); 1] = [("api_key", "id")];

/// Looks for ever, at once to begin with.
pub(crate) async fn run(db: Database, clock: SharedClock) {
    loop {
        if let Err(error) = sweep(&db, clock.now()).await {
            tracing::error!(%error, "could not delete the rows of a deleted workspace; the next sweep goes on");
        }
        clock.sleep(EVERY).await;
    }
}

async fn sweep(db: &Database, now: Timestamp) -> Result<(), DbErr> {
    let deleted = workspace::Entity::find()
        .filter(workspace::Column::DeletedAt.is_not_null())
        .order_by_asc(workspace::Column::DeletedAt)
        .limit(WORKSPACES_MAX)
        .all(db.read())
        .await?;
    for row in deleted {
        let mut is_empty = true;
        while delete_replays(db, row.id, now).await? {
            is_empty = false;
            tokio::time::sleep(PAUSE).await;
        }
        while delete_deliveries(db, row.id).await? {
            is_empty = false;
            tokio::time::sleep(PAUSE).await;
        }
        is_empty &= delete_rows(db, row.id, &BEFORE_ENDPOINTS).await?;
        while delete_subscriptions(db, row.id).await? {
            is_empty = false;
            tokio::time::sleep(PAUSE).await;
        }
        while delete_endpoints(db, row.id).await? {
            is_empty = false;
            tokio::time::sleep(PAUSE).await;
        }
        is_empty &= delete_rows(db, row.id, &AFTER_ENDPOINTS).await?;
        if is_empty && row.deleted_at.is_some_and(|at| at + LINGER <= now) {
            workspace::Entity::delete_by_id(row.id).exec(db.write()).await?;
        }
    }
    Ok(())
}

/// One step of the replays: some of the plan of one, and the replay when nothing is left of that. Answers whether there
/// were any.
async fn delete_replays(db: &Database, workspace: WorkspaceId, now: Timestamp) -> Result<bool, DbErr> {
    use replay::Column;
    // One that runs could still add to its plan: rows that would be nobody's.
    replay::Entity::update_many()
        .col_expr(Column::Status, Expr::value(replay::Status::Canceled))
        .col_expr(Column::CompletedAt, Expr::value(now))
        .filter(Column::WorkspaceId.eq(workspace))
        .filter(Column::Status.eq(replay::Status::Running))
        .exec(db.write())
        .await?;
    let Some(row) = replay::Entity::of(workspace).one(db.read()).await? else { return Ok(false) };
    if delete_plan(db.write(), row.id).await? == 0 {
        replay::Entity::delete_by_id(row.id).exec(db.write()).await?;
    }
    Ok(true)
}

/// One step of the deliveries, with their attempts. Answers whether there were any.
async fn delete_deliveries(db: &Database, workspace: WorkspaceId) -> Result<bool, DbErr> {
    use delivery::Column;
    let transaction = db.begin().await?;
    let ids: Vec<DeliveryId> = delivery::Entity::of(workspace)
        .select_only()
        .column(Column::Id)
        .order_by_asc(Column::CreatedAt)
        .order_by_asc(Column::Id)
        .limit(STEP)
        .into_tuple()
        .all(&transaction)
        .await?;
    if ids.is_empty() {
        return Ok(false);
    }
    let of_ids = attempt::Column::DeliveryId.is_in(ids.iter().copied());
    attempt::Entity::delete_many().filter(of_ids).exec(&transaction).await?;
    delivery::Entity::delete_many().filter(Column::Id.is_in(ids)).exec(&transaction).await?;
    transaction.commit().await?;
    Ok(true)
}

/// One step of the subscriptions, deleted or not, with their revisions. Answers whether there were any.
async fn delete_subscriptions(db: &Database, workspace: WorkspaceId) -> Result<bool, DbErr> {
    use subscription::Column;
    let transaction = db.begin().await?;
    let ids: Vec<SubscriptionId> = subscription::Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::WorkspaceId.eq(workspace))
        .limit(STEP)
        .into_tuple()
        .all(&transaction)
        .await?;
    if ids.is_empty() {
        return Ok(false);
    }
    let of_ids = subscription_revision::Column::SubscriptionId.is_in(ids.iter().copied());
    subscription_revision::Entity::delete_many().filter(of_ids).exec(&transaction).await?;
    subscription::Entity::delete_many().filter(Column::Id.is_in(ids)).exec(&transaction).await?;
    transaction.commit().await?;
    Ok(true)
}

/// One step of the endpoints, deleted or not, with their health, revisions and secrets. Answers whether there were any.
async fn delete_endpoints(db: &Database, workspace: WorkspaceId) -> Result<bool, DbErr> {
    use endpoint::Column;
    let transaction = db.begin().await?;
    let ids: Vec<EndpointId> = endpoint::Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::WorkspaceId.eq(workspace))
        .limit(STEP)
        .into_tuple()
        .all(&transaction)
        .await?;
    if ids.is_empty() {
        return Ok(false);
    }
    let of_ids = signing_secret::Column::EndpointId.is_in(ids.iter().copied());
    signing_secret::Entity::delete_many().filter(of_ids).exec(&transaction).await?;
    let of_ids = endpoint_health::Column::EndpointId.is_in(ids.iter().copied());
    endpoint_health::Entity::delete_many().filter(of_ids).exec(&transaction).await?;
    let of_ids = endpoint_revision::Column::EndpointId.is_in(ids.iter().copied());
    endpoint_revision::Entity::delete_many().filter(of_ids).exec(&transaction).await?;
    endpoint::Entity::delete_many().filter(Column::Id.is_in(ids)).exec(&transaction).await?;
    transaction.commit().await?;
    Ok(true)
}

/// All rows of these tables. Answers whether there were none.
async fn delete_rows(db: &Database, workspace: WorkspaceId, tables: &[(&str, &str)]) -> Result<bool, DbErr> {
    let mut is_empty = true;
    for (table, key) in tables {
        let text = format!(
            "DELETE FROM {table} WHERE workspace_id = $1 \
             AND {key} IN (SELECT {key} FROM {table} WHERE workspace_id = $1 LIMIT {STEP})"
        );
        is_empty &= delete_in_steps(db, workspace, &text).await?;
    }
    Ok(is_empty)
}

/// Repeats a statement that deletes at most [`STEP`] rows until nothing is left. Answers whether there was nothing.
async fn delete_in_steps(db: &Database, workspace: WorkspaceId, text: &str) -> Result<bool, DbErr> {
    let connection = db.write();
    let mut is_empty = true;
    loop {
        let step = Statement::from_sql_and_values(connection.get_database_backend(), text, [workspace.into()]);
        let deleted = connection.execute_raw(step).await?.rows_affected();
        is_empty &= deleted == 0;
        if deleted < STEP {
            return Ok(is_empty);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
