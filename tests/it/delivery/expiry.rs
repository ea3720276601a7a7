//! Subscriptions end: told before, told then, and what waits is canceled.

use std::time::Duration;

use angarium_entity::change_log::{self, Change, SubscriptionChange};
use angarium_entity::delivery;
use angarium_tests::app::{count, eventually};
use angarium_tests::builder::{self, problems, text};
use angarium_tests::{Received, TestApp, on_both_databases};
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter};
use serde_json::{Value, json};

const HOUR: Duration = Duration::from_hours(1);
const RENEW: &str = "mutation($id: ID!, $expiresIn: Duration) { webhookSubscriptionRenew(id: $id, expiresIn: $expiresIn) \
    { webhookSubscription { status } userErrors { code message field } } }";
const ENABLE: &str =
    "mutation($ids: [ID!]!) { webhookSubscriptionsEnable(ids: $ids) { userErrors { code message field } } }";
const DISABLE: &str =
    "mutation($ids: [ID!]!) { webhookSubscriptionsDisable(ids: $ids) { userErrors { code message field } } }";
const UPDATE: &str = "mutation($id: ID!, $input: WebhookSubscriptionUpdateInput!) \
    { webhookSubscriptionUpdate(id: $id, input: $input) { userErrors { code message field } } }";
const RETRY: &str = "mutation($id: ID!) { deliveryRetry(id: $id) { userErrors { code message field } } }";
const PAUSE: &str = "mutation($id: ID!) { webhookEndpointPause(id: $id) { userErrors { code } } }";

async fn ending(app: &TestApp, url: &str, expires_in: &str) -> builder::Subscribed {
    let input = json!({ "name": "Ends", "eventTypes": ["*"], "endpoint": { "url": url }, "expiresIn": expires_in });
    builder::subscribe(&app.api, input).await
}

async fn status(app: &TestApp, id: &str) -> (String, Option<String>) {
    let ask = "query($id: ID!) { webhookSubscription(id: $id) { status statusReason } }";
    let found = app.api.data(ask, json!({ "id": id })).await["webhookSubscription"].take();
    (text(&found["status"]), found["statusReason"].as_str().map(str::to_owned))
}

async fn renew(app: &TestApp, id: &str, expires_in: &str) {
    let data = app.api.data(RENEW, json!({ "id": id, "expiresIn": expires_in })).await;
    let renewed = &data["webhookSubscriptionRenew"];
    assert_eq!((&renewed["userErrors"], &renewed["webhookSubscription"]["status"]), (&json!([]), &json!("ACTIVE")));
}

/// How often the log says that a subscription has changed.
async fn logged(app: &TestApp, id: &str) -> usize {
    let rows = change_log::Entity::find().all(app.state().db.read()).await.expect("the log reads");
    let change = Change::from(SubscriptionChange { subscription_id: id.parse().expect("an ID") });
    rows.iter().flat_map(|row| &row.changes.0).filter(|found| **found == change).count()
}

/// Subscribes a receiver to what Angarium itself tells.
async fn told_to(app: &TestApp, url: &str) {
    builder::subscribe(&app.api, json!({ "eventTypes": ["angarium.*"], "endpoint": { "url": url } })).await;
}

fn types(requests: &[Received]) -> Vec<&str> {
    requests.iter().map(|request| request.header("webhook-event-type")).collect()
}

