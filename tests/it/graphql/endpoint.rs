//! Endpoints change, get another secret, and end.

use std::time::Duration;

use angarium_entity::endpoint_revision;
use angarium_tests::app::{count, eventually, in_memory};
use angarium_tests::builder::{self, problems, text};
use angarium_tests::{TestApp, on_both_databases};
use serde_json::{Value, json};

const ENDPOINT: &str = "id version name description url headers { name value } bodyFormat ordering maxInFlight timeout \
    signing { scheme secretHint rotatedAt previousSecretExpiresAt } backlog";
const ROTATE: &str = "mutation($id: ID!, $secret: String, $overlap: Duration! = \"PT24H\") \
    { webhookEndpointSecretRotate(id: $id, secret: $secret, overlap: $overlap) \
    { signingSecret webhookEndpoint { version signing { scheme secretHint rotatedAt previousSecretExpiresAt } } userErrors { code message field } } }";
const DELETE: &str = "mutation($id: ID!, $discard: Boolean! = false) { webhookEndpointDelete(id: $id, discard: $discard) \
    { deletedWebhookEndpointId userErrors { code message field } } }";
const DISCARD: &str = "mutation($id: ID!, $before: DateTime) { webhookEndpointBacklogDiscard(id: $id, before: $before) \
    { discardedCount webhookEndpoint { id backlog } userErrors { code message field } } }";
const UNKNOWN: &str = "ep_7zzzzzzzzzzzzzzzzzzzzzzzzz";

fn update() -> String {
    format!(
        "mutation($id: ID!, $input: WebhookEndpointUpdateInput!, $version: Int) \
        {{ webhookEndpointUpdate(id: $id, input: $input, expectedVersion: $version) \
        {{ webhookEndpoint {{ {ENDPOINT} }} userErrors {{ code message field }} }} }}"
    )
}

async fn change(app: &TestApp, id: &str, input: Value) -> Value {
    let mut data = app.api.data(&update(), json!({ "id": id, "input": input })).await;
    assert_eq!(data["webhookEndpointUpdate"]["userErrors"], json!([]));
    data["webhookEndpointUpdate"]["webhookEndpoint"].take()
}

/// An endpoint without a subscription.
async fn lonely(app: &TestApp, url: &str) -> String {
    let create = "mutation($url: URL!) { webhookEndpointCreate(input: { url: $url }) { webhookEndpoint { id } } }";
    text(&app.api.data(create, json!({ "url": url })).await["webhookEndpointCreate"]["webhookEndpoint"]["id"])
}

