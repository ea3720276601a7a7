//! Deliveries are canceled, tried out and put off.

use std::time::Duration;

use angarium_tests::app::eventually;
use angarium_tests::builder::{self, problems, text};
use angarium_tests::{Received, TestApp, on_both_databases};
use serde_json::{Value, json};

const CANCEL: &str = "mutation($id: ID!) { deliveryCancel(id: $id) { delivery { id status nextAttemptAt } userErrors { code message field } } }";
const CANCEL_EVENT: &str =
    "mutation($id: ID!) { eventCancel(id: $id) { canceledCount event { id } userErrors { code message field } } }";
const TEST: &str = "mutation($id: ID!, $eventType: EventTypeName, $payload: JSON) \
    { webhookSubscriptionTest(id: $id, eventType: $eventType, payload: $payload) \
    { event { id test payload eventType { name } } delivery { id trigger } userErrors { code message field } } }";
const PUBLISH: &str = "mutation($input: EventPublishInput!) { eventPublish(input: $input) { event { id } userErrors { code message field } } }";
const RETRY: &str = "mutation($id: ID!) { deliveryRetry(id: $id) { userErrors { code } } }";
const PAUSE: &str = "mutation($id: ID!) { webhookEndpointPause(id: $id) { userErrors { code } } }";
const DISABLE: &str = "mutation($ids: [ID!]!) { webhookSubscriptionsDisable(ids: $ids) { userErrors { code } } }";

async fn send_test(app: &TestApp, variables: Value) -> Value {
    let mut data = app.api.data(TEST, variables).await;
    assert_eq!(data["webhookSubscriptionTest"]["userErrors"], json!([]));
    data["webhookSubscriptionTest"].take()
}

async fn publish_at(app: &TestApp, payload: u32, after: Duration) {
    let at = (app.state().now() + after).to_string();
    builder::publish(&app.api, json!({ "eventType": "invoice.paid", "payload": payload, "deliverAt": at })).await;
}

