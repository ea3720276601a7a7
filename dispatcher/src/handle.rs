//! All that the API sees of the dispatcher.

use std::any::Any;
use std::sync::Arc;

use angarium_entity::clock::SharedClock;
use angarium_entity::confirmation::Message;
use angarium_entity::event_type::reserved::Notice;
use angarium_entity::{
    Database, DeliveryId, EndpointId, EventId, NodeId, ReplayId, SubscriptionId, Timestamp, WorkspaceId, delivery,
    event, replay, shard,
};
use futures_util::FutureExt as _;
use sea_orm::{DatabaseTransaction, DbErr};
use serde::Serialize;
use tokio::sync::broadcast;

use crate::Metrics;
use crate::actor::Hubs;
use crate::actor::hub::{HubReport, LimitedUntil, Observe};
use crate::cluster::Ownership;
use crate::job::Job;
use crate::link::Link;
use crate::publish::{NewEvent, NewTest, PublishError, Published};
use crate::replay::{NewReplay, ReplayError};
use crate::schedule::Schedule;
use crate::store::cancel::{Cancel, Canceler};
use crate::store::confirmation::{self, Asked};
use crate::store::erase::Eraser;
use crate::store::ingest::Ingest;
use crate::store::logged::Logged;
use crate::store::notice::{Notices, Raised};
use crate::store::replay::Replays;
use crate::store::{backlog, retry, test_event};
use crate::transport::address_guard::{AddressGuard, ForbiddenAddress};

/// A cheap handle on a running dispatcher.
///
/// What is behind it is hidden from the compiler, and so are the futures of its methods. Whoever holds a handle across an
/// `.await` would otherwise have every type down to the connections of Redis looked through for `Send`; the API has a
/// thousand such places and took seven minutes to compile.
#[derive(Clone)]
pub struct DispatcherHandle(Arc<dyn Any + Send + Sync>);

/// What a handle is made of.
pub(crate) struct Parts {
    pub(crate) db: Database,
    pub(crate) clock: SharedClock,
    pub(crate) ingest: Ingest,
    pub(crate) hubs: Hubs,
    pub(crate) logged: Logged,
    pub(crate) notices: Notices,
    pub(crate) guard: AddressGuard,
    pub(crate) shard_count: i32,
    pub(crate) eraser: Eraser,
    pub(crate) replays: Replays,
    pub(crate) cluster: Cluster,
    pub(crate) metrics: Metrics,
}

/// What tells of this node and its way to the others. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) ownership: Ownership,
    pub(crate) link: Option<Arc<Link>>,
    pub(crate) schedule: Schedule,
}

/// How this node stands among the others, for operators and tests.
#[derive(Clone, Debug, Serialize)]
pub struct NodeReport {
    /// Its name; none while it is not part of the cluster.
    pub node: Option<NodeId>,
    /// Shards that it delivers for.
    pub shards: usize,
    /// Shards that nobody has, as far as it knows: they are on their way from one node to another.
    pub unowned_shards: usize,
    /// Whether it may send now.
    pub may_send: bool,
    /// Whether there are other nodes.
    pub has_peers: bool,
    /// Whether Redis answered when it was last asked; none without Redis.
    pub redis: Option<bool>,
    /// How often the retry schedule of a shard was rebuilt since the start.
    pub schedule_rebuilds: u64,
    /// Events that wait to be committed, or are being committed.
    pub publishes_waiting: usize,
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
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    fn parts(&self) -> &Parts {
        self.0.downcast_ref().expect("it is made of nothing else")
    }

    /// Publishes one event. When this answers, the event and its deliveries are committed.
    ///
    /// # Errors
    /// [`PublishError`]; nothing is stored then.
    pub async fn publish(&self, event: NewEvent) -> Result<Published, PublishError> {
        async move {
            let mut outcomes = self.parts().ingest.publish(vec![event]).await;
            outcomes.pop().unwrap_or(Err(PublishError::Stopping))
        }
        .boxed()
        .await
    }

    /// Publishes events that were given together. Each is taken or refused on its own; those that are taken are committed
    /// in one transaction and keep their order. Answers in the order of `events`.
    pub async fn publish_batch(&self, events: Vec<NewEvent>) -> Vec<Result<Published, PublishError>> {
        async move { self.parts().ingest.publish(events).await }.boxed().await
    }

