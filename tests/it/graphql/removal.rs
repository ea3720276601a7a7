//! A workspace is deleted.

use std::time::Duration;

use angarium_tests::app::eventually;
use angarium_tests::builder::{self, problems};
use angarium_tests::{TestApp, on_both_databases};
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use serde_json::json;

const DELETE: &str =
    "mutation($id: ID!) { workspaceDelete(id: $id) { deletedWorkspaceId userErrors { code message field } } }";
const SET: &str = "mutation($id: ID!, $input: WorkspaceUpdateInput!) { workspaceUpdate(id: $id, input: $input) \
    { workspace { externalId } userErrors { code message field } } }";
const NODE: &str = "query($id: ID!) { node(id: $id) { id } }";

/// The tables that hold rows of a tenant, and how many rows each has.
async fn rows(app: &TestApp) -> Vec<(String, i64)> {
    let db = app.state().db.read();
    let backend = db.get_database_backend();
    let tables = match backend {
        DbBackend::Postgres => {
            "SELECT table_name AS name FROM information_schema.columns WHERE table_schema = 'public' AND column_name IN ('workspace_id', 'endpoint_id', 'subscription_id')"
        }
        _ => {
            "SELECT m.name FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS c WHERE m.type = 'table' AND c.name IN ('workspace_id', 'endpoint_id', 'subscription_id')"
        }
    };
    let found = db.query_all_raw(Statement::from_string(backend, tables)).await.expect("the catalogue can be read");
    let mut names: Vec<String> = found.iter().map(|row| row.try_get("", "name").expect("a name")).collect();
    names.sort_unstable();
    names.dedup();
    let mut counted = Vec::new();
    for name in names {
        let text = format!("SELECT count(*) AS rows FROM {name}");
        let row = db.query_one_raw(Statement::from_string(backend, text)).await.expect("it can be counted");
        counted.push((name, row.expect("a row").try_get("", "rows").expect("a number")));
    }
    counted
}

async fn remove(app: &TestApp, id: &str) {
    let deleted = app.admin.data(DELETE, json!({ "id": id })).await;
    assert_eq!(deleted["workspaceDelete"], json!({ "deletedWorkspaceId": id, "userErrors": [] }));
}

/// Waits until the workspace has no row; the sweep is a few seconds away.
async fn gone(app: &TestApp, expected: &[(String, i64)]) {
    let ask = async || {
        app.clock.advance(Duration::from_secs(10));
        (rows(app).await == expected).then_some(())
    };
    eventually("every row of the workspace goes", ask).await;
}

