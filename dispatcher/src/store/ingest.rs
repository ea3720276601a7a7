//! The ingest committer: many publishes, one transaction.
//!
//! Group      whatever waits when the one before is committed, workspaces in turn, at most [`queue::EVENTS_MAX`] events,
//!            [`queue::BYTES_MAX`] bytes and [`DELIVERIES_MAX`] deliveries. A publish that finds nobody waiting is committed at
//!            once and alone.
//! Alone      each event is taken or refused on its own. If the database refuses a group, its halves are tried, so
//!            that a row which it cannot take fails by itself.
//! Unknown    when the connection breaks during COMMIT, the events are looked up before anybody is answered. Such a group
//!            is never tried again: it may be there already.
//! Filters    are run elsewhere (see [`super::sieve`]), mostly before a publish gets here. One that depends on a filter that
//!            was not asked, because the configuration has just changed, is sent back, before anything of its group is
//!            written, and at most [`SENT_BACK_MAX`] times.
//! Order      one group at a time, and the hubs have the jobs of a group before its publishers have their answers: if
//!            publish A was answered before B was sent, A comes first at every endpoint. When there are other nodes, the
//!            hubs are told only that something waits, and read it from the rows in its order.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use angarium_entity::change_log::{Change, DeliveryChange, EventChange};
use angarium_entity::clock::SharedClock;
use angarium_entity::delivery::{self, Status, Trigger};
use angarium_entity::{Database, DeliveryId, EventId, Timestamp, TraceContext, WorkspaceId, event};
use sea_orm::{DatabaseTransaction, DbErr, EntityTrait};
use tokio::sync::mpsc;

use super::database::{is_connection_lost, is_deadlock};
use super::idempotency::{self, Claim};
use super::logged::Logged;
use super::match_table::{Match, MatchTable, MatchTables};
use super::sieve::Sieve;
use super::sql;
use crate::Tracer;
use crate::actor::Hubs;
use crate::job::Job;
use crate::metrics::{GroupOf, Metrics};
use crate::publish::{NewEvent, PublishError, Published};

mod queue;

pub(crate) use queue::Ingest;
use queue::{Outcome, Request, Turns, queue};

/// How often a group is tried again that stood in a deadlock, such as with a migration.
const DEADLOCKS_MAX: u32 = 3;
/// A group is closed once its events go to so many endpoints.
const DELIVERIES_MAX: usize = 5_000;
/// Events that are matched before others get their turn on the thread.
const MATCHED_AT_ONCE: usize = 16;
/// How often a publish is sent back because filters have changed meanwhile.
const SENT_BACK_MAX: u8 = 16;
/// What a publisher is told to wait when they change all the time.
const SENT_BACK_RETRY_AFTER: Duration = Duration::from_secs(1);
/// How often an unknown outcome of a commit is looked up, and the pause between.
const LOOK_UPS: usize = 5;
const LOOK_UP_PAUSE: Duration = Duration::from_millis(200);

/// Why a group was not committed.
enum Failed {
    /// Nothing of it is stored.
    Refused(DbErr),
    /// Perhaps it is.
    Unknown(DbErr),
    /// Nothing of it is stored: filters of these tables were not asked.
    Unasked(Tables),
}

type Tables = HashMap<WorkspaceId, Arc<MatchTable>>;

impl From<DbErr> for Failed {
    fn from(error: DbErr) -> Self {
        Self::Refused(error)
    }
}

/// The part that commits. [`Committer::run`] ends when every [`Ingest`] is gone.
pub(crate) struct Committer {
    db: Database,
    clock: SharedClock,
    hubs: Hubs,
    logged: Logged,
    tables: MatchTables,
    sieve: Sieve,
    metrics: Metrics,
    /// Where a publish that was sent back comes in again; gone when nobody can publish any more.
    queue: mpsc::WeakUnboundedSender<Request>,
}

