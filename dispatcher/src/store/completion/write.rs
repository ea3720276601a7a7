//! The statements of a group of results that is committed with care.

use std::collections::{HashMap, HashSet};

use angarium_entity::{DeliveryId, NodeId, Timestamp};
use sea_orm::{ActiveEnum, ConnectionTrait, DbErr, Statement};

use super::Applied;
use crate::report::Report;
use crate::store::sql::{self, Column, Query};

/// The columns of `attempt`, in the order of [`attempt_columns`].
pub(super) const ATTEMPT: &str = "id, workspace_id, delivery_id, number, \"trigger\", started_at, completed_at, duration_ms, \
     signature, trace_parent, endpoint_version, subscription_version, error_code, error_message, response_status_code, \
     response_headers, response_body, response_body_truncated";

/// The attempts of a group.
pub(super) fn attempt_columns(reports: &[&Report]) -> Vec<Column> {
    let all = || reports.iter().map(|report| &report.attempt);
    let error_codes: Vec<_> = all().map(|attempt| attempt.error_code.map(|code| code.to_value())).collect();
    vec![
        sql::uuid("id", all().map(|attempt| attempt.id.0)),
        sql::uuid("workspace_id", all().map(|attempt| attempt.workspace_id.0)),
        sql::uuid("delivery_id", all().map(|attempt| attempt.delivery_id.0)),
        sql::int("number", all().map(|attempt| attempt.number)),
        sql::word("trigger", all().map(|attempt| attempt.trigger)),
        sql::time("started_at", all().map(|attempt| attempt.started_at)),
        sql::time("completed_at", all().map(|attempt| attempt.completed_at)),
        sql::int("duration_ms", all().map(|attempt| attempt.duration_ms)),
        sql::text("signature", all().map(|attempt| attempt.signature.as_deref())),
        sql::text("trace_parent", all().map(|attempt| attempt.trace_parent.as_deref())),
        sql::int("endpoint_version", all().map(|attempt| attempt.endpoint_version)),
        sql::int("subscription_version", all().map(|attempt| attempt.subscription_version)),
        sql::text("error_code", error_codes.iter().map(Option::as_deref)),
        sql::text("error_message", all().map(|attempt| attempt.error_message.as_deref())),
        sql::int("response_status_code", all().map(|attempt| attempt.response_status_code)),
        sql::json("response_headers", all().map(|attempt| attempt.response_headers.as_ref())),
        sql::text("response_body", all().map(|attempt| attempt.response_body.as_deref())),
        sql::bool("response_body_truncated", all().map(|attempt| attempt.response_body_truncated)),
    ]
}

/// Where the deliveries of a group go, besides what [`attempt_columns`] tell.
pub(super) fn move_columns(reports: &[&Report]) -> Vec<Column> {
    vec![
        sql::int("expected", reports.iter().map(|report| report.job.attempt_count)),
        sql::int("sent", reports.iter().map(|report| i32::from(report.is_sent))),
        sql::int("spent", reports.iter().map(|report| i32::from(report.spends()))),
        sql::int("round", reports.iter().map(|report| report.job.round)),
        sql::text("status", reports.iter().map(|report| report.next.status().name())),
        sql::text("reason", reports.iter().map(|report| report.reason.as_deref())),
        sql::time("next_attempt_at", reports.iter().map(|report| report.next.next_attempt_at())),
        sql::time("ended_at", reports.iter().map(|report| report.next.completed_at())),
    ]
}

/// Always in the same order, so that two writers never wait for each other.
pub(super) fn sorted<'a>(group: impl IntoIterator<Item = &'a Report>) -> Vec<&'a Report> {
    let mut sorted: Vec<_> = group.into_iter().collect();
    sorted.sort_unstable_by_key(|report| report.job.delivery_id);
    sorted
}

