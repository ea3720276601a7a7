//! All that the API sees of the dispatcher.

use std::sync::Arc;

use angarium_entity::clock::SharedClock;
use angarium_entity::confirmation::Message;
use angarium_entity::event_type::reserved::Notice;
use angarium_entity::{
    Database, DeliveryId, EndpointId, EventId, ReplayId, SubscriptionId, Timestamp, WorkspaceId, change_log, delivery,
    event, replay, shard,
};
use sea_orm::{DatabaseTransaction, DbErr};
use tokio::sync::broadcast;

use crate::actor::Hubs;
use crate::actor::hub::{AreInFlight, HubReport, LimitedUntil, Observe};
use crate::job::Job;
use crate::publish::{NewEvent, NewTest, PublishError, Published};
use crate::replay::{NewReplay, ReplayError};
use crate::store::cancel::{Cancel, Canceler};
use crate::store::confirmation::{self, Asked};
use crate::store::erase::Eraser;
use crate::store::ingest::Ingest;
use crate::store::notice::{Notices, Raised};
use crate::store::replay::Replays;
use crate::store::{retry, test_event};
use crate::transport::address_guard::{AddressGuard, ForbiddenAddress};

/// A cheap handle on a running dispatcher.
#[derive(Clone)]
pub struct DispatcherHandle {
    db: Database,
    clock: SharedClock,
    ingest: Ingest,
    hubs: Hubs,
    changes: broadcast::Sender<Arc<change_log::Model>>,
    notices: Notices,
    guard: Arc<AddressGuard>,
    shard_count: i32,
    eraser: Eraser,
    replays: Replays,
}

/// Why a delivery was not retried by hand. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    /// No such delivery in the workspace.
    #[error("the delivery does not exist")]
    NotFound,
    /// Pending, in flight, or without its event.
    #[error("the delivery is {0}; it can be retried while it is RETRYING or final, and no request is running")]
    NotRetryable(&'static str),
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] DbErr),
}

impl DispatcherHandle {
    #[expect(clippy::too_many_arguments, reason = "each is a part of its own; called once")]
    pub(crate) fn new(
        db: Database,
        clock: SharedClock,
        ingest: Ingest,
        hubs: Hubs,
        changes: broadcast::Sender<Arc<change_log::Model>>,
        notices: Notices,
        guard: AddressGuard,
        shard_count: i32,
        eraser: Eraser,
        replays: Replays,
    ) -> Self {
        Self { db, clock, ingest, hubs, changes, notices, guard: Arc::new(guard), shard_count, eraser, replays }
    }

    /// Publishes one event. When this answers, the event and its deliveries are committed.
    ///
    /// # Errors
    /// [`PublishError`]; nothing is stored then.
    pub async fn publish(&self, event: NewEvent) -> Result<Published, PublishError> {
        let mut outcomes = self.ingest.publish(vec![event]).await;
        outcomes.pop().unwrap_or(Err(PublishError::Stopping))
    }

    /// Publishes events that were given together. Each is taken or refused on its own; those that are taken are committed
    /// in one transaction and keep their order. Answers in the order of `events`.
    pub async fn publish_batch(&self, events: Vec<NewEvent>) -> Vec<Result<Published, PublishError>> {
        self.ingest.publish(events).await
    }

    /// Tries a delivery again now, with a fresh round of its policy.
    ///
    /// # Errors
    /// [`RetryError`]; nothing is changed then.
    pub async fn retry(&self, workspace: WorkspaceId, id: DeliveryId) -> Result<delivery::Model, RetryError> {
        use sea_orm::{ColumnTrait, QueryFilter};
        let row = delivery::Entity::of(workspace).filter(delivery::Column::Id.eq(id)).one(self.db.read()).await?;
        let endpoint = row.ok_or(RetryError::NotFound)?.endpoint_id;
        if self.in_flight(&[(endpoint, id)]).await == [true] {
            return Err(RetryError::NotRetryable("in flight"));
        }
        let (row, changes) = retry::retry(&self.db, workspace, id, self.clock.now()).await?;
        self.hubs.changed(row.endpoint_id, row.id);
        for change in changes {
            // Nobody watching is not an error.
            let _ = self.changes.send(change);
        }
        Ok(row)
    }

