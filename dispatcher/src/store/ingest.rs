//! The ingest committer: many publishes, one transaction.
//!
//! Group      whatever waits when the one before is committed, workspaces in turn, at most [`EVENTS_MAX`] events,
//!            [`BYTES_MAX`] bytes and [`DELIVERIES_MAX`] deliveries. A publish that finds nobody waiting is committed at
//!            once and alone.
//! Alone      each event is taken or refused on its own. If the database refuses a group, its halves are tried, so
//!            that a row which it cannot take fails by itself.
//! Unknown    when the connection breaks during COMMIT, the events are looked up before anybody is answered. Such a group
//!            is never tried again: it may be there already.
//! Order      one group at a time, and the hubs have the jobs of a group before its publishers have their answers: if
//!            publish A was answered before B was sent, A comes first at every endpoint.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use angarium_entity::change_log::{self, Change, DeliveryChange, EventChange};
use angarium_entity::clock::SharedClock;
use angarium_entity::delivery::{self, Status, Trigger};
use angarium_entity::{Database, DeliveryId, EventId, Timestamp, WorkspaceId, event};
use sea_orm::{DatabaseTransaction, DbErr, EntityTrait};
use tokio::sync::{broadcast, mpsc, oneshot};

use super::idempotency::{self, Claim};
use super::match_table::{Match, MatchTable, MatchTables};
use super::sql;
use crate::actor::Hubs;
use crate::job::Job;
use crate::publish::{NewEvent, PublishError, Published};

/// Most events of a group; a batch of one caller is never split.
const EVENTS_MAX: usize = 500;
/// Most bytes of payload of a group, by the same rule.
const BYTES_MAX: usize = 1024 * 1024;
/// A group is closed once its events go to so many endpoints.
const DELIVERIES_MAX: usize = 5_000;
/// Events that are matched before others get their turn on the thread.
const MATCHED_AT_ONCE: usize = 16;
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
    _place: Place,
}

/// A place in the queue. Free again when the request has left it, whether or not its caller still waits.
struct Place {
    waiting: Arc<Waiting>,
    events: usize,
    bytes: usize,
}

