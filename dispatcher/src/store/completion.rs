//! The completion committer: many results, one transaction.
//!
//! Compare-and-set  a result counts only if its delivery still has as many attempts as when it was taken, and decides
//!                  the state only if the delivery is open and in the same round. Whatever else happened meanwhile (a
//!                  cancel, a retry by hand) stays; the attempt is recorded all the same. Of a delivery that was deleted
//!                  nothing is recorded, nor is its endpoint held.
//! Fence            nothing is written that was made by a node which others have taken for dead, whenever it comes: its
//!                  shards have other owners.
//! Patience         results are kept and tried again for as long as the database is away: they hold their slots, so
//!                  that soon nothing new starts.
//! Alone            if the database refuses a group, its halves are tried; what it refuses by itself is stored without
//!                  what came from the receiver, so that no answer can stop the others.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use angarium_entity::change_log::Change;
use angarium_entity::clock::SharedClock;
use angarium_entity::delivery::DeliveryState;
use angarium_entity::endpoint;
use angarium_entity::event_type::reserved::{Exhausted, Notice};
use angarium_entity::{Database, DeliveryId, EndpointId, NodeId, Timestamp, WorkspaceId, attempt};
use sea_orm::{ActiveEnum, ConnectionTrait, DbErr, Statement};
use serde::Serialize;
use tokio::sync::mpsc;

use super::confirmation;
use super::database::is_connection_lost;
use super::logged::Logged;
use super::notice::Notices;
use super::sql::{self, Field};
use super::standing;
use crate::actor::Hubs;
use crate::metrics::{GroupOf, Metrics};
use crate::report::Report;
use crate::schedule::Schedule;

/// Most results of a group.
const GROUP_MAX: usize = 512;
/// First and longest pause after the database failed.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A result that is durable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recorded {
    pub(crate) endpoint_id: EndpointId,
    pub(crate) delivery_id: DeliveryId,
    /// Whether the delivery is known to be final now.
    pub(crate) is_final: bool,
    /// When it is tried again, if this result decided that.
    pub(crate) next_attempt_at: Option<Timestamp>,
    /// Nothing of it was written, since its delivery is gone: what it asked of the endpoint counts for nothing.
    pub(crate) is_void: bool,
}

/// The part that commits.
pub(crate) struct Committer {
    db: Database,
    clock: SharedClock,
    hubs: Hubs,
    logged: Logged,
    notices: Notices,
    schedule: Schedule,
    metrics: Metrics,
}

#[expect(clippy::too_many_arguments, reason = "each is a part of its own; called once")]
/// Runs until every sender of `reports` is gone and all they sent is durable.
pub(crate) async fn run(
    db: Database,
    clock: SharedClock,
    hubs: Hubs,
    logged: Logged,
    notices: Notices,
    schedule: Schedule,
    metrics: Metrics,
    mut reports: mpsc::UnboundedReceiver<Report>,
) {
    let committer = Committer { db, clock, hubs, logged, notices, schedule, metrics };
    let mut group = Vec::with_capacity(GROUP_MAX);
    while reports.recv_many(&mut group, GROUP_MAX).await > 0 {
        committer.record(std::mem::take(&mut group)).await;
    }
}