    /// Sends a test event. When this answers, it and its delivery are committed.
    ///
    /// # Errors
    /// [`PublishError`]; nothing is stored then.
    pub async fn test(&self, test: NewTest) -> Result<(Arc<event::Model>, delivery::Model), PublishError> {
        let shard = shard::of(test.endpoint_id, self.shard_count);
        let failed = |error| PublishError::Database(Arc::new(error));
        let (event, row, changes) =
            test_event::insert(&self.db, test, shard, self.clock.now()).await.map_err(failed)?;
        self.hubs.express(Job::new(&row, event.clone()));
        for change in changes {
            // Nobody watching is not an error.
            let _ = self.changes.send(Arc::new(change));
        }
        Ok((event, row))
    }

    /// Writes events of Angarium's own and their deliveries into the caller's transaction, which makes the change that
    /// they tell of. When it is committed, hand the answer to [`Self::tell`].
    ///
    /// # Errors
    /// Those of the database.
    pub async fn raise(&self, transaction: &DatabaseTransaction, notices: Vec<Notice>) -> Result<Raised, DbErr> {
        self.notices.raise(transaction, notices, self.clock.now()).await
    }

    /// Has what was raised in a transaction that is committed now go out.
    pub fn tell(&self, raised: Raised) {
        self.notices.tell(raised);
    }

    /// Writes messages that ask the endpoint of `subscriptions` to confirm them into the caller's transaction. What was
    /// sent for these subscriptions before works no more. When it is committed, and the endpoint has been told of its
    /// change, hand the answer to [`Self::send_confirmations`].
    ///
    /// # Errors
    /// Those of the database.
    pub async fn ask_for_confirmation(
        &self,
        transaction: &DatabaseTransaction,
        endpoint: EndpointId,
        subscriptions: &[SubscriptionId],
        messages: Vec<Message>,
    ) -> Result<Asked, DbErr> {
        let now = self.clock.now();
        confirmation::ask(transaction, endpoint, self.shard_count, subscriptions, messages, now).await
    }

    /// Sends confirmation messages that are committed, and stops sending those whose place they take.
    ///
    /// # Errors
    /// Those of the database; the messages are sent all the same.
    pub async fn send_confirmations(&self, asked: Asked) -> Result<(), DbErr> {
        for job in asked.jobs {
            self.hubs.express(job);
        }
        for change in asked.changes {
            self.logged(change);
        }
        for (workspace, event) in asked.replaced {
            self.cancel(workspace, Cancel::Event(event), confirmation::REPLACED).await?;
        }
        Ok(())
    }

    /// Cancels open deliveries in bounded steps, and goes on to the end even if the caller does not wait for it.
    /// Answers how many. What is in flight ends, and is recorded, but its result decides nothing any more.
    ///
    /// # Errors
    /// Those of the database; what was canceled by then stays canceled.
    pub async fn cancel(&self, workspace: WorkspaceId, what: Cancel, reason: &str) -> Result<u64, DbErr> {
        let canceler = Canceler { db: self.db.clone(), hubs: self.hubs.clone(), changes: self.changes.clone() };
        let (reason, now) = (reason.to_owned(), self.clock.now());
        let canceled = tokio::spawn(async move { canceler.cancel(workspace, what, &reason, now).await });
        canceled.await.unwrap_or_else(|stopped| Err(DbErr::Custom(stopped.to_string())))
    }

    /// Deletes a delivery with its attempts; false when there is none. What is in flight ends, and is not recorded.
    ///
    /// # Errors
    /// Those of the database; nothing is deleted then.
    pub async fn delete_delivery(&self, workspace: WorkspaceId, id: DeliveryId) -> Result<bool, DbErr> {
        self.eraser.delivery(workspace, id).await
    }

    /// Deletes an event; false when there is none. When this answers, the event and its payload are gone and nothing of
    /// it is sent any more; where it has more deliveries than one step holds, they follow in the background, also
    /// across a restart.
    ///
    /// # Errors
    /// Those of the database; nothing is deleted then.
    pub async fn delete_event(&self, workspace: WorkspaceId, id: EventId) -> Result<bool, DbErr> {
        self.eraser.event(workspace, id).await
    }

