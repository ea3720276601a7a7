//! 004: editions. Endpoints of an organisation and edition; lists with filters, both orders, pages of 100; a timeout for each
//! endpoint; deliveries with five statuses and their signature; retry, and rotation of the secret.

use std::time::Duration;

use angarium_tests::{TestApp, builder, on_both_databases};
use serde_json::{Value, json};

const CREATE: &str = "mutation($input: WebhookSubscriptionCreateInput!) { webhookSubscriptionCreate(input: $input) {
    webhookSubscription { id workspace { id } channels eventTypes enabled createdAt updatedAt
        endpoint { id name url timeout createdAt updatedAt } } signingSecret userErrors { code field message } } }";

fn input(name: &str, url: &str, edition: &str) -> Value {
    json!({
        "eventTypes": ["invoice.paid", "sms.outbound"],
        "channels": [edition],
        "endpoint": { "create": { "name": name, "url": url, "timeout": "PT10S" } },
        "retryPolicy": { "delays": ["PT1M"] },
    })
}

async fn create(app: &TestApp, name: &str, url: &str, edition: &str) -> Value {
    let made =
        app.api.data(CREATE, json!({ "input": input(name, url, edition) })).await["webhookSubscriptionCreate"].take();
    assert_eq!(made["userErrors"], json!([]));
    made
}

async fn publish(app: &TestApp, edition: &str) {
    builder::publish(&app.api, json!({ "eventType": "invoice.paid", "payload": { "n": 1 }, "channels": [edition] }))
        .await;
}

