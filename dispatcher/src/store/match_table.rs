//! Which endpoints an event goes to.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use angarium_entity::subscription::event_filter::EventFilter;
use angarium_entity::{EndpointId, SubscriptionId, Timestamp, WorkspaceId, endpoint, subscription};
use sea_orm::entity::prelude::*;
use sea_orm::{ConnectionTrait, DbErr, Statement};
use serde::Serialize;

use super::sql;

/// Workspaces whose tables are kept.
const KEPT_MAX: usize = 10_000;

/// What the subscriptions of a workspace want, at one version of its configuration.
#[derive(Debug)]
pub(crate) struct MatchTable {
    version: i64,
    /// Oldest first: the first that matches an endpoint decides.
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    subscription_id: SubscriptionId,
    endpoint_id: EndpointId,
    shard: i32,
    expires_at: Option<Timestamp>,
    filter: EventFilter,
}

/// One endpoint that gets an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) subscription_id: SubscriptionId,
    pub(crate) endpoint_id: EndpointId,
    pub(crate) shard: i32,
}

impl MatchTable {
    /// The endpoints that get an event published at `now`, each once.
    pub(crate) fn matches(&self, event_type: &str, channels: &[String], now: Timestamp) -> Vec<Match> {
        let mut found: Vec<Match> = Vec::new();
        let mut known = HashSet::new();
        for entry in &self.entries {
            if entry.expires_at.is_none_or(|end| now < end)
                && entry.filter.matches(event_type, channels)
                && known.insert(entry.endpoint_id)
            {
                let Entry { subscription_id, endpoint_id, shard, .. } = *entry;
                found.push(Match { subscription_id, endpoint_id, shard });
            }
        }
        found
    }

    async fn load(db: &impl ConnectionTrait, workspace: WorkspaceId, version: i64) -> Result<Self, DbErr> {
        let subscriptions =
            subscription::Entity::of(workspace).filter(subscription::Column::Enabled.eq(true)).all(db).await?;
        let mut ordered = subscriptions;
        ordered.sort_by_key(|subscription| (subscription.created_at, subscription.id));
        let endpoints: HashMap<EndpointId, endpoint::Model> =
            endpoint::Entity::of(workspace).all(db).await?.into_iter().map(|row| (row.id, row)).collect();
        let entries = ordered.iter().filter_map(|subscription| {
            let endpoint = endpoints.get(&subscription.endpoint_id)?;
            Some(Entry {
                subscription_id: subscription.id,
                endpoint_id: endpoint.id,
                shard: endpoint.shard,
                expires_at: subscription.expires_at,
                filter: EventFilter::from(subscription),
            })
        });
        Ok(Self { version, entries: entries.collect() })
    }
}

/// Tables by workspace. A table is used only at the version that the transaction of the publish sees, so a
/// subscription that was acknowledged anywhere matches every event published later.
#[derive(Debug, Default)]
pub(crate) struct MatchTables(HashMap<WorkspaceId, Arc<MatchTable>>);

impl MatchTables {
    /// The tables of these workspaces as `db` sees them now; a workspace that does not exist has none.
    pub(crate) async fn get(
        &mut self,
        db: &impl ConnectionTrait,
        workspaces: impl IntoIterator<Item = WorkspaceId>,
    ) -> Result<HashMap<WorkspaceId, Arc<MatchTable>>, DbErr> {
        let mut tables = HashMap::new();
        for (workspace, version) in versions(db, workspaces).await? {
            let table = match self.0.get(&workspace) {
                Some(known) if known.version == version => known.clone(),
                _ => {
                    let loaded = Arc::new(MatchTable::load(db, workspace, version).await?);
                    if self.0.len() >= KEPT_MAX {
                        self.0.clear();
                    }
                    self.0.insert(workspace, loaded.clone());
                    loaded
                }
            };
            tables.insert(workspace, table);
        }
        Ok(tables)
    }
}

async fn versions(
    db: &impl ConnectionTrait,
    workspaces: impl IntoIterator<Item = WorkspaceId>,
) -> Result<Vec<(WorkspaceId, i64)>, DbErr> {
    #[derive(Serialize)]
    struct Row {
        id: String,
    }
    let batch: Vec<_> = workspaces.into_iter().map(|id| Row { id: sql::hex(id.0) }).collect();
    let backend = db.get_database_backend();
    let source = sql::rows(backend, &[sql::uuid("id")]);
    let text = format!("SELECT id, config_version FROM workspace WHERE id IN (SELECT id FROM {source} AS wanted)");
    let statement: Statement = sql::statement(backend, &text, &batch, []);
    let found = db.query_all_raw(statement).await?;
    found.iter().map(|row| Ok((row.try_get("", "id")?, row.try_get("", "config_version")?))).collect()
}

#[cfg(test)]
mod tests {
    use angarium_entity::json::StringList;

    use super::*;

    fn entry(endpoint_id: EndpointId, pattern: &str, expires_at: Option<Timestamp>) -> Entry {
        let now = Timestamp::from_millis(1);
        let subscription = subscription::Model {
            id: SubscriptionId::new(now),
            workspace_id: WorkspaceId::new(now),
            endpoint_id,
            name: None,
            description: None,
            owner_id: None,
            event_types: StringList(vec![pattern.to_owned()]),
            channels: None,
            metadata: None,
            retry_policy: None,
            service: None,
            enabled: true,
            expires_at,
            version: 1,
            created_by: None,
            created_at: now,
            updated_at: now,
            deleted_at: None,
        };
        Entry {
            subscription_id: subscription.id,
            endpoint_id,
            shard: 0,
            expires_at,
            filter: EventFilter::from(&subscription),
        }
    }

    #[test]
    fn an_endpoint_gets_an_event_once_and_its_oldest_match_decides() {
        let now = Timestamp::from_millis(1_000);
        let [a, b] = [EndpointId::new(now), EndpointId::new(now)];
        let entries = vec![
            entry(a, "sms.outbound", Some(now)),
            entry(a, "sms.*", None),
            entry(a, "*", None),
            entry(b, "order.created", None),
        ];
        let second = entries[1].subscription_id;
        let table = MatchTable { version: 1, entries };
        let found = table.matches("sms.outbound", &[], now);
        assert_eq!(found, [Match { subscription_id: second, endpoint_id: a, shard: 0 }]);
        assert_eq!(table.matches("sms.outbound", &[], Timestamp::from_millis(999)).len(), 1);
    }
}