impl Place {
    /// None when too much waits already.
    fn take(waiting: &Arc<Waiting>, events: usize, bytes: usize) -> Option<Self> {
        let place = Self { waiting: waiting.clone(), events, bytes };
        let events_waiting = waiting.events.fetch_add(events, Ordering::Relaxed) + events;
        let bytes_waiting = waiting.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        (events_waiting <= WAITING_EVENTS_MAX && bytes_waiting <= WAITING_BYTES_MAX).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiting.events.fetch_sub(self.events, Ordering::Relaxed);
        self.waiting.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Why a group was not committed.
enum Failed {
    /// Nothing of it is stored.
    Refused(DbErr),
    /// Perhaps it is.
    Unknown(DbErr),
}

impl From<DbErr> for Failed {
    fn from(error: DbErr) -> Self {
        Self::Refused(error)
    }
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
        let Some(place) = Place::take(&self.waiting, count, bytes) else {
            return vec![Err(PublishError::Overloaded { retry_after: RETRY_AFTER }); count];
        };
        let (reply, answer) = oneshot::channel();
        // When the committer is gone, so is the request, and with it the sender of its answer.
        let _ = self.queue.send(Request { events, bytes, reply, _place: place });
        answer.await.unwrap_or_else(|_| vec![Err(PublishError::Stopping); count])
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
                    let rest = group.split_off(outcomes.len());
                    groups.extend((!rest.is_empty()).then_some(rest));
                    for (request, outcome) in group.into_iter().zip(outcomes) {
                        // A publisher that has gone away is not told; its event is published all the same.
                        let _ = request.reply.send(outcome);
                    }
                }
                Err(Failed::Refused(error)) if group.len() > 1 && !is_connection_lost(&error) => {
                    tracing::warn!(%error, requests = group.len(), "the database refused a group of publishes; trying its halves");
                    let second = group.split_off(group.len() / 2);
                    groups.extend([second, group]);
                }
                Err(Failed::Refused(error) | Failed::Unknown(error)) => {
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

    /// Commits the front of a group, at least one request of it. Answers for those that it took.
    async fn try_commit(&mut self, group: &[Request]) -> Result<Vec<Vec<Outcome>>, Failed> {
        let now = self.clock.now();
        let transaction = self.begin().await?;
        let all: Vec<&NewEvent> = group.iter().flat_map(|request| &request.events).collect();
        let tables = self.tables.get(&transaction, workspaces(&all)).await?;
        let (group, matches) = matched(group, &tables, now).await;
        let news: Vec<&NewEvent> = group.iter().flat_map(|request| &request.events).collect();
        let ids: Vec<EventId> = news.iter().map(|_| EventId::new(now)).collect();
        let claims = idempotency::claim(&transaction, &news, &ids, now).await?;

        let mut rows: Vec<Arc<event::Model>> = Vec::with_capacity(news.len());
        let mut deliveries: Vec<delivery::Model> = Vec::new();
        let mut outcomes: Vec<Outcome> = Vec::with_capacity(news.len());
        for (((new, id), claim), matches) in news.iter().zip(ids).zip(claims).zip(matches) {
            let Some(matches) = matches else {
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
            for wanted in matches {
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
        let mut unlogged = rows.as_slice();
        for deliveries in deliveries.chunks_mut(DELIVERIES_MAX) {
            sql::insert_deliveries(&transaction, deliveries).await?;
            let logged = changes_of(std::mem::take(&mut unlogged).iter().map(AsRef::as_ref), deliveries);
            changes.extend(sql::append_changes(&transaction, now, logged).await?);
        }
        if !unlogged.is_empty() {
            let logged = changes_of(unlogged.iter().map(AsRef::as_ref), &[]);
            changes.extend(sql::append_changes(&transaction, now, logged).await?);
        }
        if let Err(error) = transaction.commit().await
            && let Err(error) = self.confirm(rows.first().map(|event| event.id), error).await
        {
            // If it is there after all, its endpoints find it.
            self.hubs.look(deliveries.iter().map(|row| row.endpoint_id));
            return Err(Failed::Unknown(error));
        }

        let by_id: HashMap<EventId, Arc<event::Model>> = rows.into_iter().map(|event| (event.id, event)).collect();
        let (later, at_once): (Vec<_>, Vec<_>) = deliveries.iter().partition(|row| row.next_attempt_at.is_some());
        let jobs = at_once.into_iter().filter_map(|row| Some(Job::new(row, by_id.get(&row.event_id)?.clone())));
        self.hubs.deliver(jobs);
        self.hubs.remind(later.iter().filter_map(|row| Some((row.next_attempt_at?, row.endpoint_id))));
        for change in changes {
            // Nobody watching is not an error.
            let _ = self.changes.send(Arc::new(change));
        }
        let mut outcomes = outcomes.into_iter();
        Ok(group.iter().map(|request| outcomes.by_ref().take(request.events.len()).collect()).collect())
    }

    /// A connection of the pool may have been cut while nobody used it: then another one is taken.
    async fn begin(&self) -> Result<DatabaseTransaction, DbErr> {
        match self.db.begin().await {
            Err(error) if is_connection_lost(&error) => self.db.begin().await,
            begun => begun,
        }
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

/// The front of a group whose events go to about [`DELIVERIES_MAX`] endpoints, and where each of them goes; none where
/// its workspace does not exist.
async fn matched<'a>(
    group: &'a [Request],
    tables: &HashMap<WorkspaceId, Arc<MatchTable>>,
    now: Timestamp,
) -> (&'a [Request], Vec<Option<Vec<Match>>>) {
    let (mut matches, mut count) = (Vec::new(), 0);
    for (place, request) in group.iter().enumerate() {
        if place > 0 && count >= DELIVERIES_MAX {
            return (&group[..place], matches);
        }
        for new in &request.events {
            let table = tables.get(&new.workspace_id);
            let found = table.map(|table| table.matches(&new.event_type, &new.channels, now));
            count += found.as_ref().map_or(0, Vec::len);
            matches.push(found);
            if matches.len() % MATCHED_AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
        }
    }
    (group, matches)
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

pub(super) fn pending(event: &event::Model, wanted: Match, now: Timestamp) -> delivery::Model {
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

/// What the log says of new events, those that match nothing included, and of their deliveries.
pub(super) fn changes_of<'a>(
    events: impl Iterator<Item = &'a event::Model>,
    deliveries: &[delivery::Model],
) -> HashMap<WorkspaceId, Vec<Change>> {
    let mut by_workspace: HashMap<WorkspaceId, Vec<Change>> = HashMap::new();
    for row in events {
        by_workspace.entry(row.workspace_id).or_default().push(EventChange { event_id: row.id }.into());
    }
    for row in deliveries {
        let change = DeliveryChange {
            delivery_id: row.id,
            event_id: row.event_id,
            endpoint_id: row.endpoint_id,
            subscription_id: row.subscription_id,
            attempt_id: None,
            previous_status: None,
            status: row.status.name().to_owned(),
        };
        by_workspace.entry(row.workspace_id).or_default().push(change.into());
    }
    by_workspace
}

/// Whether the database was not there to ask, so that asking for less cannot help.
///
/// Source: class 08 of the error codes of PostgreSQL, and 57P01 to 57P03, which say that the server shuts down.
pub(crate) fn is_connection_lost(error: &DbErr) -> bool {
    use sea_orm::RuntimeErr::SqlxError;
    use sea_orm::sqlx::Error;
    let inner = match error {
        DbErr::ConnectionAcquire(_) => return true,
        DbErr::Conn(SqlxError(inner)) | DbErr::Exec(SqlxError(inner)) | DbErr::Query(SqlxError(inner)) => inner,
        _ => return false,
    };
    match inner.as_ref() {
        Error::Io(_)
        | Error::Tls(_)
        | Error::Protocol(_)
        | Error::PoolTimedOut
        | Error::PoolClosed
        | Error::WorkerCrashed => true,
        Error::Database(refused) => {
            refused.code().is_some_and(|code| code.starts_with("08") || code.starts_with("57P0"))
        }
        _ => false,
    }
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
        let place = Place::take(&Arc::default(), events, 2 * events).expect("the queue is empty");
        Request { events: vec![event; events], bytes: 2 * events, reply: oneshot::channel().0, _place: place }
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

    #[tokio::test]
    async fn a_publisher_that_leaves_gives_its_place_back_when_its_request_is_taken() {
        let (queue, mut requests) = mpsc::unbounded_channel();
        let ingest = Ingest { queue, waiting: Arc::default() };
        let event = request(WorkspaceId::new(Timestamp::from_millis(1)), 1).events.remove(0);
        let large = NewEvent { payload: "x".repeat(1024 * 1024), ..event };
        for _ in 0..WAITING_BYTES_MAX / large.payload.len() {
            let publishing = ingest.publish(vec![large.clone()]);
            // It is asked once, and then nobody waits for the answer any more.
            assert!(tokio::time::timeout(Duration::ZERO, publishing).await.is_err());
        }
        let refused = ingest.publish(vec![large]).await;
        assert!(matches!(refused[0], Err(PublishError::Overloaded { .. })));
        while requests.try_recv().is_ok() {}
        assert_eq!(ingest.waiting.bytes.load(Ordering::Relaxed), 0);
    }
}
