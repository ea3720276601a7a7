//! Settings and answers that no other test needs.

use angarium_tests::builder::{self, problems};
use angarium_tests::{Backend, TestApp, on_both_databases};
use serde_json::json;

on_both_databases! {
    async fn the_server_tells_its_limits_to_anybody(app) {
        let query = "{ serverInfo { apiVersion version timeout maxAliases maxBatch maxBodyBytes maxComplexity maxDepth maxDirectives maxPayloadBytes } }";
        let mut told = app.api.with_headers(&[]).data(query, json!({})).await["serverInfo"].take();
        assert!(told["apiVersion"].is_string() && told["version"] == env!("CARGO_PKG_VERSION"), "{told}");
        let limits = told.as_object_mut().expect("an object");
        for name in ["apiVersion", "version"] {
            limits.remove(name);
        }
        let expected = json!({ "timeout": "PT15S", "maxAliases": 50, "maxBatch": 500, "maxBodyBytes": 4 * 1024 * 1024, "maxComplexity": 10_000,
            "maxDepth": 16, "maxDirectives": 10, "maxPayloadBytes": 256 * 1024 });
        assert_eq!(told, expected);
        app.end().await;
    }

    async fn delays_are_computed_by_each_rule_and_inherited_from_the_workspace(app) {
        let create = "mutation($input: WorkspaceCreateInput!) { workspaceCreate(input: $input) {
            workspace { retryPolicy { strategy maxAttempts delays } } userErrors { code field message } } }";
        for (strategy, delays) in [
            ("FIXED", ["PT10S", "PT10S", "PT10S"]),
            ("LINEAR", ["PT10S", "PT20S", "PT25S"]),
            ("EXPONENTIAL", ["PT10S", "PT20S", "PT25S"]),
        ] {
            let computed = json!({ "strategy": strategy, "initialDelay": "PT10S", "maxDelay": "PT25S", "maxAttempts": 4 });
            let input = json!({ "name": strategy, "retryPolicy": { "computed": computed } });
            let made = app.admin.data(create, json!({ "input": input })).await["workspaceCreate"].take();
            let policy = &made["workspace"]["retryPolicy"];
            assert_eq!(policy, &json!({ "strategy": strategy, "maxAttempts": 4, "delays": delays }), "{made}");
        }
        app.end().await;
    }

    async fn an_event_keeps_when_it_happened(app) {
        let receiver = app.receiver().await;
        let made = app.subscribe(receiver.url()).await;
        let at = "2026-02-03T04:05:06.789Z";
        let event = builder::publish(&app.api, json!({ "eventType": "invoice.paid", "payload": 1, "occurredAt": at })).await;
        let read = app.api.data("query($id: ID!) { event(id: $id) { occurredAt } }", json!({ "id": event })).await;
        assert_eq!(read["event"]["occurredAt"], at);
        assert!(receiver.expect_requests(1).await[0].body.contains(at));
        let query = "query($id: ID!, $name: String) { webhookEndpoint(id: $id) { subscriptions(where: { name: $name }) { totalCount } } }";
        let of = async |name: Option<&str>| app.api.data(query, json!({ "id": made.endpoint, "name": name })).await["webhookEndpoint"]["subscriptions"]["totalCount"].take();
        assert_eq!((of(None).await, of(Some("nobody")).await), (json!(1), json!(0)));
        app.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_has_a_note_and_wants_https_unless_the_server_allows_http() {
    let app = TestApp::start_with(Backend::Sqlite, &[("ANGARIUM_ALLOW_HTTP", "false")]).await;
    let create = "mutation($input: WebhookEndpointCreateInput!) { webhookEndpointCreate(input: $input) {
        webhookEndpoint { description } userErrors { code field message } } }";
    let input = |url: &str| json!({ "input": { "url": url, "description": "The warehouse" } });
    assert_eq!(problems(&app.api, create, input("http://example.com/")).await, ["URL_NOT_HTTPS input.url"]);
    let made = app.api.data(create, input("https://example.com/")).await;
    assert_eq!(made["webhookEndpointCreate"]["webhookEndpoint"]["description"], "The warehouse");
    app.end().await;
}
