//! 001: management. Lists with select, filter, sort, include, take and skip; a secret and headers of one's own; retries;
//! test events; the events of a subscription, and deleting one of them.

use std::time::Duration;

use angarium_tests::{TestApp, builder, on_both_databases};
use serde_json::{Value, json};

const SUBSCRIPTION: &str = "id name eventTypes enabled ownerId createdAt updatedAt version retryPolicy { maxAttempts }
    endpoint { url headers { name value } }";
/// 16 bytes and more of a caller's own.
const OWN_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// `{ name, eventType, url, secret, headers, maxRetryCount, isActive }` in our words.
fn create_input(url: &str) -> Value {
    json!({
        "name": "Orders",
        "ownerId": "user-7",
        "eventTypes": ["invoice.paid"],
        "endpoint": { "create": {
            "url": url,
            "signing": { "secret": OWN_SECRET },
            "headers": [{ "name": "property1", "value": "string" }, { "name": "property2", "value": "string" }],
        } },
        "retryPolicy": { "standard": { "maxAttempts": 3 } },
        "enabled": true,
    })
}

async fn create(app: &TestApp, input: Value) -> Value {
    let create = format!(
        "mutation($input: WebhookSubscriptionCreateInput!) {{ webhookSubscriptionCreate(input: $input) {{
            webhookSubscription {{ {SUBSCRIPTION} }} signingSecret userErrors {{ code field message }} }} }}"
    );
    let made = app.api.data(&create, json!({ "input": input })).await["webhookSubscriptionCreate"].take();
    assert_eq!(made["userErrors"], json!([]));
    made
}

