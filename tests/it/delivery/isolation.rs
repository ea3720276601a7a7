//! Neighbours that hang.

use angarium_entity::Database;
use angarium_tests::app::eventually;
use angarium_tests::{Backend, TestApp, builder, on_both_databases};
use sea_orm::{ConnectionTrait as _, DbBackend, Statement, TransactionTrait as _};
use serde_json::json;

const BATCH: &str =
    "mutation($inputs: [EventPublishInput!]!) { eventPublishBatch(inputs: $inputs) { results { event { id } } } }";

on_both_databases! {
    async fn a_hundred_endpoints_that_hang_with_64_in_flight_each_keep_no_other_of_their_workspace_waiting(app) {
        let (healthy, hanging) = (app.receiver().await, app.receiver().await);
        hanging.hang();
        for number in 0..10 {
            let endpoint = json!({ "create": { "url": format!("{}?{number}", healthy.url()) } });
            builder::subscribe(&app.api, json!({ "eventTypes": ["invoice.paid"], "endpoint": endpoint })).await;
        }
        app.publish(json!("before")).await;
        healthy.expect_requests(10).await;
        for number in 0..100 {
            let url = format!("{}?{number}", hanging.url());
            let endpoint = json!({ "create": { "url": url, "ordering": "NONE", "maxInFlight": 64, "timeout": "PT60S" } });
            builder::subscribe(&app.api, json!({ "eventTypes": ["sms.outbound"], "endpoint": endpoint })).await;
        }
        // All at once, so that the first of them ask for all that they may have before the others come.
        let event = |number: i32| json!({ "eventType": "sms.outbound", "payload": number });
        app.api.data(BATCH, json!({ "inputs": (0..70).map(event).collect::<Vec<_>>() })).await;
        // Of 4,096, one in nine is for other workspaces, and a quarter for endpoints that have none.
        eventually("many hang", async || (hanging.received().len() > 2_500).then_some(())).await;
        for number in 2..=20 {
            app.publish(json!(number)).await;
            healthy.expect_requests(10 * number).await;
        }
        hanging.let_go(100_000);
        app.end().await;
    }
}

/// The plan that PostgreSQL keeps for a statement of ours, whatever its values.
async fn kept_plan(db: &Database, statement: &Statement) -> String {
    let count = statement.values.as_ref().map_or(0, |values| values.0.len());
    let nulls = vec!["NULL"; count].join(", ");
    let transaction = db.planned().begin().await.expect("it begins");
    transaction.execute_unprepared(&format!("PREPARE asked AS {}", statement.sql)).await.expect("it is prepared");
    let explain = Statement::from_string(DbBackend::Postgres, format!("EXPLAIN EXECUTE asked({nulls})"));
    let rows = transaction.query_all_raw(explain).await.expect("it is explained");
    let lines: Vec<String> = rows.iter().map(|row| row.try_get("", "QUERY PLAN").expect("a line")).collect();
    transaction.execute_unprepared("DEALLOCATE asked").await.expect("it is forgotten");
    transaction.commit().await.expect("it ends");
    lines.join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_find_their_rows_by_the_key_though_nothing_was_open_when_postgres_last_looked() {
    let app = TestApp::start(Backend::Postgres).await;
    let receiver = app.receiver().await;
    app.subscribe(receiver.url()).await;
    for number in 0..20 {
        app.publish(json!(number)).await;
    }
    app.deliveries_in("SUCCEEDED", 20).await;
    // What it knows from now on: everything has succeeded.
    app.state().db.write().execute_unprepared("ANALYZE delivery").await.expect("it looks");
    let (statements, ()) = app
        .statements_of(async {
            app.publish(json!("last")).await;
            app.deliveries_in("SUCCEEDED", 21).await;
        })
        .await;
    let results: Vec<&Statement> = statements.iter().filter(|it| it.sql.contains("UPDATE delivery AS d")).collect();
    assert!(!results.is_empty(), "{statements:#?}");
    for statement in results {
        let plan = kept_plan(&app.state().db, statement).await;
        let of_rows: Vec<&str> = plan.lines().filter(|line| line.contains(" on delivery d")).collect();
        let by_key = |line: &&&str| line.contains("Update on") || line.contains("using delivery_pkey");
        assert!(of_rows.len() > 1 && of_rows.iter().filter(by_key).count() == of_rows.len(), "{plan}");
    }
    app.end().await;
}