    /// Tries a delivery again now, with a fresh round of its policy.
    ///
    /// # Errors
    /// [`RetryError`]; nothing is changed then.
    pub async fn retry(&self, workspace: WorkspaceId, id: DeliveryId) -> Result<delivery::Model, RetryError> {
        async move {
            use sea_orm::{ColumnTrait, QueryFilter};
            let row =
                delivery::Entity::of(workspace).filter(delivery::Column::Id.eq(id)).one(self.parts().db.read()).await?;
            let endpoint = row.ok_or(RetryError::NotFound)?.endpoint_id;
            if self.in_flight(&[(endpoint, id)]).await == [true] {
                return Err(RetryError::NotRetryable("in flight"));
            }
            let (row, changes) = retry::retry(&self.parts().db, workspace, id, self.parts().clock.now()).await?;
            self.parts().hubs.changed(row.endpoint_id, row.id);
            self.parts().logged.tell(changes);
            Ok(row)
        }
        .boxed()
        .await
    }

    /// Sends a test event. When this answers, it and its delivery are committed.
    ///
    /// # Errors
    /// [`PublishError`]; nothing is stored then.
    pub async fn test(&self, test: NewTest) -> Result<(Arc<event::Model>, delivery::Model), PublishError> {
        async move {
            let shard = shard::of(test.endpoint_id, self.parts().shard_count);
            let failed = |error| PublishError::Database(Arc::new(error));
            let (event, row, changes) =
                test_event::insert(&self.parts().db, test, shard, self.parts().clock.now()).await.map_err(failed)?;
            self.parts().hubs.express(Job::new(&row, event.clone()));
            self.parts().logged.tell(changes);
            Ok((event, row))
        }
        .boxed()
        .await
    }

    /// Writes events of Angarium's own and their deliveries into the caller's transaction, which makes the change that
    /// they tell of. When it is committed, hand the answer to [`Self::tell`].
    ///
    /// # Errors
    /// Those of the database.
    pub async fn raise(&self, transaction: &DatabaseTransaction, notices: Vec<Notice>) -> Result<Raised, DbErr> {
        async move { self.parts().notices.raise(transaction, notices, self.parts().clock.now()).await }.boxed().await
    }

    /// Has what was raised in a transaction that is committed now go out.
    pub fn tell(&self, raised: Raised) {
        self.parts().notices.tell(raised);
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
        async move {
            let now = self.parts().clock.now();
            confirmation::ask(transaction, endpoint, self.parts().shard_count, subscriptions, messages, now).await
        }
        .boxed()
        .await
    }

    /// Sends confirmation messages that are committed, and stops sending those whose place they take.
    ///
    /// # Errors
    /// Those of the database; the messages are sent all the same.
    pub async fn send_confirmations(&self, asked: Asked) -> Result<(), DbErr> {
        async move {
            for job in asked.jobs {
                self.parts().hubs.express(job);
            }
            for change in asked.changes {
                self.logged(change);
            }
            for (workspace, event) in asked.replaced {
                self.cancel(workspace, Cancel::Event(event), confirmation::REPLACED).await?;
            }
            Ok(())
        }
        .boxed()
        .await
    }

    /// Cancels open deliveries in bounded steps, and goes on to the end even if the caller does not wait for it.
    /// Answers how many. What is in flight ends, and is recorded, but its result decides nothing any more.
    ///
    /// # Errors
    /// Those of the database; what was canceled by then stays canceled.
    pub async fn cancel(&self, workspace: WorkspaceId, what: Cancel, reason: &str) -> Result<u64, DbErr> {
        async move {
            let canceler = Canceler {
                db: self.parts().db.clone(),
                hubs: self.parts().hubs.clone(),
                logged: self.parts().logged.clone(),
                metrics: self.parts().metrics.clone(),
            };
            let (reason, now) = (reason.to_owned(), self.parts().clock.now());
            let canceled = tokio::spawn(async move { canceler.cancel(workspace, what, &reason, now).await });
            canceled.await.unwrap_or_else(|stopped| Err(DbErr::Custom(stopped.to_string())))
        }
        .boxed()
        .await
    }

    /// Deletes a delivery with its attempts; false when there is none. What is in flight ends, and is not recorded.
    ///
    /// # Errors
    /// Those of the database; nothing is deleted then.
    pub async fn delete_delivery(&self, workspace: WorkspaceId, id: DeliveryId) -> Result<bool, DbErr> {
        async move { self.parts().eraser.delivery(workspace, id).await }.boxed().await
    }

    /// Deletes an event; false when there is none. When this answers, the event and its payload are gone and nothing of
    /// it is sent any more; where it has more deliveries than one step holds, they follow in the background, also
    /// across a restart.
    ///
    /// # Errors
    /// Those of the database; nothing is deleted then.
    pub async fn delete_event(&self, workspace: WorkspaceId, id: EventId) -> Result<bool, DbErr> {
        async move { self.parts().eraser.event(workspace, id).await }.boxed().await
    }

    /// Starts a replay. It goes on by itself, also across a restart.
    ///
    /// # Errors
    /// [`ReplayError`]; nothing is stored then.
    pub async fn start_replay(&self, new: NewReplay) -> Result<replay::Model, ReplayError> {
        async move { self.parts().replays.start(new).await }.boxed().await
    }

