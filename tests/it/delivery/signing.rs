//! Each signature scheme over the wire.

use std::time::Duration;

use angarium_tests::builder::{self, problems, text};
use angarium_tests::{RawReceiver, TestApp, on_both_databases};
use serde_json::{Value, json};

const SCHEMES: [&str; 6] = ["STANDARD_WEBHOOKS", "ED25519", "GITHUB", "SHOPIFY", "STRIPE", "TWO_SECRET"];
const PRIVATE: &str = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
const PUBLIC: &str = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
const SIGNING: &str = "signing { scheme secretHint publicKey rotatedAt previousSecretExpiresAt }";

/// An endpoint with a subscription, and what verifies it.
struct Made {
    receiver: RawReceiver,
    id: String,
    shown: String,
    signing: Value,
}

/// What is given as the secret of a scheme that cannot do without.
fn own_half(scheme: &str) -> Option<&'static str> {
    (scheme == "TWO_SECRET").then_some("the-callers-half")
}

async fn make(app: &TestApp, scheme: &str, secret: Option<&str>) -> Made {
    let receiver = RawReceiver::start().await;
    let signing = json!({ "scheme": scheme, "secret": secret });
    let endpoint = json!({ "create": { "url": receiver.url(), "signing": signing, "headers": [{ "name": "X-Team", "value": "a" }] } });
    let made = builder::subscribe(&app.api, json!({ "eventTypes": ["*"], "endpoint": endpoint })).await;
    let signing = signing_of(app, &made.endpoint).await;
    Made { receiver, id: made.endpoint, shown: made.secret.unwrap_or_default(), signing }
}

async fn signing_of(app: &TestApp, endpoint: &str) -> Value {
    let query = format!("query($id: ID!) {{ webhookEndpoint(id: $id) {{ {SIGNING} }} }}");
    app.api.data(&query, json!({ "id": endpoint })).await["webhookEndpoint"]["signing"].take()
}

async fn rotate(app: &TestApp, endpoint: &str, secret: Option<&str>, overlap: &str) -> (String, Value) {
    let rotate = format!(
        "mutation($id: ID!, $secret: String, $overlap: Duration!) {{ webhookEndpointSecretRotate(id: $id, secret: $secret, overlap: $overlap) \
        {{ signingSecret webhookEndpoint {{ {SIGNING} }} userErrors {{ code message field }} }} }}"
    );
    let variables = json!({ "id": endpoint, "secret": secret, "overlap": overlap });
    let mut data = app.api.data(&rotate, variables).await["webhookEndpointSecretRotate"].take();
    assert_eq!(data["userErrors"], json!([]));
    (text(&data["signingSecret"]), data["webhookEndpoint"]["signing"].take())
}

/// What a receiver verifies with, from what it was shown.
fn key(scheme: &str, shown: &str, signing: &Value) -> String {
    match scheme {
        "ED25519" => text(&signing["publicKey"]),
        "TWO_SECRET" => format!("the-callers-half{shown}"),
        _ => shown.to_owned(),
    }
}

