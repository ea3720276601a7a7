//! Reads for the actors: settings of endpoints, and what waits for them in the rows.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use angarium_entity::clock::SharedClock;
use angarium_entity::sealer::Sealer;
use angarium_entity::{
    Database, EndpointId, WorkspaceId, endpoint, endpoint_health, signing_secret, subscription, workspace,
};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use sea_orm::DbErr;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use self::page::Wanted;
use super::cancel::Canceler;
use super::database::is_connection_lost;
use super::sql;
use crate::actor::hub::PageRead;
use crate::actor::{Hubs, JobMemory};
use crate::settings::Settings;

mod orphan;
mod page;

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
    Settings(Asker),
    /// The front of its line and its due retries, at most `limit` of each. With `strict`, the retries stand in the line,
    /// due or not.
    Page { asker: Asker, shard: i32, limit: usize, strict: bool },
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    pub(crate) endpoint: EndpointId,
    /// Which actor of the endpoint, of all that its hub ever made: an answer is of no use to a later one, who does not know
    /// what has changed since the question.
    pub(crate) actor: u64,
}

/// Answers until every actor is gone.
pub(crate) async fn run(
    canceler: Canceler,
    clock: SharedClock,
    sealer: Sealer,
    memory: JobMemory,
    mut asks: mpsc::UnboundedReceiver<Ask>,
) {
    let reads = Arc::new(Semaphore::new(CONCURRENT_READS));
    let (db, hubs) = (canceler.db.clone(), canceler.hubs.clone());
    let pager = Arc::new(Pager { db, clock, sealer, hubs, canceler, memory, reads });
    // Ends with this future, and takes the answers that nobody needs any more along.
    let mut answers = JoinSet::new();
    let (settings, settings_asked) = mpsc::unbounded_channel();
    answers.spawn(answer_settings(pager.clone(), settings_asked));
    while let Some(ask) = asks.recv().await {
        match ask {
            Ask::Settings(asker) => drop(settings.send(asker)),
            Ask::Page { asker, shard, limit, strict } => {
                let pager = pager.clone();
                answers.spawn(async move { pager.answer_page(asker, shard, limit, strict).await });
            }
        }
        while answers.try_join_next().is_some() {}
    }
}

/// Answers for settings, one batch after the other: of two answers for an endpoint the later must be the newer.
async fn answer_settings(pager: Arc<Pager>, mut asked: mpsc::UnboundedReceiver<Asker>) {
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
    canceler: Canceler,
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
    async fn answer_settings(&self, asked: Vec<Asker>) {
        let mut endpoints: Vec<_> = asked.iter().map(|asker| asker.endpoint).collect();
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
        for asker in asked {
            self.hubs.settings(asker, found.get(&asker.endpoint).cloned());
        }
    }

    async fn read_settings(&self, ids: Vec<EndpointId>) -> Result<HashMap<EndpointId, Settings>, DbErr> {
        // One snapshot: what is read belongs to the version of the configuration that is read.
        let transaction = self.db.begin_reading().await?;
        let db = &transaction;
        let uuids = || ids.iter().map(|id| id.0);
        let rows = sql::find_by_uuids::<endpoint::Entity>(db, endpoint::Column::Id, uuids()).await?;
        let secrets =
            sql::find_by_uuids::<signing_secret::Entity>(db, signing_secret::Column::EndpointId, uuids()).await?;
        // Those included that have moved on and left deliveries behind.
        let known = sql::subscriptions_at(db, uuids()).await?;
        let subscriptions: HashSet<_> = known.iter().map(|(_, subscription)| subscription.0).collect();
        let healths =
            sql::find_by_uuids::<endpoint_health::Entity>(db, endpoint_health::Column::EndpointId, uuids()).await?;
        let mut health_of: HashMap<_, _> = healths.into_iter().map(|health| (health.endpoint_id, health)).collect();
        let subscriptions =
            sql::find_by_uuids::<subscription::Entity>(db, subscription::Column::Id, subscriptions).await?;
        let subscriptions: HashMap<_, _> = subscriptions.into_iter().map(|row| (row.id, row)).collect();
        let mut workspaces: Vec<_> = rows.iter().map(|row| row.workspace_id.0).collect();
        workspaces.sort_unstable();
        workspaces.dedup();
        let workspaces = sql::find_by_uuids::<workspace::Entity>(db, workspace::Column::Id, workspaces).await?;
        let workspaces: HashMap<WorkspaceId, workspace::Model> =
            workspaces.into_iter().filter(|row| row.deleted_at.is_none()).map(|row| (row.id, row)).collect();
        let mut secrets_of = group(secrets, |secret| secret.endpoint_id);
        let mut known_at = group(known, |(endpoint, _)| *endpoint);
        let mut found = HashMap::with_capacity(rows.len());
        for row in rows.into_iter().filter(|row| row.deleted_at.is_none()) {
            let Some(workspace) = workspaces.get(&row.workspace_id) else { continue };
            let id = row.id;
            let secrets = secrets_of.remove(&id).unwrap_or_default();
            let known = known_at.remove(&id).unwrap_or_default();
            let subscriptions = known.iter().filter_map(|(_, id)| subscriptions.get(id).cloned()).collect();
            match Settings::new(&row, workspace, subscriptions, &secrets, health_of.remove(&id), &self.sealer) {
                Ok(settings) => drop(found.insert(id, settings)),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(endpoint = %id, error, "the endpoint cannot be used; its deliveries wait");
                }
            }
        }
        transaction.commit().await?;
        Ok(found)
    }

    async fn answer_page(&self, asker: Asker, shard: i32, limit: usize, strict: bool) {
        let page = self.persist(|| self.read_page(asker, shard, limit, strict).boxed()).await;
        self.hubs.page(page.unwrap_or_else(|error| {
            tracing::error!(%error, endpoint = %asker.endpoint, "what waits for an endpoint does not read; the next sweep tries again");
            PageRead { asker, jobs: Vec::new(), full: false, next_due: None }
        }));
    }

    async fn read_page(&self, asker: Asker, shard: i32, limit: usize, strict: bool) -> Result<PageRead, DbErr> {
        // At a start every endpoint asks at once, before the jobs of any are in memory.
        let bytes_max = if self.memory.is_full() { 0 } else { PAGE_BYTES_MAX };
        let (wanted, now) = (Wanted { asker, shard, limit, strict, bytes_max }, self.clock.now());
        let (page, orphans) = page::read(self.db.planned(), wanted, now).await?;
        if !orphans.is_empty() && orphan::fail(&self.canceler, &orphans, now).await? > 0 {
            // What they hid is read at once.
            return Ok(PageRead { jobs: Vec::new(), full: true, ..page });
        }
        Ok(page)
    }
}

fn group<T>(rows: Vec<T>, key: impl Fn(&T) -> EndpointId) -> HashMap<EndpointId, Vec<T>> {
    let mut groups: HashMap<EndpointId, Vec<T>> = HashMap::new();
    for row in rows {
        groups.entry(key(&row)).or_default().push(row);
    }
    groups
}
