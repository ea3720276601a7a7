//! Finds in the rows what memory has lost or never had: after a start, a crash, a full mailbox.
//!
//! Ready   endpoints with somebody in their line, unless it is STRICT and stands behind a retry, which is found when due.
//! Due     endpoints with something that waits for a time, and the earliest of these times, for the wheels of the hubs.
//! Skips   test events, which wait for nobody.
//! The first two skip from endpoint to endpoint in an index: their cost is the number of endpoints for which something
//! waits, not of what waits, and no endpoint's backlog hides another's. Together they bound the lateness of anything
//! that got lost in memory by [`EVERY`].

use std::sync::Arc;
use std::time::Duration;

use angarium_entity::clock::SharedClock;
use angarium_entity::{Database, EndpointId, Timestamp};
use sea_orm::{ConnectionTrait, DbErr, Statement};
use tokio::sync::Notify;

use super::{express, walk};
use crate::actor::Hubs;
use crate::cluster::Ownership;
use crate::link::Link;
use crate::schedule::AHEAD;

/// Pause between two sweeps.
const EVERY: Duration = Duration::from_secs(15);
/// Pause when a sweep failed, when shards have just come, and while nobody tells of what other nodes publish.
const AGAIN: Duration = Duration::from_secs(1);

const READY: &str = concat!(
    walk::lines!(),
    " SELECT spot.endpoint_id FROM spot JOIN endpoint AS e ON e.id = spot.endpoint_id \
    LEFT JOIN endpoint_health AS h ON h.endpoint_id = e.id \
    WHERE (e.status = 'ACTIVE' OR e.status = 'SUSPENDED' AND h.probe_at IS NOT NULL) AND e.deleted_at IS NULL \
    AND (e.held_until IS NULL OR e.held_until <= $1) AND (h.probe_at IS NULL OR h.probe_at <= $1) \
    AND NOT (e.ordering = 'STRICT' AND EXISTS (SELECT 1 FROM delivery AS d \
    WHERE d.endpoint_id = e.id AND d.status = 'RETRYING'))"
);

const DUE: &str = concat!(
    walk::waits!(),
    ", \
    earliest AS (SELECT spot.endpoint_id, (SELECT d.next_attempt_at FROM delivery AS d \
    WHERE d.endpoint_id = spot.endpoint_id AND d.next_attempt_at IS NOT NULL ORDER BY d.next_attempt_at LIMIT 1) AS at \
    FROM spot WHERE spot.endpoint_id IS NOT NULL) \
    SELECT earliest.endpoint_id, earliest.at FROM earliest JOIN endpoint AS e ON e.id = earliest.endpoint_id \
    LEFT JOIN endpoint_health AS h ON h.endpoint_id = e.id \
    WHERE earliest.at <= $1 AND (e.status = 'ACTIVE' OR e.status = 'SUSPENDED' AND h.probe_at IS NOT NULL) \
    AND e.deleted_at IS NULL AND (e.held_until IS NULL OR e.held_until <= $2) \
    AND (h.probe_at IS NULL OR h.probe_at <= $2)"
);

/// What a sweep needs.
pub(crate) struct Sweep {
    pub(crate) db: Database,
    pub(crate) clock: SharedClock,
    pub(crate) hubs: Hubs,
    pub(crate) ownership: Ownership,
    /// By which other nodes tell what they have published; none without Redis.
    pub(crate) link: Option<Arc<Link>>,
    /// Woken when this node has taken shards.
    pub(crate) taken: Arc<Notify>,
    /// Whether it looks for retries.
    pub(crate) retries: bool,
}

impl Sweep {
    /// Sweeps for ever, at once to begin with.
    pub(crate) async fn run(self) {
        let mut soon = false;
        let mut moved = self.ownership.changes();
        loop {
            moved.mark_unchanged();
            let pause = match self.sweep().await {
                Ok(()) if soon => AGAIN,
                Ok(()) => EVERY,
                Err(error) => {
                    tracing::error!(%error, "could not look for what waits; trying again");
                    AGAIN
                }
            };
            // Other nodes publish and nobody tells.
            let is_deaf = self.ownership.has_peers() && !self.link.as_ref().is_some_and(|link| link.is_up());
            let deaf = async {
                if is_deaf || pause == AGAIN {
                    tokio::time::sleep(AGAIN).await;
                } else {
                    std::future::pending::<()>().await;
                }
            };
            soon = tokio::select! {
                () = self.clock.sleep(pause) => false,
                () = deaf => false,
                // Nodes come and go.
                _ = moved.changed() => soon,
                // Who did not know yet whom to tell has published in the meantime.
                () = self.taken.notified() => true,
            };
        }
    }

    async fn sweep(&self) -> Result<(), DbErr> {
        let (connection, now) = (self.db.read(), self.clock.now());
        let query = |text, values: Vec<sea_orm::Value>| {
            Statement::from_sql_and_values(connection.get_database_backend(), text, values)
        };
        if self.retries {
            let found = connection.query_all_raw(query(DUE, vec![(now + AHEAD).into(), now.into()])).await?;
            let mut due: Vec<(Timestamp, EndpointId)> = Vec::with_capacity(found.len());
            for row in found {
                due.push((row.try_get("", "at")?, row.try_get("", "endpoint_id")?));
            }
            due.retain(|(_, endpoint)| self.ownership.holds(*endpoint));
            self.hubs.remind_here(due);
        }
        let found = connection.query_all_raw(query(READY, vec![now.into()])).await?;
        let mut ready: Vec<EndpointId> =
            found.iter().map(|row| row.try_get("", "endpoint_id")).collect::<Result<_, _>>()?;
        ready.retain(|endpoint| self.ownership.holds(*endpoint));
        self.hubs.kick(ready);
        express::sweep(&self.db, &self.hubs, &self.ownership).await
    }
}
