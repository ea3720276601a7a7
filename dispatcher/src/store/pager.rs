//! Reads for the actors: settings of endpoints, and what waits for them in the rows.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use angarium_entity::clock::SharedClock;
use angarium_entity::delivery;
use angarium_entity::sealer::Sealer;
use angarium_entity::{Database, EndpointId, WorkspaceId, endpoint, event, signing_secret, subscription, workspace};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult, Statement};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::database::is_connection_lost;
use super::sql;
use crate::actor::hub::PageRead;
use crate::actor::{Hubs, JobMemory};
use crate::job::Job;
use crate::settings::Settings;

/// Questions that are taken together.
const BATCH_MAX: usize = 256;
/// Reads that run at once.
const CONCURRENT_READS: usize = 4;
/// Pause after the database was not there; the question is asked again.
const PAUSE: Duration = Duration::from_millis(250);
/// Bytes of payload of one page; a single larger one fits all the same.
const PAGE_BYTES_MAX: i64 = 1024 * 1024;

/// A question of an actor; the answer goes to its hub.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ask {
    /// The settings of an endpoint.
    Settings(EndpointId),
    /// The front of its line and its due retries, at most `limit` of each.
    Page { endpoint: EndpointId, shard: i32, limit: usize },
}

/// Answers until every actor is gone.
pub(crate) async fn run(
    db: Database,
    clock: SharedClock,
    sealer: Sealer,
    hubs: Hubs,
    memory: JobMemory,
    mut asks: mpsc::UnboundedReceiver<Ask>,
) {
    let reads = Arc::new(Semaphore::new(CONCURRENT_READS));
    let pager = Arc::new(Pager { db, clock, sealer, hubs, memory, reads });
    // Ends with this future, and takes the answers that nobody needs any more along.
    let mut answers = JoinSet::new();
    let (settings, settings_asked) = mpsc::unbounded_channel();
    answers.spawn(answer_settings(pager.clone(), settings_asked));
    while let Some(ask) = asks.recv().await {
        match ask {
            Ask::Settings(endpoint) => drop(settings.send(endpoint)),
            Ask::Page { endpoint, shard, limit } => {
                let pager = pager.clone();
                answers.spawn(async move { pager.answer_page(endpoint, shard, limit).await });
            }
        }
        while answers.try_join_next().is_some() {}
    }
}

/// Answers for settings, one batch after the other: of two answers for an endpoint the later must be the newer.
async fn answer_settings(pager: Arc<Pager>, mut asked: mpsc::UnboundedReceiver<EndpointId>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while asked.recv_many(&mut batch, BATCH_MAX).await > 0 {
        pager.answer_settings(std::mem::take(&mut batch)).await;
    }
}

struct Pager {
    db: Database,
    clock: SharedClock,
    sealer: Sealer,
    hubs: Hubs,
    memory: JobMemory,
    reads: Arc<Semaphore>,
}

