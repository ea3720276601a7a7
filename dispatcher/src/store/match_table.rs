//! Which endpoints an event goes to.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use angarium_entity::subscription::event_filter::EventFilter;
use angarium_entity::{EndpointId, SubscriptionId, Timestamp, WorkspaceId};
use sea_orm::{ConnectionTrait, DbErr, QueryResult};

use self::load::load;
use super::sieve::{Condition, Verdicts};
use super::sql;

mod load;

/// Workspaces whose tables are kept.
const KEPT_MAX: usize = 10_000;

/// What the subscriptions of a workspace want, at one version of its configuration.
#[derive(Debug, Default)]
pub(crate) struct MatchTable {
    version: i64,
    /// Whether any entry has a filter.
    has_conditions: bool,
    /// Oldest first: the first that matches an endpoint decides.
    entries: Vec<Entry>,
    /// Places of the entries that can match an event type, by its name.
    exact: HashMap<String, Vec<usize>>,
    /// Places of those that have a pattern.
    patterns: Vec<usize>,
}

#[derive(Clone, Debug)]
struct Entry {
    subscription_id: SubscriptionId,
    endpoint_id: EndpointId,
    shard: i32,
    expires_at: Option<Timestamp>,
    filter: EventFilter,
    condition: Option<Arc<Condition>>,
}

/// One endpoint that gets an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) subscription_id: SubscriptionId,
    pub(crate) endpoint_id: EndpointId,
    pub(crate) shard: i32,
}

impl MatchTable {
    /// The filters that must be asked about an event before it can be matched, each once; those that have been are in
    /// `verdicts`.
    pub(crate) fn unasked(&self, event_type: &str, channels: &[String], verdicts: &Verdicts) -> Vec<Arc<Condition>> {
        if !self.has_conditions {
            return Vec::new();
        }
        let mut known = HashSet::new();
        let asked = self.candidates(event_type).filter_map(|entry| {
            let condition = entry.condition.as_ref()?;
            let is_asked = verdicts.of(condition).is_some() || !entry.filter.matches(event_type, channels);
            (!is_asked && known.insert(condition.key())).then(|| condition.clone())
        });
        asked.collect()
    }

    /// The endpoints that get an event published at `now`, each once. Every filter of [`Self::unasked`] has its verdict;
    /// one that has none does not match.
    pub(crate) fn matches(
        &self,
        event_type: &str,
        channels: &[String],
        verdicts: &Verdicts,
        now: Timestamp,
    ) -> Vec<Match> {
        let mut found: Vec<Match> = Vec::new();
        let mut known = HashSet::new();
        for entry in self.candidates(event_type) {
            if entry.expires_at.is_none_or(|end| now < end)
                && entry.filter.matches(event_type, channels)
                && entry.condition.as_ref().is_none_or(|condition| verdicts.of(condition) == Some(true))
                && known.insert(entry.endpoint_id)
            {
                let &Entry { subscription_id, endpoint_id, shard, .. } = entry;
                found.push(Match { subscription_id, endpoint_id, shard });
            }
        }
        found
    }

    fn new(version: i64, entries: Vec<Entry>) -> Self {
        let (mut exact, mut patterns): (HashMap<String, Vec<usize>>, Vec<usize>) = Default::default();
        for (place, entry) in entries.iter().enumerate() {
            let Some(names) = entry.filter.exact_types() else {
                patterns.push(place);
                continue;
            };
            for name in names {
                let places = exact.entry(name.to_owned()).or_default();
                // The same name may be given twice.
                if places.last() != Some(&place) {
                    places.push(place);
                }
            }
        }
        let has_conditions = entries.iter().any(|entry| entry.condition.is_some());
        Self { version, has_conditions, entries, exact, patterns }
    }

    /// The entries that may match an event type, in their order.
    fn candidates(&self, event_type: &str) -> impl Iterator<Item = &Entry> {
        let mut exact = self.exact.get(event_type).map_or(&[][..], Vec::as_slice).iter().peekable();
        let mut patterns = self.patterns.iter().peekable();
        std::iter::from_fn(move || {
            let is_exact_next = match (exact.peek(), patterns.peek()) {
                (Some(exact), Some(pattern)) => exact < pattern,
                (exact, _) => exact.is_some(),
            };
            let place = if is_exact_next { exact.next() } else { patterns.next() }?;
            self.entries.get(*place)
        })
    }

    /// The version of the configuration that it was made of.
    pub(crate) fn version(&self) -> i64 {
        self.version
    }

    /// The same for some subscriptions only.
    pub(crate) fn only(&self, subscriptions: &[SubscriptionId]) -> Self {
        let entries = self.entries.iter().filter(|entry| subscriptions.contains(&entry.subscription_id));
        Self::new(self.version, entries.cloned().collect())
    }

    /// Where a subscription goes now, if it takes events.
    pub(crate) fn endpoint_of(&self, subscription: SubscriptionId) -> Option<EndpointId> {
        self.entries.iter().find(|entry| entry.subscription_id == subscription).map(|entry| entry.endpoint_id)
    }
}

/// Tables by workspace. A table is used only at the version that the transaction of the publish sees, so a
/// subscription that was acknowledged anywhere matches every event published later.
/// Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct MatchTables(Arc<Mutex<HashMap<WorkspaceId, Arc<MatchTable>>>>);

