//! 002: channels. `Authorization: AccessKey …`, a service and an event, a signing key of one's own, a status with a reason,
//! and malformed told from unprocessable.

use angarium_tests::{Backend, GraphQl, TestApp, builder};
use serde_json::{Value, json};

/// 32 bytes in base64, as the reference has them.
const SIGNING_KEY: &str = "KeV+/HGoIQrxuE5YPCRR6AuQOJveldYNNhbVi1i22qk=";
const URL_PATTERN: &str = r"^https://([a-zA-Z0-9-]+\.)+[a-zA-Z]{2,}(/[^\s]*)?$";
const CREATE: &str = "mutation($input: WebhookSubscriptionCreateInput!) { webhookSubscriptionCreate(input: $input) {
    webhookSubscription { id uuid workspace { uuid } service eventTypes endpoint { id url } status statusReason }
    signingSecret userErrors { code field message } } }";

/// The same caller by its access key.
fn by_access_key(app: &TestApp) -> GraphQl {
    let key = app.api.headers()[0].1.clone();
    app.api.with_headers(&[("authorization", &format!("AccessKey {key}"))])
}

async fn catalogue(app: &TestApp) {
    let create = "mutation($input: EventTypeCreateInput!) { eventTypeCreate(input: $input) { userErrors { code } } }";
    for (name, service) in [("channels.sms.inbound", "channels"), ("numbers.ordered", "numbers")] {
        app.admin.data(create, json!({ "input": { "name": name, "service": service } })).await;
    }
    let update = "mutation { eventTypeUpdate(name: \"sms.outbound\", input: { service: \"channels\" }) { userErrors { code } } }";
    app.admin.data(update, json!({})).await;
}

fn input(url: &str) -> Value {
    json!({
        "service": "channels",
        "eventTypes": ["sms.outbound"],
        "endpoint": { "create": { "url": url, "signing": { "secret": SIGNING_KEY } } },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_and_an_event_are_subscribed_to_with_a_signing_key_of_ones_own() {
    let app = TestApp::start(Backend::Postgres).await;
    catalogue(&app).await;
    let api = by_access_key(&app);
    let receiver = app.receiver().await;
    let made = api.data(CREATE, json!({ "input": input(receiver.url()) })).await["webhookSubscriptionCreate"].take();
    assert_eq!((&made["userErrors"], &made["signingSecret"]), (&json!([]), &json!(SIGNING_KEY)));
    let subscription = &made["webhookSubscription"];
    assert_eq!((&subscription["service"], &subscription["eventTypes"]), (&json!("channels"), &json!(["sms.outbound"])));
    assert_eq!((&subscription["status"], &subscription["statusReason"]), (&json!("ACTIVE"), &Value::Null));
    assert_eq!(builder::text(&subscription["uuid"]).len(), 36);

    builder::publish(&api, json!({ "eventType": "sms.outbound", "payload": { "to": "+15550100" } })).await;
    let request = receiver.expect_requests(1).await.remove(0);
    assert!(
        request.is_signed_with_bytes(SIGNING_KEY.as_bytes()),
        "a secret without whsec_ signs by its bytes as they are"
    );

    // A status other than ACTIVE comes with a reason for people.
    let pause =
        "mutation($id: ID!) { webhookEndpointPause(id: $id, reason: \"moving house\") { userErrors { code } } }";
    api.data(pause, json!({ "id": subscription["endpoint"]["id"] })).await;
    let query = "query($id: ID!) { webhookSubscription(id: $id) { status statusReason } }";
    let told = api.data(query, json!({ "id": subscription["id"] })).await["webhookSubscription"].take();
    assert_eq!(told["status"], "PAUSED");
    assert!(builder::text(&told["statusReason"]).contains("moving house"), "{told}");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_url_respects_the_established_pattern() {
    let app = TestApp::start(Backend::Sqlite).await;
    catalogue(&app).await;
    let rules = "mutation($id: ID!, $pattern: String) { workspaceUpdate(id: $id, input: { rules: { urlPattern: $pattern } }) { userErrors { code field message } } }";
    let set = app.admin.data(rules, json!({ "id": app.workspace, "pattern": URL_PATTERN })).await;
    assert_eq!(set["workspaceUpdate"]["userErrors"], json!([]));
    let api = by_access_key(&app);
    let problems = async |url: &str| builder::problems(&api, CREATE, json!({ "input": input(url) })).await;
    assert_eq!(problems("https://example.com/webhook").await, [""; 0]);
    for url in ["https://example.com:8443/webhook", "http://example.com/webhook", "https://example"] {
        assert_eq!(problems(url).await, ["INVALID input.endpoint.create.url"], "{url}");
    }
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_request_is_told_from_one_that_cannot_be_processed() {
    let app = TestApp::start(Backend::Sqlite).await;
    catalogue(&app).await;
    let api = by_access_key(&app);
    // Malformed: 400, and a GraphQL error.
    for body in ["{", "{}", r#"{"query":"mutation { webhookSubscriptionCreate"}"#, r#"{"query":"{ unknownField }"}"#] {
        let (status, answer) = api.post_body(body.to_owned()).await;
        assert_eq!(status, 400, "{body}: {answer}");
        assert!(answer["errors"][0]["extensions"]["code"].is_string(), "{answer}");
    }
    // Well-formed, but not to be processed: 200, and what is wrong with which field.
    let mut other = input("https://example.com/webhook");
    other["service"] = json!("numbers");
    assert_eq!(builder::problems(&api, CREATE, json!({ "input": other })).await, ["INVALID input.service"]);
    let mut unknown = input("https://example.com/webhook");
    unknown["eventTypes"] = json!(["sms.unheard"]);
    assert_eq!(
        builder::problems(&api, CREATE, json!({ "input": unknown })).await,
        ["UNKNOWN_EVENT_TYPE input.eventTypes.0"]
    );
    app.end().await;
}