on_both_databases! {
    async fn an_endpoint_changes_only_what_is_given_and_counts_its_versions(app) {
        let receiver = app.receiver().await;
        let id = lonely(&app, receiver.url()).await;
        let all = json!({ "name": "n", "description": "d", "url": "https://example.com/x", "bodyFormat": "RAW", "ordering": "NONE",
            "maxInFlight": 8, "timeout": "PT30S", "headers": [{ "name": "X-Team", "value": "a" }] });
        let changed = change(&app, &id, all).await;
        assert_eq!(changed["version"], 2);
        for (field, value) in [("name", json!("n")), ("description", json!("d")), ("url", json!("https://example.com/x")), ("bodyFormat", json!("RAW")), ("ordering", json!("NONE")), ("maxInFlight", json!(8)), ("timeout", json!("PT30S")), ("headers", json!([{ "name": "x-team", "value": "a" }]))] {
            assert_eq!(changed[field], value, "{field}");
        }
        assert_eq!(change(&app, &id, json!({})).await, changed, "nothing is asked and nothing changes");
        let cleared = change(&app, &id, json!({ "name": null, "description": null, "headers": null, "timeout": null, "bodyFormat": null, "ordering": null })).await;
        assert_eq!(cleared["version"], 3);
        for (field, value) in [("name", json!(null)), ("description", json!(null)), ("url", json!("https://example.com/x")), ("bodyFormat", json!("ENVELOPE")), ("ordering", json!("FIFO")), ("maxInFlight", json!(1)), ("timeout", json!("PT15S")), ("headers", json!([]))] {
            assert_eq!(cleared[field], value, "{field}");
        }
        assert_eq!(change(&app, &id, json!({ "ordering": "NONE" })).await["maxInFlight"], 16);
        assert_eq!(count::<endpoint_revision::Entity>(&app).await, 4);
        app.end().await;
    }

    async fn what_ends_a_strict_line_and_a_rate_limit_are_set_changed_and_taken_back(app) {
        let fields = "webhookEndpoint { id version ordering onExhausted rateLimitPerSecond maxInFlight } userErrors { code message field }";
        let create = format!("mutation($input: WebhookEndpointCreateInput!) {{ webhookEndpointCreate(input: $input) {{ {fields} }} }}");
        let update = format!("mutation($id: ID!, $input: WebhookEndpointUpdateInput!) {{ webhookEndpointUpdate(id: $id, input: $input) {{ {fields} }} }}");
        let input = json!({ "url": "https://example.com/in", "ordering": "STRICT", "onExhausted": "PAUSE", "rateLimitPerSecond": 5 });
        let mut endpoint = app.api.data(&create, json!({ "input": input })).await["webhookEndpointCreate"]["webhookEndpoint"].take();
        let id = endpoint["id"].take();
        assert_eq!(endpoint, json!({ "id": null, "version": 1, "ordering": "STRICT", "onExhausted": "PAUSE", "rateLimitPerSecond": 5, "maxInFlight": 1 }));
        for (input, on_exhausted, limit) in [
            (json!({ "onExhausted": "SKIP" }), "SKIP", json!(5)),
            (json!({ "rateLimitPerSecond": 10_000, "onExhausted": "PAUSE" }), "PAUSE", json!(10_000)),
            (json!({ "rateLimitPerSecond": null, "onExhausted": null }), "SKIP", json!(null)),
        ] {
            let changed = app.api.data(&update, json!({ "id": id, "input": input })).await["webhookEndpointUpdate"].take();
            assert_eq!(changed["userErrors"], json!([]), "{input}");
            let changed = &changed["webhookEndpoint"];
            assert_eq!((&changed["onExhausted"], &changed["rateLimitPerSecond"]), (&json!(on_exhausted), &limit), "{input}");
        }
        let wrong = json!({ "id": id, "input": { "rateLimitPerSecond": 0 } });
        assert_eq!(problems(&app.api, &update, wrong).await, ["INVALID input.rateLimitPerSecond"]);
        app.end().await;
    }

    async fn each_wrong_change_of_an_endpoint_is_refused_and_changes_nothing(app) {
        let id = lonely(&app, "https://example.com/in").await;
        for (input, told) in [
            (json!({ "url": null }), "BLANK input.url"),
            (json!({ "url": "ftp://example.com" }), "INVALID input.url"),
            (json!({ "url": "http://10.0.0.1/in" }), "URL_FORBIDDEN input.url"),
            (json!({ "name": "" }), "BLANK input.name"),
            (json!({ "headers": [{ "name": "Host", "value": "x" }] }), "HEADER_FORBIDDEN input.headers.0.name"),
            (json!({ "maxInFlight": 2 }), "INVALID input.maxInFlight"),
            (json!({ "timeout": "PT2M" }), "INVALID input.timeout"),
            (json!({ "signing": null }), "BLANK input.signing"),
            (json!({ "signing": { "scheme": "TWO_SECRET" } }), "BLANK input.signing.secret"),
            (json!({ "signing": { "scheme": "GITHUB", "secret": "short" } }), "SECRET_WEAK input.signing.secret"),
            (json!({ "signing": { "scheme": "SHOPIFY", "secret": "x".repeat(257) } }), "TOO_LONG input.signing.secret"),
            (json!({ "signing": { "scheme": "STRIPE", "secret": "two\nlines of it" } }), "INVALID input.signing.secret"),
            (json!({ "signing": { "scheme": "ED25519", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" } }), "INVALID input.signing.secret"),
            (json!({ "signing": { "secret": "short" } }), "SECRET_WEAK input.signing.secret"),
            (json!({ "signing": { "scheme": "NONE", "secret": "sixteen-letters!" } }), "INVALID input.signing.secret"),
        ] {
            assert_eq!(problems(&app.api, &update(), json!({ "id": id, "input": input })).await, [told], "{input}");
        }
        let stale = json!({ "id": id, "input": { "name": "x" }, "version": 2 });
        assert_eq!(problems(&app.api, &update(), stale).await, ["CONFLICT expectedVersion"]);
        let unchanged = change(&app, &id, json!({})).await;
        assert_eq!((&unchanged["version"], &unchanged["name"]), (&json!(1), &json!(null)));
        let fresh = json!({ "id": id, "input": { "name": "x" }, "version": 1 });
        assert!(problems(&app.api, &update(), fresh).await.is_empty());
        app.end().await;
    }

    async fn anothers_endpoint_looks_like_one_that_does_not_exist(app) {
        let id = lonely(&app, "https://example.com/in").await;
        let (_, key) = builder::workspace_with_key(&app.admin, "Other").await;
        let other = app.admin.with_key(&key);
        let update = update();
        for mutation in [&update, ROTATE, DELETE, DISCARD] {
            for id in [id.as_str(), UNKNOWN, "nonsense"] {
                assert_eq!(problems(&other, mutation, json!({ "id": id, "input": {} })).await, ["NOT_FOUND id"], "{mutation}");
            }
        }
        assert_eq!(change(&app, &id, json!({})).await["version"], 1);
        app.end().await;
    }

    async fn the_next_request_goes_to_the_new_url_with_the_new_headers(app) {
        let (old, new) = (app.receiver().await.answer_statuses([500]), app.receiver().await);
        let subscribed = app.subscribe(old.url()).await;
        app.publish(json!(1)).await;
        app.delivery_in("RETRYING").await;
        change(&app, &subscribed.endpoint, json!({ "url": new.url(), "headers": [{ "name": "x-team", "value": "a" }], "bodyFormat": "RAW" })).await;
        app.publish(json!(2)).await;
        new.expect_requests(1).await;
        app.clock.advance(Duration::from_secs(6));
        let received = new.expect_requests(2).await;
        assert!(received.iter().all(|request| request.header("x-team") == "a"));
        assert_eq!(received.iter().map(|request| request.body.as_str()).collect::<Vec<_>>(), ["2", "1"]);
        let delivered = app.deliveries_in("SUCCEEDED", 2).await;
        // An old attempt shows the request as it was.
        let first = delivered.iter().find(|delivery| delivery["attemptCount"] == 2).expect("one was sent twice");
        let urls: Vec<_> = first["attempts"]["nodes"].as_array().expect("a list").iter().map(|attempt| text(&attempt["request"]["url"])).collect();
        assert_eq!(urls, [old.url(), new.url()]);
        old.expect_requests(1).await;
        app.end().await;
    }

    async fn during_the_overlap_both_secrets_sign_and_afterwards_only_the_new_one(app) {
        let receiver = app.receiver().await;
        let subscribed = app.subscribe(receiver.url()).await;
        let old = subscribed.secret.expect("it is shown");
        let mut rotated = app.api.data(ROTATE, json!({ "id": subscribed.endpoint, "overlap": "PT1H" })).await["webhookEndpointSecretRotate"].take();
        let new = text(&rotated["signingSecret"]);
        let endpoint = rotated["webhookEndpoint"].take();
        assert_eq!((&endpoint["version"], &endpoint["signing"]["secretHint"]), (&json!(2), &json!(new[new.len() - 4..])));
        assert!(endpoint["signing"]["rotatedAt"].is_string() && endpoint["signing"]["previousSecretExpiresAt"].is_string(), "{endpoint}");
        app.publish(json!(1)).await;
        let received = receiver.expect_requests(1).await;
        assert!(received[0].is_verified_by_the_official_library(&old) && received[0].is_verified_by_the_official_library(&new));
        assert_eq!(received[0].header("webhook-signature").split(' ').count(), 2);

        app.clock.advance(Duration::from_hours(1));
        app.publish(json!(2)).await;
        let received = receiver.expect_requests(2).await;
        assert!(received[1].is_signed_with(&new), "the old secret has ended");
        let signing = change(&app, &subscribed.endpoint, json!({})).await["signing"].take();
        assert_eq!(signing["previousSecretExpiresAt"], json!(null));
        assert_eq!(signing["rotatedAt"], endpoint["signing"]["rotatedAt"]);
        app.end().await;
    }

    async fn without_overlap_the_old_secrets_stop_at_once(app) {
        let receiver = app.receiver().await;
        let subscribed = app.subscribe(receiver.url()).await;
        let rotate = async |input: Value| {
            let mut variables = input;
            variables["id"] = json!(subscribed.endpoint);
            app.api.data(ROTATE, variables).await["webhookEndpointSecretRotate"].take()
        };
        rotate(json!({})).await;
        let own = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let rotated = rotate(json!({ "overlap": "PT0S", "secret": own })).await;
        assert_eq!((&rotated["signingSecret"], &rotated["webhookEndpoint"]["signing"]["previousSecretExpiresAt"]), (&json!(own), &json!(null)));
        app.publish(json!(1)).await;
        assert!(receiver.expect_requests(1).await[0].is_signed_with(own));

        for _ in 0..7 {
            assert_eq!(rotate(json!({})).await["userErrors"], json!([]));
        }
        assert_eq!(rotate(json!({})).await["userErrors"][0]["code"], "TOO_MANY");
        assert_eq!(rotate(json!({ "overlap": "PT0S" })).await["userErrors"], json!([]));
        for (input, told) in [(json!({ "secret": "short" }), "SECRET_WEAK"), (json!({ "overlap": "P8D" }), "INVALID"), (json!({ "overlap": "soon" }), "INVALID")] {
            assert_eq!(rotate(input).await["userErrors"][0]["code"], told);
        }
        app.end().await;
    }

    async fn another_scheme_or_secret_replaces_the_old_one_at_once(app) {
        let receiver = app.receiver().await;
        let subscribed = app.subscribe(receiver.url()).await;
        let own = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let signing = change(&app, &subscribed.endpoint, json!({ "signing": { "secret": own } })).await["signing"].take();
        assert_eq!((&signing["secretHint"], &signing["previousSecretExpiresAt"]), (&json!("LaSw"), &json!(null)));
        app.publish(json!(1)).await;
        assert!(receiver.expect_requests(1).await[0].is_signed_with(own));
        let unsigned = change(&app, &subscribed.endpoint, json!({ "signing": { "scheme": "NONE" } })).await;
        assert_eq!((&unsigned["signing"]["scheme"], &unsigned["signing"]["secretHint"]), (&json!("NONE"), &json!(null)));
        app.publish(json!(2)).await;
        assert_eq!(receiver.expect_requests(2).await[1].header("webhook-signature"), "");
        assert_eq!(problems(&app.api, ROTATE, json!({ "id": subscribed.endpoint })).await, ["NOT_SIGNED id"]);
        app.end().await;
    }

    async fn an_endpoint_in_use_or_with_waiting_deliveries_is_not_deleted(app) {
        let receiver = app.receiver().await;
        let id = lonely(&app, receiver.url()).await;
        assert_eq!(app.api.data(DELETE, json!({ "id": id })).await["webhookEndpointDelete"]["deletedWebhookEndpointId"], id);
        assert_eq!(problems(&app.api, DELETE, json!({ "id": id })).await, ["NOT_FOUND id"]);
        let create = "mutation($input: WebhookSubscriptionCreateInput!) { webhookSubscriptionCreate(input: $input) { userErrors { code message field } } }";
        let input = json!({ "eventTypes": ["*"], "endpoint": { "id": id } });
        assert_eq!(problems(&app.api, create, json!({ "input": input })).await, ["NOT_FOUND input.endpoint.id"]);

        receiver.hang();
        let subscribed = app.subscribe(receiver.url()).await;
        app.publish(json!(1)).await;
        for discard in [false, true] {
            let variables = json!({ "id": subscribed.endpoint, "discard": discard });
            assert_eq!(problems(&app.api, DELETE, variables).await, ["IN_USE id"]);
        }
        assert_eq!(app.delivery_in("PENDING").await["endpoint"]["id"], json!(subscribed.endpoint));
        receiver.let_go(1);
        app.delivery_in("SUCCEEDED").await;
        app.end().await;
    }

    async fn a_backlog_is_discarded_with_a_reason_and_what_is_newer_stays(app) {
        let receiver = app.receiver().await;
        receiver.hang();
        let subscribed = app.subscribe(receiver.url()).await;
        app.publish(json!(1)).await;
        app.publish(json!(2)).await;
        receiver.expect_requests(1).await;
        app.clock.advance(Duration::from_secs(2));
        let pending = app.deliveries_in("PENDING", 2).await;
        assert_eq!(pending.len(), 2);
        let before = app.state().now().to_string();
        app.publish(json!(3)).await;
        assert_eq!(problems(&app.api, DISCARD, json!({ "id": subscribed.endpoint, "before": "soon" })).await, ["INVALID before"]);
        let held = in_memory(&app).await;
        let discarded = app.api.data(DISCARD, json!({ "id": subscribed.endpoint, "before": before })).await["webhookEndpointBacklogDiscard"].take();
        assert_eq!(discarded, json!({ "discardedCount": 2, "webhookEndpoint": { "id": subscribed.endpoint, "backlog": 1 }, "userErrors": [] }));
        let canceled = app.deliveries_in("CANCELED", 2).await;
        assert!(canceled.iter().all(|delivery| text(&delivery["statusReason"]).contains("discarded")), "{canceled:?}");
        let told = async || (in_memory(&app).await < held).then_some(());
        eventually("the endpoint has heard of it", told).await;
        receiver.let_go(100);
        // What was in flight has ended, and decides nothing any more.
        assert_eq!(receiver.expect_requests(2).await[1].data(), json!(3));
        app.delivery_in("SUCCEEDED").await;
        app.deliveries_in("CANCELED", 2).await;
        app.end().await;
    }
}
