//! Subscriptions change, are switched on and off, renewed and deleted.

use std::time::Duration;

use angarium_tests::app::{eventually, in_memory};
use angarium_tests::builder::{self, problems, text};
use angarium_tests::{Received, TestApp, on_both_databases};
use serde_json::{Value, json};

const SUBSCRIPTION: &str = "id version name description ownerId enabled status eventTypes channels metadata expiresAt \
    retryPolicy { strategy maxAttempts } endpoint { id url version }";
const DELETE: &str = "mutation($id: ID!, $keep: Boolean! = false) { webhookSubscriptionDelete(id: $id, keepEndpoint: $keep) \
    { deletedWebhookSubscriptionId userErrors { code message field } } }";
const RENEW: &str = "mutation($id: ID!, $expiresIn: Duration) { webhookSubscriptionRenew(id: $id, expiresIn: $expiresIn) \
    { webhookSubscription { version status expiresAt } userErrors { code message field } } }";
const ENABLE: &str = "mutation($ids: [ID!]!) { webhookSubscriptionsEnable(ids: $ids) \
    { webhookSubscriptions { id enabled version } userErrors { code message field } } }";
const DISABLE: &str = "mutation($ids: [ID!]!) { webhookSubscriptionsDisable(ids: $ids) \
    { webhookSubscriptions { id enabled version } userErrors { code message field } } }";
const RETRY: &str = "mutation($id: ID!) { deliveryRetry(id: $id) { userErrors { code message field } } }";
const DELETE_ENDPOINT: &str = "mutation($id: ID!, $discard: Boolean! = false) { webhookEndpointDelete(id: $id, discard: $discard) \
    { deletedWebhookEndpointId userErrors { code message field } } }";
const UNKNOWN: &str = "sub_7zzzzzzzzzzzzzzzzzzzzzzzzz";

fn update() -> String {
    format!(
        "mutation($id: ID!, $input: WebhookSubscriptionUpdateInput!, $version: Int) \
        {{ webhookSubscriptionUpdate(id: $id, input: $input, expectedVersion: $version) \
        {{ webhookSubscription {{ {SUBSCRIPTION} }} userErrors {{ code message field }} }} }}"
    )
}

async fn change(app: &TestApp, id: &str, input: Value) -> Value {
    let mut data = app.api.data(&update(), json!({ "id": id, "input": input })).await;
    assert_eq!(data["webhookSubscriptionUpdate"]["userErrors"], json!([]));
    data["webhookSubscriptionUpdate"]["webhookSubscription"].take()
}

async fn endpoint_exists(app: &TestApp, id: &str) -> bool {
    let ask = "query($id: ID!) { webhookEndpoint(id: $id) { id } }";
    app.api.data(ask, json!({ "id": id })).await["webhookEndpoint"].is_object()
}