    /// Starts a replay. It goes on by itself, also across a restart.
    ///
    /// # Errors
    /// [`ReplayError`]; nothing is stored then.
    pub async fn start_replay(&self, new: NewReplay) -> Result<replay::Model, ReplayError> {
        self.replays.start(new).await
    }

    /// How many events a replay would match. Nothing is stored.
    ///
    /// # Errors
    /// [`ReplayError`].
    pub async fn count_replay(&self, new: NewReplay) -> Result<u64, ReplayError> {
        self.replays.count(new).await
    }

    /// Stops a running replay. The deliveries that it has made go on.
    ///
    /// # Errors
    /// [`ReplayError`]; nothing is changed then.
    pub async fn cancel_replay(&self, workspace: WorkspaceId, id: ReplayId) -> Result<replay::Model, ReplayError> {
        self.replays.cancel(workspace, id).await
    }

    /// Tells the actor of an endpoint that its settings, or those of its subscriptions, have changed. Call it after the
    /// commit.
    pub fn endpoint_changed(&self, endpoint: EndpointId) {
        self.hubs.reload(endpoint);
    }

    /// Wakes the live streams of a workspace with a row of the change log. Call it after the commit.
    pub fn logged(&self, row: change_log::Model) {
        // Nobody watching is not an error.
        let _ = self.changes.send(Arc::new(row));
    }

    /// Whether each delivery has a request running on this node, in the order of the question.
    pub async fn in_flight(&self, deliveries: &[(EndpointId, DeliveryId)]) -> Vec<bool> {
        let mut answer = vec![false; deliveries.len()];
        for port in self.hubs.all() {
            let (places, ids): (Vec<_>, Vec<_>) = deliveries
                .iter()
                .enumerate()
                .filter(|(_, (endpoint, _))| self.hubs.of(*endpoint).addr == port.addr)
                .map(|(place, (_, delivery))| (place, *delivery))
                .unzip();
            if ids.is_empty() {
                continue;
            }
            // A hub that has ended runs nothing.
            for (place, running) in places.into_iter().zip(port.addr.send(AreInFlight(ids)).await.unwrap_or_default()) {
                answer[place] = running;
            }
        }
        answer
    }

    /// Until when each endpoint waits for its rate limit on this node, in the order of the question.
    pub async fn limited_until(&self, endpoints: &[EndpointId]) -> Vec<Option<Timestamp>> {
        let mut answer = vec![None; endpoints.len()];
        for port in self.hubs.all() {
            let (places, ids): (Vec<_>, Vec<_>) = endpoints
                .iter()
                .enumerate()
                .map(|(place, id)| (place, *id))
                .filter(|(_, id)| self.hubs.of(*id).addr == port.addr)
                .unzip();
            if ids.is_empty() {
                continue;
            }
            let asked = port.addr.send(LimitedUntil(ids)).await.unwrap_or_default();
            for (place, until) in places.into_iter().zip(asked) {
                answer[place] = until;
            }
        }
        answer
    }

    /// Rows of the change log as they are committed. A receiver that lags reads the log instead.
    pub fn changes(&self) -> broadcast::Receiver<Arc<change_log::Model>> {
        self.changes.subscribe()
    }

    /// Whether an endpoint at this URL may be connected to, as far as the URL itself tells: the address of a name is
    /// checked at every connection.
    ///
    /// # Errors
    /// [`ForbiddenAddress`].
    pub fn check_url(&self, url: &url::Url) -> Result<(), ForbiddenAddress> {
        self.guard.check_url(url)
    }

    /// What each hub is doing.
    pub async fn observe(&self) -> Vec<HubReport> {
        let mut reports = Vec::new();
        for port in self.hubs.all() {
            reports.extend(port.addr.send(Observe).await);
        }
        reports
    }
}

impl std::fmt::Debug for DispatcherHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DispatcherHandle").field("hubs", &self.hubs.all().len()).finish_non_exhaustive()
    }
}
