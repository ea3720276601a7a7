//! Two tenants: one with one of everything, and another that has nothing at first.

use angarium_tests::app::eventually;
use angarium_tests::{GraphQl, TestApp, builder};
use serde_json::{Value, json};

/// Stands in everything that only the first tenant may see.
pub(super) const SECRET: &str = "of-acme";

/// The first tenant's objects by name, to be given as variables, and the other tenant's key.
pub(super) struct World {
    pub(super) ids: Value,
    pub(super) other: GraphQl,
}

impl World {
    /// Makes them.
    pub(super) async fn new(app: &TestApp) -> Self {
        let ids = one_of_everything(app, &app.api, SECRET).await;
        let (_, key) = builder::workspace_with_key(&app.admin, "Other").await;
        Self { ids, other: app.admin.with_key(&key) }
    }
}

/// Objects of the tenant that `api` calls as, with `mark` in all of their texts.
pub(super) async fn one_of_everything(app: &TestApp, api: &GraphQl, mark: &str) -> Value {
    let receiver = app.receiver().await;
    let url = format!("{}{mark}", receiver.url());
    let input =
        json!({ "name": mark, "eventTypes": ["invoice.paid"], "endpoint": { "create": { "url": url, "name": mark } } });
    let made = builder::subscribe(api, input).await;
    let publish = json!({ "eventType": "invoice.paid", "payload": { "secret": mark } });
    let event = builder::publish(api, publish).await;
    let query = "{ deliveries(where: { status: [SUCCEEDED] }) { nodes { id lastAttempt { id } } } \
        viewer { apiKey { id } workspace { id } } eventType(name: \"invoice.paid\") { id } }";
    let seen = eventually("it is delivered", async || {
        let seen = api.data(query, json!({})).await;
        seen["deliveries"]["nodes"][0].is_object().then_some(seen)
    });
    let seen = seen.await;
    let delivery = &seen["deliveries"]["nodes"][0];
    json!({
        "apiKey": seen["viewer"]["apiKey"]["id"],
        "attempt": delivery["lastAttempt"]["id"],
        "delivery": delivery["id"],
        "endpoint": made.endpoint,
        "unused": unused_endpoint(api, &url, mark).await,
        "event": event,
        "eventType": seen["eventType"]["id"],
        "subscription": made.id,
        "workspace": seen["viewer"]["workspace"]["id"],
        "url": url,
        "replay": replay(api, &event).await,
    })
}

async fn unused_endpoint(api: &GraphQl, url: &str, mark: &str) -> String {
    let create = "mutation($input: WebhookEndpointCreateInput!) { webhookEndpointCreate(input: $input) { webhookEndpoint { id } } }";
    let data = api.data(create, json!({ "input": { "url": url, "name": mark } })).await;
    builder::text(&data["webhookEndpointCreate"]["webhookEndpoint"]["id"])
}

async fn replay(api: &GraphQl, event: &str) -> String {
    let create = "mutation($input: ReplayCreateInput!) { replayCreate(input: $input) { replay { id } } }";
    let data = api.data(create, json!({ "input": { "target": { "eventIds": [event] } } })).await;
    builder::text(&data["replayCreate"]["replay"]["id"])
}

/// Only the variables that a document declares: the server refuses others.
pub(super) fn used(document: &str, ids: &Value) -> Value {
    let is_used = |name: &str| document.contains(&format!("${name}:")) || document.contains(&format!("${name} :"));
    let all = ids.as_object().expect("an object");
    Value::Object(all.iter().filter(|(name, _)| is_used(name)).map(|(name, id)| (name.clone(), id.clone())).collect())
}
