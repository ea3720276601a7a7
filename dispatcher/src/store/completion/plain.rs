//! Results that move their delivery, and at most note how their endpoint is, as one statement of PostgreSQL, which commits
//! itself.
//!
//! The fence, the compare-and-set, the attempts and the log are parts of it. A result that does not find its delivery as
//! it left it is not among the answers, and nothing of it was written.

use std::collections::{BTreeMap, HashMap};

use angarium_entity::delivery::DeliveryState;
use angarium_entity::{Database, DeliveryId, EndpointId, NodeId, Timestamp, endpoint_health};
use sea_orm::{ActiveEnum as _, ConnectionTrait, DbBackend, DbErr};
use serde_json::json;

use super::Applied;
use super::write::{ATTEMPT, attempt_columns, move_columns, sorted};
use crate::report::Report;
use crate::store::sql::{self, Query};
use crate::store::standing;

/// The node that made a group, if all of it is plain.
pub(super) fn node(db: &Database, group: &[Report]) -> Option<NodeId> {
    let node = group.first()?.node?;
    (db.backend() == DbBackend::Postgres && group.iter().all(|report| report.node == Some(node) && is_plain(report)))
        .then_some(node)
}

/// Whether it says nothing of its endpoint, and nothing is to be told of it.
fn is_plain(report: &Report) -> bool {
    let verdict = &report.verdict;
    report.hold.is_none()
        && !report.confirms
        && !matches!(report.next, DeliveryState::Exhausted { .. })
        && !verdict.is_news
        && !verdict.recovered
}

/// Not as `status IN …`: with statistics from when nothing was open, PostgreSQL would go through all that is open by the
/// indexes of it, and look for each among the results. Nothing but the key leads to a row this way.
const IS_OPEN: &str = "CASE d.status WHEN 'PENDING' THEN true WHEN 'RETRYING' THEN true ELSE false END";

/// The health of endpoints, as the rows of `moved` carry it.
const HEALTH: &str = "(SELECT h.* FROM moved, jsonb_to_record(moved.health) AS h(endpoint_id uuid, workspace_id uuid, \
    generation integer, status text, recent integer, consecutive_failures integer, failing_since bigint, \
    last_failure_at bigint, last_success_at bigint, opened integer, probe_at bigint, updated_at bigint) \
    WHERE moved.health IS NOT NULL)";

/// The health of the endpoint, with the report that has the latest of it.
fn note(report: &Report, latest: &BTreeMap<EndpointId, endpoint_health::Model>) -> Option<serde_json::Value> {
    let health = report.verdict.health.filter(|health| latest.get(&health.endpoint_id) == Some(health))?;
    let millis = |at: Option<Timestamp>| at.map(Timestamp::millis);
    Some(json!({
        "endpoint_id": health.endpoint_id.0,
        "workspace_id": health.workspace_id.0,
        "generation": health.generation,
        "status": health.status.to_value(),
        "recent": health.recent,
        "consecutive_failures": health.consecutive_failures,
        "failing_since": millis(health.failing_since),
        "last_failure_at": millis(health.last_failure_at),
        "last_success_at": millis(health.last_success_at),
        "opened": health.opened,
        "probe_at": millis(health.probe_at),
        "updated_at": health.updated_at.millis(),
    }))
}

/// Commits those that find their deliveries as they left them. Answers what became of these.
pub(super) async fn commit(
    db: &Database,
    node: NodeId,
    group: &[Report],
    now: Timestamp,
) -> Result<HashMap<DeliveryId, Applied>, DbErr> {
    let reports = sorted(group);
    let places: HashMap<DeliveryId, i32> =
        (0..).zip(group).map(|(place, report)| (report.job.delivery_id, place)).collect();
    let mut query = Query::of(db.backend());
    let (node, now) = (query.value(node), query.value(now.millis()));
    let changes: Vec<_> = reports.iter().map(|report| report.change()).collect();
    let mut columns = attempt_columns(&reports);
    columns.extend(move_columns(&reports));
    columns.push(sql::json_text("change", &changes));
    columns.push(sql::int("place", reports.iter().map(|report| places[&report.job.delivery_id])));
    let latest = standing::latest(group);
    let healths: Vec<_> = reports.iter().map(|report| note(report, &latest)).collect();
    columns.push(sql::json("health", healths.iter().map(Option::as_ref)));
    let source = query.rows(columns);
    let health =
        if latest.is_empty() { String::new() } else { format!(", health_row AS ({})", standing::health_text(HEALTH)) };
    let log = if sql::LOG {
        format!(
            ", log_row AS (INSERT INTO change_log (workspace_id, at, changes) \
             SELECT workspace_id, {now}, json_agg(change ORDER BY place) FROM moved GROUP BY workspace_id)"
        )
    } else {
        String::new()
    };
    let text = format!(
        "WITH held AS (SELECT id FROM node WHERE id = {node} FOR KEY SHARE), \
         moved AS (UPDATE delivery AS d SET attempt_count = d.attempt_count + r.sent, \
         round_attempts = d.round_attempts + r.spent, status = r.status, status_reason = r.reason, \
         next_attempt_at = r.next_attempt_at, completed_at = r.ended_at, \
         last_attempt_at = CASE WHEN r.sent = 1 THEN r.started_at ELSE d.last_attempt_at END, \
         response_status_code = CASE WHEN r.sent = 1 THEN r.response_status_code ELSE d.response_status_code END, \
         updated_at = {now} FROM {source} AS r \
         WHERE d.id = r.delivery_id AND d.attempt_count = r.expected AND d.round = r.round \
         AND {IS_OPEN} AND EXISTS (SELECT 1 FROM held) RETURNING r.*), \
         attempt_row AS (INSERT INTO attempt ({ATTEMPT}) SELECT {ATTEMPT} FROM moved WHERE sent = 1){health}{log} \
         SELECT delivery_id FROM moved"
    );
    let moved = db.planned().query_all_raw(query.text(&text)).await?;
    let by_id: HashMap<DeliveryId, &Report> =
        reports.into_iter().map(|report| (report.job.delivery_id, report)).collect();
    let mut applied = HashMap::with_capacity(moved.len());
    for row in moved {
        let id: DeliveryId = row.try_get("", "delivery_id")?;
        let Some(next) = by_id.get(&id).map(|report| &report.next) else { continue };
        let status = next.status().name().to_owned();
        applied.insert(id, Applied { decided: true, status, next_attempt_at: next.next_attempt_at() });
    }
    Ok(applied)
}