impl Committer {
    /// Commits a group, whatever it takes.
    async fn record(&self, group: Vec<Report>) {
        let mut groups = vec![group];
        let mut pause = PAUSE_MIN;
        while let Some(mut group) = groups.pop() {
            let Err(error) = self.commit(&group).await else {
                pause = PAUSE_MIN;
                continue;
            };
            if is_connection_lost(&error) {
                tracing::error!(%error, results = group.len(), "results are not durable yet; trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
                groups.push(group);
            } else if group.len() > 1 {
                let second = group.split_off(group.len() / 2);
                groups.extend([second, group]);
            } else if let Some(report) = group.pop() {
                groups.extend(self.without_answer(report, &error).map(|report| vec![report]));
            }
        }
    }

    /// A result that the database refuses, without what came from the receiver; none if it was without already. Then
    /// it is given up: its delivery stays open, and a sweep sends it again.
    fn without_answer(&self, report: Report, error: &DbErr) -> Option<Report> {
        let (endpoint_id, delivery_id) = (report.job.endpoint_id, report.job.delivery_id);
        tracing::error!(%error, endpoint = %endpoint_id, delivery = %delivery_id, "the database refuses a result");
        if report.attempt.response_headers.is_none() && report.attempt.error_message.is_none() {
            self.hubs.recorded([Recorded {
                endpoint_id,
                delivery_id,
                is_final: false,
                next_attempt_at: None,
                is_void: false,
            }]);
            return None;
        }
        let attempt = attempt::Model {
            error_message: None,
            response_headers: None,
            response_body: None,
            response_body_truncated: true,
            ..report.attempt
        };
        Some(Report { attempt, ..report })
    }

    async fn commit(&self, group: &[Report]) -> Result<(), DbErr> {
        let (now, started) = (self.clock.now(), Instant::now());
        let transaction = self.db.begin().await?;
        let fenced = fence(&transaction, group).await?;
        let standing_group: Vec<&Report> = group.iter().filter(|report| !fenced.contains(&report.node)).collect();
        let applied = apply(&transaction, &standing_group, now).await?;
        let counted: Vec<&Report> =
            standing_group.into_iter().filter(|report| applied.contains_key(&report.job.delivery_id)).collect();
        let sent: Vec<&Report> = counted.iter().copied().filter(|report| report.is_sent).collect();
        insert_attempts(&transaction, &sent).await?;
        let mut changes = changes_of(&counted, &applied);
        let mut notices = given_up(&counted, &applied, now);
        let held = standing::apply(&transaction, &counted, &applied, now, &mut changes, &mut notices).await?;
        let confirming: Vec<&Report> = counted
            .iter()
            .copied()
            .filter(|report| report.confirms && applied.get(&report.job.delivery_id).is_some_and(|it| it.decided))
            .collect();
        let confirmed = confirmation::confirm(&transaction, &confirming, now, &mut changes).await?;
        let changes = sql::append_changes(&transaction, now, changes).await?;
        let raised = self.notices.raise(&transaction, notices, now).await?;
        transaction.commit().await?;
        self.metrics.committed(GroupOf::Results, group.len(), started.elapsed());
        for report in counted {
            self.metrics.recorded(report, applied.get(&report.job.delivery_id).is_some_and(|applied| applied.decided));
        }

        let recorded = group.iter().map(|report| {
            let applied = applied.get(&report.job.delivery_id);
            Recorded {
                endpoint_id: report.job.endpoint_id,
                delivery_id: report.job.delivery_id,
                is_final: applied.is_some_and(Applied::is_final),
                next_attempt_at: applied.and_then(|applied| applied.next_attempt_at),
                is_void: applied.is_none(),
            }
        });
        self.hubs.recorded(recorded);
        for report in group {
            if let Some(applied) = applied.get(&report.job.delivery_id)
                && (applied.next_attempt_at.is_some() || report.job.timed)
            {
                self.schedule.note(report.job.endpoint_id, report.job.delivery_id, applied.next_attempt_at);
            }
        }
        for endpoint in held.into_iter().chain(confirmed) {
            self.hubs.reload(endpoint);
        }
        self.logged.tell(changes);
        self.notices.tell(raised);
        Ok(())
    }
}

/// What became of a result that counted.
#[derive(Clone, Debug)]
pub(super) struct Applied {
    /// Whether it decided the state.
    pub(super) decided: bool,
    /// The status of the delivery afterwards.
    status: String,
    /// When the delivery is due now, whoever decided that.
    next_attempt_at: Option<Timestamp>,
}

impl Applied {
    fn is_final(&self) -> bool {
        !matches!(self.status.as_str(), "PENDING" | "RETRYING")
    }
}

/// Holds the rows of the nodes that made these results until the transaction ends. Answers those that are gone: others
/// have taken them for dead and their shards over, and nothing of theirs is written.
async fn fence(db: &impl ConnectionTrait, group: &[Report]) -> Result<HashSet<Option<NodeId>>, DbErr> {
    let mut gone: HashSet<Option<NodeId>> = group.iter().map(|report| report.node).collect();
    // One process alone cannot be buried.
    let backend = db.get_database_backend();
    if backend != sea_orm::DbBackend::Postgres {
        gone.retain(Option::is_none);
        return Ok(gone);
    }
    for node in gone.clone().into_iter().flatten() {
        let hold = "SELECT id FROM node WHERE id = $1 FOR KEY SHARE";
        let held = db.query_one_raw(Statement::from_sql_and_values(backend, hold, [node.into()])).await?;
        if held.is_some() {
            gone.remove(&Some(node));
        }
    }
    if !gone.is_empty() {
        tracing::warn!(results = group.len(), "results of a node that was taken for dead are not written");
    }
    Ok(gone)
}

/// Moves the deliveries. Answers what became of the results that counted.
async fn apply(
    db: &impl ConnectionTrait,
    group: &[&Report],
    now: Timestamp,
) -> Result<HashMap<DeliveryId, Applied>, DbErr> {
    #[derive(Serialize)]
    struct Row<'a> {
        id: String,
        expected: i32,
        sent: i32,
        round: i32,
        status: &'a str,
        reason: Option<&'a str>,
        next_attempt_at: Option<i64>,
        completed_at: Option<i64>,
        started_at: i64,
        response_status_code: Option<i32>,
    }
    const FIELDS: [Field; 10] = [
        sql::uuid("id"),
        sql::int("expected"),
        sql::int("sent"),
        sql::int("round"),
        sql::text("status"),
        sql::text("reason"),
        sql::big("next_attempt_at"),
        sql::big("completed_at"),
        sql::big("started_at"),
        sql::int("response_status_code"),
    ];
    let mut batch: Vec<_> = group
        .iter()
        .map(|report| Row {
            id: sql::hex(report.job.delivery_id.0),
            expected: report.job.attempt_count,
            sent: i32::from(report.is_sent),
            round: report.job.round,
            status: report.next.status().name(),
            reason: report.reason.as_deref(),
            next_attempt_at: report.next.next_attempt_at().map(Timestamp::millis),
            completed_at: report.next.completed_at().map(Timestamp::millis),
            started_at: report.attempt.started_at.millis(),
            response_status_code: report.attempt.response_status_code,
        })
        .collect();
    // Always in the same order, so that two writers never wait for each other.
    batch.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    let backend = db.get_database_backend();
    let source = sql::rows(backend, &FIELDS);
    let decides = "(d.round = r.round AND d.status IN ('PENDING', 'RETRYING'))";
    let text = format!(
        "UPDATE delivery AS d SET \
         attempt_count = d.attempt_count + r.sent, \
         round_attempts = CASE WHEN d.round = r.round THEN d.round_attempts + r.sent ELSE d.round_attempts END, \
         status = CASE WHEN {decides} THEN r.status ELSE d.status END, \
         status_reason = CASE WHEN {decides} THEN r.reason ELSE d.status_reason END, \
         next_attempt_at = CASE WHEN {decides} THEN r.next_attempt_at ELSE d.next_attempt_at END, \
         completed_at = CASE WHEN {decides} THEN r.completed_at ELSE d.completed_at END, \
         last_attempt_at = CASE WHEN r.sent = 1 THEN r.started_at ELSE d.last_attempt_at END, \
         response_status_code = CASE WHEN r.sent = 1 THEN r.response_status_code ELSE d.response_status_code END, \
         updated_at = $2 \
         FROM {source} AS r WHERE d.id = r.id AND d.attempt_count = r.expected \
         RETURNING id AS counted, round AS counted_round, status AS counted_status, next_attempt_at AS counted_next"
    );
    let text = if backend == sea_orm::DbBackend::Postgres {
        text.replace("RETURNING id AS", "RETURNING d.id AS")
            .replace(", round AS", ", d.round AS")
            .replace(", status AS", ", d.status AS")
            .replace(", next_attempt_at AS", ", d.next_attempt_at AS")
    } else {
        text
    };
    let rows = db.query_all_raw(sql::statement(backend, &text, &batch, [now.millis().into()])).await?;
    let reports: HashMap<DeliveryId, &Report> = group.iter().map(|report| (report.job.delivery_id, *report)).collect();
    let mut applied = HashMap::with_capacity(rows.len());
    for row in rows {
        let id: DeliveryId = row.try_get("", "counted")?;
        let round: i32 = row.try_get("", "counted_round")?;
        let status: String = row.try_get("", "counted_status")?;
        let decided =
            reports.get(&id).is_some_and(|report| report.job.round == round && report.next.status().name() == status);
        applied.insert(id, Applied { decided, status, next_attempt_at: row.try_get("", "counted_next")? });
    }
    Ok(applied)
}

