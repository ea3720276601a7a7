//! 000: asset processing. Workspace keys in `X-API-Key`, one mutation, a secret that is shown once.

use angarium_tests::{Backend, TestApp, builder, on_both_databases};
use serde_json::{Value, json};

const CREATE: &str = "mutation($input: WebhookSubscriptionCreateInput!) { webhookSubscriptionCreate(input: $input) {
    webhookSubscription { id uuid workspace { id uuid } endpoint { url signingSecret } eventTypes enabled createdAt updatedAt description }
    signingSecret userErrors { code field message } } }";

async fn catalogue(app: &TestApp) {
    for name in ["asset.processing.completed", "asset.processing.failed"] {
        builder::event_type(&app.admin, name).await;
    }
}

fn input(url: &str, types: &[&str]) -> Value {
    json!({ "input": { "endpoint": { "url": url }, "eventTypes": types } })
}

on_both_databases! {
    async fn a_workspace_is_told_when_an_asset_is_processed(app) {
        catalogue(&app).await;
        let key = app.api.headers()[0].1.clone();
        let digits = key.strip_prefix("sk_live_").expect("the form of a key");
        assert!(digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()));

        let receiver = app.receiver().await;
        let mut given = input(receiver.url(), &["asset.processing.completed"]);
        given["input"]["description"] = json!("Notify when an asset finishes processing");
        let made = app.api.data(CREATE, given).await["webhookSubscriptionCreate"].take();
        assert_eq!(made["userErrors"], json!([]));
        let subscription = &made["webhookSubscription"];
        assert_eq!(builder::text(&subscription["uuid"]).len(), 36);
        assert_eq!(builder::text(&subscription["workspace"]["uuid"]).len(), 36);
        assert_eq!(subscription["workspace"]["id"], app.workspace.as_str());
        assert_eq!(subscription["endpoint"]["url"], receiver.url());
        assert_eq!(subscription["eventTypes"], json!(["asset.processing.completed"]));
        assert_eq!((&subscription["enabled"], &subscription["description"]), (&json!(true), &json!("Notify when an asset finishes processing")));
        assert_eq!(subscription["createdAt"], subscription["updatedAt"]);
        let secret = builder::text(&made["signingSecret"]);

        let payload = json!({ "assetId": "3c90c3cc-0d44-4b50-8888-8dd25736052a" });
        for name in ["asset.processing.completed", "asset.processing.failed"] {
            builder::publish(&app.api, json!({ "eventType": name, "payload": payload })).await;
        }
        let requests = receiver.expect_requests(1).await;
        assert!(requests[0].is_verified_by_the_official_library(&secret));
        assert_eq!(requests[0].data(), payload);

        let query = "query($id: ID!) { webhookSubscription(id: $id) { endpoint { signingSecret signing { secretHint } } } }";
        let later = app.api.data(query, json!({ "id": subscription["id"] })).await;
        let endpoint = &later["webhookSubscription"]["endpoint"];
        assert_eq!(endpoint["signingSecret"], Value::Null, "the secret is shown only once");
        assert!(secret.ends_with(&builder::text(&endpoint["signing"]["secretHint"])));
        app.end().await;
    }

    async fn at_least_one_event_type_of_the_catalogue_and_a_description_that_may_be_absent(app) {
        catalogue(&app).await;
        let receiver = app.receiver().await;
        let refused = |types: &'static [&'static str]| builder::problems(&app.api, CREATE, input(receiver.url(), types));
        assert_eq!(refused(&[]).await, ["BLANK input.eventTypes"]);
        assert_eq!(refused(&["asset.deleted"]).await, ["UNKNOWN_EVENT_TYPE input.eventTypes.0"]);
        let both = input(receiver.url(), &["asset.processing.completed", "asset.processing.failed"]);
        let made = app.api.data(CREATE, both).await;
        assert_eq!(made["webhookSubscriptionCreate"]["webhookSubscription"]["description"], Value::Null);
        app.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_are_https_and_have_1_to_2083_characters() {
    let app = TestApp::start_with(Backend::Sqlite, &[("ANGARIUM_ALLOW_HTTP", "false")]).await;
    catalogue(&app).await;
    let of_length = |length: usize| {
        let start = "https://your-server.example.com/";
        format!("{start}{}", "a".repeat(length - start.len()))
    };
    let problems =
        async |url: &str| builder::problems(&app.api, CREATE, input(url, &["asset.processing.failed"])).await;
    assert_eq!(problems(&of_length(2083)).await, [""; 0]);
    assert_eq!(problems(&of_length(2084)).await, ["TOO_LONG input.endpoint.url"]);
    assert_eq!(problems("").await, ["BLANK input.endpoint.url"]);
    assert_eq!(problems("not a url").await, ["INVALID input.endpoint.url"]);
    assert_eq!(problems("http://your-server.example.com/webhooks").await, ["URL_NOT_HTTPS input.endpoint.url"]);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_that_works_nothing_is_done() {
    let app = TestApp::start(Backend::Sqlite).await;
    let anonymous = app.api.with_headers(&[]);
    let wrong = app.api.with_key(&format!("sk_live_{}", "0".repeat(64)));
    let document = "{ viewer { scopes } }";
    for api in [anonymous, wrong] {
        assert_eq!(api.error_code(document, json!({})).await, "UNAUTHENTICATED");
    }
    app.end().await;
}
