//! Deletes events that are older than their workspace keeps them (`retention`), with their deliveries and attempts.
//!
//! Open    an event stays for as long as one of its deliveries is open, however old it is. Who sends it again holds its row
//!         (`replay/send.rs`), and so does who deletes it: first the rows are taken, those left out that somebody holds, and
//!         only a statement behind that looks for deliveries, which sees what was committed until then.
//! Steps   each is a transaction of its own, with a pause behind it that is at least as long: what is old can wait, and
//!         those who publish have the database for half of the time at least.
//! Silence streams are not told: nothing that anybody follows has changed.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use angarium_entity::clock::SharedClock;
use angarium_entity::delivery::Status;
use angarium_entity::{Database, DeliveryId, EventId, Timestamp, WorkspaceId, attempt, delivery, event};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{LockBehavior, LockType};
use sea_orm::{Condition, ConnectionTrait, DbErr, QueryOrder, QuerySelect, Statement};

/// Pause between two sweeps.
const EVERY: Duration = Duration::from_mins(10);
/// Events, and deliveries, of one step.
const STEP: u64 = 250;
/// Shortest pause between two steps.
const PAUSE: Duration = Duration::from_millis(10);

/// Those with an event that is too old; each is one look into an index.
const WORKSPACES: &str = "SELECT w.id, w.retention_ms FROM workspace AS w WHERE EXISTS (\
    SELECT 1 FROM event AS e WHERE e.workspace_id = w.id AND e.created_at < $1 - w.retention_ms)";

/// Sweeps for ever, at once to begin with.
pub(crate) async fn run(db: Database, clock: SharedClock) {
    loop {
        if let Err(error) = sweep(&db, clock.now()).await {
            tracing::error!(%error, "could not delete what is older than its retention; the next sweep tries again");
        }
        clock.sleep(EVERY).await;
    }
}

async fn sweep(db: &Database, now: Timestamp) -> Result<(), DbErr> {
    let connection = db.read();
    let query = Statement::from_sql_and_values(connection.get_database_backend(), WORKSPACES, [now.into()]);
    for row in connection.query_all_raw(query).await? {
        let retention: i64 = row.try_get("", "retention_ms")?;
        let before = now - Duration::from_millis(u64::try_from(retention).unwrap_or(u64::MAX));
        let workspace = row.try_get("", "id")?;
        let (mut after, mut began) = (None, Instant::now());
        while let Some(last) = step(db, workspace, before, after).await? {
            after = Some(last);
            began = rest(began).await;
        }
    }
    Ok(())
}

/// Rests behind a step that began then. Answers when the next begins.
async fn rest(began: Instant) -> Instant {
    tokio::time::sleep(began.elapsed().max(PAUSE)).await;
    Instant::now()
}

/// Deletes what can go of the events behind `after` and answers the last of them; none at the end.
async fn step(
    db: &Database,
    workspace: WorkspaceId,
    before: Timestamp,
    after: Option<(Timestamp, EventId)>,
) -> Result<Option<(Timestamp, EventId)>, DbErr> {
    use event::Column;
    let is_later = |(created_at, id)| {
        Condition::any()
            .add(Column::CreatedAt.gt(created_at))
            .add(Condition::all().add(Column::CreatedAt.eq(created_at)).add(Column::Id.gt(id)))
    };
    let old: Vec<(EventId, Timestamp)> = event::Entity::find()
        .select_only()
        .columns([Column::Id, Column::CreatedAt])
        .filter(Column::WorkspaceId.eq(workspace))
        .filter(Column::CreatedAt.lt(before))
        .filter(Condition::all().add_option(after.map(is_later)))
        .order_by_asc(Column::CreatedAt)
        .order_by_asc(Column::Id)
        .limit(STEP)
        .into_tuple()
        .all(db.read())
        .await?;
    let last = old.last().map(|(id, created_at)| (*created_at, *id));
    let waiting: HashSet<EventId> = delivery::Entity::find()
        .select_only()
        .column(delivery::Column::EventId)
        .distinct()
        .filter(delivery::Column::EventId.is_in(old.iter().map(|(id, _)| *id)))
        .filter(delivery::Column::Status.is_in([Status::Pending, Status::Retrying]))
        .into_tuple()
        .all(db.read())
        .await?
        .into_iter()
        .collect();
    let done: Vec<EventId> = old.into_iter().map(|(id, _)| id).filter(|id| !waiting.contains(id)).collect();
    if !done.is_empty() {
        let mut began = Instant::now();
        while delete_deliveries(db, &done).await? == STEP {
            began = rest(began).await;
        }
        delete_events(db, &done).await?;
    }
    Ok(last)
}

/// One step of the final deliveries of these events, with their attempts. Answers how many.
async fn delete_deliveries(db: &Database, events: &[EventId]) -> Result<u64, DbErr> {
    use delivery::Column;
    let transaction = db.begin().await?;
    let done: Vec<DeliveryId> = delivery::Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::EventId.is_in(events.iter().copied()))
        .filter(Column::Status.is_not_in([Status::Pending, Status::Retrying]))
        .limit(STEP)
        .lock(LockType::Update)
        .into_tuple()
        .all(&transaction)
        .await?;
    if !done.is_empty() {
        let of_done = attempt::Column::DeliveryId.is_in(done.iter().copied());
        attempt::Entity::delete_many().filter(of_done).exec(&transaction).await?;
        delivery::Entity::delete_many().filter(Column::Id.is_in(done.iter().copied())).exec(&transaction).await?;
    }
    transaction.commit().await?;
    Ok(done.len() as u64)
}

/// These events, but for those that somebody has sent again meanwhile, or is about to.
async fn delete_events(db: &Database, events: &[EventId]) -> Result<(), DbErr> {
    let transaction = db.begin().await?;
    let taken = event::Entity::find()
        .select_only()
        .column(event::Column::Id)
        .filter(event::Column::Id.is_in(events.iter().copied()))
        .order_by_asc(event::Column::Id)
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked);
    let taken: Vec<EventId> = taken.into_tuple().all(&transaction).await?;
    let sent = delivery::Entity::find()
        .select_only()
        .column(delivery::Column::EventId)
        .distinct()
        .filter(delivery::Column::EventId.is_in(taken.iter().copied()));
    let sent: HashSet<EventId> = sent.into_tuple().all(&transaction).await?.into_iter().collect();
    let done = taken.into_iter().filter(|id| !sent.contains(id));
    event::Entity::delete_many().filter(event::Column::Id.is_in(done)).exec(&transaction).await?;
    transaction.commit().await
}