async fn insert_attempts(db: &impl ConnectionTrait, reports: &[&Report]) -> Result<(), DbErr> {
    #[derive(Serialize)]
    struct Row<'a> {
        id: String,
        workspace_id: String,
        delivery_id: String,
        number: i32,
        trigger: String,
        started_at: i64,
        completed_at: i64,
        duration_ms: i32,
        signature: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        trace_parent: Option<&'a str>,
        endpoint_version: i32,
        subscription_version: i32,
        error_code: Option<String>,
        error_message: Option<&'a str>,
        response_status_code: Option<i32>,
        response_headers: Option<&'a endpoint::Headers>,
        response_body: Option<&'a str>,
        response_body_truncated: bool,
    }
    const FIELDS: [Field; 18] = [
        sql::uuid("id"),
        sql::uuid("workspace_id"),
        sql::uuid("delivery_id"),
        sql::int("number"),
        sql::text("trigger"),
        sql::big("started_at"),
        sql::big("completed_at"),
        sql::int("duration_ms"),
        sql::text("signature"),
        sql::text("trace_parent"),
        sql::int("endpoint_version"),
        sql::int("subscription_version"),
        sql::text("error_code"),
        sql::text("error_message"),
        sql::int("response_status_code"),
        sql::json("response_headers"),
        sql::text("response_body"),
        sql::bool("response_body_truncated"),
    ];
    if reports.is_empty() {
        return Ok(());
    }
    let batch: Vec<_> = reports
        .iter()
        .map(|report| {
            let attempt = &report.attempt;
            Row {
                id: sql::hex(attempt.id.0),
                workspace_id: sql::hex(attempt.workspace_id.0),
                delivery_id: sql::hex(attempt.delivery_id.0),
                number: attempt.number,
                trigger: attempt.trigger.to_value(),
                started_at: attempt.started_at.millis(),
                completed_at: attempt.completed_at.millis(),
                duration_ms: attempt.duration_ms,
                signature: attempt.signature.as_deref(),
                trace_parent: attempt.trace_parent.as_deref(),
                endpoint_version: attempt.endpoint_version,
                subscription_version: attempt.subscription_version,
                error_code: attempt.error_code.map(|code| code.to_value()),
                error_message: attempt.error_message.as_deref(),
                response_status_code: attempt.response_status_code,
                response_headers: attempt.response_headers.as_ref(),
                response_body: attempt.response_body.as_deref(),
                response_body_truncated: attempt.response_body_truncated,
            }
        })
        .collect();
    let backend = db.get_database_backend();
    let (names, source) = (sql::names(&FIELDS), sql::rows(backend, &FIELDS));
    let text = format!("INSERT INTO attempt ({names}) SELECT {names} FROM {source} AS new");
    db.execute_raw(sql::statement(backend, &text, &batch, [])).await.map(drop)
}

