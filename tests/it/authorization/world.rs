//! One tenant with one of everything, and another that has nothing.

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
        let receiver = app.receiver().await;
        let url = format!("{}{SECRET}", receiver.url());
        let input = json!({ "name": SECRET, "eventTypes": ["invoice.paid"], "endpoint": { "create": { "url": url, "name": SECRET } } });
        let made = builder::subscribe(&app.api, input).await;
        let event = app.publish(json!({ "secret": SECRET })).await;
        let delivery = app.delivery_in("SUCCEEDED").await;
        let unused = unused_endpoint(&app.api, &url).await;
        let query = "query($id: ID!) { delivery(id: $id) { lastAttempt { id } } viewer { apiKey { id } } eventType(name: \"invoice.paid\") { id } }";
        let more = app.api.data(query, json!({ "id": delivery["id"] })).await;
        let ids = json!({
            "apiKey": more["viewer"]["apiKey"]["id"],
            "attempt": more["delivery"]["lastAttempt"]["id"],
            "delivery": delivery["id"],
            "endpoint": made.endpoint,
            "unused": unused,
            "event": event,
            "eventType": more["eventType"]["id"],
            "subscription": made.id,
            "workspace": app.workspace,
            "url": url,
            "replay": replay(&app.api, &event).await,
        });
        let (_, key) = builder::workspace_with_key(&app.admin, "Other").await;
        Self { ids, other: app.admin.with_key(&key) }
    }
}

async fn unused_endpoint(api: &GraphQl, url: &str) -> String {
    let create = "mutation($input: WebhookEndpointCreateInput!) { webhookEndpointCreate(input: $input) { webhookEndpoint { id } } }";
    let data = api.data(create, json!({ "input": { "url": url, "name": SECRET } })).await;
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
