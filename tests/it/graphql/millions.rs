//! What more than a million rows would have to be read for is refused, and a million is not.
//!
//! The rows are copies of one. Indexes that the question does not need are dropped before: they are most of the work.

use std::time::Duration;

use angarium_tests::builder::problems;
use angarium_tests::{Backend, TestApp};
use sea_orm::{ConnectionTrait, Statement};
use serde_json::{Value, json};

const MILLION: u32 = 1_000_000;
const STATS: &str =
    "query($from: DateTime!, $to: DateTime!) { deliveryStats(from: $from, to: $to, interval: \"PT1H\") { total } }";
const REPLAY: &str = "mutation($input: ReplayCreateInput!) { replayCreate(input: $input) \
    { matchedCount userErrors { code message field } } }";

/// The texts that a select answers with.
async fn texts(app: &TestApp, select: String) -> Vec<String> {
    let db = app.state().db.write();
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), select)).await.expect("it selects");
    rows.iter().map(|row| row.try_get_by_index(0).expect("a text")).collect()
}

/// Copies the only row of a table a million times, with other values in some of its columns.
async fn copy(app: &TestApp, backend: Backend, table: &str, needed: &str, others: &[(&str, &str)]) {
    let (indexes, columns) = match backend {
        Backend::Postgres => (
            format!(
                "SELECT indexname::text FROM pg_indexes WHERE tablename = '{table}' AND indexname <> '{table}_pkey'"
            ),
            format!("SELECT column_name::text FROM information_schema.columns WHERE table_name = '{table}'"),
        ),
        Backend::Sqlite => (
            format!("SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = '{table}' AND sql IS NOT NULL"),
            format!("SELECT name FROM pragma_table_info('{table}')"),
        ),
    };
    let (indexes, columns) = (texts(app, indexes).await, texts(app, columns).await);
    assert!(indexes.iter().any(|index| index == needed), "{indexes:?}");
    let value = |column: &String| {
        let other = others.iter().find(|other| other.0 == column);
        other.map_or_else(|| format!("old.\"{column}\""), |other| other.1.to_owned())
    };
    let values: Vec<_> = columns.iter().map(value).collect();
    let (numbers, id, settings) = match backend {
        Backend::Postgres => (
            format!("generate_series(1, {MILLION}) AS numbers(n)"),
            "gen_random_uuid()",
            "SET LOCAL statement_timeout = 0; SET LOCAL session_replication_role = replica",
        ),
        Backend::Sqlite => (
            format!(
                "(WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {MILLION}) SELECT n FROM numbers)"
            ),
            "randomblob(16)",
            "SELECT 1",
        ),
    };
    let names: Vec<_> = columns.iter().map(|column| format!("\"{column}\"")).collect();
    let insert = format!(
        "INSERT INTO {table} ({}) SELECT {} FROM (SELECT * FROM {table} LIMIT 1) AS old, {numbers}",
        names.join(", "),
        values.join(", ").replace("old.\"id\"", id)
    );
    let transaction = app.state().db.begin().await.expect("it begins");
    transaction.execute_unprepared(settings).await.expect("they are settings");
    for index in indexes.iter().filter(|index| *index != needed) {
        transaction.execute_unprepared(&format!("DROP INDEX {index}")).await.expect("it is there");
    }
    transaction.execute_unprepared(&insert).await.expect("they are copied");
    transaction.commit().await.expect("they are stored");
}

/// Takes one of a million and one away.
async fn take_one(app: &TestApp, table: &str) {
    let delete = format!("DELETE FROM {table} WHERE id = (SELECT id FROM {table} LIMIT 1)");
    app.state().db.write().execute_unprepared(&delete).await.expect("it goes");
}

async fn statistics_of_a_million_deliveries_are_told_and_of_one_more_refused(backend: Backend) {
    let app = TestApp::start(backend).await;
    let receiver = app.receiver().await;
    app.subscribe(receiver.url()).await;
    app.publish(json!(1)).await;
    app.delivery_in("SUCCEEDED").await;
    copy(&app, backend, "delivery", "delivery_endpoint_completed", &[("seq", "old.\"seq\" + n")]).await;
    let (from, to) = (app.state().now() - Duration::from_hours(1), app.state().now() + Duration::from_hours(1));
    let range = json!({ "from": from.to_string(), "to": to.to_string() });
    assert_eq!(app.api.error_code(STATS, range.clone()).await, "FILTER_TOO_BROAD");
    take_one(&app, "delivery").await;
    assert_eq!(app.api.data(STATS, range).await["deliveryStats"]["total"], f64::from(MILLION));
    app.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statistics_of_a_million_deliveries_are_told_and_of_one_more_refused_on_sqlite() {
    statistics_of_a_million_deliveries_are_told_and_of_one_more_refused(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statistics_of_a_million_deliveries_are_told_and_of_one_more_refused_on_postgres() {
    statistics_of_a_million_deliveries_are_told_and_of_one_more_refused(Backend::Postgres).await;
}

/// Counted in steps of one statement, the same on both databases.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_of_more_than_a_million_events_is_refused() {
    let app = TestApp::start(Backend::Postgres).await;
    app.publish(json!(1)).await;
    copy(&app, Backend::Postgres, "event", "event_workspace", &[("created_at", "old.\"created_at\" - n")]).await;
    let range = json!({ "gte": (app.state().now() - Duration::from_hours(24)).to_string() });
    let input: Value = json!({ "dryRun": true, "target": { "events": { "createdAt": range } } });
    assert_eq!(problems(&app.api, REPLAY, json!({ "input": input })).await, ["FILTER_TOO_BROAD input.target"]);
    take_one(&app, "event").await;
    let counted = app.api.data(REPLAY, json!({ "input": input })).await["replayCreate"].take();
    assert_eq!(counted, json!({ "matchedCount": MILLION, "userErrors": [] }));
    app.end().await;
}
