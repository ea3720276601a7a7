//! Subscriptions choose by content what they are sent, and how much of it.

use std::time::Duration;

use angarium_entity::subscription_revision;
use angarium_tests::app::{count, eventually};
use angarium_tests::builder::{self, problems, text};
use angarium_tests::{Received, TestApp, on_both_databases};
use serde_json::{Value, json};

const CREATE: &str = "mutation($input: WebhookSubscriptionCreateInput!) { webhookSubscriptionCreate(input: $input) \
    { webhookSubscription { id filter payloadFields } userErrors { code message field } } }";
const UPDATE: &str = "mutation($id: ID!, $input: WebhookSubscriptionUpdateInput!) { webhookSubscriptionUpdate(id: $id, input: $input) \
    { webhookSubscription { filter payloadFields version } userErrors { code message field } } }";
const BATCH: &str = "mutation($inputs: [EventPublishInput!]!) { eventPublishBatch(inputs: $inputs) \
    { results { event { id } userErrors { code } } userErrors { code } } }";
const DISABLE: &str = "mutation($ids: [ID!]!) { webhookSubscriptionsDisable(ids: $ids) { userErrors { code } } }";
const ENABLE: &str = "mutation($ids: [ID!]!) { webhookSubscriptionsEnable(ids: $ids) { userErrors { code } } }";
/// Uses up its steps over a payload of many numbers.
const HOSTILE: &str = "event.payload.all(a, event.payload.all(b, event.payload.all(c, a == b && b == c)))";

async fn subscribe(app: &TestApp, url: &str, more: Value) -> builder::Subscribed {
    let mut input = json!({ "eventTypes": ["*"], "endpoint": { "url": url } });
    let fields = input.as_object_mut().expect("it is an object");
    fields.extend(more.as_object().expect("it is an object").clone());
    builder::subscribe(&app.api, input).await
}

async fn change(app: &TestApp, id: &str, input: Value) -> Value {
    let mut data = app.api.data(UPDATE, json!({ "id": id, "input": input })).await;
    assert_eq!(data["webhookSubscriptionUpdate"]["userErrors"], json!([]));
    data["webhookSubscriptionUpdate"]["webhookSubscription"].take()
}

/// JSON whose digits and order are kept.
fn exact(text: &str) -> Value {
    serde_json::from_str(text).expect("it is JSON")
}

