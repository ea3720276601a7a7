//! Asking endpoints to confirm subscriptions: each message is an event with one delivery, which is tried at once, past
//! filter, line and pause like a test, and again by the retry policy.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use angarium_entity::change_log::{Change, SubscriptionChange};
use angarium_entity::confirmation::{self, Column, Entity, Message};
use angarium_entity::{EndpointId, EventId, SubscriptionId, Timestamp, WorkspaceId, delivery, event, shard, workspace};
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _, IntoActiveModel as _, QueryFilter as _};

use super::match_table::Match;
use super::{ingest, sql};
use crate::job::Job;
use crate::report::Report;

/// Why the delivery of a message is canceled when a newer one takes its place.
pub(crate) const REPLACED: &str = "Another confirmation message has taken its place, or none is needed any more.";
/// Messages of one statement.
const STEP: usize = 500;

/// Messages that were written, to be sent once they are committed.
#[derive(Debug, Default)]
#[must_use = "when it is committed, have it sent"]
pub struct Asked {
    pub(crate) jobs: Vec<Job>,
    pub(crate) changes: Vec<WorkspaceId>,
    /// Events of messages that are good for nothing any more.
    pub(crate) replaced: Vec<(WorkspaceId, EventId)>,
}

/// Ends the messages of `subscriptions` that are not ended, and answers their events.
async fn replace(
    db: &impl ConnectionTrait,
    subscriptions: &[SubscriptionId],
    now: Timestamp,
) -> Result<Vec<(WorkspaceId, EventId)>, DbErr> {
    let mut replaced = Vec::new();
    for some in subscriptions.chunks(STEP) {
        let open = Column::SubscriptionId.is_in(some.iter().copied()).and(Column::EndedAt.is_null());
        let rows = Entity::find().filter(open.clone()).all(db).await?;
        replaced.extend(rows.iter().map(|row| (row.workspace_id, row.event_id)));
        Entity::update_many().col_expr(Column::EndedAt, Expr::value(now)).filter(open).exec(db).await?;
    }
    Ok(replaced)
}

/// Writes messages to `endpoint` in the transaction `db`. Older ones of `subscriptions` work no more.
pub(crate) async fn ask(
    db: &impl ConnectionTrait,
    endpoint: EndpointId,
    shard_count: i32,
    subscriptions: &[SubscriptionId],
    messages: Vec<Message>,
    now: Timestamp,
) -> Result<Asked, DbErr> {
    let replaced = replace(db, subscriptions, now).await?;
    let mut asked = Asked { replaced, ..Asked::default() };
    for some in messages.chunks(STEP) {
        let events: Vec<Arc<event::Model>> = some.iter().map(|message| Arc::new(message.event.clone())).collect();
        let mut deliveries: Vec<delivery::Model> = some
            .iter()
            .map(|Message { event, row }| {
                let wanted = Match {
                    subscription_id: row.subscription_id,
                    endpoint_id: endpoint,
                    shard: shard::of(endpoint, shard_count),
                };
                ingest::pending(event, wanted, now)
            })
            .collect();
        sql::insert_events(db, &events.iter().map(AsRef::as_ref).collect::<Vec<_>>()).await?;
        sql::insert_deliveries(db, &mut deliveries).await?;
        let rows = some.iter().map(|message| message.row.clone().into_active_model());
        Entity::insert_many(rows).exec_without_returning(db).await?;
        let logged = ingest::changes_of(events.iter().map(AsRef::as_ref), &deliveries);
        asked.changes.extend(sql::append_changes(db, now, logged).await?);
        asked.jobs.extend(deliveries.iter().zip(events).map(|(row, event)| Job::new(row, event)));
    }
    Ok(asked)
}

/// Confirms the subscriptions whose endpoints have echoed their challenge. Answers which endpoints have to be told, and
/// adds what anybody can see of it to `changes`.
pub(crate) async fn confirm(
    db: &impl ConnectionTrait,
    reports: &[&Report],
    now: Timestamp,
    changes: &mut HashMap<WorkspaceId, Vec<Change>>,
) -> Result<Vec<EndpointId>, DbErr> {
    // Workspaces first and in order, as whoever changes subscriptions takes them.
    let workspaces: BTreeSet<WorkspaceId> = reports.iter().map(|report| report.attempt.workspace_id).collect();
    for id in workspaces {
        workspace::bump_config_version(db, id).await?;
    }
    let mut confirmed = Vec::new();
    for report in reports {
        if confirmation::end(db, report.job.event.id, true, now).await? {
            let change = SubscriptionChange { subscription_id: report.job.subscription_id }.into();
            changes.entry(report.attempt.workspace_id).or_default().push(change);
            confirmed.push(report.job.endpoint_id);
        }
    }
    Ok(confirmed)
}