on_both_databases! {
    async fn a_deleted_workspace_stops_at_once_and_leaves_nothing(app) {
        let before = rows(&app).await;
        let (workspace, key) = builder::workspace_with_key(&app.admin, "Doomed").await;
        let api = app.admin.with_key(&key);
        app.admin.data(SET, json!({ "id": workspace, "input": { "externalId": "doomed" } })).await;
        let receiver = app.receiver().await.answer_statuses([500; 100]);
        let subscribed = builder::subscribe(&api, json!({ "eventTypes": ["*"], "endpoint": { "url": receiver.url() } })).await;
        let input = json!({ "eventType": "invoice.paid", "payload": 1, "idempotencyKey": "k" });
        let event = builder::publish(&api, input.clone()).await;
        receiver.expect_requests(1).await;
        let mut stream = api.subscribe("subscription { deliveryUpdated { cursor } }", json!({})).await;

        remove(&app, &workspace).await;
        assert_eq!(api.error_code("{ viewer { scopes } }", json!({})).await, "UNAUTHENTICATED");
        let publish = "mutation($input: EventPublishInput!) { eventPublish(input: $input) { userErrors { code } } }";
        assert_eq!(api.error_code(publish, json!({ "input": input })).await, "UNAUTHENTICATED");
        let mut named = input.clone();
        named["workspace"] = json!({ "id": workspace });
        let refused = app.admin.data("mutation($input: EventPublishInput!) { eventPublish(input: $input) { userErrors { code field } } }", json!({ "input": named })).await;
        assert_eq!(refused["eventPublish"]["userErrors"][0]["code"], "NOT_FOUND");
        // What it had sent before it heard of its end may still come first.
        let end = loop {
            if let Err(code) = stream.next_message().await {
                break code;
            }
        };
        assert_eq!(end, 4403);
        for id in [&workspace, &subscribed.id, &subscribed.endpoint, &event] {
            assert_eq!(app.admin.data(NODE, json!({ "id": id })).await["node"], json!(null), "{id}");
        }
        let list = app.admin.data("{ workspaces { nodes { id } totalCount } }", json!({})).await;
        assert_eq!(list["workspaces"], json!({ "nodes": [{ "id": app.workspace }], "totalCount": 1 }));
        assert_eq!(problems(&app.admin, DELETE, json!({ "id": workspace })).await, ["NOT_FOUND id"]);
        let taken = app.admin.data(SET, json!({ "id": app.workspace, "input": { "externalId": "doomed" } })).await;
        assert_eq!(taken["workspaceUpdate"]["workspace"]["externalId"], "doomed");
        // Its retries are due many times over, and none is made.
        gone(&app, &before).await;
        receiver.expect_requests(1).await;
        app.api.data("{ viewer { scopes } }", json!({})).await;
        app.end().await;
    }

    async fn a_restart_goes_on_deleting(mut app) {
        let before = rows(&app).await;
        let (workspace, key) = builder::workspace_with_key(&app.admin, "Doomed").await;
        let api = app.admin.with_key(&key);
        let input = json!({ "eventTypes": ["*"], "endpoint": { "url": "https://example.com/in" } });
        let subscribed = builder::subscribe(&api, input).await;
        api.data("mutation($id: ID!) { webhookEndpointPause(id: $id) { userErrors { code } } }", json!({ "id": subscribed.endpoint })).await;
        for number in 0..50 {
            builder::publish(&api, json!({ "eventType": "invoice.paid", "payload": number })).await;
        }
        remove(&app, &workspace).await;
        app.restart().await;
        assert_eq!(api.at(&app.base()).error_code("{ viewer { scopes } }", json!({})).await, "UNAUTHENTICATED");
        gone(&app, &before).await;
        app.end().await;
    }

    async fn a_replay_that_runs_ends_with_its_workspace_and_leaves_nothing_of_its_plan(app) {
        let before = rows(&app).await;
        let (workspace, key) = builder::workspace_with_key(&app.admin, "Doomed").await;
        let api = app.admin.with_key(&key);
        let receiver = app.receiver().await;
        builder::subscribe(&api, json!({ "eventTypes": ["*"], "endpoint": { "url": receiver.url() } })).await;
        for number in 0..3 {
            builder::publish(&api, json!({ "eventType": "invoice.paid", "payload": number })).await;
        }
        receiver.expect_requests(3).await;
        let create = "mutation($input: ReplayCreateInput!) { replayCreate(input: $input) { userErrors { code } } }";
        let since = (app.state().now() - Duration::from_hours(1)).to_string();
        let input = json!({ "target": { "events": { "createdAt": { "gte": since } } }, "ratePerSecond": 1 });
        assert_eq!(api.data(create, json!({ "input": input })).await["replayCreate"]["userErrors"], json!([]));
        receiver.expect_requests(4).await;
        let planned = rows(&app).await.into_iter().find(|(table, _)| table == "replay_item");
        assert!(planned.is_some_and(|(_, count)| count > 0));
        remove(&app, &workspace).await;
        gone(&app, &before).await;
        receiver.expect_requests(4).await;
        app.end().await;
    }

    async fn only_an_administrator_deletes_a_workspace(app) {
        assert_eq!(app.api.error_code(DELETE, json!({ "id": app.workspace })).await, "FORBIDDEN");
        for id in ["ws_7zzzzzzzzzzzzzzzzzzzzzzzzz", "nonsense"] {
            assert_eq!(problems(&app.admin, DELETE, json!({ "id": id })).await, ["NOT_FOUND id"]);
        }
        app.api.data("{ viewer { scopes } }", json!({})).await;
        app.end().await;
    }
}