on_both_databases! {
    async fn endpoints_are_listed_by_edition_activity_and_order_in_pages_of_a_hundred(app) {
        let receiver = app.receiver().await;
        for (name, edition) in [("b", "edition-1"), ("a", "edition-1"), ("c", "edition-2")] {
            let made = create(&app, name, receiver.url(), edition).await;
            assert_eq!(made["webhookSubscription"]["endpoint"]["timeout"], "PT10S");
            assert_eq!(made["webhookSubscription"]["channels"], json!([edition]));
        }
        let list = "query($where: WebhookEndpointWhere, $by: WebhookEndpointOrderField!, $direction: OrderDirection!, $first: Int, $offset: Int) {
            webhookEndpoints(where: $where, orderBy: { field: $by, direction: $direction }, first: $first, offset: $offset) {
                nodes { name } totalCount pageInfo { hasNextPage hasPreviousPage } } }";
        let names = async |filter: Value, by: &str, direction: &str| {
            let variables = json!({ "where": filter, "by": by, "direction": direction, "first": 100 });
            let page = app.api.data(list, variables).await["webhookEndpoints"].take();
            let nodes: Vec<_> = page["nodes"].as_array().into_iter().flatten().map(|node| builder::text(&node["name"])).collect();
            assert_eq!(page["totalCount"], nodes.len());
            nodes.concat()
        };
        for (by, ascending) in [("CREATED_AT", "bac"), ("NAME", "abc"), ("UPDATED_AT", "bac")] {
            assert_eq!(names(json!({}), by, "ASC").await, ascending, "{by}");
            assert_eq!(names(json!({}), by, "DESC").await, ascending.chars().rev().collect::<String>(), "{by}");
        }
        assert_eq!(names(json!({ "channel": "edition-1" }), "NAME", "ASC").await, "ab");
        let pause = "query { webhookEndpoints(where: { name: \"a\" }) { nodes { id } } }";
        let id = app.api.data(pause, json!({})).await["webhookEndpoints"]["nodes"][0]["id"].take();
        app.api.data("mutation($id: ID!) { webhookEndpointPause(id: $id) { userErrors { code } } }", json!({ "id": id })).await;
        assert_eq!(names(json!({ "status": ["ACTIVE"] }), "NAME", "ASC").await, "bc");
        assert_eq!(names(json!({ "status": ["PAUSED"] }), "NAME", "ASC").await, "a");

        // Page 2 of pages of 2.
        let variables = json!({ "by": "NAME", "direction": "ASC", "first": 2, "offset": 2 });
        let page = app.api.data(list, variables).await["webhookEndpoints"].take();
        assert_eq!(page["nodes"], json!([{ "name": "c" }]));
        assert_eq!(page["pageInfo"], json!({ "hasNextPage": false, "hasPreviousPage": true }));
        let (_, too_many) = app.api.post(list, json!({ "by": "NAME", "direction": "ASC", "first": 101 })).await;
        assert_eq!(too_many["errors"][0]["extensions"]["code"], "BAD_USER_INPUT");
        app.end().await;
    }

    async fn a_delivery_goes_through_its_five_statuses_and_shows_its_signature(app) {
        let receiver = app.receiver().await.answer_statuses([204, 500, 500, 204]);
        let made = create(&app, "main", receiver.url(), "edition-1").await;
        let secret = builder::text(&made["signingSecret"]);
        let endpoint = made["webhookSubscription"]["endpoint"]["id"].clone();
        let hold = |verb: &str| format!("mutation($id: ID!) {{ webhookEndpoint{verb}(id: $id) {{ userErrors {{ code }} }} }}");

        // pending, success
        app.api.data(&hold("Pause"), json!({ "id": endpoint })).await;
        publish(&app, "edition-1").await;
        publish(&app, "edition-2").await;
        let pending = app.delivery_in("PENDING").await;
        assert_eq!((&pending["attemptCount"], &pending["signature"]), (&json!(0), &Value::Null));
        assert!(builder::text(&pending["body"]).contains(r#""data":{"n":1}"#), "the body that will be sent");
        app.api.data(&hold("Resume"), json!({ "id": endpoint })).await;
        let request = receiver.expect_requests(1).await.remove(0);
        let delivered = app.delivery_in("SUCCEEDED").await;
        assert_eq!(delivered["signature"], request.header("webhook-signature"));
        assert!(request.is_signed_with(&secret));

        // retrying, exhausted
        publish(&app, "edition-1").await;
        receiver.expect_requests(2).await;
        let retrying = app.delivery_in("RETRYING").await;
        assert!(retrying["nextAttemptAt"].is_string() && retrying["responseStatusCode"] == 500);
        app.clock.advance(Duration::from_secs(73));
        receiver.expect_requests(3).await;
        let exhausted = app.delivery_in("EXHAUSTED").await;

        // A retry by hand, and the filter by status within the endpoint.
        let retry = "mutation($id: ID!) { deliveryRetry(id: $id) { delivery { id status } userErrors { code } } }";
        app.api.data(retry, json!({ "id": exhausted["id"] })).await;
        receiver.expect_requests(4).await;
        app.deliveries_in("SUCCEEDED", 2).await;
        let list = "query($id: ID!, $status: [DeliveryStatus!]) { webhookEndpoint(id: $id) {
            deliveries(where: { status: $status }, orderBy: { field: CREATED_AT, direction: ASC }, first: 100, offset: 0) {
                totalCount nodes { id event { eventType { name } } createdAt endpoint { id } body status attemptCount responseStatusCode
                    lastAttemptAt nextAttemptAt signature } } } }";
        let listed = app.api.data(list, json!({ "id": endpoint, "status": ["SUCCEEDED"] })).await;
        let deliveries = &listed["webhookEndpoint"]["deliveries"];
        assert_eq!(deliveries["totalCount"], 2);
        assert_eq!(deliveries["nodes"][1]["attemptCount"], 3);
        assert_eq!(deliveries["nodes"][1]["event"]["eventType"]["name"], "invoice.paid");
        app.end().await;
    }

    async fn what_no_retry_can_change_has_failed(app) {
        let receiver = app.receiver().await;
        let made = create(&app, "main", receiver.url(), "edition-1").await;
        let endpoint = made["webhookSubscription"]["endpoint"]["id"].clone();
        app.api.data("mutation($id: ID!) { webhookEndpointPause(id: $id) { userErrors { code } } }", json!({ "id": endpoint })).await;
        publish(&app, "edition-1").await;
        let rules = "mutation($id: ID!) { workspaceUpdate(id: $id, input: { rules: { urlPattern: \"^https://example\" } }) { userErrors { code } } }";
        app.api.data(rules, json!({ "id": app.workspace })).await;
        app.api.data("mutation($id: ID!) { webhookEndpointResume(id: $id) { userErrors { code } } }", json!({ "id": endpoint })).await;
        let failed = app.delivery_in("FAILED").await;
        assert!(builder::text(&failed["statusReason"]).to_lowercase().contains("url"), "{failed}");
        assert!(receiver.received().is_empty());
        app.end().await;
    }

    async fn a_rotated_secret_is_shown_once_and_the_old_one_signs_during_the_overlap(app) {
        let receiver = app.receiver().await;
        let made = create(&app, "main", receiver.url(), "edition-1").await;
        let old = builder::text(&made["signingSecret"]);
        let rotate = "mutation($id: ID!) { webhookEndpointSecretRotate(id: $id, overlap: \"PT1H\") {
            signingSecret webhookEndpoint { id name url timeout signing { previousSecretExpiresAt } } userErrors { code } } }";
        let rotated = app.api.data(rotate, json!({ "id": made["webhookSubscription"]["endpoint"]["id"] })).await["webhookEndpointSecretRotate"].take();
        let new = builder::text(&rotated["signingSecret"]);
        assert!(new != old && rotated["webhookEndpoint"]["signing"]["previousSecretExpiresAt"].is_string());
        publish(&app, "edition-1").await;
        let request = receiver.expect_requests(1).await.remove(0);
        assert!(request.is_signed_with(&new) && request.is_signed_with(&old));
        app.clock.advance(Duration::from_mins(61));
        publish(&app, "edition-1").await;
        let request = receiver.expect_requests(2).await.remove(1);
        assert!(request.is_signed_with(&new) && !request.is_signed_with(&old));
        app.end().await;
    }
}
