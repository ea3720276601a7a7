//! The ingest committer: many publishes, one transaction.
//!
//! Group      whatever waits when the one before is committed, workspaces in turn, at most [`EVENTS_MAX`] events and
//!            [`BYTES_MAX`] bytes. A publish that finds nobody waiting is committed at once and alone.
//! Alone      each event is taken or refused on its own. If the database refuses a group, its halves are tried, so
//!            that a row which it cannot take fails by itself.
//! Unknown    when the connection breaks during COMMIT, the events are looked up before anybody is answered.
//! Order      one group at a time, and the hubs have the jobs of a group before its publishers have their answers: if
//!            publish A was answered before B was sent, A comes first at every endpoint.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use angarium_entity::change_log::{self, DeliveryChange};
use angarium_entity::clock::SharedClock;
use angarium_entity::delivery::{self, Status, Trigger};
use angarium_entity::{Database, DeliveryId, EventId, Timestamp, WorkspaceId, event};
use sea_orm::{DbErr, EntityTrait};
use tokio::sync::{broadcast, mpsc, oneshot};

use super::idempotency::{self, Claim};
use super::match_table::MatchTables;
use super::sql;
use super::sweep::AHEAD;
use crate::actor::Hubs;
use crate::job::Job;
use crate::publish::{NewEvent, PublishError, Published};

/// Most events of a group; a batch of one caller is never split.
const EVENTS_MAX: usize = 500;
/// Most bytes of payload of a group, by the same rule.
const BYTES_MAX: usize = 1024 * 1024;
/// Events that may wait to be committed; beyond, publishers are asked to come back.
const WAITING_EVENTS_MAX: usize = 50_000;
/// Bytes of payload that may wait.
const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What a publisher that is turned away is told to wait.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How often an unknown outcome of a commit is looked up, and the pause between.
const LOOK_UPS: usize = 5;
const LOOK_UP_PAUSE: Duration = Duration::from_millis(200);

type Outcome = Result<Published, PublishError>;

/// Events of one caller, committed together.
struct Request {
    events: Vec<NewEvent>,
    bytes: usize,
    reply: oneshot::Sender<Vec<Outcome>>,
}

/// Where publishes are handed in. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Ingest {
    queue: mpsc::UnboundedSender<Request>,
    waiting: Arc<Waiting>,
}

/// What bounds the queue.
#[derive(Debug, Default)]
struct Waiting {
    events: AtomicUsize,
    bytes: AtomicUsize,
}

impl Ingest {
    /// Commits `events` and answers for each, in their order.
    pub(crate) async fn publish(&self, events: Vec<NewEvent>) -> Vec<Outcome> {
        let count = events.len();
        let bytes = events.iter().map(|event| event.payload.len()).sum();
        let too_many = self.waiting.events.fetch_add(count, Ordering::Relaxed) + count > WAITING_EVENTS_MAX;
        let too_large = self.waiting.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > WAITING_BYTES_MAX;
        let (reply, answer) = oneshot::channel();
        let answered = if too_many || too_large {
            Err(PublishError::Overloaded { retry_after: RETRY_AFTER })
        } else if self.queue.send(Request { events, bytes, reply }).is_ok() {
            answer.await.map_err(|_| PublishError::Stopping)
        } else {
            Err(PublishError::Stopping)
        };
        self.waiting.events.fetch_sub(count, Ordering::Relaxed);
        self.waiting.bytes.fetch_sub(bytes, Ordering::Relaxed);
        answered.unwrap_or_else(|error| vec![Err(error); count])
    }
}

/// The part that commits. [`Committer::run`] ends when every [`Ingest`] is gone.
pub(crate) struct Committer {
    db: Database,
    clock: SharedClock,
    hubs: Hubs,
    changes: broadcast::Sender<Arc<change_log::Model>>,
    tables: MatchTables,
}

