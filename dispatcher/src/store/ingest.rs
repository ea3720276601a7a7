//! The ingest committer: many publishes, one transaction.
//!
//! Group      whatever waits when the one before is committed, workspaces in turn, at most [`queue::EVENTS_MAX`] events,
//!            [`queue::BYTES_MAX`] bytes and [`DELIVERIES_MAX`] deliveries. A publish that finds nobody waiting is committed at
//!            once and alone.
//! Alone      each event is taken or refused on its own. If the database refuses a group, its halves are tried, so
//!            that a row which it cannot take fails by itself.
//! One trip   on PostgreSQL a group is one statement that commits itself, as long as what is known of its workspaces is
//!            right; the statement checks that. Keys of idempotency, and whatever has changed, take a transaction.
//! Unknown    when the connection breaks during a commit, the events are looked up before anybody is answered. A group
//!            is never tried again under other IDs: it may be there already, or PostgreSQL may still be storing it. Under the
//!            same IDs it is, once, and of two only one is ever stored.
//! Filters    are run elsewhere (see [`super::sieve`]), mostly before a publish gets here. One that depends on a filter that
//!            was not asked, because the configuration has just changed, is sent back, before anything of its group is
//!            written, and at most [`SENT_BACK_MAX`] times.
//! Order      one group at a time, and the hubs have the jobs of a group before its publishers have their answers: if
//!            publish A was answered before B was sent, A comes first at every endpoint. When there are other nodes, the
//!            hubs are told only that something waits, and read it from the rows in its order.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use angarium_entity::clock::SharedClock;
use angarium_entity::{Database, EventId, Timestamp, WorkspaceId, event};
use sea_orm::{DatabaseTransaction, DbBackend, DbErr, EntityTrait};
use tokio::sync::mpsc;

use super::database::{is_connection_lost, is_deadlock};
use super::idempotency::{self, Claim};
use super::logged::Logged;
use super::match_table::{Match, MatchTable, MatchTables};
use super::sieve::Sieve;
use super::sql::{self, Expected};
use crate::Tracer;
use crate::actor::Hubs;
use crate::job::Job;
use crate::metrics::{GroupOf, Metrics};
use crate::publish::{NewEvent, PublishError};

mod queue;
mod stored;

