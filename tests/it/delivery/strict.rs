//! STRICT: the next starts only when the one before is final.

use std::time::Duration;

use angarium_tests::app::eventually;
use angarium_tests::{Answer, Receiver, TestApp, builder, on_both_databases};
use serde_json::{Value, json};

const RETRY: &str = "mutation($id: ID!) { deliveryRetry(id: $id) { delivery { status } userErrors { code } } }";
const RESUME: &str = "mutation($id: ID!) { webhookEndpointResume(id: $id) { userErrors { code } } }";
const UPDATE: &str = "mutation($id: ID!, $input: WebhookEndpointUpdateInput!) { webhookEndpointUpdate(id: $id, input: $input) \
    { webhookEndpoint { ordering onExhausted maxInFlight rateLimitPerSecond } userErrors { code message field } } }";

async fn numbers(receiver: &Receiver, count: usize) -> Vec<u64> {
    let received = receiver.expect_requests(count).await;
    received.iter().map(|request| request.data().as_u64().expect("a number")).collect()
}

/// A subscription to a STRICT endpoint whose deliveries are tried twice, a minute apart.
async fn strict(app: &TestApp, receiver: &Receiver, on_exhausted: &str) -> builder::Subscribed {
    let endpoint = json!({ "create": { "url": receiver.url(), "ordering": "STRICT", "onExhausted": on_exhausted } });
    let input = json!({ "eventTypes": ["*"], "endpoint": endpoint, "retryPolicy": { "delays": ["PT1M"] } });
    builder::subscribe(&app.api, input).await
}

async fn held(app: &TestApp, status: &str) -> Vec<Value> {
    let query = "query($status: DeliveryStatus!) { deliveries(where: { status: [$status] }) { nodes { heldBy { reason until } } } }";
    let data = app.api.data(query, json!({ "status": status })).await;
    let nodes = data["deliveries"]["nodes"].as_array().expect("a list");
    nodes.iter().map(|node| node["heldBy"]["reason"].clone()).collect()
}