on_both_databases! {
    async fn a_subscription_with_its_own_secret_headers_and_retry_count_lives_its_whole_life(app) {
        let receiver = app.receiver().await.answer_statuses([500, 500, 500, 204]);
        let made = create(&app, create_input(receiver.url())).await;
        assert_eq!(made["signingSecret"], OWN_SECRET);
        let subscription = &made["webhookSubscription"];
        assert_eq!(subscription["retryPolicy"]["maxAttempts"], 3, "a maxRetryCount of 2");
        let headers = json!([{ "name": "property1", "value": "string" }, { "name": "property2", "value": "string" }]);
        assert_eq!(subscription["endpoint"]["headers"], headers);
        let id = json!({ "id": subscription["id"] });

        app.publish(json!({ "order": 1 })).await;
        for (count, wait) in [(1, 6), (2, 360)] {
            receiver.expect_requests(count).await;
            app.delivery_in("RETRYING").await;
            app.clock.advance(Duration::from_secs(wait));
        }
        let requests = receiver.expect_requests(3).await;
        assert_eq!(requests[0].header("property2"), "string");
        assert!(requests.iter().all(|request| request.is_signed_with(OWN_SECRET)));
        assert_eq!(app.delivery_in("EXHAUSTED").await["attemptCount"], 3);

        // PUT: other settings.
        let update = format!(
            "mutation($id: ID!, $input: WebhookSubscriptionUpdateInput!) {{ webhookSubscriptionUpdate(id: $id, input: $input) {{
                webhookSubscription {{ {SUBSCRIPTION} }} userErrors {{ code field message }} }} }}"
        );
        let input = json!({ "name": "Renamed", "enabled": false, "eventTypes": ["sms.outbound"], "retryPolicy": { "standard": { "maxAttempts": 1 } },
            "endpoint": { "update": { "headers": [] } } });
        let updated = app.api.data(&update, json!({ "id": id["id"], "input": input })).await["webhookSubscriptionUpdate"].take();
        assert_eq!(updated["userErrors"], json!([]));
        let now = &updated["webhookSubscription"];
        assert_eq!((&now["name"], &now["enabled"], &now["eventTypes"]), (&json!("Renamed"), &json!(false), &json!(["sms.outbound"])));
        assert_eq!((&now["retryPolicy"]["maxAttempts"], &now["endpoint"]["headers"]), (&json!(1), &json!([])));
        let get = format!("query($id: ID!) {{ webhookSubscription(id: $id) {{ {SUBSCRIPTION} }} }}");
        assert_eq!(app.api.data(&get, id.clone()).await["webhookSubscription"], *now);

        let delete = "mutation($id: ID!) { webhookSubscriptionDelete(id: $id) { deletedWebhookSubscriptionId userErrors { code } } }";
        let deleted = app.api.data(delete, id.clone()).await;
        assert_eq!(deleted["webhookSubscriptionDelete"]["deletedWebhookSubscriptionId"], id["id"]);
        assert_eq!(app.api.data(&get, id).await["webhookSubscription"], Value::Null);
        app.end().await;
    }

    async fn a_list_selects_filters_sorts_includes_takes_and_skips_and_tells_the_total(app) {
        let receiver = app.receiver().await;
        for place in 0..5 {
            let mut input = create_input(receiver.url());
            input["name"] = json!(format!("s{place}"));
            input["enabled"] = json!(place != 4);
            create(&app, input).await;
        }
        app.publish(json!({ "order": 1 })).await;
        app.deliveries_in("SUCCEEDED", 4).await;
        let list = "query($where: WebhookSubscriptionWhere, $first: Int, $offset: Int) {
            webhookSubscriptions(where: $where, orderBy: { field: NAME, direction: ASC }, first: $first, offset: $offset) {
                nodes { name deliveries(first: 1) { nodes { eventTypeName responseStatusCode } totalCount } } totalCount } }";
        let variables = json!({ "where": { "enabled": true, "eventType": "invoice.paid", "ownerId": "user-7" }, "first": 2, "offset": 1 });
        let page = app.api.data(list, variables).await["webhookSubscriptions"].take();
        assert_eq!(page["totalCount"], 4);
        let one = |name: &str| json!({ "name": name, "deliveries": { "nodes": [{ "eventTypeName": "invoice.paid", "responseStatusCode": 204 }], "totalCount": 1 } });
        assert_eq!(page["nodes"], json!([one("s1"), one("s2")]));
        app.end().await;
    }

    async fn event_types_are_listed_with_their_descriptions(app) {
        let create = "mutation { eventTypeCreate(input: { name: \"order.shipped\", description: \"An order left the house.\" }) { userErrors { code } } }";
        app.admin.data(create, json!({})).await;
        let data = app.api.data("{ eventTypes(first: 100) { nodes { name description } } }", json!({})).await;
        let nodes = data["eventTypes"]["nodes"].as_array().expect("a list");
        assert!(nodes.contains(&json!({ "name": "order.shipped", "description": "An order left the house." })), "{nodes:?}");
        app.end().await;
    }

    async fn a_test_event_carries_its_own_payload_and_an_event_can_be_deleted(app) {
        let receiver = app.receiver().await.answer_statuses([204, 500, 204]);
        let made = create(&app, create_input(receiver.url())).await;
        let id = made["webhookSubscription"]["id"].clone();
        let test = "mutation($id: ID!, $payload: JSON) { webhookSubscriptionTest(id: $id, payload: $payload) {
            event { id test } delivery { id trigger } userErrors { code field message } } }";
        let payload = json!({ "sample": true });
        let tested = app.api.data(test, json!({ "id": id, "payload": payload })).await["webhookSubscriptionTest"].take();
        assert_eq!((&tested["event"]["test"], &tested["delivery"]["trigger"]), (&json!(true), &json!("TEST")));
        assert_eq!(receiver.expect_requests(1).await[0].data(), payload);
        app.delivery_in("SUCCEEDED").await;

        app.publish(json!({ "order": 2 })).await;
        receiver.expect_requests(2).await;
        app.delivery_in("RETRYING").await;
        let events = "query($id: ID!, $where: DeliveryWhere) { webhookSubscription(id: $id) {
            deliveries(where: $where, orderBy: { field: CREATED_AT, direction: ASC }, first: 10, offset: 0) { totalCount nodes {
                id eventTypeName body responseStatusCode status attemptCount lastAttemptAt nextAttemptAt createdAt
                lastAttempt { succeeded error { message } response { body } } } } } }";
        let listed = app.api.data(events, json!({ "id": id })).await["webhookSubscription"]["deliveries"].take();
        assert_eq!(listed["totalCount"], 2);
        let failed = &listed["nodes"][1];
        assert_eq!((&failed["responseStatusCode"], &failed["status"], &failed["attemptCount"]), (&json!(500), &json!("RETRYING"), &json!(1)));
        assert!(failed["nextAttemptAt"].is_string() && failed["lastAttemptAt"].is_string());
        assert!(builder::text(&failed["lastAttempt"]["error"]["message"]).contains("500"));
        let only = app.api.data(events, json!({ "id": id, "where": { "status": ["RETRYING"] } })).await;
        assert_eq!(only["webhookSubscription"]["deliveries"]["totalCount"], 1);

        let delete = "mutation($id: ID!) { deliveryDelete(id: $id) { deletedDeliveryId userErrors { code } } }";
        let deleted = app.api.data(delete, json!({ "id": failed["id"] })).await;
        assert_eq!(deleted["deliveryDelete"]["deletedDeliveryId"], failed["id"]);
        let left = app.api.data(events, json!({ "id": id })).await;
        assert_eq!(left["webhookSubscription"]["deliveries"]["totalCount"], 1);
        app.clock.advance(Duration::from_mins(10));
        let again = app.api.data(delete, json!({ "id": failed["id"] })).await;
        assert_eq!(again["deliveryDelete"]["userErrors"][0]["code"], "NOT_FOUND");
        app.end().await;
        assert_eq!(receiver.received().len(), 2, "what was deleted is not sent again");
    }
}