on_both_databases! {
    async fn each_scheme_signs_in_its_own_header_and_the_attempt_shows_the_request_byte_for_byte(app) {
        let mut made = Vec::new();
        for scheme in SCHEMES.into_iter().chain(["NONE"]) {
            made.push((scheme, make(&app, scheme, own_half(scheme)).await));
        }
        app.publish(json!({ "n": 1 })).await;
        let deliveries = app.deliveries_in("SUCCEEDED", made.len()).await;
        for (scheme, made) in &made {
            let request = made.receiver.expect_requests(1).await.remove(0);
            let delivery = deliveries.iter().find(|delivery| delivery["endpoint"]["id"] == made.id.as_str()).expect("it has one");
            let attempt = &delivery["attempts"]["nodes"][0];
            let shown = attempt["request"]["headers"].as_array().expect("a list").iter();
            let shown: Vec<_> = shown.map(|header| (text(&header["name"]), text(&header["value"]))).collect();
            assert_eq!(shown, request.headers, "{scheme}");
            assert_eq!(request.line, "POST /in?a=b HTTP/1.1");
            let header = match *scheme {
                "NONE" => {
                    assert_eq!((&delivery["signature"], &attempt["signature"]), (&json!(null), &json!(null)));
                    assert_eq!((&made.signing["secretHint"], made.shown.as_str()), (&json!(null), ""));
                    assert!(!request.headers.iter().any(|header| header.0.contains("signature") || header.0.contains("hmac")));
                    continue;
                }
                "GITHUB" => "x-hub-signature-256",
                "SHOPIFY" => "x-shopify-hmac-sha256",
                "STRIPE" => "stripe-signature",
                _ => "webhook-signature",
            };
            assert_eq!((text(&delivery["signature"]), text(&attempt["signature"])), (request.header(header).to_owned(), request.header(header).to_owned()), "{scheme}");
            assert!(request.is_signed(scheme, &key(scheme, &made.shown, &made.signing)), "{scheme} {request:?}");
            assert_eq!(made.signing["scheme"], *scheme);
            assert!(made.shown.ends_with(&text(&made.signing["secretHint"])), "{scheme}");
            assert_eq!(made.signing["publicKey"].is_string(), *scheme == "ED25519");
            assert_eq!(made.signing["rotatedAt"], json!(null));
        }
        assert_eq!(made[5].1.shown.len(), 16, "the server's half of TWO_SECRET");
        app.end().await;
    }

    async fn during_the_overlap_every_secret_signs_and_where_one_fits_the_old_one(app) {
        let mut made = Vec::new();
        for scheme in SCHEMES {
            let before = make(&app, scheme, own_half(scheme)).await;
            let (shown, signing) = rotate(&app, &before.id, None, "PT1H").await;
            assert!(signing["rotatedAt"].is_string() && signing["previousSecretExpiresAt"].is_string(), "{signing}");
            let (old, new) = (key(scheme, &before.shown, &before.signing), key(scheme, &shown, &signing));
            assert_ne!(old, new, "{scheme}");
            made.push((scheme, before, old, new));
        }
        app.publish(json!(1)).await;
        app.deliveries_in("SUCCEEDED", made.len()).await;
        app.clock.advance(Duration::from_hours(1));
        app.publish(json!(2)).await;
        app.deliveries_in("SUCCEEDED", made.len() * 2).await;
        for (scheme, endpoint, old, new) in &made {
            let requests = endpoint.receiver.expect_requests(2).await;
            let has_room = !matches!(*scheme, "GITHUB" | "SHOPIFY");
            assert!(requests[0].is_signed(scheme, old), "{scheme}");
            assert_eq!(requests[0].is_signed(scheme, new), has_room, "{scheme}");
            assert!(requests[1].is_signed(scheme, new) && !requests[1].is_signed(scheme, old), "{scheme}");
        }
        app.end().await;
    }

    async fn an_update_changes_scheme_and_secret_at_once_and_shows_what_was_made(app) {
        let endpoint = make(&app, "STANDARD_WEBHOOKS", None).await;
        let update = format!(
            "mutation($id: ID!, $input: WebhookEndpointUpdateInput!) {{ webhookEndpointUpdate(id: $id, input: $input) \
            {{ signingSecret webhookEndpoint {{ {SIGNING} }} userErrors {{ code message field }} }} }}"
        );
        for (round, scheme) in SCHEMES.into_iter().enumerate() {
            let input = json!({ "signing": { "scheme": scheme, "secret": own_half(scheme) } });
            let mut data = app.api.data(&update, json!({ "id": endpoint.id, "input": input })).await["webhookEndpointUpdate"].take();
            assert_eq!(data["userErrors"], json!([]));
            let signing = data["webhookEndpoint"]["signing"].take();
            assert_eq!((&signing["scheme"], &signing["previousSecretExpiresAt"]), (&json!(scheme), &json!(null)));
            app.publish(json!(round)).await;
            let request = endpoint.receiver.expect_requests(round + 1).await.remove(round);
            assert!(request.is_signed(scheme, &key(scheme, &text(&data["signingSecret"]), &signing)), "{scheme} {request:?}");
        }
        let data = app.api.data(&update, json!({ "id": endpoint.id, "input": { "name": "n" } })).await;
        assert_eq!(data["webhookEndpointUpdate"]["signingSecret"], json!(null));
        let through = "mutation($id: ID!, $input: WebhookSubscriptionUpdateInput!) { webhookSubscriptionUpdate(id: $id, input: $input) { signingSecret userErrors { code message field } } }";
        let id = text(&app.api.data("{ webhookSubscriptions { nodes { id } } }", json!({})).await["webhookSubscriptions"]["nodes"][0]["id"]);
        let input = json!({ "endpoint": { "update": { "signing": { "scheme": "GITHUB" } } } });
        let data = app.api.data(through, json!({ "id": id, "input": input })).await;
        let shown = text(&data["webhookSubscriptionUpdate"]["signingSecret"]);
        app.publish(json!(9)).await;
        assert!(endpoint.receiver.expect_requests(7).await[6].is_signed("GITHUB", &shown));
        app.deliveries_in("SUCCEEDED", 7).await;
        app.end().await;
    }

    async fn a_callers_own_secret_is_read_in_the_form_of_its_scheme(app) {
        let cases = [("GITHUB", "It's a Secret to Everybody"), ("SHOPIFY", "hush-hush-hush"), ("STRIPE", "whsec_test_secret"), ("ED25519", PRIVATE)];
        let mut made = Vec::new();
        for (scheme, secret) in cases {
            let endpoint = make(&app, scheme, Some(secret)).await;
            assert_eq!(endpoint.shown, secret);
            made.push((scheme, endpoint));
        }
        app.publish(json!(1)).await;
        app.deliveries_in("SUCCEEDED", made.len()).await;
        for (scheme, endpoint) in &made {
            let request = endpoint.receiver.expect_requests(1).await.remove(0);
            assert!(request.is_signed(scheme, &key(scheme, &endpoint.shown, &endpoint.signing)), "{scheme}");
        }
        assert_eq!(made[3].1.signing["publicKey"], PUBLIC);
        let rotate = "mutation($id: ID!, $secret: String) { webhookEndpointSecretRotate(id: $id, secret: $secret) { userErrors { code message field } } }";
        for (index, secret, told) in [(0, "short", "SECRET_WEAK secret"), (1, "a\u{7}bell-in-it", "INVALID secret"), (3, "sixteen-letters!", "INVALID secret")] {
            assert_eq!(problems(&app.api, rotate, json!({ "id": made[index].1.id, "secret": secret })).await, [told]);
        }
        app.end().await;
    }
}