/// Holds the rows of the nodes that made these results until the transaction ends. Answers those that are gone: others
/// have taken them for dead and their shards over, and nothing of theirs is written.
pub(super) async fn fence(db: &impl ConnectionTrait, group: &[Report]) -> Result<HashSet<Option<NodeId>>, DbErr> {
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
pub(super) async fn apply(
    db: &impl ConnectionTrait,
    group: &[&Report],
    now: Timestamp,
) -> Result<HashMap<DeliveryId, Applied>, DbErr> {
    let reports = sorted(group.iter().copied());
    let mut query = Query::on(db);
    let now = query.value(now.millis());
    let mut columns = vec![
        sql::uuid("id", reports.iter().map(|report| report.job.delivery_id.0)),
        sql::time("started_at", reports.iter().map(|report| report.attempt.started_at)),
        sql::int("response_status_code", reports.iter().map(|report| report.attempt.response_status_code)),
    ];
    columns.extend(move_columns(&reports));
    let source = query.rows(columns);
    let decides = "(d.round = r.round AND d.status IN ('PENDING', 'RETRYING'))";
    // SQLite knows no alias in RETURNING, and PostgreSQL needs it.
    let d = if query.is_postgres() { "d." } else { "" };
    let text = format!(
        "UPDATE delivery AS d SET \
         attempt_count = d.attempt_count + r.sent, \
         round_attempts = CASE WHEN d.round = r.round THEN d.round_attempts + r.spent ELSE d.round_attempts END, \
         status = CASE WHEN {decides} THEN r.status ELSE d.status END, \
         status_reason = CASE WHEN {decides} THEN r.reason ELSE d.status_reason END, \
         next_attempt_at = CASE WHEN {decides} THEN r.next_attempt_at ELSE d.next_attempt_at END, \
         completed_at = CASE WHEN {decides} THEN r.ended_at ELSE d.completed_at END, \
         last_attempt_at = CASE WHEN r.sent = 1 THEN r.started_at ELSE d.last_attempt_at END, \
         response_status_code = CASE WHEN r.sent = 1 THEN r.response_status_code ELSE d.response_status_code END, \
         updated_at = {now} \
         FROM {source} AS r WHERE d.id = r.id AND d.attempt_count = r.expected \
         RETURNING {d}id AS counted, {d}round AS counted_round, {d}status AS counted_status, {d}next_attempt_at AS counted_next"
    );
    let rows = db.query_all_raw(query.text(&text)).await?;
    let reports: HashMap<DeliveryId, &Report> =
        reports.into_iter().map(|report| (report.job.delivery_id, report)).collect();
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

/// Stores attempts.
pub(super) async fn insert_attempts(db: &impl ConnectionTrait, reports: &[&Report]) -> Result<(), DbErr> {
    if reports.is_empty() {
        return Ok(());
    }
    let mut query = Query::on(db);
    let source = query.rows(attempt_columns(reports));
    let text = format!("INSERT INTO attempt ({ATTEMPT}) SELECT {ATTEMPT} FROM {source} AS new");
    db.execute_raw(query.text(&text)).await.map(drop)
}

/// Those whose attempts are there, with what their deliveries are now.
pub(super) async fn recorded_before(
    db: &impl ConnectionTrait,
    group: impl Iterator<Item = &Report>,
) -> Result<HashMap<DeliveryId, Applied>, DbErr> {
    let ids: Vec<_> = group.filter(|report| report.is_sent).map(|report| report.attempt.id.0).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let mut query = Query::on(db);
    let source = query.rows([sql::uuid("id", ids)]);
    let text = format!(
        "SELECT d.id, d.status, d.next_attempt_at FROM {source} AS r JOIN attempt ON attempt.id = r.id \
         JOIN delivery AS d ON d.id = attempt.delivery_id"
    );
    let rows = db.query_all_raw(query.text(&text)).await?;
    let read = |row: &sea_orm::QueryResult| {
        let (status, next_attempt_at) = (row.try_get("", "status")?, row.try_get("", "next_attempt_at")?);
        Ok((row.try_get("", "id")?, Applied { decided: true, status, next_attempt_at }))
    };
    rows.iter().map(read).collect()
}
