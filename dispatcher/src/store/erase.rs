//! Deleting deliveries with their attempts, and events with their deliveries, in bounded steps.
//!
//! Event     its row and its payload are gone with the first step. If that was not all, the same transaction leaves a
//!           mark: what may still be sent goes next, before anybody is answered, and the rest behind it, in this process
//!           or in the next.
//! In flight what is being sent ends, and its result finds no row: nothing of it is written, nor anything that its
//!           answer asked of the endpoint.
//! Key       the idempotency key of a deleted event is kept for its time: to repeat the publish is refused, so that
//!           nothing that somebody deleted comes back by itself.

use std::sync::Arc;
use std::time::Duration;

use angarium_entity::change_log::{Change, DeletedDelivery};
use angarium_entity::clock::SharedClock;
use angarium_entity::delivery::{self, Status};
use angarium_entity::{Database, DeliveryId, EventId, WorkspaceId, attempt, event, event_deletion};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::LockType;
use sea_orm::{ActiveValue::Set, Condition, DatabaseTransaction, QueryOrder, QuerySelect};
use tokio::sync::Notify;

use super::logged::Logged;
use super::sql;
use crate::actor::Hubs;
use crate::peers::{News, Peers};

/// Deliveries of one step.
const STEP: u64 = 500;
/// Events that are gone on with in turn.
const MARKS_AT_ONCE: u64 = 16;
/// Longest wait for the word of a new mark: another node may have left it without being heard.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Pause after the database failed.
const AGAIN: Duration = Duration::from_secs(1);

/// The part that deletes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Eraser {
    pub(crate) db: Database,
    pub(crate) clock: SharedClock,
    pub(crate) hubs: Hubs,
    pub(crate) logged: Logged,
    /// Woken when a mark was left.
    pub(crate) marked: Arc<Notify>,
    pub(crate) peers: Peers,
}

/// What a step deleted.
struct Step {
    transaction: DatabaseTransaction,
    deleted: Vec<delivery::Model>,
    changes: Vec<WorkspaceId>,
}

impl Step {
    fn is_last(&self) -> bool {
        (self.deleted.len() as u64) < STEP
    }
}

impl Eraser {
    /// Deletes a delivery; false when there is none.
    pub(crate) async fn delivery(&self, workspace: WorkspaceId, id: DeliveryId) -> Result<bool, DbErr> {
        let transaction = self.db.begin().await?;
        let step = self.step(transaction, workspace, Condition::all().add(delivery::Column::Id.eq(id))).await?;
        let is_found = !step.deleted.is_empty();
        self.finish(step).await?;
        Ok(is_found)
    }

    /// Deletes an event; false when there is none. When this answers, nothing of it is sent any more.
    pub(crate) async fn event(&self, workspace: WorkspaceId, id: EventId) -> Result<bool, DbErr> {
        let transaction = self.db.begin().await?;
        let gone = event::Entity::delete_many()
            .filter(event::Column::WorkspaceId.eq(workspace))
            .filter(event::Column::Id.eq(id))
            .exec(&transaction)
            .await?;
        if gone.rows_affected == 0 {
            return Ok(false);
        }
        let step = self.step(transaction, workspace, of_event(id)).await?;
        let is_all = step.is_last();
        if !is_all {
            let now = self.clock.now();
            let mark =
                event_deletion::ActiveModel { event_id: Set(id), workspace_id: Set(workspace), created_at: Set(now) };
            event_deletion::Entity::insert(mark).exec_without_returning(&step.transaction).await?;
        }
        self.finish(step).await?;
        if !is_all {
            self.marked.notify_one();
            self.peers.news(News::Chores);
            if let Err(error) = self.stop_open(workspace, id).await {
                tracing::error!(%error, event = %id, "what is open of a deleted event is not deleted yet; it follows");
            }
        }
        Ok(true)
    }

    /// Deletes what may still be sent of an event.
    async fn stop_open(&self, workspace: WorkspaceId, id: EventId) -> Result<(), DbErr> {
        let open = || of_event(id).add(delivery::Column::Status.is_in([Status::Pending, Status::Retrying]));
        loop {
            let step = self.step(self.db.begin().await?, workspace, open()).await?;
            let is_last = step.is_last();
            self.finish(step).await?;
            if is_last {
                return Ok(());
            }
        }
    }

    /// Deletes one step of what is meant, oldest first.
    async fn step(
        &self,
        transaction: DatabaseTransaction,
        workspace: WorkspaceId,
        what: Condition,
    ) -> Result<Step, DbErr> {
        let deleted = delivery::Entity::of(workspace)
            .filter(what)
            .order_by_asc(delivery::Column::CreatedAt)
            .order_by_asc(delivery::Column::Id)
            .limit(STEP)
            .lock(LockType::Update)
            .all(&transaction)
            .await?;
        if deleted.is_empty() {
            return Ok(Step { transaction, deleted, changes: Vec::new() });
        }
        let ids = || deleted.iter().map(|row| row.id);
        attempt::Entity::delete_many().filter(attempt::Column::DeliveryId.is_in(ids())).exec(&transaction).await?;
        delivery::Entity::delete_many().filter(delivery::Column::Id.is_in(ids())).exec(&transaction).await?;
        let told: Vec<Change> = deleted.iter().map(|row| DeletedDelivery::from(row).into()).collect();
        let changes = sql::append_changes(&transaction, self.clock.now(), [(workspace, told)]).await?;
        Ok(Step { transaction, deleted, changes })
    }

    /// Commits a step and tells of it.
    async fn finish(&self, step: Step) -> Result<(), DbErr> {
        step.transaction.commit().await?;
        for row in step.deleted.iter().filter(|row| row.status.is_open()) {
            self.hubs.changed(row.endpoint_id, row.id);
        }
        self.logged.tell(step.changes);
        Ok(())
    }

    /// Goes on with marked events for ever, at once with what an earlier process had begun.
    pub(crate) async fn run(self) {
        loop {
            match self.go_on().await {
                Ok(true) => {}
                Ok(false) => drop(tokio::time::timeout(LOOK_EVERY, self.marked.notified()).await),
                Err(error) => {
                    tracing::error!(%error, "could not go on deleting the deliveries of deleted events; trying again");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// One step of each of the oldest marks. Answers whether there was any.
    async fn go_on(&self) -> Result<bool, DbErr> {
        let marks = event_deletion::Entity::find()
            .order_by_asc(event_deletion::Column::CreatedAt)
            .order_by_asc(event_deletion::Column::EventId)
            .limit(MARKS_AT_ONCE)
            .all(self.db.read())
            .await?;
        for mark in &marks {
            let step = self.step(self.db.begin().await?, mark.workspace_id, of_event(mark.event_id)).await?;
            if step.is_last() {
                event_deletion::Entity::delete_by_id(mark.event_id).exec(&step.transaction).await?;
            }
            self.finish(step).await?;
        }
        Ok(!marks.is_empty())
    }
}

fn of_event(id: EventId) -> Condition {
    Condition::all().add(delivery::Column::EventId.eq(id))
}