/// What is to be told of deliveries that these results have ended for good. Nobody waits for a test.
fn given_up(counted: &[&Report], applied: &HashMap<DeliveryId, Applied>, now: Timestamp) -> Vec<Notice> {
    let exhausted = |report: &&&Report| {
        matches!(report.next, DeliveryState::Exhausted { .. })
            && !report.job.event.test
            && applied.get(&report.job.delivery_id).is_some_and(|applied| applied.decided)
    };
    let notice = |report: &&Report| {
        let (job, event) = (&report.job, &report.job.event);
        let exhausted = Exhausted {
            workspace_id: report.attempt.workspace_id,
            delivery_id: job.delivery_id,
            event: (event.id, &event.event_type),
            endpoint_id: job.endpoint_id,
            subscription_id: job.subscription_id,
            attempt_count: report.attempt.number,
            reason: report.reason.as_deref(),
        };
        Notice::delivery_exhausted(&exhausted, now)
    };
    counted.iter().filter(exhausted).filter_map(notice).collect()
}

/// An attempt that decided nothing is logged as well: it has ended, and the delivery counts it.
fn changes_of(counted: &[&Report], applied: &HashMap<DeliveryId, Applied>) -> HashMap<WorkspaceId, Vec<Change>> {
    let mut by_workspace: HashMap<WorkspaceId, Vec<Change>> = HashMap::new();
    if !sql::LOG {
        return by_workspace;
    }
    for report in counted {
        let Some(applied) = applied.get(&report.job.delivery_id) else { continue };
        let mut change = report.change();
        if !applied.decided {
            change.previous_status = Some(applied.status.clone());
            change.status.clone_from(&applied.status);
        }
        by_workspace.entry(report.attempt.workspace_id).or_default().push(change.into());
    }
    by_workspace
}
