//! Deletes what is kept for a while only: the idempotency keys of publishes and of creates.

use std::time::Duration;

use angarium_entity::clock::SharedClock;
use angarium_entity::{Database, Timestamp, creation_key, idempotency_key};
use sea_orm::{ConnectionTrait, DbErr, Statement};

/// Pause between two rounds.
const EVERY: Duration = Duration::from_mins(1);
/// Most rows that one statement deletes.
const AT_ONCE: u64 = 500;
/// Most statements of one round for each table, so that a round ends.
const STEPS_MAX: usize = 200;

/// Each by the index on `created_at`. The condition stands twice, since a key may have been taken anew meanwhile.
const OF_PUBLISHES: &str = "DELETE FROM idempotency_key WHERE created_at <= $1 AND (workspace_id, \"key\") IN \
    (SELECT workspace_id, \"key\" FROM idempotency_key WHERE created_at <= $1 ORDER BY created_at LIMIT 500)";
const OF_CREATES: &str = "DELETE FROM creation_key WHERE created_at <= $1 AND (workspace_id, object, \"key\") IN \
    (SELECT workspace_id, object, \"key\" FROM creation_key WHERE created_at <= $1 ORDER BY created_at LIMIT 500)";

/// Forgets for ever.
pub(crate) async fn run(db: Database, clock: SharedClock) {
    loop {
        if let Err(error) = forget(&db, clock.now()).await {
            tracing::warn!(%error, "could not delete old idempotency keys; trying again in a minute");
        }
        clock.sleep(EVERY).await;
    }
}

async fn forget(db: &Database, now: Timestamp) -> Result<(), DbErr> {
    for (text, kept) in [(OF_PUBLISHES, idempotency_key::KEPT), (OF_CREATES, creation_key::KEPT)] {
        for _ in 0..STEPS_MAX {
            let statement = Statement::from_sql_and_values(db.backend(), text, [(now - kept).into()]);
            if db.write().execute_raw(statement).await?.rows_affected() < AT_ONCE {
                break;
            }
        }
    }
    Ok(())
}