/// A handle to publish by, and the committer to run.
pub(crate) fn channel(
    db: Database,
    clock: SharedClock,
    hubs: Hubs,
    changes: broadcast::Sender<Arc<change_log::Model>>,
) -> (Ingest, impl Future<Output = ()>) {
    let (queue, requests) = mpsc::unbounded_channel();
    let committer = Committer { db, clock, hubs, changes, tables: MatchTables::default() };
    (Ingest { queue, waiting: Arc::default() }, committer.run(requests))
}

impl Committer {
    async fn run(mut self, mut requests: mpsc::UnboundedReceiver<Request>) {
        let mut turns = Turns::default();
        loop {
            if turns.is_empty() {
                let Some(request) = requests.recv().await else { return };
                turns.push(request);
            }
            while let Ok(request) = requests.try_recv() {
                turns.push(request);
            }
            self.commit(turns.take_group()).await;
        }
    }

    /// Commits a group; when the database refuses it, each half by itself.
    async fn commit(&mut self, group: Vec<Request>) {
        let mut groups = vec![group];
        while let Some(mut group) = groups.pop() {
            match self.try_commit(&group).await {
                Ok(outcomes) => {
                    for (request, outcome) in group.into_iter().zip(outcomes) {
                        // A publisher that has gone away is not told; its event is published all the same.
                        let _ = request.reply.send(outcome);
                    }
                }
                Err(error) if group.len() > 1 && !is_connection_lost(&error) => {
                    tracing::warn!(%error, requests = group.len(), "the database refused a group of publishes; trying its halves");
                    let second = group.split_off(group.len() / 2);
                    groups.extend([second, group]);
                }
                Err(error) => {
                    tracing::error!(%error, requests = group.len(), "publishes were not committed");
                    let error = PublishError::Database(Arc::new(error));
                    for request in group {
                        let outcomes = vec![Err(error.clone()); request.events.len()];
                        let _ = request.reply.send(outcomes);
                    }
                }
            }
        }
    }

    async fn try_commit(&mut self, group: &[Request]) -> Result<Vec<Vec<Outcome>>, DbErr> {
        let now = self.clock.now();
        let news: Vec<&NewEvent> = group.iter().flat_map(|request| &request.events).collect();
        let transaction = self.db.begin().await?;
        let tables = self.tables.get(&transaction, workspaces(&news)).await?;
        let ids: Vec<EventId> = news.iter().map(|_| EventId::new(now)).collect();
        let claims = idempotency::claim(&transaction, &news, &ids, now).await?;

        let mut rows: Vec<Arc<event::Model>> = Vec::with_capacity(news.len());
        let mut deliveries: Vec<delivery::Model> = Vec::new();
        let mut outcomes: Vec<Outcome> = Vec::with_capacity(news.len());
        for ((new, id), claim) in news.iter().zip(ids).zip(claims) {
            let Some(table) = tables.get(&new.workspace_id) else {
                outcomes.push(Err(PublishError::UnknownWorkspace));
                continue;
            };
            let event = match claim {
                Claim::Fresh => Arc::new(row(new, id, now)),
                Claim::Repeats(event) => {
                    outcomes.push(Ok(Published { event, duplicate: true }));
                    continue;
                }
                Claim::RepeatsInGroup(first) => {
                    let first = outcomes.get(first).cloned().unwrap_or(Err(PublishError::IdempotencyMismatch));
                    outcomes.push(first.map(|published| Published { duplicate: true, ..published }));
                    continue;
                }
                Claim::Clashes => {
                    outcomes.push(Err(PublishError::IdempotencyMismatch));
                    continue;
                }
            };
            for wanted in table.matches(&new.event_type, &new.channels, now) {
                let due = new.deliver_at.filter(|at| *at > now);
                deliveries.push(delivery::Model { next_attempt_at: due, ..pending(&event, wanted, now) });
            }
            outcomes.push(Ok(Published { event: event.clone(), duplicate: false }));
            rows.push(event);
        }

        let mut changes = Vec::new();
        if !rows.is_empty() {
            sql::insert_events(&transaction, &rows.iter().map(AsRef::as_ref).collect::<Vec<_>>()).await?;
        }
        if !deliveries.is_empty() {
            sql::insert_deliveries(&transaction, &mut deliveries).await?;
            changes = sql::append_changes(&transaction, now, changes_of(&deliveries)).await?;
        }
        if let Err(error) = transaction.commit().await {
            self.confirm(rows.first().map(|event| event.id), error).await?;
        }

        let by_id: HashMap<EventId, Arc<event::Model>> = rows.into_iter().map(|event| (event.id, event)).collect();
        let (later, at_once): (Vec<_>, Vec<_>) = deliveries.iter().partition(|row| row.next_attempt_at.is_some());
        let jobs = at_once.into_iter().filter_map(|row| Some(Job::new(row, by_id.get(&row.event_id)?.clone())));
        self.hubs.deliver(jobs);
        let soon = now + AHEAD;
        let due = |row: &&delivery::Model| Some((row.next_attempt_at?, row.endpoint_id, row.id));
        self.hubs.remind(later.iter().filter_map(due).filter(|(at, ..)| *at <= soon));
        for change in changes {
            // Nobody watching is not an error.
            let _ = self.changes.send(Arc::new(change));
        }
        let mut outcomes = outcomes.into_iter();
        Ok(group.iter().map(|request| outcomes.by_ref().take(request.events.len()).collect()).collect())
    }

