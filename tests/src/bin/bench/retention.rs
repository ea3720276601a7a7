//! What deleting what is old costs those who publish.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, Statement};

use crate::receiver::Way;
use crate::result::Measured;
use crate::scenario::{Run, STEADY, types};
use crate::special::switch;
use crate::stage::Stage;

/// Old events, with a delivery and an attempt each: a million rows.
const OLD: i64 = 333_334;
/// Old events whose delivery is still open: they have to stay.
const OPEN: i64 = 1_000;
const ENDPOINTS: usize = 64;
/// Between two looks for somebody who waits for a lock.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Most of the p99 of a publish, as a share of that alone, and longest wait for a lock in milliseconds.
const SLOWER_MAX: f64 = 1.5;
const WAIT_MS_MAX: i64 = 100;
/// Longest that deleting all of them may take.
const GONE_WITHIN: Duration = Duration::from_secs(900);

impl Run<'_> {
    /// Alone, and then beside the sweep that a node begins with when it starts. PostgreSQL only.
    pub(crate) async fn retention(&self, stage: &mut Stage) -> Vec<Measured> {
        let types = types("bench", ENDPOINTS);
        let api = stage.workspace(&types).await;
        stage.endpoints(&api, self.wanted(Way::Ok, 0, ENDPOINTS, &types, "FIFO")).await;
        let paused = stage.endpoints(&api, self.wanted(Way::Ok, ENDPOINTS, 1, &types[..1], "FIFO")).await;
        switch(&api, "webhookEndpointPause", &paused).await;
        let db = sea_orm::Database::connect(stage.database()).await.expect("the database opens");
        store_old(&db).await;
        let load = self.load(STEADY, types);
        let mut alone = self.measure("retention: alone", stage, &api, &load, 1).await;
        alone.note = format!("{} old rows", count(&db, &old_rows()).await);

        stage.kill_nodes();
        stage.start_nodes(self.options.nodes);
        let begun = Instant::now();
        // It has to take over from the one that was killed before it sweeps.
        let all = count(&db, &old_rows()).await;
        while count(&db, &old_rows()).await == all {
            assert!(begun.elapsed() < GONE_WITHIN, "what is old is not deleted");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let watching = tokio::spawn(longest_wait(db.clone()));
        let api = api.at(&stage.bases()[0]);
        let mut beside = self.measure("retention: beside", stage, &api, &load, 1).await;
        let left = count(&db, &old_rows()).await;
        while count(&db, &old_rows()).await > 3 * OPEN {
            assert!(begun.elapsed() < GONE_WITHIN, "what is old is not deleted");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        watching.abort();
        let (open, waited) = (count(&db, &open_rows()).await, WAITED.load(Ordering::Relaxed));
        beside.note = format!(
            "{left} old rows at its end; all gone after {:.0} s; {open} of {OPEN} open ones left; longest wait for a lock {waited} ms",
            begun.elapsed().as_secs_f64(),
        );
        beside.faults = faults([&alone, &beside].map(|run| run.acknowledged.map(|[_, p99]| p99)), open, waited);
        vec![alone, beside]
    }
}

/// What was not kept of: a publish takes at most half as long again, no open delivery goes, nobody waits long for a lock.
fn faults([alone, beside]: [Option<f64>; 2], open: i64, waited: i64) -> Vec<String> {
    let mut faults = Vec::new();
    match (alone, beside) {
        (Some(alone), Some(beside)) if beside <= SLOWER_MAX * alone => {}
        (alone, beside) => {
            faults.push(format!("the p99 of a publish is {beside:?} ms beside the sweep, {alone:?} ms alone"));
        }
    }
    if open != OPEN {
        faults.push(format!("{open} of {OPEN} open deliveries are left"));
    }
    if waited > WAIT_MS_MAX {
        faults.push(format!("somebody waited {waited} ms for a lock"));
    }
    faults
}

/// Instants before this one are old: Unix milliseconds of the year 2001.
const OLD_BEFORE: i64 = 1_000_000_000_000;

/// Longest wait for a lock that was seen, in milliseconds.
static WAITED: AtomicI64 = AtomicI64::new(0);

/// What is old, in three tables.
fn old_rows() -> String {
    let parts = [("event", "created_at"), ("delivery", "created_at"), ("attempt", "started_at")];
    let parts = parts.map(|(table, at)| format!("(SELECT count(*) FROM {table} WHERE {at} < {OLD_BEFORE})"));
    format!("SELECT {} AS number", parts.join(" + "))
}

fn open_rows() -> String {
    format!("SELECT count(*) AS number FROM delivery WHERE created_at < {OLD_BEFORE} AND status = 'PENDING'")
}

async fn count(db: &DatabaseConnection, text: &str) -> i64 {
    let row = db.query_one_raw(Statement::from_string(DbBackend::Postgres, text)).await.expect("it counts");
    row.expect("a row").try_get("", "number").expect("a number")
}

/// Stores events of a quarter of a century ago, each with one delivery to an endpoint that delivers, and some with one to
/// the paused endpoint.
async fn store_old(db: &DatabaseConnection) {
    let event = format!(
        "WITH made AS (INSERT INTO event (id, workspace_id, event_type, payload, channels, occurred_at, test, created_at) \
         SELECT gen_random_uuid(), workspace.id, 'bench.e0', repeat('x', 256), '[]', number, false, {OLD_BEFORE} - {OLD} + number - 1 \
         FROM workspace, generate_series(1, {OLD}) AS number RETURNING id, workspace_id, created_at), \
         place AS (SELECT id AS endpoint_id, shard, status, row_number() OVER (ORDER BY status, id) - 1 AS place FROM endpoint), \
         event_place AS (SELECT made.*, row_number() OVER () AS number FROM made), \
         sent AS (INSERT INTO delivery (id, workspace_id, event_id, endpoint_id, subscription_id, shard, seq, status, \"trigger\", \
         event_type, attempt_count, round, round_attempts, created_at, updated_at, completed_at, response_status_code) \
         SELECT gen_random_uuid(), e.workspace_id, e.id, p.endpoint_id, s.id, p.shard, nextval('delivery_seq'), \
         CASE WHEN p.status = 'PAUSED' THEN 'PENDING' ELSE 'SUCCEEDED' END, 'EVENT', 'bench.e0', 1, 1, 1, e.created_at, \
         e.created_at, CASE WHEN p.status = 'PAUSED' THEN NULL ELSE e.created_at END, 204 \
         FROM event_place AS e \
         JOIN place AS p ON (p.status = 'PAUSED') = (e.number <= {OPEN}) AND (p.status = 'PAUSED' OR p.place = e.number % {ENDPOINTS}) \
         JOIN subscription AS s ON s.endpoint_id = p.endpoint_id RETURNING id, workspace_id, created_at) \
         INSERT INTO attempt (id, workspace_id, delivery_id, number, \"trigger\", started_at, completed_at, duration_ms, \
         endpoint_version, subscription_version, response_status_code, response_body_truncated) \
         SELECT gen_random_uuid(), workspace_id, id, 1, 'INITIAL', created_at, created_at, 1, 1, 1, 204, false FROM sent"
    );
    db.execute_unprepared(&event).await.expect("the rows are right");
    db.execute_unprepared("ANALYZE").await.expect("it runs");
}

/// Notes for how long anybody waits for a lock, until it is stopped.
async fn longest_wait(db: DatabaseConnection) {
    let asked = "SELECT coalesce(max(extract(epoch FROM clock_timestamp() - waitstart) * 1000), 0)::bigint AS number \
                 FROM pg_locks WHERE NOT granted";
    loop {
        WAITED.fetch_max(count(&db, asked).await, Ordering::Relaxed);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_promise_that_is_not_kept_is_a_fault() {
        let good = [Some(2.0), Some(3.0)];
        assert!(faults(good, OPEN, WAIT_MS_MAX).is_empty());
        for (p99, open, waited) in [
            ([Some(2.0), Some(3.1)], OPEN, 0),
            ([Some(2.0), None], OPEN, 0),
            ([None, Some(2.0)], OPEN, 0),
            (good, OPEN - 1, 0),
            (good, OPEN + 1, 0),
            (good, OPEN, WAIT_MS_MAX + 1),
        ] {
            assert_eq!(faults(p99, open, waited).len(), 1, "{p99:?} {open} {waited}");
        }
        let wrong = Measured { faults: faults(good, 0, 0), ..Measured::default() };
        assert!(!wrong.is_right() && Measured::default().is_right());
    }
}
