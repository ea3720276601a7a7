//! Events of Angarium's own, written in the transaction of the change that they tell of.
//!
//! Once     a change and what tells of it are committed together or not at all, so that neither a crash nor a repeated
//!          commit tells of a change twice, or not at all.
//! Matching through the table of the workspace, as the transaction sees it. Filters are asked meanwhile, on a thread that
//!          publishes do not share: what they look into is small, and nobody else is waited for.
//! Order    behind what was published before, like any event. The endpoints are told to look into the rows rather than
//!          handed the deliveries: another transaction may have committed places before or after these.

use std::collections::HashMap;
use std::sync::Arc;

use angarium_entity::event_type::reserved::Notice;
use angarium_entity::json::StringList;
use angarium_entity::{EndpointId, EventId, Timestamp, WorkspaceId, delivery, event};
use sea_orm::{ConnectionTrait, DbErr};

use super::logged::Logged;
use super::match_table::{MatchTable, MatchTables};
use super::sieve::{Question, Sieve, Verdicts};
use super::{ingest, sql};
use crate::actor::Hubs;

/// Deliveries of one statement.
const DELIVERIES_MAX: usize = 5_000;

/// What was written, to be told once it is committed.
#[derive(Debug, Default)]
#[must_use = "when it is committed, tell of it"]
pub struct Raised {
    endpoints: Vec<EndpointId>,
    changes: Vec<WorkspaceId>,
}

impl Raised {
    /// With a workspace whose log was written in the same transaction.
    pub(crate) fn with(mut self, workspace: WorkspaceId) -> Self {
        self.changes.push(workspace);
        self
    }
}

/// The part that writes and tells. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Notices {
    hubs: Hubs,
    logged: Logged,
    tables: MatchTables,
    sieve: Sieve,
}

impl Notices {
    /// # Errors
    /// When there can be no thread for the filters.
    pub(crate) fn start(hubs: Hubs, logged: Logged) -> std::io::Result<Self> {
        Ok(Self { hubs, logged, tables: MatchTables::default(), sieve: Sieve::start()? })
    }

    /// Writes an event for each of `notices` and its deliveries, in the transaction `db`.
    pub(crate) async fn raise(
        &self,
        db: &impl ConnectionTrait,
        notices: Vec<Notice>,
        now: Timestamp,
    ) -> Result<Raised, DbErr> {
        if notices.is_empty() {
            return Ok(Raised::default());
        }
        let mut workspaces: Vec<_> = notices.iter().map(|notice| notice.workspace_id).collect();
        workspaces.sort_unstable();
        workspaces.dedup();
        let tables = self.tables.get(db, workspaces).await?;
        // A workspace that is gone has nobody to tell.
        let told = notices.into_iter().filter(|notice| tables.contains_key(&notice.workspace_id));
        let events: Vec<event::Model> = told.map(|notice| row(notice, now)).collect();
        let verdicts = self.judge(&tables, &events).await?;
        let mut deliveries: Vec<delivery::Model> = Vec::new();
        for (event, verdicts) in events.iter().zip(&verdicts) {
            let Some(table) = tables.get(&event.workspace_id) else { continue };
            let matches = table.matches(&event.event_type, &[], verdicts, now);
            deliveries.extend(matches.into_iter().map(|wanted| ingest::pending(event, wanted, now)));
        }
        sql::insert_events(db, &events.iter().collect::<Vec<_>>()).await?;
        for chunk in deliveries.chunks_mut(DELIVERIES_MAX) {
            sql::insert_deliveries(db, chunk).await?;
        }
        let changes = sql::append_changes(db, now, ingest::changes_of(events.iter(), &deliveries)).await?;
        Ok(Raised { endpoints: deliveries.iter().map(|row| row.endpoint_id).collect(), changes })
    }

    /// What the filters say of each event. Most workspaces have none that is about these.
    async fn judge(
        &self,
        tables: &HashMap<WorkspaceId, Arc<MatchTable>>,
        events: &[event::Model],
    ) -> Result<Vec<Verdicts>, DbErr> {
        let mut all = vec![Verdicts::default(); events.len()];
        for (event, verdicts) in events.iter().zip(&mut all) {
            let unasked = |table: &Arc<MatchTable>| table.unasked(&event.event_type, &[], verdicts);
            let conditions = tables.get(&event.workspace_id).map(unasked).unwrap_or_default();
            if conditions.is_empty() {
                continue;
            }
            let (event_type, payload) = (event.event_type.clone(), event.payload.clone());
            let question = Question { event_type, channels: Vec::new(), payload, conditions };
            let answer = self.sieve.judge(event.workspace_id, vec![question]).await;
            let lost = || DbErr::Custom("the thread of the filters has ended".to_owned());
            *verdicts = answer.and_then(|mut answer| answer.pop()).ok_or_else(lost)?;
        }
        Ok(all)
    }

    /// Has the deliveries go out, and tells the live streams. Call it after the commit.
    pub(crate) fn tell(&self, raised: Raised) {
        self.hubs.look(raised.endpoints);
        self.logged.tell(raised.changes);
    }
}

fn row(notice: Notice, now: Timestamp) -> event::Model {
    event::Model {
        id: EventId::new(now),
        workspace_id: notice.workspace_id,
        event_type: notice.event_type.to_owned(),
        payload: notice.payload,
        channels: StringList::default(),
        idempotency_key: None,
        occurred_at: now,
        test: false,
        created_at: now,
        sealed: None,
        trace_parent: None,
        trace_state: None,
    }
}