impl MatchTables {
    /// The tables of these workspaces as `db` sees them now; a workspace that does not exist has none.
    pub(crate) async fn get(
        &self,
        db: &impl ConnectionTrait,
        workspaces: impl IntoIterator<Item = WorkspaceId>,
    ) -> Result<HashMap<WorkspaceId, Arc<MatchTable>>, DbErr> {
        Ok(self.with_versions(db, workspaces).await?.0)
    }

    /// The same, and what else the transaction sees.
    pub(crate) async fn with_versions(
        &self,
        db: &impl ConnectionTrait,
        workspaces: impl IntoIterator<Item = WorkspaceId>,
    ) -> Result<(HashMap<WorkspaceId, Arc<MatchTable>>, Versions), DbErr> {
        let (mut tables, mut seen) = (HashMap::new(), Versions::default());
        for (workspace, version, of_all) in versions(db, workspaces).await? {
            seen = of_all;
            let table = match self.latest(workspace) {
                Some(known) if known.version == version => known,
                former => {
                    let loaded = Arc::new(load(db, workspace, version, former.as_deref()).await?);
                    let mut kept = self.lock();
                    if kept.len() >= KEPT_MAX {
                        kept.clear();
                    }
                    kept.insert(workspace, loaded.clone());
                    loaded
                }
            };
            tables.insert(workspace, table);
        }
        Ok((tables, seen))
    }

    /// The table that was used last, which may be older than what is stored.
    pub(crate) fn latest(&self, workspace: WorkspaceId) -> Option<Arc<MatchTable>> {
        self.lock().get(&workspace).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<WorkspaceId, Arc<MatchTable>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Versions of what all workspaces share; none of them if no workspace was found.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Versions {
    /// Of what payloads must satisfy.
    pub(crate) catalogue: Option<i64>,
    /// Of who delivers.
    pub(crate) membership: Option<i64>,
}

async fn versions(
    db: &impl ConnectionTrait,
    workspaces: impl IntoIterator<Item = WorkspaceId>,
) -> Result<Vec<(WorkspaceId, i64, Versions)>, DbErr> {
    let mut query = sql::Query::on(db);
    let source = query.rows([sql::uuid("id", workspaces.into_iter().map(|id| id.0))]);
    let text = format!(
        "SELECT workspace.id, config_version, catalogue_version, membership_version FROM workspace CROSS JOIN installation \
         WHERE deleted_at IS NULL AND workspace.id IN (SELECT id FROM {source} AS wanted)"
    );
    let found = db.query_all_raw(query.text(&text)).await?;
    let read = |row: &QueryResult| {
        let catalogue = Some(row.try_get("", "catalogue_version")?);
        let membership = Some(row.try_get("", "membership_version")?);
        Ok((row.try_get("", "id")?, row.try_get("", "config_version")?, Versions { catalogue, membership }))
    };
    found.iter().map(read).collect()
}

#[cfg(any(test, feature = "benching"))]
impl Entry {
    /// Of a subscription that has just this pattern.
    fn of_pattern(endpoint_id: EndpointId, pattern: &str, expires_at: Option<Timestamp>) -> Self {
        Entry {
            subscription_id: SubscriptionId::new(Timestamp::from_millis(1)),
            endpoint_id,
            shard: 0,
            expires_at,
            filter: EventFilter::new(&vec![pattern.to_owned()].into(), None),
            condition: None,
        }
    }
}

#[cfg(feature = "benching")]
impl MatchTable {
    /// With a subscription for each of these patterns, each with an endpoint of its own.
    pub(crate) fn of_patterns<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Self {
        let endpoint = || EndpointId::new(Timestamp::from_millis(1));
        Self::new(1, patterns.into_iter().map(|pattern| Entry::of_pattern(endpoint(), pattern, None)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(endpoint_id: EndpointId, pattern: &str, expires_at: Option<Timestamp>) -> Entry {
        Entry::of_pattern(endpoint_id, pattern, expires_at)
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
        let table = MatchTable::new(1, entries);
        let found = table.matches("sms.outbound", &[], &Verdicts::default(), now);
        assert_eq!(found, [Match { subscription_id: second, endpoint_id: a, shard: 0 }]);
        let earlier = table.matches("sms.outbound", &[], &Verdicts::default(), Timestamp::from_millis(999));
        assert_eq!(earlier.len(), 1);
    }

    #[test]
    fn names_and_patterns_find_in_the_order_of_their_subscriptions() {
        let now = Timestamp::from_millis(1_000);
        let patterns = ["sms.outbound", "*", "order.created", "sms.*", "sms.outbound", "angarium.*"];
        let entries: Vec<Entry> = patterns.iter().map(|pattern| entry(EndpointId::new(now), pattern, None)).collect();
        let table = MatchTable::new(1, entries);
        for event_type in ["sms.outbound", "sms.in", "order.created", "none", "angarium.x"] {
            let found = table.matches(event_type, &[], &Verdicts::default(), now);
            let all = table.entries.iter().filter(|entry| entry.filter.matches(event_type, &[]));
            let expected: Vec<EndpointId> = all.map(|entry| entry.endpoint_id).collect();
            assert_eq!(found.iter().map(|one| one.endpoint_id).collect::<Vec<_>>(), expected, "{event_type}");
        }
    }
}