on_both_databases! {
    async fn a_canceled_delivery_is_not_sent_again_unless_somebody_retries_it(app) {
        let receiver = app.receiver().await.answer_statuses([500]);
        app.subscribe(receiver.url()).await;
        app.publish(json!(1)).await;
        let id = app.delivery_in("RETRYING").await["id"].take();
        let canceled = app.api.data(CANCEL, json!({ "id": id })).await["deliveryCancel"].take();
        assert_eq!(canceled, json!({ "delivery": { "id": id, "status": "CANCELED", "nextAttemptAt": null }, "userErrors": [] }));
        assert!(text(&app.delivery_in("CANCELED").await["statusReason"]).contains("Canceled by a caller"));
        assert_eq!(problems(&app.api, CANCEL, json!({ "id": id })).await, ["NOT_CANCELABLE id"]);
        app.clock.advance(Duration::from_mins(10));
        app.publish(json!(2)).await;
        assert_eq!(receiver.expect_requests(2).await[1].data(), json!(2), "the canceled one was due, and was not sent");
        app.api.data(RETRY, json!({ "id": id })).await;
        assert_eq!(receiver.expect_requests(3).await[2].data(), json!(1));
        app.deliveries_in("SUCCEEDED", 2).await;
        assert_eq!(problems(&app.api, CANCEL, json!({ "id": id })).await, ["NOT_CANCELABLE id"]);
        app.end().await;
    }

    async fn a_delivery_that_is_canceled_in_flight_stays_canceled_and_frees_the_line(app) {
        let receiver = app.receiver().await;
        receiver.hang();
        app.subscribe(receiver.url()).await;
        app.publish(json!(1)).await;
        receiver.expect_requests(1).await;
        let id = app.delivery_in("PENDING").await["id"].take();
        app.api.data(CANCEL, json!({ "id": id })).await;
        receiver.let_go(100);
        let recorded = async || {
            let delivery = app.delivery_in("CANCELED").await;
            (delivery["attempts"]["nodes"].as_array().map(Vec::len) == Some(1)).then_some(delivery)
        };
        let delivery = eventually("the attempt is recorded", recorded).await;
        assert_eq!(delivery["attempts"]["nodes"][0]["succeeded"], true);
        app.publish(json!(2)).await;
        receiver.expect_requests(2).await;
        app.delivery_in("SUCCEEDED").await;
        app.delivery_in("CANCELED").await;
        app.end().await;
    }

    async fn the_open_deliveries_of_an_event_are_canceled_and_the_others_stay(app) {
        let (good, bad) = (app.receiver().await, app.receiver().await.answer_statuses([500, 500]));
        app.subscribe(good.url()).await;
        app.subscribe(bad.url()).await;
        let event = app.publish(json!(1)).await;
        app.publish(json!(2)).await;
        app.deliveries_in("RETRYING", 2).await;
        app.deliveries_in("SUCCEEDED", 2).await;
        let canceled = app.api.data(CANCEL_EVENT, json!({ "id": event })).await["eventCancel"].take();
        assert_eq!(canceled, json!({ "canceledCount": 1, "event": { "id": event }, "userErrors": [] }));
        assert_eq!(app.delivery_in("CANCELED").await["event"]["id"], event);
        app.deliveries_in("RETRYING", 1).await;
        assert_eq!(app.api.data(CANCEL_EVENT, json!({ "id": event })).await["eventCancel"]["canceledCount"], 0);

        let writer = app.admin.with_key(&builder::key(&app.admin, &app.workspace, &["DELIVERY_WRITE"]).await);
        assert_eq!(writer.error_code(CANCEL_EVENT, json!({ "id": event })).await, "FORBIDDEN", "the event is not its to read");
        app.end().await;
    }

    async fn anothers_deliveries_and_events_cannot_be_canceled_or_tested(app) {
        let receiver = app.receiver().await;
        receiver.hang();
        let subscribed = app.subscribe(receiver.url()).await;
        let event = app.publish(json!(1)).await;
        let delivery = text(&app.delivery_in("PENDING").await["id"]);
        let (_, key) = builder::workspace_with_key(&app.admin, "Other").await;
        let other = app.admin.with_key(&key);
        for (mutation, id, unknown) in [(CANCEL, &delivery, "dlv"), (CANCEL_EVENT, &event, "evt"), (TEST, &subscribed.id, "sub")] {
            for id in [id, &format!("{unknown}_7zzzzzzzzzzzzzzzzzzzzzzzzz"), "nonsense"] {
                assert_eq!(problems(&other, mutation, json!({ "id": id, "eventType": "invoice.paid" })).await, ["NOT_FOUND id"]);
            }
        }
        app.delivery_in("PENDING").await;
        receiver.let_go(1);
        app.delivery_in("SUCCEEDED").await;
        app.end().await;
    }

    async fn a_test_goes_to_one_subscription_past_its_filter_and_its_hold_and_only_once(app) {
        let (receiver, bystander) = (app.receiver().await.answer_statuses([500]), app.receiver().await);
        let input = json!({ "eventTypes": ["invoice.*", "invoice.paid"], "channels": ["a"], "endpoint": { "url": receiver.url() } });
        let subscribed = builder::subscribe(&app.api, input).await;
        app.subscribe(bystander.url()).await;
        app.api.data(PAUSE, json!({ "id": subscribed.endpoint })).await;
        app.api.data(DISABLE, json!({ "ids": [subscribed.id] })).await;
        let sent = send_test(&app, json!({ "id": subscribed.id, "eventType": "sms.outbound", "payload": { "n": 1.0 } })).await;
        assert_eq!((&sent["delivery"]["trigger"], &sent["event"]["test"]), (&json!("TEST"), &json!(true)));
        assert_eq!(sent["event"]["eventType"]["name"], "sms.outbound");
        let received = receiver.expect_requests(1).await;
        assert_eq!((received[0].header("webhook-event-type"), received[0].header("webhook-id")), ("sms.outbound", sent["event"]["id"].as_str().expect("an ID")));
        assert!(received[0].is_verified_by_the_official_library(&subscribed.secret.expect("it is shown")));
        let ended = async || {
            let ask = "query($id: ID!) { delivery(id: $id) { status attemptCount nextAttemptAt } }";
            let delivery = app.api.data(ask, json!({ "id": sent["delivery"]["id"] })).await["delivery"].take();
            (delivery["attemptCount"] == 1).then_some(delivery)
        };
        let delivery = eventually("the test ends", ended).await;
        assert_eq!((&delivery["status"], &delivery["nextAttemptAt"]), (&json!("EXHAUSTED"), &json!(null)), "it is not tried again");
        assert!(bystander.received().is_empty());
        app.end().await;
    }

    async fn a_test_has_a_type_and_a_payload_although_none_is_given(app) {
        let receiver = app.receiver().await;
        let named = builder::subscribe(&app.api, json!({ "eventTypes": ["sms.*", "invoice.paid"], "endpoint": { "url": receiver.url() } })).await;
        let sent = send_test(&app, json!({ "id": named.id })).await;
        assert_eq!((&sent["event"]["eventType"]["name"], &sent["event"]["payload"]), (&json!("invoice.paid"), &json!({})));
        receiver.expect_requests(1).await;
        let update = "mutation { eventTypeUpdate(name: \"invoice.paid\", input: { samplePayload: { n: 7 } }) { userErrors { code } } }";
        app.admin.data(update, json!({})).await;
        send_test(&app, json!({ "id": named.id })).await;
        assert_eq!(receiver.expect_requests(2).await[1].data(), json!({ "n": 7 }));

        let any = builder::subscribe(&app.api, json!({ "eventTypes": ["*"], "endpoint": { "url": receiver.url() }, "expiresIn": "PT1M" })).await;
        for (variables, told) in [
            (json!({ "id": any.id }), "BLANK eventType"),
            (json!({ "id": any.id, "eventType": "no.such.type" }), "UNKNOWN_EVENT_TYPE eventType"),
            (json!({ "id": any.id, "eventType": "\0" }), "UNKNOWN_EVENT_TYPE eventType"),
            (json!({ "id": any.id, "eventType": "invoice.paid", "payload": "x".repeat(256 * 1024) }), "TOO_LONG payload"),
        ] {
            assert_eq!(problems(&app.api, TEST, variables).await, [told]);
        }
        app.clock.advance(Duration::from_mins(1));
        assert_eq!(problems(&app.api, TEST, json!({ "id": any.id, "eventType": "invoice.paid" })).await, ["EXPIRED id"]);
        app.deliveries_in("SUCCEEDED", 2).await;
        app.end().await;
    }

    async fn an_event_for_later_goes_out_when_it_is_due(app) {
        let receiver = app.receiver().await;
        app.subscribe(receiver.url()).await;
        publish_at(&app, 1, Duration::from_hours(1)).await;
        app.publish(json!(2)).await;
        assert_eq!(receiver.expect_requests(1).await[0].data(), json!(2));
        let waiting = app.delivery_in("PENDING").await;
        assert!(waiting["nextAttemptAt"].is_string(), "{waiting}");
        app.clock.advance(Duration::from_hours(1));
        let data: Vec<_> = receiver.expect_requests(2).await.iter().map(Received::data).collect();
        assert_eq!(data, [json!(2), json!(1)]);
        // What is past is at once.
        let past = json!({ "eventType": "invoice.paid", "payload": 3, "deliverAt": "2020-01-01T00:00:00Z" });
        builder::publish(&app.api, past).await;
        receiver.expect_requests(3).await;
        app.deliveries_in("SUCCEEDED", 3).await;
        app.end().await;
    }

    async fn an_event_for_later_is_refused_beyond_thirty_days_and_can_be_canceled_before(app) {
        let receiver = app.receiver().await;
        app.subscribe(receiver.url()).await;
        let far = (app.state().now() + Duration::from_hours(30 * 24) + Duration::from_millis(1)).to_string();
        for (at, told) in [(far.as_str(), "DELIVER_AT_TOO_FAR input.deliverAt"), ("soon", "INVALID input.deliverAt")] {
            let input = json!({ "eventType": "invoice.paid", "payload": 1, "deliverAt": at });
            assert_eq!(problems(&app.api, PUBLISH, json!({ "input": input })).await, [told]);
        }
        publish_at(&app, 1, Duration::from_hours(30 * 24)).await;
        let waiting = app.delivery_in("PENDING").await;
        app.api.data(CANCEL, json!({ "id": waiting["id"] })).await;
        app.delivery_in("CANCELED").await;
        app.clock.advance(Duration::from_hours(31 * 24));
        app.publish(json!(2)).await;
        app.delivery_in("SUCCEEDED").await;
        assert_eq!(receiver.expect_requests(1).await[0].data(), json!(2));
        assert_eq!(app.delivery_in("CANCELED").await["attemptCount"], 0);
        app.end().await;
    }
}
