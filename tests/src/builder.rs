//! What tests make through the API over and over.

use serde_json::{Value, json};

use crate::client::GraphQl;

/// All that tests look at in a delivery.
pub const DELIVERY: &str = "id status statusReason attemptCount maxAttempts nextAttemptAt responseStatusCode inFlight \
    completedAt signature body trigger event { id } endpoint { id status statusReason } subscription { id } \
    attempts(first: 50) { nodes { number trigger succeeded startedAt signature error { code message } \
    request { method url headers { name value } body } response { statusCode body bodyTruncated } } }";

/// A subscription as it was made.
#[derive(Clone, Debug)]
pub struct Subscribed {
    /// Its ID.
    pub id: String,
    /// ID of its endpoint.
    pub endpoint: String,
    /// The signing secret, when one was shown.
    pub secret: Option<String>,
}

/// Adds a type to the catalogue.
pub async fn event_type(admin: &GraphQl, name: &str) {
    let create = "mutation($input: EventTypeCreateInput!) { eventTypeCreate(input: $input) { userErrors { code message field } } }";
    let data = admin.data(create, json!({ "input": { "name": name } })).await;
    assert_eq!(data["eventTypeCreate"]["userErrors"], json!([]));
}

/// Makes a workspace and a key with every scope that it may have.
pub async fn workspace_with_key(admin: &GraphQl, name: &str) -> (String, String) {
    let create = "mutation($input: WorkspaceCreateInput!) { workspaceCreate(input: $input) { workspace { id } userErrors { code message field } } }";
    let data = admin.data(create, json!({ "input": { "name": name } })).await;
    let workspace = text(&data["workspaceCreate"]["workspace"]["id"]);
    let scopes = [
        "DELIVERY_READ",
        "DELIVERY_WRITE",
        "EVENT_PUBLISH",
        "EVENT_READ",
        "WORKSPACE_READ",
        "WORKSPACE_WRITE",
        "WEBHOOK_READ",
        "WEBHOOK_SECRET_READ",
        "WEBHOOK_SUBSCRIBE",
    ];
    (workspace.clone(), key(admin, &workspace, &scopes).await)
}

/// Makes a key of a workspace.
pub async fn key(admin: &GraphQl, workspace: &str, scopes: &[&str]) -> String {
    let create = "mutation($input: ApiKeyCreateInput!) { apiKeyCreate(input: $input) { key userErrors { code message field } } }";
    let input = json!({ "name": "test", "workspace": { "id": workspace }, "scopes": scopes });
    let data = admin.data(create, json!({ "input": input })).await;
    assert_eq!(data["apiKeyCreate"]["userErrors"], json!([]));
    text(&data["apiKeyCreate"]["key"])
}

/// Makes a subscription.
pub async fn subscribe(api: &GraphQl, input: Value) -> Subscribed {
    let create = "mutation($input: WebhookSubscriptionCreateInput!) { webhookSubscriptionCreate(input: $input) \
        { webhookSubscription { id endpoint { id } } signingSecret userErrors { code message field } } }";
    let data = api.data(create, json!({ "input": input })).await;
    let made = &data["webhookSubscriptionCreate"];
    assert_eq!(made["userErrors"], json!([]));
    Subscribed {
        id: text(&made["webhookSubscription"]["id"]),
        endpoint: text(&made["webhookSubscription"]["endpoint"]["id"]),
        secret: made["signingSecret"].as_str().map(str::to_owned),
    }
}

/// Publishes an event and answers its ID.
pub async fn publish(api: &GraphQl, input: Value) -> String {
    let publish = "mutation($input: EventPublishInput!) { eventPublish(input: $input) { event { id } duplicate userErrors { code message field } } }";
    let data = api.data(publish, json!({ "input": input })).await;
    assert_eq!(data["eventPublish"]["userErrors"], json!([]));
    text(&data["eventPublish"]["event"]["id"])
}

/// The problems of an operation with one mutation, as `CODE path.of.the.field`. Each has a message.
///
/// # Panics
/// When the mutation did not refuse in this way.
pub async fn problems(api: &GraphQl, mutation: &str, variables: Value) -> Vec<String> {
    let data = api.data(mutation, variables).await;
    let payload = data.as_object().and_then(|data| data.values().next()).expect("one mutation");
    let errors = payload["userErrors"].as_array().unwrap_or_else(|| panic!("expected a list, found {data}"));
    let told = errors.iter().map(|error| {
        assert!(!text(&error["message"]).is_empty());
        let path: Vec<_> = error["field"].as_array().expect("a path").iter().map(text).collect();
        format!("{} {}", text(&error["code"]), path.join("."))
    });
    told.collect()
}

/// The text of a JSON string.
///
/// # Panics
/// When it is something else.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("expected a string, found {value}")).to_owned()
}
