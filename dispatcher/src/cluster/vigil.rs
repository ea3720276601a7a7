//! Looks whether the settings of endpoints have changed, for the case that nobody told this node.
//!
//! Every change to an endpoint or a subscription grows the version of its workspace's configuration in the same
//! transaction. An actor knows the version that its settings were read at. So one statement tells which actors must read
//! theirs again, and a pause, a new secret or a new limit holds on every node within [`EVERY`] and the time of that
//! reading, also while nothing else gets through.

use std::collections::HashMap;
use std::time::Duration;

use angarium_entity::{Database, WorkspaceId};
use sea_orm::{ConnectionTrait as _, DbErr};

use super::Ownership;
use crate::actor::Hubs;
use crate::store::sql;

/// Pause between two looks.
const EVERY: Duration = Duration::from_secs(2);

/// Looks for ever, while there are other nodes.
pub(crate) async fn watch(db: Database, hubs: Hubs, ownership: Ownership) {
    loop {
        tokio::time::sleep(EVERY).await;
        if !ownership.has_peers() {
            continue;
        }
        let awake = hubs.awake_workspaces().await;
        if awake.is_empty() {
            continue;
        }
        match versions(&db, &awake).await {
            Ok(versions) => hubs.check_versions(&versions),
            Err(error) => tracing::warn!(%error, "could not look for new settings; trying again"),
        }
    }
}

async fn versions(db: &Database, workspaces: &[WorkspaceId]) -> Result<HashMap<WorkspaceId, i64>, DbErr> {
    let mut query = sql::Query::of(db.backend());
    let source = query.rows([sql::uuid("id", workspaces.iter().map(|id| id.0))]);
    let text = format!("SELECT id, config_version FROM workspace WHERE id IN (SELECT id FROM {source} AS wanted)");
    let rows = db.planned().query_all_raw(query.text(&text)).await?;
    rows.iter().map(|row| Ok((row.try_get("", "id")?, row.try_get("", "config_version")?))).collect()
}
