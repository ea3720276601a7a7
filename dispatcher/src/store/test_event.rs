//! A test event: to one subscription, past filter, line and pause, once.

use std::sync::Arc;

use angarium_entity::delivery::{self, Trigger};
use angarium_entity::json::StringList;
use angarium_entity::{Database, EventId, Timestamp, TraceContext, WorkspaceId, event};
use sea_orm::DbErr;

use super::match_table::Match;
use super::{ingest, sql};
use crate::publish::NewTest;

/// Commits the event and its one delivery.
pub(crate) async fn insert(
    db: &Database,
    test: NewTest,
    shard: i32,
    now: Timestamp,
) -> Result<(Arc<event::Model>, delivery::Model, Vec<WorkspaceId>), DbErr> {
    let (trace_parent, trace_state) = test.trace.map(TraceContext::into_headers).unzip();
    let event = event::Model {
        id: EventId::new(now),
        workspace_id: test.workspace_id,
        event_type: test.event_type,
        payload: test.payload,
        channels: StringList::default(),
        idempotency_key: None,
        occurred_at: now,
        test: true,
        created_at: now,
        sealed: None,
        trace_parent,
        trace_state: trace_state.flatten(),
    };
    let wanted = Match { subscription_id: test.subscription_id, endpoint_id: test.endpoint_id, shard };
    let row = delivery::Model { trigger: Trigger::Test, ..ingest::pending(&event, wanted, now) };
    let transaction = db.begin().await?;
    sql::insert_events(&transaction, &[&event]).await?;
    let mut rows = [row];
    sql::insert_deliveries(&transaction, &mut rows).await?;
    let changes = sql::append_changes(&transaction, now, ingest::changes_of(std::iter::once(&event), &rows)).await?;
    transaction.commit().await?;
    let [row] = rows;
    Ok((Arc::new(event), row, changes))
}
