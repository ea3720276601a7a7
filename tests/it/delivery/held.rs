//! What waits for too long, and what is too old.

use std::time::Duration;

use angarium_entity::{attempt, delivery, event};
use angarium_tests::app::{count, eventually};
use angarium_tests::builder;
use angarium_tests::{TestApp, on_both_databases};
use serde_json::{Value, json};

const SET: &str = "mutation($id: ID!, $input: WorkspaceUpdateInput!) { workspaceUpdate(id: $id, input: $input) { userErrors { code } } }";
const PAUSE: &str = "mutation($id: ID!) { webhookEndpointPause(id: $id) { userErrors { code } } }";
const RESUME: &str = "mutation($id: ID!) { webhookEndpointResume(id: $id) { userErrors { code } } }";
const DISABLE: &str = "mutation($ids: [ID!]!) { webhookSubscriptionsDisable(ids: $ids) { userErrors { code } } }";

async fn set(app: &TestApp, input: Value) {
    app.api.data(SET, json!({ "id": app.workspace, "input": input })).await;
}

/// The reasons of the exhausted deliveries, once there are `wanted` of them; a sweep is a minute away.
async fn exhausted(app: &TestApp, wanted: usize) -> Vec<String> {
    let query = "{ deliveries(where: { status: [EXHAUSTED] }) { nodes { statusReason } } }";
    let ask = async || {
        app.clock.advance(Duration::from_mins(1));
        let data = app.api.data(query, json!({})).await;
        let found = data["deliveries"]["nodes"].as_array().expect("a list").clone();
        (found.len() == wanted).then(|| found.iter().map(|row| builder::text(&row["statusReason"])).collect())
    };
    eventually("the sweep ends what has waited too long", ask).await
}

on_both_databases! {
    async fn what_waits_for_a_paused_endpoint_is_exhausted_after_hold_max_and_newer_goes_out(app) {
        let receiver = app.receiver().await;
        let subscribed = app.subscribe(receiver.url()).await;
        set(&app, json!({ "holdMax": "P10D" })).await;
        app.api.data(PAUSE, json!({ "id": subscribed.endpoint })).await;
        for number in 0..3 {
            app.publish(json!(number)).await;
        }
        app.clock.advance(Duration::from_hours(5 * 24));
        app.publish(json!("newer")).await;
        app.clock.advance(Duration::from_hours(5 * 24));
        for reason in exhausted(&app, 3).await {
            assert!(reason.contains("endpoint") && reason.contains("holdMax"), "{reason}");
        }
        app.api.data(RESUME, json!({ "id": subscribed.endpoint })).await;
        assert_eq!(receiver.expect_requests(1).await[0].data(), json!("newer"));
        app.delivery_in("SUCCEEDED").await;
        app.end().await;
    }

    async fn a_pause_counts_from_its_beginning_not_from_the_age_of_what_waits(app) {
        let receiver = app.receiver().await.answer_statuses([503]);
        let subscribed = app.subscribe(receiver.url()).await;
        set(&app, json!({ "holdMax": "P10D", "suspendAfter": "P365D" })).await;
        app.publish(json!(1)).await;
        app.delivery_in("RETRYING").await;
        app.api.data(PAUSE, json!({ "id": subscribed.endpoint })).await;
        app.clock.advance(Duration::from_hours(9 * 24));
        // Another pause is another wait.
        app.api.data(RESUME, json!({ "id": subscribed.endpoint })).await;
        app.delivery_in("SUCCEEDED").await;
        app.api.data(PAUSE, json!({ "id": subscribed.endpoint })).await;
        app.publish(json!(2)).await;
        app.clock.advance(Duration::from_hours(9 * 24));
        let open = app.api.data("{ deliveries(where: { status: [EXHAUSTED] }) { nodes { id } } }", json!({})).await;
        assert_eq!(open["deliveries"]["nodes"], json!([]));
        app.clock.advance(Duration::from_hours(25));
        exhausted(&app, 1).await;
        app.end().await;
    }

    async fn what_waits_for_a_disabled_subscription_is_exhausted_after_hold_max(app) {
        let receiver = app.receiver().await;
        let subscribed = app.subscribe(receiver.url()).await;
        builder::subscribe(&app.api, json!({ "eventTypes": ["sms.outbound"], "endpoint": { "id": subscribed.endpoint } })).await;
        app.api.data(PAUSE, json!({ "id": subscribed.endpoint })).await;
        app.publish(json!(1)).await;
        app.api.data(DISABLE, json!({ "ids": [subscribed.id] })).await;
        builder::publish(&app.api, json!({ "eventType": "sms.outbound", "payload": 2 })).await;
        app.api.data(RESUME, json!({ "id": subscribed.endpoint })).await;
        assert_eq!(receiver.expect_requests(1).await[0].data(), json!(2));
        app.clock.advance(Duration::from_hours(30 * 24));
        let reasons = exhausted(&app, 1).await;
        assert!(reasons[0].contains("subscription") && reasons[0].contains("holdMax"), "{reasons:?}");
        receiver.expect_requests(1).await;
        app.end().await;
    }

    async fn what_is_older_than_the_retention_goes_unless_it_is_open(app) {
        let receiver = app.receiver().await;
        let subscribed = app.subscribe(receiver.url()).await;
        set(&app, json!({ "retention": "P1D" })).await;
        app.publish(json!("done")).await;
        app.delivery_in("SUCCEEDED").await;
        app.api.data(PAUSE, json!({ "id": subscribed.endpoint })).await;
        let open = app.publish(json!("open")).await;
        let alone = builder::publish(&app.admin.with_key(&builder::workspace_with_key(&app.admin, "Other").await.1), json!({ "eventType": "sms.outbound", "payload": 1 })).await;
        app.clock.advance(Duration::from_hours(25));
        let counts = async || (count::<event::Entity>(&app).await, count::<delivery::Entity>(&app).await, count::<attempt::Entity>(&app).await);
        let gone = async || {
            app.clock.advance(Duration::from_mins(10));
            (counts().await == (2, 1, 0)).then_some(())
        };
        eventually("what is done is deleted, and of another workspace nothing", gone).await;
        assert!(!alone.is_empty());
        let seen = app.api.data("{ deliveries { nodes { status event { id payload } } } }", json!({})).await;
        assert_eq!(seen["deliveries"]["nodes"], json!([{ "status": "PENDING", "event": { "id": open, "payload": "open" } }]));
        // It goes once it is done.
        app.api.data(RESUME, json!({ "id": subscribed.endpoint })).await;
        receiver.expect_requests(2).await;
        let gone = async || {
            app.clock.advance(Duration::from_mins(10));
            (counts().await == (1, 0, 0)).then_some(())
        };
        eventually("the open one is done and goes", gone).await;
        app.end().await;
    }
}