    /// How many events a replay would match. Nothing is stored.
    ///
    /// # Errors
    /// [`ReplayError`].
    pub async fn count_replay(&self, new: NewReplay) -> Result<u64, ReplayError> {
        async move { self.parts().replays.count(new).await }.boxed().await
    }

    /// Stops a running replay. The deliveries that it has made go on.
    ///
    /// # Errors
    /// [`ReplayError`]; nothing is changed then.
    pub async fn cancel_replay(&self, workspace: WorkspaceId, id: ReplayId) -> Result<replay::Model, ReplayError> {
        async move { self.parts().replays.cancel(workspace, id).await }.boxed().await
    }

    /// Tells the actor of an endpoint that its settings, or those of its subscriptions, have changed. Call it after the
    /// commit.
    pub fn endpoint_changed(&self, endpoint: EndpointId) {
        self.parts().hubs.reload(endpoint);
    }

    /// Wakes the live streams of a workspace, whose log was written. Call it after the commit.
    pub fn logged(&self, workspace: WorkspaceId) {
        self.parts().logged.tell([workspace]);
    }

    /// Whether each delivery has a request running, on whichever node, in the order of the question. A node that does not
    /// answer at once runs nothing, as far as anybody can tell.
    pub async fn in_flight(&self, deliveries: &[(EndpointId, DeliveryId)]) -> Vec<bool> {
        async move { self.parts().hubs.in_flight(deliveries).await }.boxed().await
    }

    /// Until when each endpoint waits for its rate limit on this node, in the order of the question.
    pub async fn limited_until(&self, endpoints: &[EndpointId]) -> Vec<Option<Timestamp>> {
        async move {
            let mut answer = vec![None; endpoints.len()];
            for port in self.parts().hubs.all() {
                let (places, ids): (Vec<_>, Vec<_>) = endpoints
                    .iter()
                    .enumerate()
                    .map(|(place, id)| (place, *id))
                    .filter(|(_, id)| self.parts().hubs.of(*id).addr == port.addr)
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
        .boxed()
        .await
    }

    /// The workspaces in whose change log something was committed, on any node. A hint, which may be lost: who must know
    /// reads the log now and then.
    pub fn changes(&self) -> broadcast::Receiver<WorkspaceId> {
        self.parts().logged.here().subscribe()
    }

    /// How this node stands among the others.
    pub fn node(&self) -> NodeReport {
        let Cluster { ownership, link, schedule } = &self.parts().cluster;
        NodeReport {
            node: ownership.node(),
            shards: ownership.count(),
            unowned_shards: ownership.unowned(),
            may_send: ownership.may_send(),
            has_peers: ownership.has_peers(),
            redis: link.as_ref().map(|link| link.is_up()),
            schedule_rebuilds: schedule.rebuilds(),
            publishes_waiting: self.parts().ingest.waiting(),
        }
    }

    /// Whether an endpoint at this URL may be connected to, as far as the URL itself tells: the address of a name is
    /// checked at every connection.
    ///
    /// # Errors
    /// [`ForbiddenAddress`].
    pub fn check_url(&self, url: &url::Url) -> Result<(), ForbiddenAddress> {
        self.parts().guard.check_url(url)
    }

    /// Brings the metrics up to date that tell a state and not a count. Of the rows they are asked anew only when
    /// `with_rows`: that costs a query or two for each endpoint with something to send.
    ///
    /// # Errors
    /// Those of the database; what is told of the rows stays as it was then.
    pub async fn measure(&self, with_rows: bool) -> Result<(), DbErr> {
        async move {
            let (parts, metrics) = (self.parts(), &self.parts().metrics);
            let hubs = self.observe().await;
            let total = |of: fn(&HubReport) -> usize| hubs.iter().map(of).sum::<usize>();
            metrics.set_work(total(|hub| hub.in_flight), total(|hub| hub.endpoints), total(|hub| hub.job_bytes));
            metrics.set_node(&self.node(), parts.shard_count);
            if with_rows {
                metrics.set_backlog(backlog::count(&parts.db, parts.clock.now()).await?);
            }
            Ok(())
        }
        .boxed()
        .await
    }

    /// What each hub is doing.
    pub async fn observe(&self) -> Vec<HubReport> {
        async move {
            let mut reports = Vec::new();
            for port in self.parts().hubs.all() {
                reports.extend(port.addr.send(Observe).await);
            }
            reports
        }
        .boxed()
        .await
    }
}

impl std::fmt::Debug for DispatcherHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DispatcherHandle").field("hubs", &self.parts().hubs.all().len()).finish_non_exhaustive()
    }
}