on_both_databases! {
    async fn what_waits_of_a_subscription_that_ends_is_canceled_and_a_renewal_brings_it_back(app) {
        let receiver = app.receiver().await.answer_statuses([500]);
        let subscribed = ending(&app, receiver.url(), "PT1H").await;
        app.publish(json!(1)).await;
        app.delivery_in("RETRYING").await;
        app.api.data(PAUSE, json!({ "id": subscribed.endpoint })).await;
        app.clock.advance(HOUR);
        let end = app.state().now();
        assert_eq!(status(&app, &subscribed.id).await, ("EXPIRED".to_owned(), Some(format!("Expired at {end}."))));
        app.publish(json!("not matched")).await;
        let canceled = app.delivery_in("CANCELED").await;
        assert_eq!(canceled["statusReason"], format!("The subscription expired at {end}."));
        assert_eq!(problems(&app.api, RETRY, json!({ "id": canceled["id"] })).await, ["NOT_RETRYABLE id"]);
        assert_eq!(problems(&app.api, ENABLE, json!({ "ids": [subscribed.id] })).await, ["EXPIRED ids.0"]);
        app.api.data(DISABLE, json!({ "ids": [subscribed.id] })).await;
        assert_eq!(status(&app, &subscribed.id).await.0, "DISABLED");
        let enable = json!({ "id": subscribed.id, "input": { "enabled": true } });
        assert_eq!(problems(&app.api, UPDATE, enable.clone()).await, ["EXPIRED input.enabled"]);
        app.api.data(RENEW, json!({ "id": subscribed.id, "expiresIn": "P30D" })).await;
        assert_eq!(problems(&app.api, UPDATE, enable).await, [] as [&str; 0]);
        let resume = "mutation($id: ID!) { webhookEndpointResume(id: $id) { userErrors { code } } }";
        app.api.data(resume, json!({ "id": subscribed.endpoint })).await;
        app.publish(json!(2)).await;
        assert_eq!(receiver.expect_requests(2).await[1].data(), json!(2));
        app.deliveries_in("SUCCEEDED", 1).await;
        app.deliveries_in("CANCELED", 1).await;
        app.end().await;
    }

    async fn a_backlog_of_many_steps_is_canceled_and_what_came_after_the_renewal_stays(app) {
        const COUNT: usize = 1_200;
        let subscribed = ending(&app, "https://example.com/in", "PT1H").await;
        app.api.data(PAUSE, json!({ "id": subscribed.endpoint })).await;
        let publish = "mutation($inputs: [EventPublishInput!]!) { eventPublishBatch(inputs: $inputs) { results { event { id } } } }";
        for _ in 0..COUNT / 100 {
            let inputs: Vec<Value> = (0..100).map(|n| json!({ "eventType": "invoice.paid", "payload": n })).collect();
            app.api.data(publish, json!({ "inputs": inputs })).await;
        }
        app.clock.advance(HOUR);
        app.api.data(RENEW, json!({ "id": subscribed.id, "expiresIn": "PT2H" })).await;
        app.publish(json!("kept")).await;
        // It was renewed before anybody had looked, or after: what is of the time after stays in any case.
        app.clock.advance(2 * HOUR);
        let canceled = async || {
            let canceled = delivery::Entity::find().filter(delivery::Column::Status.eq(delivery::Status::Canceled));
            let canceled = canceled.count(app.state().db.read()).await.expect("they can be counted");
            (canceled == COUNT as u64 + 1).then_some(())
        };
        eventually("all are canceled", canceled).await;
        assert_eq!(count::<delivery::Entity>(&app).await, COUNT as u64 + 1);
        app.end().await;
    }

    async fn the_end_is_told_a_day_before_and_then_each_once(mut app) {
        let monitor = app.receiver().await;
        told_to(&app, monitor.url()).await;
        let subscribed = ending(&app, "https://example.com/in", "P2D").await;
        let end = app.state().now() + 48 * HOUR;
        app.clock.advance(23 * HOUR);
        app.clock.advance(HOUR);
        let told = monitor.expect_requests(1).await.remove(0);
        assert_eq!(told.header("webhook-event-type"), "angarium.subscription.expiring");
        assert_eq!(logged(&app, &subscribed.id).await, 2, "it was made, and its end is near");
        let about = json!({ "subscription": { "id": subscribed.id, "name": "Ends", "eventTypes": ["*"], "channels": null,
            "ownerId": null, "workspaceId": app.workspace, "expiresAt": end.to_string() } });
        assert_eq!(told.data(), about);
        app.deliveries_in("SUCCEEDED", 1).await;
        app.restart().await;
        app.clock.advance(24 * HOUR);
        let told = monitor.expect_requests(2).await;
        assert_eq!(types(&told), ["angarium.subscription.expiring", "angarium.subscription.expired"]);
        assert_eq!(told[1].data(), about);
        assert_eq!(logged(&app, &subscribed.id).await, 3);
        app.deliveries_in("SUCCEEDED", 2).await;
        app.restart().await;
        app.clock.advance(24 * HOUR);
        renew(&app, &subscribed.id, "P3D").await;
        app.clock.advance(48 * HOUR);
        let told = monitor.expect_requests(3).await;
        assert_eq!(types(&told)[2], "angarium.subscription.expiring", "a renewed one is told anew, and nothing twice");
        app.deliveries_in("SUCCEEDED", 3).await;
        app.end().await;
    }

    async fn one_that_lives_no_longer_than_a_day_is_only_told_to_have_ended(app) {
        let monitor = app.receiver().await;
        told_to(&app, monitor.url()).await;
        ending(&app, "https://example.com/in", "P1D").await;
        // And one that a server which was down finds at its end.
        ending(&app, "https://example.com/in", "P1DT1S").await;
        app.clock.advance(25 * HOUR);
        let told = monitor.expect_requests(2).await;
        assert_eq!(types(&told), ["angarium.subscription.expired"; 2]);
        app.deliveries_in("SUCCEEDED", 2).await;
        app.end().await;
    }
}
