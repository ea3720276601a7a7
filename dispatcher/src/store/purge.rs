//! Deletes the rows of deleted workspaces, in bounded steps; the workspace's own row is the last.
//!
//! Restart  the row of the workspace says that it is deleted until nothing else of it is left: any process goes on.
//! Late     a publish that began before the workspace was deleted, or the result of a request that was running, may be
//!          committed behind a step. So the row stays for [`LINGER`], and goes only when nothing was found.

use std::time::Duration;

use angarium_entity::clock::SharedClock;
use angarium_entity::{
    Database, Timestamp, WorkspaceId, attempt, delivery, endpoint, endpoint_health, endpoint_revision, replay,
    signing_secret, subscription, subscription_revision, workspace,
};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::LockType;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, QueryOrder, QuerySelect, Select, Statement};

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
        let mut is_empty = repeated(|| delete_replays(db, row.id, now)).await?;
        is_empty &= repeated(|| delete_deliveries(db, row.id)).await?;
        is_empty &= delete_rows(db, row.id, &BEFORE_ENDPOINTS).await?;
        is_empty &= repeated(|| delete_subscriptions(db, row.id)).await?;
        is_empty &= repeated(|| delete_endpoints(db, row.id)).await?;
        is_empty &= delete_rows(db, row.id, &AFTER_ENDPOINTS).await?;
        if is_empty && row.deleted_at.is_some_and(|at| at + LINGER <= now) {
            workspace::Entity::delete_by_id(row.id).exec(db.write()).await?;
        }
    }
    Ok(())
}

/// Repeats a step until it finds nothing. Answers whether there was nothing.
async fn repeated<F: Future<Output = Result<bool, DbErr>>>(step: impl Fn() -> F) -> Result<bool, DbErr> {
    let mut is_empty = true;
    while step().await? {
        is_empty = false;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(is_empty)
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
    let oldest = delivery::Entity::of(workspace).order_by_asc(Column::CreatedAt).order_by_asc(Column::Id);
    let Some(step) = Step::of(db, oldest, Column::Id).await? else { return Ok(false) };
    step.delete::<attempt::Entity>(attempt::Column::DeliveryId).await?;
    step.end::<delivery::Entity>(Column::Id).await
}

/// One step of the subscriptions, deleted or not, with their revisions. Answers whether there were any.
async fn delete_subscriptions(db: &Database, workspace: WorkspaceId) -> Result<bool, DbErr> {
    use subscription::Column;
    let all = subscription::Entity::find().filter(Column::WorkspaceId.eq(workspace));
    let Some(step) = Step::of(db, all, Column::Id).await? else { return Ok(false) };
    step.delete::<subscription_revision::Entity>(subscription_revision::Column::SubscriptionId).await?;
    step.end::<subscription::Entity>(Column::Id).await
}

/// One step of the endpoints, deleted or not, with their health, revisions and secrets. Answers whether there were any.
async fn delete_endpoints(db: &Database, workspace: WorkspaceId) -> Result<bool, DbErr> {
    use endpoint::Column;
    let all = endpoint::Entity::find().filter(Column::WorkspaceId.eq(workspace));
    let Some(step) = Step::of(db, all, Column::Id).await? else { return Ok(false) };
    step.delete::<signing_secret::Entity>(signing_secret::Column::EndpointId).await?;
    step.delete::<endpoint_health::Entity>(endpoint_health::Column::EndpointId).await?;
    step.delete::<endpoint_revision::Entity>(endpoint_revision::Column::EndpointId).await?;
    step.end::<endpoint::Entity>(Column::Id).await
}

/// Rows that are deleted in one transaction with what belongs to them.
struct Step {
    transaction: DatabaseTransaction,
    ids: Vec<Uuid>,
}

impl Step {
    /// The first [`STEP`] rows of `select`, held: a result that is being stored is waited for, and what it has added is
    /// deleted with them. None when there are none.
    async fn of<E: EntityTrait>(db: &Database, select: Select<E>, id: E::Column) -> Result<Option<Self>, DbErr> {
        let transaction = db.begin().await?;
        let held = select.select_only().column(id).limit(STEP).lock(LockType::Update);
        let ids = held.into_tuple().all(&transaction).await?;
        Ok(Some(Self { transaction, ids }).filter(|step| !step.ids.is_empty()))
    }

    /// Deletes the rows that have one of the IDs in `column`.
    async fn delete<E: EntityTrait>(&self, column: E::Column) -> Result<(), DbErr> {
        let of_ids = column.is_in(self.ids.iter().copied());
        E::delete_many().filter(of_ids).exec(&self.transaction).await.map(drop)
    }

    /// Deletes the rows themselves. Answers that there were some.
    async fn end<E: EntityTrait>(self, id: E::Column) -> Result<bool, DbErr> {
        self.delete::<E>(id).await?;
        self.transaction.commit().await?;
        Ok(true)
    }
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
    repeated(|| async {
        let step = Statement::from_sql_and_values(connection.get_database_backend(), text, [workspace.into()]);
        Ok(connection.execute_raw(step).await?.rows_affected() > 0)
    })
    .await
}