on_both_databases! {
    async fn a_subscription_changes_only_what_is_given_and_counts_its_versions(app) {
        let subscribed = app.subscribe("https://example.com/in").await;
        let all = json!({ "name": "n", "description": "d", "ownerId": "o", "enabled": false, "eventTypes": ["invoice.paid", "sms.*", "sms.*"],
            "channels": ["a"], "metadata": { "k": 1.0 }, "retryPolicy": { "delays": [] } });
        let changed = change(&app, &subscribed.id, all).await;
        for (field, value) in [("version", json!(2)), ("name", json!("n")), ("description", json!("d")), ("ownerId", json!("o")), ("enabled", json!(false)), ("status", json!("DISABLED")), ("eventTypes", json!(["invoice.paid", "sms.*"])), ("channels", json!(["a"])), ("metadata", json!({ "k": 1.0 })), ("retryPolicy", json!({ "strategy": "CUSTOM", "maxAttempts": 1 }))] {
            assert_eq!(changed[field], value, "{field}");
        }
        assert_eq!(change(&app, &subscribed.id, json!({})).await, changed, "nothing is asked and nothing changes");
        let cleared = change(&app, &subscribed.id, json!({ "name": null, "description": null, "ownerId": null, "channels": null, "metadata": null, "retryPolicy": null })).await;
        for (field, value) in [("version", json!(3)), ("name", json!(null)), ("description", json!(null)), ("ownerId", json!(null)), ("enabled", json!(false)), ("eventTypes", json!(["invoice.paid", "sms.*"])), ("channels", json!(null)), ("metadata", json!(null)), ("retryPolicy", json!({ "strategy": "STANDARD", "maxAttempts": 10 }))] {
            assert_eq!(cleared[field], value, "{field}");
        }
        app.end().await;
    }

    async fn each_wrong_change_of_a_subscription_is_refused_and_changes_nothing(app) {
        let subscribed = app.subscribe("https://example.com/in").await;
        let refused = async |input: Value| problems(&app.api, &update(), json!({ "id": subscribed.id, "input": input })).await;
        for (input, told) in [
            (json!({ "name": "" }), "BLANK input.name"),
            (json!({ "enabled": null }), "BLANK input.enabled"),
            (json!({ "eventTypes": null }), "BLANK input.eventTypes"),
            (json!({ "eventTypes": [] }), "BLANK input.eventTypes"),
            (json!({ "eventTypes": ["no.such.type"] }), "UNKNOWN_EVENT_TYPE input.eventTypes.0"),
            (json!({ "channels": vec!["a"; 11] }), "TOO_MANY input.channels"),
            (json!({ "metadata": 3 }), "INVALID input.metadata"),
            (json!({ "retryPolicy": { "standard": { "maxAttempts": 11 } } }), "RETRY_POLICY_INVALID input.retryPolicy.standard.maxAttempts"),
            (json!({ "endpoint": null }), "BLANK input.endpoint"),
            (json!({ "endpoint": { "id": "ep_7zzzzzzzzzzzzzzzzzzzzzzzzz" } }), "NOT_FOUND input.endpoint.id"),
            (json!({ "endpoint": { "id": "nonsense" } }), "NOT_FOUND input.endpoint.id"),
            (json!({ "endpoint": { "update": { "url": "http://10.0.0.1/in" } } }), "URL_FORBIDDEN input.endpoint.update.url"),
            (json!({ "endpoint": { "update": { "signing": { "secret": "short" } } } }), "SECRET_WEAK input.endpoint.update.signing.secret"),
        ] {
            assert_eq!(refused(input.clone()).await, [told], "{input}");
        }
        let several = refused(json!({ "name": "", "endpoint": { "update": { "url": "" } } })).await;
        assert_eq!(several.len(), 2, "{several:?}");
        let stale = json!({ "id": subscribed.id, "input": { "name": "x" }, "version": 2 });
        assert_eq!(problems(&app.api, &update(), stale).await, ["CONFLICT expectedVersion"]);
        let unchanged = change(&app, &subscribed.id, json!({})).await;
        assert_eq!((&unchanged["version"], &unchanged["endpoint"]["version"]), (&json!(1), &json!(1)));
        let (_, key) = builder::workspace_with_key(&app.admin, "Other").await;
        let other = app.admin.with_key(&key);
        let foreign = builder::subscribe(&other, json!({ "eventTypes": ["*"], "endpoint": { "url": "https://example.com/x" } })).await;
        assert_eq!(refused(json!({ "endpoint": { "id": foreign.endpoint } })).await, ["NOT_FOUND input.endpoint.id"]);
        let update = update();
        for mutation in [&update, DELETE, RENEW] {
            for id in [subscribed.id.as_str(), UNKNOWN, "nonsense"] {
                let variables = json!({ "id": id, "input": {}, "expiresIn": "P1D" });
                assert_eq!(problems(&other, mutation, variables).await, ["NOT_FOUND id"], "{mutation}");
            }
        }
        app.end().await;
    }

    async fn an_archived_type_that_a_subscription_has_stays_in_its_list(app) {
        let input = json!({ "eventTypes": ["invoice.paid"], "endpoint": { "url": "https://example.com/in" } });
        let subscribed = builder::subscribe(&app.api, input).await;
        for name in ["invoice.paid", "sms.outbound"] {
            let archive = "mutation($name: EventTypeName!) { eventTypeArchive(name: $name) { userErrors { code } } }";
            app.admin.data(archive, json!({ "name": name })).await;
        }
        let kept = change(&app, &subscribed.id, json!({ "eventTypes": ["invoice.paid", "order.*"] })).await;
        assert_eq!(kept["eventTypes"], json!(["invoice.paid", "order.*"]));
        let wrong = json!({ "id": subscribed.id, "input": { "eventTypes": ["invoice.paid", "sms.outbound"] } });
        assert_eq!(problems(&app.api, &update(), wrong).await, ["UNKNOWN_EVENT_TYPE input.eventTypes.1"]);
        app.end().await;
    }

    async fn new_events_follow_the_change_and_the_url_of_the_present_endpoint_changes_with_it(app) {
        let (old, new) = (app.receiver().await, app.receiver().await);
        let subscribed = app.subscribe(old.url()).await;
        let input = json!({ "eventTypes": ["sms.outbound"], "endpoint": { "update": { "url": new.url() } } });
        let changed = change(&app, &subscribed.id, input).await;
        assert_eq!((&changed["version"], &changed["endpoint"]["version"], &changed["endpoint"]["url"]), (&json!(2), &json!(2), &json!(new.url())));
        app.publish(json!(1)).await;
        builder::publish(&app.api, json!({ "eventType": "sms.outbound", "payload": 2 })).await;
        assert_eq!(new.expect_requests(1).await[0].data(), json!(2));
        app.delivery_in("SUCCEEDED").await;
        assert!(old.received().is_empty());
        app.end().await;
    }

    async fn after_a_move_to_another_endpoint_open_deliveries_stay_with_theirs(app) {
        let (old, new) = (app.receiver().await.answer_statuses([500]), app.receiver().await);
        let subscribed = app.subscribe(old.url()).await;
        let other = app.subscribe(new.url()).await;
        app.api.data(DELETE, json!({ "id": other.id, "keep": true })).await;
        app.publish(json!(1)).await;
        app.delivery_in("RETRYING").await;
        assert_eq!(change(&app, &subscribed.id, json!({ "endpoint": { "id": other.endpoint } })).await["endpoint"]["id"], other.endpoint);
        assert_eq!(problems(&app.api, DELETE_ENDPOINT, json!({ "id": subscribed.endpoint })).await, ["DELIVERIES_WAITING id"]);
        app.publish(json!(2)).await;
        assert_eq!(new.expect_requests(1).await[0].data(), json!(2));
        app.clock.advance(Duration::from_secs(6));
        assert_eq!(old.expect_requests(2).await[1].data(), json!(1));
        app.deliveries_in("SUCCEEDED", 2).await;
        assert_eq!(app.api.data(DELETE_ENDPOINT, json!({ "id": subscribed.endpoint })).await["webhookEndpointDelete"]["userErrors"], json!([]));
        app.end().await;
    }

    async fn a_deleted_endpoint_takes_its_discarded_deliveries_with_it(app) {
        let receiver = app.receiver().await.answer_statuses([500]);
        let subscribed = app.subscribe(receiver.url()).await;
        let kept = app.subscribe("https://example.com/in").await;
        app.api.data(DISABLE, json!({ "ids": [kept.id] })).await;
        app.publish(json!(1)).await;
        app.delivery_in("RETRYING").await;
        change(&app, &subscribed.id, json!({ "endpoint": { "id": kept.endpoint } })).await;
        let deleted = app.api.data(DELETE_ENDPOINT, json!({ "id": subscribed.endpoint, "discard": true })).await;
        assert_eq!(deleted["webhookEndpointDelete"]["deletedWebhookEndpointId"], subscribed.endpoint);
        let canceled = app.delivery_in("CANCELED").await;
        assert!(text(&canceled["statusReason"]).contains("endpoint was deleted") && canceled["endpoint"].is_null(), "{canceled}");
        assert_eq!(problems(&app.api, RETRY, json!({ "id": canceled["id"] })).await, ["NOT_RETRYABLE id"]);
        app.end().await;
    }

    async fn the_deliveries_of_a_disabled_subscription_wait_and_go_out_in_order(app) {
        let receiver = app.receiver().await;
        receiver.hang();
        let subscribed = app.subscribe(receiver.url()).await;
        for n in 1..=3 {
            app.publish(json!(n)).await;
        }
        receiver.expect_requests(1).await;
        let held = in_memory(&app).await;
        let disabled = app.api.data(DISABLE, json!({ "ids": [subscribed.id] })).await["webhookSubscriptionsDisable"].take();
        assert_eq!(disabled, json!({ "webhookSubscriptions": [{ "id": subscribed.id, "enabled": false, "version": 2 }], "userErrors": [] }));
        let dropped = async || (in_memory(&app).await < held).then_some(());
        eventually("the endpoint has heard of it", dropped).await;
        receiver.let_go(100);
        app.deliveries_in("SUCCEEDED", 1).await;
        app.publish(json!("not matched")).await;
        let waiting = app.deliveries_in("PENDING", 2).await;
        assert_eq!(waiting.len(), 2);
        let again = app.api.data(DISABLE, json!({ "ids": [subscribed.id] })).await["webhookSubscriptionsDisable"].take();
        assert_eq!(again["webhookSubscriptions"], json!([]), "it did not change");
        assert_eq!(receiver.received().len(), 1);
        app.api.data(ENABLE, json!({ "ids": [subscribed.id] })).await;
        // What is published at once still comes after what waited.
        app.publish(json!(4)).await;
        let data: Vec<_> = receiver.expect_requests(4).await.iter().map(Received::data).collect();
        assert_eq!(data, [json!(1), json!(2), json!(3), json!(4)]);
        app.deliveries_in("SUCCEEDED", 4).await;
        app.end().await;
    }

    async fn subscriptions_are_switched_all_or_none(app) {
        let (one, two) = (app.subscribe("https://example.com/1").await, app.subscribe("https://example.com/2").await);
        let (_, key) = builder::workspace_with_key(&app.admin, "Other").await;
        let other = app.admin.with_key(&key);
        let foreign = builder::subscribe(&other, json!({ "eventTypes": ["*"], "endpoint": { "url": "https://example.com/x" } })).await;
        let ids = json!({ "ids": [one.id, UNKNOWN, two.id, foreign.id, "nonsense"] });
        assert_eq!(problems(&app.api, DISABLE, ids).await, ["NOT_FOUND ids.1", "NOT_FOUND ids.3", "NOT_FOUND ids.4"]);
        assert_eq!(problems(&app.api, ENABLE, json!({ "ids": vec![&one.id; 101] })).await, ["TOO_MANY ids"]);
        assert_eq!(change(&app, &one.id, json!({})).await["enabled"], true);
        let both = app.api.data(DISABLE, json!({ "ids": [two.id, one.id, two.id] })).await["webhookSubscriptionsDisable"]["webhookSubscriptions"].take();
        assert_eq!(both, json!([{ "id": two.id, "enabled": false, "version": 2 }, { "id": one.id, "enabled": false, "version": 2 }]));
        // The operator reaches every workspace.
        let all = app.admin.data(ENABLE, json!({ "ids": [two.id, foreign.id] })).await["webhookSubscriptionsEnable"].take();
        assert_eq!(all["webhookSubscriptions"].as_array().map(Vec::len), Some(1), "{all}");
        app.end().await;
    }

    async fn the_open_deliveries_of_a_deleted_subscription_are_canceled_and_its_endpoint_goes(app) {
        let receiver = app.receiver().await.answer_statuses([500]);
        let subscribed = app.subscribe(receiver.url()).await;
        app.publish(json!(1)).await;
        app.delivery_in("RETRYING").await;
        let deleted = app.api.data(DELETE, json!({ "id": subscribed.id })).await["webhookSubscriptionDelete"].take();
        assert_eq!(deleted, json!({ "deletedWebhookSubscriptionId": subscribed.id, "userErrors": [] }));
        let canceled = app.delivery_in("CANCELED").await;
        assert!(text(&canceled["statusReason"]).contains("subscription was deleted"), "{canceled}");
        assert_eq!((&canceled["subscription"], &canceled["endpoint"]), (&json!(null), &json!(null)));
        assert!(!endpoint_exists(&app, &subscribed.endpoint).await);
        app.publish(json!(2)).await;
        app.clock.advance(Duration::from_mins(10));
        assert_eq!(problems(&app.api, RETRY, json!({ "id": canceled["id"] })).await, ["SUBSCRIPTION_GONE id"]);
        assert_eq!(problems(&app.api, DELETE, json!({ "id": subscribed.id })).await, ["NOT_FOUND id"]);
        app.delivery_in("CANCELED").await;
        receiver.expect_requests(1).await;
        app.end().await;
    }

    async fn an_inline_endpoint_goes_with_its_last_subscription_unless_kept(app) {
        let first = app.subscribe("https://example.com/1").await;
        let second = builder::subscribe(&app.api, json!({ "eventTypes": ["*"], "endpoint": { "id": first.endpoint } })).await;
        app.api.data(DELETE, json!({ "id": first.id })).await;
        assert!(endpoint_exists(&app, &first.endpoint).await, "another subscription uses it");
        app.api.data(DELETE, json!({ "id": second.id, "keep": true })).await;
        assert!(endpoint_exists(&app, &first.endpoint).await, "it is kept");
        let third = builder::subscribe(&app.api, json!({ "eventTypes": ["*"], "endpoint": { "id": first.endpoint } })).await;
        app.api.data(DELETE, json!({ "id": third.id })).await;
        assert!(endpoint_exists(&app, &first.endpoint).await, "it was kept for good");
        app.end().await;
    }

    async fn a_renewed_subscription_ends_later_and_matches_again(app) {
        let receiver = app.receiver().await;
        let input = json!({ "eventTypes": ["*"], "endpoint": { "url": receiver.url() }, "expiresIn": "PT1M" });
        let subscribed = builder::subscribe(&app.api, input).await;
        app.clock.advance(Duration::from_mins(2));
        app.publish(json!(1)).await;
        let renewed = app.api.data(RENEW, json!({ "id": subscribed.id, "expiresIn": "P1D" })).await["webhookSubscriptionRenew"]["webhookSubscription"].take();
        let end = (app.state().now() + Duration::from_hours(24)).to_string();
        assert_eq!(renewed, json!({ "version": 2, "status": "ACTIVE", "expiresAt": end }));
        app.publish(json!(2)).await;
        assert_eq!(receiver.expect_requests(1).await[0].data(), json!(2));
        for (expires_in, told) in [(json!(null), "BLANK expiresIn"), (json!("PT59S"), "INVALID expiresIn"), (json!("P3651D"), "INVALID expiresIn"), (json!("P1Y"), "INVALID expiresIn")] {
            assert_eq!(problems(&app.api, RENEW, json!({ "id": subscribed.id, "expiresIn": expires_in })).await, [told]);
        }
        app.end().await;
    }
}