on_both_databases! {
    async fn the_next_starts_only_when_the_one_before_is_final_also_across_a_restart(mut app) {
        let receiver = app.receiver().await.answer_statuses([500, 204, 500, 500]);
        strict(&app, &receiver, "SKIP").await;
        for n in 1..=3 {
            app.publish(json!(n)).await;
        }
        app.delivery_in("RETRYING").await;
        assert_eq!(held(&app, "PENDING").await, ["LINE", "LINE"]);
        assert_eq!(held(&app, "RETRYING").await, [json!(null)]);
        app.restart().await;
        app.publish(json!(4)).await;
        assert_eq!(numbers(&receiver, 1).await, [1]);
        app.clock.advance(Duration::from_secs(73));
        // The second fails twice and is skipped.
        assert_eq!(numbers(&receiver, 3).await, [1, 1, 2]);
        app.delivery_in("RETRYING").await;
        app.clock.advance(Duration::from_secs(73));
        assert_eq!(numbers(&receiver, 6).await, [1, 1, 2, 2, 3, 4]);
        app.deliveries_in("SUCCEEDED", 3).await;
        app.delivery_in("EXHAUSTED").await;
        assert_eq!(receiver.most_at_once(), 1);
        app.end().await;
    }

    async fn an_exhausted_head_pauses_the_endpoint_that_says_so_and_retried_by_hand_it_joins_at_the_end(app) {
        let receiver = app.receiver().await.answer_statuses([500, 500]);
        let subscribed = strict(&app, &receiver, "PAUSE").await;
        app.publish(json!(1)).await;
        app.publish(json!(2)).await;
        app.delivery_in("RETRYING").await;
        app.clock.advance(Duration::from_secs(73));
        let exhausted = app.delivery_in("EXHAUSTED").await;
        assert_eq!(exhausted["endpoint"]["status"], "PAUSED");
        let (reason, id) = (builder::text(&exhausted["endpoint"]["statusReason"]), builder::text(&exhausted["id"]));
        assert!(reason.contains("EXHAUSTED") && reason.contains("dlv_"), "{reason} {id}");
        app.publish(json!(3)).await;
        let data = app.api.data(RETRY, json!({ "id": exhausted["id"] })).await;
        assert_eq!(data["deliveryRetry"]["delivery"]["status"], "RETRYING");
        assert_eq!(held(&app, "PENDING").await, ["ENDPOINT_PAUSED", "ENDPOINT_PAUSED"]);
        assert_eq!(receiver.received().len(), 2);
        app.api.data(RESUME, json!({ "id": subscribed.endpoint })).await;
        assert_eq!(numbers(&receiver, 5).await, [1, 1, 2, 3, 1]);
        app.deliveries_in("SUCCEEDED", 3).await;
        app.end().await;
    }

    async fn canceling_the_head_frees_the_line_and_a_retry_by_hand_keeps_its_place(app) {
        let receiver = app.receiver().await.answer_statuses([500, 500]);
        strict(&app, &receiver, "PAUSE").await;
        for n in 1..=3 {
            app.publish(json!(n)).await;
        }
        let head = app.delivery_in("RETRYING").await;
        app.api.data(RETRY, json!({ "id": head["id"] })).await;
        assert_eq!(numbers(&receiver, 2).await, [1, 1]);
        eventually("the second attempt is recorded", async || {
            (app.delivery_in("RETRYING").await["attemptCount"] == 2).then_some(())
        })
        .await;
        let cancel = "mutation($id: ID!) { deliveryCancel(id: $id) { delivery { status } userErrors { code } } }";
        app.api.data(cancel, json!({ "id": head["id"] })).await;
        assert_eq!(numbers(&receiver, 4).await, [1, 1, 2, 3]);
        app.deliveries_in("SUCCEEDED", 2).await;
        app.end().await;
    }

    async fn a_scheduled_event_joins_the_line_when_it_is_due_and_a_test_skips_it(app) {
        let receiver = app.receiver().await.answer_statuses([500]);
        let subscribed = strict(&app, &receiver, "SKIP").await;
        let at = (app.state().now() + Duration::from_secs(30)).to_string();
        let input = json!({ "eventType": "invoice.paid", "payload": 9, "deliverAt": at });
        builder::publish(&app.api, input).await;
        app.publish(json!(1)).await;
        app.delivery_in("RETRYING").await;
        app.clock.advance(Duration::from_secs(40));
        let in_line = async || (held(&app, "PENDING").await == ["LINE"]).then_some(());
        eventually("the scheduled one has joined the line", in_line).await;
        app.publish(json!(2)).await;
        let test = "mutation($id: ID!) { webhookSubscriptionTest(id: $id, eventType: \"invoice.paid\", payload: 0) { userErrors { code message field } } }";
        let data = app.api.data(test, json!({ "id": subscribed.id })).await;
        assert_eq!(data["webhookSubscriptionTest"]["userErrors"], json!([]));
        assert_eq!(numbers(&receiver, 2).await, [1, 0]);
        app.clock.advance(Duration::from_secs(40));
        assert_eq!(numbers(&receiver, 5).await, [1, 0, 1, 9, 2]);
        app.deliveries_in("SUCCEEDED", 4).await;
        app.end().await;
    }

    async fn an_endpoint_that_becomes_strict_lets_nothing_pass_what_was_begun(app) {
        let receiver = app.receiver().await.answer_statuses([500, 500]);
        let input = json!({ "eventTypes": ["*"], "endpoint": { "url": receiver.url() }, "retryPolicy": { "delays": ["PT1M"] } });
        let subscribed = builder::subscribe(&app.api, input).await;
        app.publish(json!(1)).await;
        app.publish(json!(2)).await;
        app.deliveries_in("RETRYING", 2).await;
        let variables = json!({ "id": subscribed.endpoint, "input": { "ordering": "STRICT" } });
        let changed = app.api.data(UPDATE, variables).await["webhookEndpointUpdate"].take();
        let expected = json!({ "ordering": "STRICT", "onExhausted": "SKIP", "maxInFlight": 1, "rateLimitPerSecond": null });
        assert_eq!(changed["webhookEndpoint"], expected);
        app.publish(json!(3)).await;
        assert_eq!(held(&app, "PENDING").await, ["LINE"]);
        app.clock.advance(Duration::from_secs(73));
        assert_eq!(numbers(&receiver, 5).await, [1, 2, 1, 2, 3]);
        app.deliveries_in("SUCCEEDED", 3).await;
        app.end().await;
    }

    async fn a_strict_endpoint_that_becomes_fifo_lets_its_line_go_on(app) {
        let receiver = app.receiver().await.answer_statuses([500]);
        let subscribed = strict(&app, &receiver, "PAUSE").await;
        app.publish(json!(1)).await;
        app.publish(json!(2)).await;
        app.delivery_in("RETRYING").await;
        app.api.data(UPDATE, json!({ "id": subscribed.endpoint, "input": { "ordering": "FIFO" } })).await;
        assert_eq!(numbers(&receiver, 2).await, [1, 2]);
        app.delivery_in("SUCCEEDED").await;
        app.end().await;
    }

    async fn more_than_one_at_once_and_limits_out_of_bounds_are_refused(app) {
        let create = "mutation($input: WebhookEndpointCreateInput!) { webhookEndpointCreate(input: $input) { userErrors { code message field } } }";
        let input = json!({ "url": "https://example.com", "ordering": "STRICT", "maxInFlight": 2, "rateLimitPerSecond": 10_001 });
        let told = builder::problems(&app.api, create, json!({ "input": input })).await;
        assert_eq!(told, ["INVALID input.maxInFlight", "INVALID input.rateLimitPerSecond"]);
        app.end().await;
    }

    async fn a_rate_limit_lets_so_many_requests_start_in_a_second_retries_included(app) {
        let receiver = app.receiver().await.answer([Answer::status(500)]);
        let endpoint = json!({ "create": { "url": receiver.url(), "ordering": "NONE", "rateLimitPerSecond": 3 } });
        let input = json!({ "eventTypes": ["*"], "endpoint": endpoint, "retryPolicy": { "delays": ["PT1S"] } });
        builder::subscribe(&app.api, input).await;
        let batch: Value = (0..7).map(|n| json!({ "eventType": "invoice.paid", "payload": n })).collect();
        app.api.data("mutation($inputs: [EventPublishInput!]!) { eventPublishBatch(inputs: $inputs) { results { event { id } } } }", json!({ "inputs": batch })).await;
        receiver.expect_requests(3).await;
        let limited = async || (held(&app, "PENDING").await == ["RATE_LIMIT"; 4]).then_some(());
        eventually("four wait for the limit", limited).await;
        app.clock.advance(Duration::from_millis(1_300));
        receiver.expect_requests(6).await;
        app.clock.advance(Duration::from_secs(2));
        app.deliveries_in("SUCCEEDED", 7).await;
        receiver.expect_requests(8).await;
        app.end().await;
    }
}