on_both_databases! {
    async fn only_what_a_filter_accepts_is_delivered_and_what_it_fails_on_is_not(app) {
        let (receiver, all) = (app.receiver().await, app.receiver().await);
        let filter = r#"event.type == "invoice.paid" && ("eu" in event.channels || event.payload.total > 100)"#;
        let subscribed = subscribe(&app, receiver.url(), json!({ "filter": filter })).await;
        app.subscribe(all.url()).await;
        for payload in [r#"{"n":1,"total":100}"#, r#"{"n":2,"total":100.5}"#, r#"{"n":3}"#, r#"{"n":4,"total":"x"}"#, r#"{"n":5,"total":12345678901234567890123}"#, r#"{"n":6,"total":1e400}"#, "false", "[]"] {
            app.publish(exact(payload)).await;
        }
        builder::publish(&app.api, json!({ "eventType": "invoice.paid", "payload": { "n": 7 }, "channels": ["eu"] })).await;
        builder::publish(&app.api, json!({ "eventType": "sms.outbound", "payload": { "n": 8, "total": 200 } })).await;
        let numbers = |received: Vec<Received>| received.iter().map(|one| one.data()["n"].clone()).collect::<Vec<_>>();
        assert_eq!(numbers(receiver.expect_requests(4).await), [json!(2), json!(5), json!(6), json!(7)]);
        all.expect_requests(10).await;

        let changed = change(&app, &subscribed.id, json!({ "filter": "event.payload.n in [10, 12]" })).await;
        assert_eq!((&changed["filter"], &changed["version"]), (&json!("event.payload.n in [10, 12]"), &json!(2)));
        let inputs: Vec<_> = (9..=12).map(|n| json!({ "eventType": "invoice.paid", "payload": { "n": n, "total": 500 } })).collect();
        let batch = app.api.data(BATCH, json!({ "inputs": inputs })).await;
        assert_eq!(batch["eventPublishBatch"]["results"].as_array().map(Vec::len), Some(4));
        assert_eq!(numbers(receiver.expect_requests(6).await)[4..], [json!(10), json!(12)]);

        assert_eq!(change(&app, &subscribed.id, json!({ "filter": null })).await["filter"], json!(null));
        app.publish(json!({ "n": 13 })).await;
        assert_eq!(numbers(receiver.expect_requests(7).await)[6..], [json!(13)]);
        app.deliveries_in("SUCCEEDED", 22).await;
        assert_eq!(count::<subscription_revision::Entity>(&app).await, 2, "a filter is no part of a request");
        app.end().await;
    }

    async fn of_two_subscriptions_to_an_endpoint_the_oldest_that_accepts_decides(app) {
        let receiver = app.receiver().await;
        let first = subscribe(&app, receiver.url(), json!({ "filter": "event.payload.n == 1" })).await;
        let input = json!({ "eventTypes": ["*"], "endpoint": { "id": first.endpoint }, "filter": "event.payload.n >= 1" });
        let second = builder::subscribe(&app.api, input).await;
        for n in 0..=2 {
            app.publish(json!({ "n": n })).await;
        }
        let mut found: Vec<_> = app.deliveries_in("SUCCEEDED", 2).await.iter().map(|delivery| text(&delivery["subscription"]["id"])).collect();
        let mut wanted = vec![first.id, second.id];
        found.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(found, wanted);
        app.end().await;
    }

    async fn a_filter_that_uses_up_its_steps_matches_nothing_and_stops_nobody(app) {
        let (receiver, others) = (app.receiver().await, app.receiver().await);
        for _ in 0..3 {
            subscribe(&app, receiver.url(), json!({ "filter": HOSTILE })).await;
        }
        let (_, key) = builder::workspace_with_key(&app.admin, "Other").await;
        let other = app.admin.with_key(&key);
        builder::subscribe(&other, json!({ "eventTypes": ["*"], "endpoint": { "url": others.url() }, "filter": "event.payload.n == 1" })).await;
        let numbers: Value = (0..60_000).map(|_| 1).collect();
        let hostile = futures_util::future::join_all((0..8).map(|_| app.publish(numbers.clone())));
        let quiet = async {
            for n in 0..4 {
                builder::publish(&other, json!({ "eventType": "invoice.paid", "payload": { "n": n } })).await;
            }
        };
        futures_util::future::join(hostile, quiet).await;
        assert_eq!(others.expect_requests(1).await[0].data(), json!({ "n": 1 }));
        let settled = async || {
            let data = other.data("{ deliveries(where: { status: [SUCCEEDED] }) { nodes { id } } }", json!({})).await;
            (data["deliveries"]["nodes"].as_array().map(Vec::len) == Some(1)).then_some(())
        };
        eventually("the delivery is recorded", settled).await;
        assert!(receiver.received().is_empty());
        app.end().await;
    }

    async fn what_is_no_filter_or_no_field_is_refused_with_the_place_and_all_at_once(app) {
        let input = |more: Value| {
            let mut input = json!({ "eventTypes": ["*"], "endpoint": { "url": "https://example.com/in" } });
            input.as_object_mut().expect("it is one").extend(more.as_object().expect("it is one").clone());
            json!({ "input": input })
        };
        let subscribed = app.subscribe("https://example.com/in").await;
        for (more, told) in [
            (json!({ "filter": "" }), "BLANK input.filter"),
            (json!({ "filter": " " }), "BLANK input.filter"),
            (json!({ "filter": "x".repeat(2_001) }), "TOO_LONG input.filter"),
            (json!({ "filter": "event.type = 'a'" }), "FILTER_INVALID input.filter"),
            (json!({ "filter": "event.payload.total >" }), "FILTER_INVALID input.filter"),
            (json!({ "filter": "(".repeat(2_000) }), "FILTER_INVALID input.filter"),
            (json!({ "payloadFields": [] }), "BLANK input.payloadFields"),
            (json!({ "payloadFields": ["a", ""] }), "BLANK input.payloadFields.1"),
            (json!({ "payloadFields": ["x".repeat(257)] }), "TOO_LONG input.payloadFields.0"),
            (json!({ "payloadFields": vec!["a"; 101] }), "TOO_MANY input.payloadFields"),
        ] {
            assert_eq!(problems(&app.api, CREATE, input(more.clone())).await, [told], "{more}");
            let variables = json!({ "id": subscribed.id, "input": more });
            assert_eq!(problems(&app.api, UPDATE, variables).await, [told], "{more}");
        }
        let both = input(json!({ "filter": "evnt.type == 'a'", "payloadFields": [""] }));
        let data = app.api.data(CREATE, both).await;
        let errors = data["webhookSubscriptionCreate"]["userErrors"].as_array().expect("a list").clone();
        assert_eq!(errors.len(), 2);
        let message = text(&errors[0]["message"]);
        assert!(message.contains("line 1, column 1: `evnt` is not a variable; there are `event.type`"), "{message}");
        assert_eq!(change(&app, &subscribed.id, json!({})).await["version"], json!(1));
        app.end().await;
    }

    async fn chosen_fields_are_sent_to_the_letter_and_an_old_attempt_shows_what_it_sent(app) {
        let receiver = app.receiver().await.answer_statuses([500]);
        let fields = json!({ "payloadFields": ["a", "b", "b", "absent"], "endpoint": { "create": { "url": receiver.url(), "bodyFormat": "RAW" } } });
        let subscribed = subscribe(&app, receiver.url(), fields).await;
        app.publish(exact(r#"{"b":1.0,"x":"secret","a":{"z":1e400,"k":"é\u00e9","n":12345678901234567890123}}"#)).await;
        let first = r#"{"b":1.0,"a":{"z":1e+400,"k":"éé","n":12345678901234567890123}}"#;
        let received = receiver.expect_requests(1).await;
        assert_eq!(received[0].body, first);
        assert!(received[0].is_verified_by_the_official_library(subscribed.secret.as_ref().expect("it is shown")));
        assert_eq!(app.delivery_in("RETRYING").await["body"], first);

        let changed = change(&app, &subscribed.id, json!({ "payloadFields": ["x"] })).await;
        assert_eq!(changed["payloadFields"], json!(["x"]));
        assert_eq!(app.delivery_in("RETRYING").await["body"], r#"{"x":"secret"}"#, "what will be sent");
        app.clock.advance(Duration::from_secs(6));
        assert_eq!(receiver.expect_requests(2).await[1].body, r#"{"x":"secret"}"#);
        app.delivery_in("SUCCEEDED").await;
        change(&app, &subscribed.id, json!({ "payloadFields": null, "name": "n" })).await;
        change(&app, &subscribed.id, json!({ "name": "m" })).await;
        let delivery = app.delivery_in("SUCCEEDED").await;
        assert_eq!(delivery["body"], r#"{"x":"secret"}"#, "what was sent last");
        let bodies: Vec<_> = delivery["attempts"]["nodes"].as_array().expect("a list").iter().map(|attempt| &attempt["request"]["body"]).collect();
        assert_eq!(bodies, [&json!(first), &json!(r#"{"x":"secret"}"#)]);
        assert_eq!(count::<subscription_revision::Entity>(&app).await, 3, "a name is no part of a request");

        app.publish(exact(r#"{"x":1.50}"#)).await;
        assert_eq!(receiver.expect_requests(3).await[2].body, r#"{"x":1.50}"#);
        change(&app, &subscribed.id, json!({ "payloadFields": ["x"] })).await;
        app.publish(json!([1])).await;
        assert_eq!(receiver.expect_requests(4).await[3].body, "{}", "what is no object has no fields");
        app.deliveries_in("SUCCEEDED", 3).await;
        app.end().await;
    }

    async fn what_a_subscription_left_behind_at_an_endpoint_keeps_its_policy_and_its_hold(app) {
        let (old, new) = (app.receiver().await.answer_statuses([500, 500]), app.receiver().await);
        let left = json!({ "retryPolicy": { "delays": ["PT1H"] }, "payloadFields": ["n"] });
        let subscribed = subscribe(&app, old.url(), left).await;
        let other = app.subscribe(new.url()).await;
        app.api.data(DISABLE, json!({ "ids": [other.id] })).await;
        app.publish(json!({ "n": 1, "x": 2 })).await;
        app.delivery_in("RETRYING").await;
        change(&app, &subscribed.id, json!({ "endpoint": { "id": other.endpoint } })).await;

        app.api.data(DISABLE, json!({ "ids": [subscribed.id] })).await;
        app.clock.advance(Duration::from_hours(2));
        // Another subscription's delivery at the same endpoint is due as well and goes out: the first was looked at.
        let input = json!({ "eventTypes": ["*"], "endpoint": { "id": subscribed.endpoint }, "retryPolicy": { "delays": [] } });
        let bystander = builder::subscribe(&app.api, input).await;
        app.publish(json!({ "n": 2, "x": 2 })).await;
        assert_eq!(old.expect_requests(2).await[1].data(), json!({ "n": 2, "x": 2 }));
        app.delivery_in("EXHAUSTED").await;
        assert_eq!(app.delivery_in("RETRYING").await["attemptCount"], 1, "it waits while its subscription is disabled");

        app.api.data(DISABLE, json!({ "ids": [bystander.id] })).await;
        app.api.data(ENABLE, json!({ "ids": [subscribed.id] })).await;
        assert_eq!(old.expect_requests(3).await[2].data(), json!({ "n": 1 }));
        app.delivery_in("SUCCEEDED").await;
        assert!(new.received().is_empty());
        app.end().await;
    }
}