    /// COMMIT failed: whether it happened is told by the rows.
    async fn confirm(&self, event: Option<EventId>, error: DbErr) -> Result<(), DbErr> {
        let Some(event) = event else { return Err(error) };
        for _ in 0..LOOK_UPS {
            match event::Entity::find_by_id(event).one(self.db.write()).await {
                Ok(Some(_)) => return Ok(()),
                Ok(None) => return Err(error),
                Err(again) => tracing::warn!(error = %again, "could not look up whether a group was committed"),
            }
            tokio::time::sleep(LOOK_UP_PAUSE).await;
        }
        Err(error)
    }
}

fn workspaces(news: &[&NewEvent]) -> Vec<WorkspaceId> {
    let mut workspaces: Vec<_> = news.iter().map(|event| event.workspace_id).collect();
    workspaces.sort_unstable();
    workspaces.dedup();
    workspaces
}

fn row(new: &NewEvent, id: EventId, now: Timestamp) -> event::Model {
    event::Model {
        id,
        workspace_id: new.workspace_id,
        event_type: new.event_type.clone(),
        payload: new.payload.clone(),
        channels: new.channels.clone().into(),
        idempotency_key: new.idempotency_key.clone(),
        occurred_at: new.occurred_at.unwrap_or(now),
        test: false,
        created_at: now,
    }
}

pub(super) fn pending(event: &event::Model, wanted: super::match_table::Match, now: Timestamp) -> delivery::Model {
    delivery::Model {
        id: DeliveryId::new(now),
        workspace_id: event.workspace_id,
        event_id: event.id,
        endpoint_id: wanted.endpoint_id,
        subscription_id: wanted.subscription_id,
        shard: wanted.shard,
        seq: 0,
        status: Status::Pending,
        status_reason: None,
        trigger: Trigger::Event,
        replay_id: None,
        event_type: event.event_type.clone(),
        attempt_count: 0,
        round: 1,
        round_attempts: 0,
        next_attempt_at: None,
        last_attempt_at: None,
        response_status_code: None,
        created_at: now,
        updated_at: now,
        completed_at: None,
    }
}

pub(super) fn changes_of(deliveries: &[delivery::Model]) -> HashMap<WorkspaceId, Vec<DeliveryChange>> {
    let mut by_workspace: HashMap<WorkspaceId, Vec<DeliveryChange>> = HashMap::new();
    for row in deliveries {
        by_workspace.entry(row.workspace_id).or_default().push(DeliveryChange {
            delivery_id: row.id,
            event_id: row.event_id,
            endpoint_id: row.endpoint_id,
            subscription_id: row.subscription_id,
            attempt_id: None,
            previous_status: None,
            status: row.status.name().to_owned(),
        });
    }
    by_workspace
}

