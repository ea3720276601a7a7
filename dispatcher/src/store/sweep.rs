//! Finds in the rows what memory has lost or never had: after a start, a crash, a full mailbox.
//!
//! Ready   endpoints with somebody in their line. A recursive query skips from endpoint to endpoint in the index, so its
//!         cost is the number of endpoints that have a line, not of what waits in them.
//! Due     retries that are due within [`AHEAD`] go to the wheels of the hubs; those that are late are among them.
//! Together they bound the lateness of anything that got lost in memory by [`EVERY`].

use std::time::Duration;

use angarium_entity::clock::SharedClock;
use angarium_entity::{Database, DeliveryId, EndpointId, Timestamp};
use sea_orm::{ConnectionTrait, DbErr, Statement};

use crate::actor::Hubs;

/// Pause between two sweeps.
const EVERY: Duration = Duration::from_secs(15);
/// Pause when a sweep could not hand over all that it found, or failed.
const AGAIN: Duration = Duration::from_secs(1);
/// Retries due within this are in the wheels.
pub(crate) const AHEAD: Duration = Duration::from_mins(1);
/// Most retries that one sweep hands over, the earliest first.
const DUE_MAX: usize = 20_000;

const READY: &str = "\
    WITH RECURSIVE spot (shard, endpoint_id) AS (\
    SELECT * FROM (SELECT shard, endpoint_id FROM delivery WHERE status = 'PENDING' AND next_attempt_at IS NULL \
    ORDER BY shard, endpoint_id LIMIT 1) AS first \
    UNION ALL SELECT \
    (SELECT d.shard FROM delivery AS d WHERE d.status = 'PENDING' AND d.next_attempt_at IS NULL \
    AND (d.shard, d.endpoint_id) > (spot.shard, spot.endpoint_id) ORDER BY d.shard, d.endpoint_id LIMIT 1), \
    (SELECT d.endpoint_id FROM delivery AS d WHERE d.status = 'PENDING' AND d.next_attempt_at IS NULL \
    AND (d.shard, d.endpoint_id) > (spot.shard, spot.endpoint_id) ORDER BY d.shard, d.endpoint_id LIMIT 1) \
    FROM spot WHERE spot.shard IS NOT NULL) \
    SELECT spot.endpoint_id FROM spot JOIN endpoint AS e ON e.id = spot.endpoint_id \
    WHERE e.status = 'ACTIVE' AND e.deleted_at IS NULL AND (e.held_until IS NULL OR e.held_until <= $1)";

const DUE: &str = "\
    SELECT d.id, d.endpoint_id, d.next_attempt_at FROM delivery AS d JOIN endpoint AS e ON e.id = d.endpoint_id \
    WHERE d.shard IN (SELECT id FROM shard) AND d.next_attempt_at <= $1 \
    AND e.status = 'ACTIVE' AND e.deleted_at IS NULL AND (e.held_until IS NULL OR e.held_until <= $2) \
    ORDER BY d.next_attempt_at LIMIT $3";

/// Sweeps for ever, at once to begin with.
pub(crate) async fn run(db: Database, clock: SharedClock, hubs: Hubs) {
    loop {
        let pause = match sweep(&db, clock.now(), &hubs).await {
            Ok(true) => EVERY,
            Ok(false) => AGAIN,
            Err(error) => {
                tracing::error!(%error, "could not look for what waits; trying again");
                AGAIN
            }
        };
        clock.sleep(pause).await;
    }
}

/// One sweep. Answers whether all that was found could be handed over.
async fn sweep(db: &Database, now: Timestamp, hubs: &Hubs) -> Result<bool, DbErr> {
    let connection = db.read();
    let query = |text, values: Vec<sea_orm::Value>| {
        Statement::from_sql_and_values(connection.get_database_backend(), text, values)
    };
    let limit = i64::try_from(DUE_MAX).unwrap_or(i64::MAX);
    let found = connection.query_all_raw(query(DUE, vec![(now + AHEAD).into(), now.into(), limit.into()])).await?;
    let mut due: Vec<(Timestamp, EndpointId, DeliveryId)> = Vec::with_capacity(found.len());
    for row in found {
        due.push((row.try_get("", "next_attempt_at")?, row.try_get("", "endpoint_id")?, row.try_get("", "id")?));
    }
    let complete = due.len() < DUE_MAX;
    hubs.remind(due);

    let found = connection.query_all_raw(query(READY, vec![now.into()])).await?;
    let ready: Vec<EndpointId> = found.iter().map(|row| row.try_get("", "endpoint_id")).collect::<Result<_, _>>()?;
    hubs.kick(ready);
    Ok(complete)
}