/// A handle to publish by, and the committer to run.
pub(crate) fn channel(
    db: Database,
    clock: SharedClock,
    hubs: Hubs,
    logged: Logged,
    sieve: Sieve,
    metrics: Metrics,
    tracer: Tracer,
) -> (Ingest, impl Future<Output = ()>) {
    let tables = MatchTables::default();
    let (ingest, requests) = queue(tables.clone(), sieve.clone(), metrics.clone(), tracer);
    let committer = Committer { db, clock, hubs, logged, tables, sieve, metrics, queue: ingest.weak_queue() };
    (ingest, committer.run(requests))
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
        let mut deadlocks = 0;
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
                Err(Failed::Refused(error)) if deadlocks < DEADLOCKS_MAX && is_deadlock(&error) => {
                    tracing::warn!(%error, requests = group.len(), "publishes stood in a deadlock; trying again");
                    deadlocks += 1;
                    groups.push(group);
                }
                Err(Failed::Refused(error)) if group.len() > 1 && !is_connection_lost(&error) => {
                    tracing::warn!(%error, requests = group.len(), "the database refused a group of publishes; trying its halves");
                    let second = group.split_off(group.len() / 2);
                    groups.extend([second, group]);
                }
                Err(Failed::Unasked(tables)) => {
                    let tables = Arc::new(tables);
                    let is_judged = |request: &Request| request.is_judged(|workspace| tables.get(&workspace).cloned());
                    let (judged, unasked): (Vec<_>, Vec<_>) = group.into_iter().partition(is_judged);
                    for request in unasked {
                        self.send_back(request, tables.clone());
                    }
                    groups.extend((!judged.is_empty()).then_some(judged));
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

    /// Has the filters of these tables asked, without waiting for it.
    fn send_back(&self, mut request: Request, tables: Arc<Tables>) {
        request.sent_back += 1;
        if request.sent_back > SENT_BACK_MAX {
            let refused = Err(PublishError::Overloaded { retry_after: SENT_BACK_RETRY_AFTER });
            let outcomes = vec![refused; request.events.len()];
            let _ = request.reply.send(outcomes);
            return;
        }
        let (sieve, queue) = (self.sieve.clone(), self.queue.clone());
        tokio::spawn(async move {
            // When the server is stopping, the request ends here, and its publisher is told.
            if request.ask(&sieve, |workspace| tables.get(&workspace).cloned()).await.is_some()
                && let Some(queue) = queue.upgrade()
            {
                let _ = queue.send(request);
            }
        });
    }

    /// Commits the front of a group, at least one request of it. Answers for those that it took.
    async fn try_commit(&mut self, group: &[Request]) -> Result<Vec<Vec<Outcome>>, Failed> {
        let (now, started) = (self.clock.now(), Instant::now());
        let transaction = self.begin().await?;
        let all: Vec<&NewEvent> = group.iter().flat_map(|request| &request.events).collect();
        let (tables, versions) = self.tables.with_versions(&transaction, workspaces(&all)).await?;
        let catalogue_version = versions.catalogue;
        let Some((group, matches)) = matched(group, &tables, now).await else { return Err(Failed::Unasked(tables)) };
        let news: Vec<&NewEvent> = group.iter().flat_map(|request| &request.events).collect();
        let ids: Vec<EventId> = news.iter().map(|_| EventId::new(now)).collect();
        let claims = idempotency::claim(&transaction, &news, &ids, catalogue_version, now).await?;

        let mut rows: Vec<Arc<event::Model>> = Vec::with_capacity(news.len());
        let mut deliveries: Vec<delivery::Model> = Vec::new();
        let mut outcomes: Vec<Outcome> = Vec::with_capacity(news.len());
        for (((new, id), claim), matches) in news.iter().zip(ids).zip(claims).zip(matches) {
            let Some(matches) = matches else {
                outcomes.push(Err(PublishError::UnknownWorkspace));
                continue;
            };
            if catalogue_version != Some(new.catalogue_version) {
                outcomes.push(Err(PublishError::CatalogueChanged));
                continue;
            }
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
                Claim::Gone => {
                    outcomes.push(Err(PublishError::EventGone));
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
        self.metrics.committed(GroupOf::Publishes, rows.len(), started.elapsed());

        let by_id: HashMap<EventId, Arc<event::Model>> = rows.into_iter().map(|event| (event.id, event)).collect();
        let (later, at_once): (Vec<_>, Vec<_>) = deliveries.iter().partition(|row| row.next_attempt_at.is_some());
        let jobs = at_once.into_iter().filter_map(|row| Some(Job::new(row, by_id.get(&row.event_id)?.clone())));
        self.hubs.deliver(jobs, versions.membership);
        self.hubs.remind(later.iter().filter_map(|row| Some((row.next_attempt_at?, row.endpoint_id))));
        self.logged.tell(changes);
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
/// its workspace does not exist. No answer when filters must be asked first.
async fn matched<'a>(
    group: &'a [Request],
    tables: &Tables,
    now: Timestamp,
) -> Option<(&'a [Request], Vec<Option<Vec<Match>>>)> {
    let (mut matches, mut count) = (Vec::new(), 0);
    for (place, request) in group.iter().enumerate() {
        if place > 0 && count >= DELIVERIES_MAX {
            return Some((&group[..place], matches));
        }
        for (new, verdicts) in request.events.iter().zip(&request.verdicts) {
            let table = tables.get(&new.workspace_id);
            if table.is_some_and(|table| !table.unasked(&new.event_type, &new.channels, verdicts).is_empty()) {
                return None;
            }
            let found = table.map(|table| table.matches(&new.event_type, &new.channels, verdicts, now));
            count += found.as_ref().map_or(0, Vec::len);
            matches.push(found);
            if matches.len() % MATCHED_AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
        }
    }
    Some((group, matches))
}

fn workspaces(news: &[&NewEvent]) -> Vec<WorkspaceId> {
    let mut workspaces: Vec<_> = news.iter().map(|event| event.workspace_id).collect();
    workspaces.sort_unstable();
    workspaces.dedup();
    workspaces
}

fn row(new: &NewEvent, id: EventId, now: Timestamp) -> event::Model {
    let (trace_parent, trace_state) = new.trace.clone().map(TraceContext::into_headers).unzip();
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
        sealed: None,
        trace_parent,
        trace_state: trace_state.flatten(),
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
    if !sql::LOG {
        return by_workspace;
    }
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