/// Whether trying a smaller group cannot help.
pub(crate) fn is_connection_lost(error: &DbErr) -> bool {
    matches!(error, DbErr::Conn(_) | DbErr::ConnectionAcquire(_))
        || matches!(
            error,
            DbErr::Exec(sea_orm::RuntimeErr::SqlxError(inner)) | DbErr::Query(sea_orm::RuntimeErr::SqlxError(inner))
                if matches!(inner.as_ref(), sea_orm::sqlx::Error::Io(_) | sea_orm::sqlx::Error::PoolClosed)
        )
}

/// Requests by workspace, taken in turn.
#[derive(Default)]
struct Turns {
    order: VecDeque<WorkspaceId>,
    waiting: HashMap<WorkspaceId, VecDeque<Request>>,
}

impl Turns {
    fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// A batch belongs where its first event does.
    fn push(&mut self, request: Request) {
        let Some(workspace) = request.events.first().map(|event| event.workspace_id) else {
            let _ = request.reply.send(Vec::new());
            return;
        };
        let line = self.waiting.entry(workspace).or_default();
        if line.is_empty() {
            self.order.push_back(workspace);
        }
        line.push_back(request);
    }

    /// The next group: a request of each workspace in turn until it is full.
    fn take_group(&mut self) -> Vec<Request> {
        let (mut group, mut events, mut bytes) = (Vec::new(), 0, 0);
        while let Some(workspace) = self.order.pop_front() {
            let Some(line) = self.waiting.get_mut(&workspace) else { continue };
            let Some(next) = line.front() else { continue };
            let is_full = events + next.events.len() > EVENTS_MAX || bytes + next.bytes > BYTES_MAX;
            if is_full && !group.is_empty() {
                self.order.push_front(workspace);
                break;
            }
            events += next.events.len();
            bytes += next.bytes;
            group.extend(line.pop_front());
            if line.is_empty() {
                self.waiting.remove(&workspace);
            } else {
                self.order.push_back(workspace);
            }
        }
        group
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(workspace_id: WorkspaceId, events: usize) -> Request {
        let event = NewEvent {
            workspace_id,
            event_type: "x".to_owned(),
            payload: "{}".to_owned(),
            channels: vec![],
            occurred_at: None,
            idempotency_key: None,
            deliver_at: None,
        };
        Request { events: vec![event; events], bytes: 2 * events, reply: oneshot::channel().0 }
    }

    #[test]
    fn a_workspace_that_floods_waits_in_turn_with_one_that_does_not() {
        let now = Timestamp::from_millis(1);
        let (flood, quiet) = (WorkspaceId::new(now), WorkspaceId::new(now));
        let mut turns = Turns::default();
        for _ in 0..1_000 {
            turns.push(request(flood, 1));
        }
        turns.push(request(quiet, 1));
        let group = turns.take_group();
        assert_eq!(group.len(), EVENTS_MAX);
        assert_eq!(group.iter().filter(|request| request.events[0].workspace_id == quiet).count(), 1);
        assert_eq!(turns.take_group().len(), EVENTS_MAX);
        assert_eq!((turns.take_group().len(), turns.is_empty()), (1, true));
    }

    #[test]
    fn a_batch_is_never_split() {
        let workspace = WorkspaceId::new(Timestamp::from_millis(1));
        let mut turns = Turns::default();
        turns.push(request(workspace, 300));
        turns.push(request(workspace, 300));
        turns.push(request(workspace, 700));
        let sizes: Vec<_> = std::iter::from_fn(|| (!turns.is_empty()).then(|| turns.take_group().len())).collect();
        assert_eq!(sizes, [1, 1, 1]);
    }
}
