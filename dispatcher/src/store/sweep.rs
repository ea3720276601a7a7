//! Finds in the rows what memory has lost or never had: after a start, a crash, a full mailbox.
//!
//! Ready   endpoints with somebody in their line, unless it is STRICT and stands behind a retry, which is found when due.
//! Due     endpoints with something that waits for a time, and the earliest of these times, for the wheels of the hubs.
//! Both queries skip from endpoint to endpoint in an index: their cost is the number of endpoints for which something
//! waits, not of what waits, and no endpoint's backlog hides another's. Together they bound the lateness of anything
//! that got lost in memory by [`EVERY`].

use std::time::Duration;

use angarium_entity::clock::SharedClock;
use angarium_entity::{Database, EndpointId, Timestamp};
use sea_orm::{ConnectionTrait, DbErr, Statement};

use crate::actor::Hubs;

/// Pause between two sweeps.
const EVERY: Duration = Duration::from_secs(15);
/// Pause when a sweep failed.
const AGAIN: Duration = Duration::from_secs(1);
/// What is due within this is in the wheels.
const AHEAD: Duration = Duration::from_mins(1);

/// SQLite uses only the first column of a row value for its search, so the next endpoint of the same shard and the
/// first of the next shard are asked for one after the other.
const READY: &str = "\
    WITH RECURSIVE spot (shard, endpoint_id) AS (\
    SELECT * FROM (SELECT shard, endpoint_id FROM delivery WHERE status = 'PENDING' AND next_attempt_at IS NULL \
    ORDER BY shard, endpoint_id LIMIT 1) AS first \
    UNION ALL SELECT \
    CASE WHEN EXISTS (SELECT 1 FROM delivery AS d WHERE d.status = 'PENDING' AND d.next_attempt_at IS NULL \
    AND d.shard = spot.shard AND d.endpoint_id > spot.endpoint_id) THEN spot.shard ELSE \
    (SELECT d.shard FROM delivery AS d WHERE d.status = 'PENDING' AND d.next_attempt_at IS NULL \
    AND d.shard > spot.shard ORDER BY d.shard LIMIT 1) END, \
    coalesce((SELECT d.endpoint_id FROM delivery AS d WHERE d.status = 'PENDING' AND d.next_attempt_at IS NULL \
    AND d.shard = spot.shard AND d.endpoint_id > spot.endpoint_id ORDER BY d.endpoint_id LIMIT 1), \
    (SELECT d.endpoint_id FROM delivery AS d WHERE d.status = 'PENDING' AND d.next_attempt_at IS NULL \
    AND d.shard > spot.shard ORDER BY d.shard, d.endpoint_id LIMIT 1)) \
    FROM spot WHERE spot.shard IS NOT NULL) \
    SELECT spot.endpoint_id FROM spot JOIN endpoint AS e ON e.id = spot.endpoint_id \
    LEFT JOIN endpoint_health AS h ON h.endpoint_id = e.id \
    WHERE (e.status = 'ACTIVE' OR e.status = 'SUSPENDED' AND h.probe_at IS NOT NULL) AND e.deleted_at IS NULL \
    AND (e.held_until IS NULL OR e.held_until <= $1) AND (h.probe_at IS NULL OR h.probe_at <= $1) \
    AND NOT (e.ordering = 'STRICT' AND EXISTS (SELECT 1 FROM delivery AS d \
    WHERE d.endpoint_id = e.id AND d.status = 'RETRYING'))";

const DUE: &str = "\
    WITH RECURSIVE spot (endpoint_id) AS (\
    SELECT * FROM (SELECT endpoint_id FROM delivery WHERE next_attempt_at IS NOT NULL \
    ORDER BY endpoint_id LIMIT 1) AS first \
    UNION ALL SELECT \
    (SELECT d.endpoint_id FROM delivery AS d WHERE d.next_attempt_at IS NOT NULL \
    AND d.endpoint_id > spot.endpoint_id ORDER BY d.endpoint_id LIMIT 1) \
    FROM spot WHERE spot.endpoint_id IS NOT NULL), \
    earliest AS (SELECT spot.endpoint_id, (SELECT d.next_attempt_at FROM delivery AS d \
    WHERE d.endpoint_id = spot.endpoint_id AND d.next_attempt_at IS NOT NULL ORDER BY d.next_attempt_at LIMIT 1) AS at \
    FROM spot WHERE spot.endpoint_id IS NOT NULL) \
    SELECT earliest.endpoint_id, earliest.at FROM earliest JOIN endpoint AS e ON e.id = earliest.endpoint_id \
    LEFT JOIN endpoint_health AS h ON h.endpoint_id = e.id \
    WHERE earliest.at <= $1 AND (e.status = 'ACTIVE' OR e.status = 'SUSPENDED' AND h.probe_at IS NOT NULL) \
    AND e.deleted_at IS NULL AND (e.held_until IS NULL OR e.held_until <= $2) \
    AND (h.probe_at IS NULL OR h.probe_at <= $2)";

/// Sweeps for ever, at once to begin with.
pub(crate) async fn run(db: Database, clock: SharedClock, hubs: Hubs) {
    loop {
        let pause = match sweep(&db, clock.now(), &hubs).await {
            Ok(()) => EVERY,
            Err(error) => {
                tracing::error!(%error, "could not look for what waits; trying again");
                AGAIN
            }
        };
        clock.sleep(pause).await;
    }
}

async fn sweep(db: &Database, now: Timestamp, hubs: &Hubs) -> Result<(), DbErr> {
    let connection = db.read();
    let query = |text, values: Vec<sea_orm::Value>| {
        Statement::from_sql_and_values(connection.get_database_backend(), text, values)
    };
    let found = connection.query_all_raw(query(DUE, vec![(now + AHEAD).into(), now.into()])).await?;
    let mut due: Vec<(Timestamp, EndpointId)> = Vec::with_capacity(found.len());
    for row in found {
        due.push((row.try_get("", "at")?, row.try_get("", "endpoint_id")?));
    }
    hubs.remind(due);

    let found = connection.query_all_raw(query(READY, vec![now.into()])).await?;
    let ready: Vec<EndpointId> = found.iter().map(|row| row.try_get("", "endpoint_id")).collect::<Result<_, _>>()?;
    hubs.kick(ready);
    Ok(())
}