pub(crate) use queue::Ingest;
use queue::{Outcome, Request, Turns, queue};
use stored::Stored;
pub(super) use stored::{changes_of, pending};

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
        let news: Vec<&NewEvent> = group.iter().flat_map(|request| &request.events).collect();
        let ids: Vec<EventId> = news.iter().map(|_| EventId::new(now)).collect();
        if let Some((expected, tables)) = self.expected(&news) {
            let Some((front, matches)) = matched(group, &tables, now).await else {
                return Err(Failed::Unasked(tables));
            };
            let claims = vec![Claim::Fresh; matches.len()];
            let mut stored = Stored::new(&news, &ids, claims, matches, Some(expected.catalogue), now);
            match self.store_at_once(&expected, &mut stored, now).await? {
                AtOnce::Stored(membership) => {
                    self.metrics.committed(GroupOf::Publishes, stored.events.len(), started.elapsed());
                    return Ok(self.tell(front, stored, membership));
                }
                AtOnce::NotStored => {}
                AtOnce::Lost(lost) => return self.store_again(group, &news, &ids, (front, stored, lost), now).await,
            }
        }
        let (front, stored, membership) = self.store_with_care(group, &news, &ids, now).await?;
        self.metrics.committed(GroupOf::Publishes, stored.events.len(), started.elapsed());
        Ok(self.tell(front, stored, membership))
    }

    /// Stores the front of a group under the same IDs again, after the connection was lost. If PostgreSQL still works on the
    /// first, the second waits for it and is refused: then the first is there. No other way of failing tells what became
    /// of the first, so nothing of the group may be tried once more under other IDs.
    async fn store_again<'a>(
        &mut self,
        group: &'a [Request],
        news: &[&NewEvent],
        ids: &[EventId],
        (front, first, lost): (&'a [Request], Stored, DbErr),
        now: Timestamp,
    ) -> Result<Vec<Vec<Outcome>>, Failed> {
        let started = Instant::now();
        match self.store_with_care(group, news, ids, now).await {
            Ok((front, stored, membership)) => {
                self.metrics.committed(GroupOf::Publishes, stored.events.len(), started.elapsed());
                Ok(self.tell(front, stored, membership))
            }
            Err(Failed::Unknown(error)) => Err(Failed::Unknown(error)),
            Err(failed) => {
                if let Failed::Refused(error) = failed {
                    tracing::warn!(%error, "publishes could not be stored again after the connection was lost");
                }
                if self.is_stored(&first, &lost).await {
                    return Ok(self.tell(front, first, None));
                }
                self.hubs.look(first.deliveries.iter().map(|row| row.endpoint_id));
                Err(Failed::Unknown(lost))
            }
        }
    }

    /// Stores the front of a group by a transaction. Answers with the version of the membership that it has seen.
    async fn store_with_care<'a>(
        &mut self,
        group: &'a [Request],
        news: &[&NewEvent],
        ids: &[EventId],
        now: Timestamp,
    ) -> Result<(&'a [Request], Stored, Option<i64>), Failed> {
        let transaction = self.begin().await?;
        let (tables, versions) = self.tables.with_versions(&transaction, workspaces(news)).await?;
        let Some((front, matches)) = matched(group, &tables, now).await else { return Err(Failed::Unasked(tables)) };
        let (news, ids) = (&news[..matches.len()], &ids[..matches.len()]);
        let claims = idempotency::claim(&transaction, news, ids, versions.catalogue, now).await?;
        let mut stored = Stored::new(news, ids, claims, matches, versions.catalogue, now);
        stored.write(&transaction, now).await?;
        if let Err(error) = transaction.commit().await
            && !self.is_stored(&stored, &error).await
        {
            // If it is there after all, its endpoints find it.
            self.hubs.look(stored.deliveries.iter().map(|row| row.endpoint_id));
            return Err(Failed::Unknown(error));
        }
        Ok((front, stored, versions.membership))
    }

    /// What events may be stored by without asking first, if they may: where what is known of all of their workspaces is
    /// still right, one statement does it all. A key has to be claimed before.
    fn expected(&self, news: &[&NewEvent]) -> Option<(Expected, Tables)> {
        let catalogue = news.first()?.catalogue_version;
        let is_usual = |new: &&NewEvent| new.idempotency_key.is_none() && new.catalogue_version == catalogue;
        if self.db.backend() != DbBackend::Postgres || !news.iter().all(is_usual) {
            return None;
        }
        let known = workspaces(news).into_iter().map(|workspace| Some((workspace, self.tables.latest(workspace)?)));
        let tables: Tables = known.collect::<Option<_>>()?;
        let workspaces = tables.iter().map(|(workspace, table)| (*workspace, table.version())).collect();
        Some((Expected { workspaces, catalogue }, tables))
    }

    /// Stores a group by one statement, unless it is too large for one or something is not as expected.
    async fn store_at_once(&self, expected: &Expected, stored: &mut Stored, now: Timestamp) -> Result<AtOnce, Failed> {
        if stored.deliveries.len() > DELIVERIES_MAX {
            return Ok(AtOnce::NotStored);
        }
        let events: Vec<&event::Model> = stored.events.iter().map(AsRef::as_ref).collect();
        let log = changes_of(events.iter().copied(), &stored.deliveries);
        stored.logged = log.keys().copied().collect();
        match sql::publish(self.db.planned(), expected, &events, &mut stored.deliveries, now, log).await {
            Ok(Some(membership)) => Ok(AtOnce::Stored(Some(membership))),
            Ok(None) => Ok(AtOnce::NotStored),
            // Its places are not known, so its endpoints are told to look.
            Err(error) if is_connection_lost(&error) && self.is_stored(stored, &error).await => {
                Ok(AtOnce::Stored(None))
            }
            Err(error) if is_connection_lost(&error) => Ok(AtOnce::Lost(error)),
            Err(error) => Err(Failed::Refused(error)),
        }
    }

    /// Hands the jobs of a group that is durable to the hubs. Answers its publishers.
    fn tell(&self, group: &[Request], stored: Stored, membership: Option<i64>) -> Vec<Vec<Outcome>> {
        let by_id: HashMap<EventId, Arc<event::Model>> =
            stored.events.into_iter().map(|event| (event.id, event)).collect();
        let (later, at_once): (Vec<_>, Vec<_>) =
            stored.deliveries.iter().partition(|row| row.next_attempt_at.is_some());
        let jobs = at_once.into_iter().filter_map(|row| Some(Job::new(row, by_id.get(&row.event_id)?.clone())));
        self.hubs.deliver(jobs, membership);
        self.hubs.remind(later.iter().filter_map(|row| Some((row.next_attempt_at?, row.endpoint_id))));
        self.logged.tell(stored.logged);
        let mut outcomes = stored.outcomes.into_iter();
        group.iter().map(|request| outcomes.by_ref().take(request.events.len()).collect()).collect()
    }

    /// A connection of the pool may have been cut while nobody used it: then another one is taken.
    async fn begin(&self) -> Result<DatabaseTransaction, DbErr> {
        match self.db.begin().await {
            Err(error) if is_connection_lost(&error) => self.db.begin().await,
            begun => begun,
        }
    }

    /// The connection broke while a group was being committed: whether it was is told by the rows, if anything tells.
    async fn is_stored(&self, stored: &Stored, error: &DbErr) -> bool {
        let Some(event) = stored.events.first().map(|event| event.id) else { return false };
        tracing::warn!(%error, "the connection was lost during a commit; looking up what became of it");
        for _ in 0..LOOK_UPS {
            match event::Entity::find_by_id(event).one(self.db.write()).await {
                Ok(found) => return found.is_some(),
                Err(again) => tracing::warn!(error = %again, "could not look up whether a group was committed"),
            }
            tokio::time::sleep(LOOK_UP_PAUSE).await;
        }
        false
    }
}

/// What came of storing a group by one statement.
enum AtOnce {
    /// It is durable. With the version of the membership, if the places of the deliveries are known.
    Stored(Option<i64>),
    /// It is not.
    NotStored,
    /// It is not there, but PostgreSQL may still be working on it.
    Lost(DbErr),
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