impl Pager {
    /// Asks until the database is there. An answer that it refuses to give, such as a row that does not decode, is
    /// for the caller.
    async fn persist<'a, T: Send>(
        &'a self,
        read: impl Fn() -> BoxFuture<'a, Result<T, DbErr>> + Send,
    ) -> Result<T, DbErr> {
        loop {
            let answered = match self.reads.acquire().await {
                Ok(_permit) => read().await,
                Err(closed) => Err(DbErr::Custom(closed.to_string())),
            };
            match answered {
                Err(error) if is_connection_lost(&error) => {
                    tracing::error!(%error, "the database is not there to read what waits; trying again");
                }
                answered => return answered,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Answers each question; with none for an endpoint that is gone or cannot be used, whose rows must not stop the
    /// others.
    async fn answer_settings(&self, asked: Vec<EndpointId>) {
        let mut endpoints = asked.clone();
        endpoints.sort_unstable();
        endpoints.dedup();
        let together = self.persist(|| self.read_settings(endpoints.clone()).boxed()).await;
        let mut found = if let Ok(found) = together {
            found
        } else {
            // One of them does not read; which one is told by asking for each.
            let mut found = HashMap::new();
            for endpoint in &endpoints {
                match self.persist(|| self.read_settings(vec![*endpoint]).boxed()).await {
                    Ok(one) => found.extend(one),
                    Err(error) => {
                        tracing::error!(%error, %endpoint, "the settings of an endpoint do not read; its deliveries wait");
                    }
                }
            }
            found
        };
        let found: HashMap<_, _> = found.drain().map(|(endpoint, settings)| (endpoint, Arc::new(settings))).collect();
        for endpoint in asked {
            self.hubs.settings(endpoint, found.get(&endpoint).cloned());
        }
    }

    async fn read_settings(&self, ids: Vec<EndpointId>) -> Result<HashMap<EndpointId, Settings>, DbErr> {
        let db = self.db.read();
        let uuids = || ids.iter().map(|id| id.0);
        let rows: Vec<endpoint::Model> = sql::find_by_uuids(db, "endpoint", "id", uuids()).await?;
        let secrets: Vec<signing_secret::Model> =
            sql::find_by_uuids(db, "signing_secret", "endpoint_id", uuids()).await?;
        let subscriptions: Vec<subscription::Model> =
            sql::find_by_uuids(db, "subscription", "endpoint_id", uuids()).await?;
        let mut workspaces: Vec<_> = rows.iter().map(|row| row.workspace_id.0).collect();
        workspaces.sort_unstable();
        workspaces.dedup();
        let workspaces: Vec<workspace::Model> = sql::find_by_uuids(db, "workspace", "id", workspaces).await?;
        let workspaces: HashMap<WorkspaceId, workspace::Model> =
            workspaces.into_iter().map(|row| (row.id, row)).collect();
        let mut secrets_of = group(secrets, |secret| secret.endpoint_id);
        let mut subscriptions_of = group(subscriptions, |subscription| subscription.endpoint_id);
        let mut found = HashMap::with_capacity(rows.len());
        for row in rows.into_iter().filter(|row| row.deleted_at.is_none()) {
            let Some(workspace) = workspaces.get(&row.workspace_id) else { continue };
            let id = row.id;
            let secrets = secrets_of.remove(&id).unwrap_or_default();
            let subscriptions = subscriptions_of.remove(&id).unwrap_or_default();
            match Settings::new(row, workspace, subscriptions, &secrets, &self.sealer) {
                Ok(settings) => drop(found.insert(id, settings)),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(endpoint = %id, error, "the endpoint cannot be used; its deliveries wait");
                }
            }
        }
        Ok(found)
    }

    async fn answer_page(&self, endpoint: EndpointId, shard: i32, limit: usize) {
        let page = self.persist(|| self.read_page(endpoint, shard, limit).boxed()).await;
        self.hubs.page(page.unwrap_or_else(|error| {
            tracing::error!(%error, %endpoint, "what waits for an endpoint does not read; the next sweep tries again");
            PageRead { endpoint, jobs: Vec::new(), full: false, next_due: None }
        }));
    }

    async fn read_page(&self, endpoint: EndpointId, shard: i32, limit: usize) -> Result<PageRead, DbErr> {
        /// Deliveries of subscriptions that are switched off wait.
        const PAGE: &str = "\
            SELECT page.*, octet_length(event.payload) AS payload_bytes FROM (\
            SELECT * FROM (SELECT * FROM delivery WHERE shard = $1 AND endpoint_id = $2 \
            AND status = 'PENDING' AND next_attempt_at IS NULL \
            AND subscription_id NOT IN (SELECT id FROM subscription WHERE endpoint_id = $2 AND NOT enabled) \
            ORDER BY seq LIMIT $4) AS line \
            UNION ALL \
            SELECT * FROM (SELECT * FROM delivery WHERE endpoint_id = $2 AND next_attempt_at <= $3 \
            AND subscription_id NOT IN (SELECT id FROM subscription WHERE endpoint_id = $2 AND NOT enabled) \
            ORDER BY next_attempt_at LIMIT $4) AS due) AS page \
            JOIN event ON event.id = page.event_id";
        const NEXT_DUE: &str = "\
            SELECT next_attempt_at FROM delivery WHERE endpoint_id = $1 AND next_attempt_at > $2 \
            ORDER BY next_attempt_at LIMIT 1";
        let (db, now) = (self.db.read(), self.clock.now());
        let query =
            |text, values: Vec<sea_orm::Value>| Statement::from_sql_and_values(db.get_database_backend(), text, values);
        let rows_max = i64::try_from(limit).unwrap_or(i64::MAX);
        let values = vec![shard.into(), endpoint.into(), now.into(), rows_max.into()];
        let found = db.query_all_raw(query(PAGE, values)).await?;
        let next_due = match db.query_one_raw(query(NEXT_DUE, vec![endpoint.into(), now.into()])).await? {
            Some(row) => row.try_get("", "next_attempt_at")?,
            None => None,
        };

        // At a start every endpoint asks at once, before the jobs of any are in memory.
        let bytes_max = if self.memory.is_full() { 0 } else { PAGE_BYTES_MAX };
        let mut sized: Vec<(delivery::Model, i64)> = Vec::with_capacity(found.len());
        for row in &found {
            let bytes = row.try_get::<i32>("", "payload_bytes")?;
            sized.push((delivery::Model::from_query_result(row, "")?, i64::from(bytes)));
        }
        let rows = front(sized, bytes_max);
        let in_line = rows.iter().filter(|row| row.next_attempt_at.is_none()).count();
        let full = rows.len() < found.len() || in_line >= limit || rows.len() - in_line >= limit;

        let mut events: Vec<_> = rows.iter().map(|row| row.event_id.0).collect();
        events.sort_unstable();
        events.dedup();
        let events: Vec<event::Model> = sql::find_by_uuids(db, "event", "id", events).await?;
        let events: HashMap<_, _> = events.into_iter().map(|event| (event.id, Arc::new(event))).collect();
        let jobs = rows.iter().filter_map(|row| Some(Job::new(row, events.get(&row.event_id)?.clone()))).collect();
        Ok(PageRead { endpoint, jobs, full, next_due })
    }
}

/// What fits into `bytes_max`, at least one: the line in its order and the due by their time, each a front of its own,
/// taken in turn by who has been ready longest, so that neither starves the other.
fn front(rows: Vec<(delivery::Model, i64)>, bytes_max: i64) -> Vec<delivery::Model> {
    let (mut line, mut due): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(row, _)| row.next_attempt_at.is_none());
    line.sort_unstable_by_key(|(row, _)| row.seq);
    due.sort_unstable_by_key(|(row, _)| row.next_attempt_at);
    let (mut line, mut due) = (line.into_iter().peekable(), due.into_iter().peekable());
    let (mut taken, mut bytes) = (Vec::new(), 0);
    loop {
        let is_line_first = match (line.peek(), due.peek()) {
            (Some((head, _)), Some((first, _))) => Some(head.created_at) < first.next_attempt_at,
            (head, _) => head.is_some(),
        };
        let Some((row, size)) = (if is_line_first { line.next() } else { due.next() }) else { return taken };
        bytes += size;
        if bytes > bytes_max && !taken.is_empty() {
            return taken;
        }
        taken.push(row);
    }
}

fn group<T>(rows: Vec<T>, key: impl Fn(&T) -> EndpointId) -> HashMap<EndpointId, Vec<T>> {
    let mut groups: HashMap<EndpointId, Vec<T>> = HashMap::new();
    for row in rows {
        groups.entry(key(&row)).or_default().push(row);
    }
    groups
}
