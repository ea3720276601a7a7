//! What waits in the rows, for operators: asked for now and then, and bounded in cost.
//!
//! Counts  stop at [`COUNTED_MAX`]; both are of a partial index that holds nothing else.
//! Oldest  skips from endpoint to endpoint in an index, as [`super::sweep`] does: the cost is the number of endpoints with
//!         something to send, not of what waits. Endpoints that nothing is sent to now (paused, suspended, held, with an
//!         open circuit) are left out: what waits there waits on purpose.

use std::time::Duration;

use angarium_entity::{Database, Timestamp};
use sea_orm::{ConnectionTrait, DbErr, Statement};

use super::walk;

/// Largest number that a count tells exactly.
const COUNTED_MAX: i64 = 100_000;

const IN_LINE: &str = "SELECT count(*) AS found FROM (SELECT 1 FROM delivery \
    WHERE status = 'PENDING' AND next_attempt_at IS NULL LIMIT $1) AS bounded";
const SCHEDULED: &str =
    "SELECT count(*) AS found FROM (SELECT 1 FROM delivery WHERE next_attempt_at IS NOT NULL LIMIT $1) AS bounded";
const OPEN_CIRCUITS: &str = "SELECT count(*) AS found FROM endpoint_health AS h JOIN endpoint AS e ON e.id = h.endpoint_id \
    WHERE h.probe_at IS NOT NULL AND e.deleted_at IS NULL";

/// The first of each line. A shard and its endpoints are one after the other in the index `delivery_line`.
const OLDEST_IN_LINE: &str = concat!(
    walk::lines!(),
    " SELECT min((SELECT d.created_at FROM delivery AS d WHERE d.status = 'PENDING' AND d.next_attempt_at IS NULL \
    AND d.shard = spot.shard AND d.endpoint_id = spot.endpoint_id ORDER BY d.seq LIMIT 1)) AS oldest \
    FROM spot JOIN endpoint AS e ON e.id = spot.endpoint_id LEFT JOIN endpoint_health AS h ON h.endpoint_id = e.id \
    WHERE e.status = 'ACTIVE' AND e.deleted_at IS NULL AND (e.held_until IS NULL OR e.held_until <= $1) \
    AND (h.probe_at IS NULL OR h.probe_at <= $1)"
);

const OLDEST_DUE: &str = concat!(
    walk::waits!(),
    " SELECT min((SELECT d.next_attempt_at FROM delivery AS d WHERE d.endpoint_id = spot.endpoint_id \
    AND d.next_attempt_at IS NOT NULL ORDER BY d.next_attempt_at LIMIT 1)) AS oldest \
    FROM spot JOIN endpoint AS e ON e.id = spot.endpoint_id LEFT JOIN endpoint_health AS h ON h.endpoint_id = e.id \
    WHERE e.status = 'ACTIVE' AND e.deleted_at IS NULL AND (e.held_until IS NULL OR e.held_until <= $1) \
    AND (h.probe_at IS NULL OR h.probe_at <= $1)"
);

/// What waits, at an instant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backlog {
    pub(crate) at: Timestamp,
    pub(crate) in_line: i64,
    pub(crate) scheduled: i64,
    pub(crate) open_circuits: i64,
    pub(crate) oldest_waiting: Duration,
}

/// Counts what waits.
pub(crate) async fn count(db: &Database, now: Timestamp) -> Result<Backlog, DbErr> {
    let connection = db.read();
    let ask = async |text: &str, values: Vec<sea_orm::Value>| {
        let statement = Statement::from_sql_and_values(connection.get_database_backend(), text, values);
        connection.query_one_raw(statement).await
    };
    let number = async |text: &str, values| match ask(text, values).await? {
        Some(row) => row.try_get::<i64>("", "found"),
        None => Ok(0),
    };
    let oldest = async |text: &str| match ask(text, vec![now.into()]).await? {
        Some(row) => row.try_get::<Option<Timestamp>>("", "oldest"),
        None => Ok(None),
    };
    let oldest_at = oldest(OLDEST_IN_LINE).await?.into_iter().chain(oldest(OLDEST_DUE).await?).min();
    Ok(Backlog {
        at: now,
        in_line: number(IN_LINE, vec![COUNTED_MAX.into()]).await?,
        scheduled: number(SCHEDULED, vec![COUNTED_MAX.into()]).await?,
        open_circuits: number(OPEN_CIRCUITS, vec![]).await?,
        oldest_waiting: oldest_at.map_or(Duration::ZERO, |at| now.since(at)),
    })
}
