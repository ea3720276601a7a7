//! Reads for the actors: settings of endpoints, and what waits for them in the rows.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use angarium_entity::clock::SharedClock;
use angarium_entity::delivery;
use angarium_entity::sealer::Sealer;
use angarium_entity::{Database, EndpointId, WorkspaceId, endpoint, event, signing_secret, subscription, workspace};
use futures_util::StreamExt as _;
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult, Statement};
use tokio::sync::mpsc;

use super::sql;
use crate::actor::Hubs;
use crate::job::Job;
use crate::settings::Settings;

/// Questions that are answered in one go.
const BATCH_MAX: usize = 256;
/// Lines that are read at once.
const CONCURRENT_READS: usize = 4;
/// Pause after the database failed; the questions are asked again.
const PAUSE: Duration = Duration::from_millis(250);

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
    mut asks: mpsc::UnboundedReceiver<Ask>,
) {
    let pager = Pager { db, clock, sealer, hubs };
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while asks.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let mut settings = Vec::new();
        let mut pages = Vec::new();
        for ask in batch.drain(..) {
            match ask {
                Ask::Settings(endpoint) => settings.push(endpoint),
                Ask::Page { endpoint, shard, limit } => pages.push((endpoint, shard, limit)),
            }
        }
        pager.answer_settings(settings).await;
        futures_util::stream::iter(pages)
            .for_each_concurrent(CONCURRENT_READS, |(endpoint, shard, limit)| pager.answer_page(endpoint, shard, limit))
            .await;
    }
}

struct Pager {
    db: Database,
    clock: SharedClock,
    sealer: Sealer,
    hubs: Hubs,
}

impl Pager {
    async fn answer_settings(&self, mut endpoints: Vec<EndpointId>) {
        endpoints.sort_unstable();
        endpoints.dedup();
        if endpoints.is_empty() {
            return;
        }
        let mut found = loop {
            match self.read_settings(&endpoints).await {
                Ok(found) => break found,
                Err(error) => tracing::error!(%error, "could not read the settings of endpoints; trying again"),
            }
            tokio::time::sleep(PAUSE).await;
        };
        for endpoint in endpoints {
            self.hubs.settings(endpoint, found.remove(&endpoint).map(Arc::new));
        }
    }

    async fn read_settings(&self, ids: &[EndpointId]) -> Result<HashMap<EndpointId, Settings>, DbErr> {
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
        loop {
            match self.read_page(endpoint, shard, limit).await {
                Ok((jobs, full)) => return self.hubs.page(endpoint, jobs, full),
                Err(error) => {
                    tracing::error!(%error, %endpoint, "could not read what waits for an endpoint; trying again");
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn read_page(&self, endpoint: EndpointId, shard: i32, limit: usize) -> Result<(Vec<Job>, bool), DbErr> {
        const PAGE: &str = "\
            SELECT * FROM (SELECT * FROM delivery WHERE shard = $1 AND endpoint_id = $2 \
            AND status = 'PENDING' AND next_attempt_at IS NULL \
            AND subscription_id NOT IN (SELECT id FROM subscription WHERE endpoint_id = $2 AND NOT enabled) \
            ORDER BY seq LIMIT $4) AS line \
            UNION ALL \
            SELECT * FROM (SELECT * FROM delivery WHERE endpoint_id = $2 AND next_attempt_at <= $3 \
            AND subscription_id NOT IN (SELECT id FROM subscription WHERE endpoint_id = $2 AND NOT enabled) \
            ORDER BY next_attempt_at LIMIT $4) AS due";
        let db = self.db.read();
        let rows_max = i64::try_from(limit).unwrap_or(i64::MAX);
        let values = [shard.into(), endpoint.into(), self.clock.now().into(), rows_max.into()];
        let rows = db.query_all_raw(Statement::from_sql_and_values(db.get_database_backend(), PAGE, values)).await?;
        let rows: Vec<delivery::Model> =
            rows.iter().map(|row| delivery::Model::from_query_result(row, "")).collect::<Result<_, _>>()?;
        let in_line = rows.iter().filter(|row| row.next_attempt_at.is_none()).count();
        let full = in_line >= limit || rows.len() - in_line >= limit;

        let mut events: Vec<_> = rows.iter().map(|row| row.event_id.0).collect();
        events.sort_unstable();
        events.dedup();
        let events: Vec<event::Model> = sql::find_by_uuids(db, "event", "id", events).await?;
        let events: HashMap<_, _> = events.into_iter().map(|event| (event.id, Arc::new(event))).collect();
        let jobs = rows.iter().filter_map(|row| Some(Job::new(row, events.get(&row.event_id)?.clone())));
        Ok((jobs.collect(), full))
    }
}

fn group<T>(rows: Vec<T>, key: impl Fn(&T) -> EndpointId) -> HashMap<EndpointId, Vec<T>> {
    let mut groups: HashMap<EndpointId, Vec<T>> = HashMap::new();
    for row in rows {
        groups.entry(key(&row)).or_default().push(row);
    }
    groups
}
