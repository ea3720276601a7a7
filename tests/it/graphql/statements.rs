//! A page of a hundred costs as many statements as a page of one, whatever is asked of its entries.

use angarium_tests::{GraphQl, TestApp, builder, on_both_databases};
use serde_json::{Value, json};

use super::introspection::Types;

const MANY: usize = 100;

/// How entries of each kind are reached: `N` is how many, `?` what is asked of each.
const PATHS: [(&str, &str); 8] = [
    ("ApiKey", "workspaces(first: N) { nodes { __typename apiKeys(first: 1) { nodes { ? } } } }"),
    ("Delivery", "deliveries(first: N) { nodes { __typename ? } }"),
    ("DeliveryAttempt", "deliveries(first: N) { nodes { __typename attempts(first: 1) { nodes { ? } } } }"),
    ("Event", "events(first: N) { nodes { __typename ? } }"),
    ("EventType", "eventTypes(first: N) { nodes { __typename ? } }"),
    ("WebhookEndpoint", "webhookEndpoints(first: N) { nodes { __typename ? } }"),
    ("WebhookSubscription", "webhookSubscriptions(first: N) { nodes { __typename ? } }"),
    ("Workspace", "workspaces(first: N) { nodes { __typename ? } }"),
];

/// Of every kind a hundred, each with its own of what it belongs to.
async fn a_hundred_of_each(app: &TestApp) -> GraphQl {
    let receiver = app.receiver().await;
    for n in 0..MANY {
        builder::event_type(&app.admin, &format!("extra.n{n}")).await;
        builder::workspace_with_key(&app.admin, &format!("Other {n}")).await;
        let endpoint = json!({ "url": receiver.url() });
        let input = json!({ "eventTypes": ["*"], "channels": [format!("c{n}")], "endpoint": endpoint });
        builder::subscribe(&app.api, input).await;
    }
    let publish =
        "mutation($inputs: [EventPublishInput!]!) { eventPublishBatch(inputs: $inputs) { results { event { id } } } }";
    let input = |n| json!({ "eventType": format!("extra.n{n}"), "payload": n, "channels": [format!("c{n}")] });
    let inputs: Vec<Value> = (0..MANY).map(input).collect();
    app.api.data(publish, json!({ "inputs": inputs })).await;
    let open = "{ deliveries(first: 1, where: { status: [PENDING, RETRYING] }) { nodes { id } } }";
    angarium_tests::app::eventually("all are delivered", async || {
        let left = app.api.data(open, json!({})).await["deliveries"]["nodes"].take();
        left.as_array().is_some_and(Vec::is_empty).then_some(())
    })
    .await;
    let own = &app.admin.headers()[0];
    app.admin.with_headers(&[(&own.0, &own.1), ("angarium-workspace", &app.workspace)])
}

/// The statements of a page, at the least of a few times: others work at the same database.
async fn cost(app: &TestApp, api: &GraphQl, path: &str, count: usize, asked: &str) -> usize {
    let query = format!("{{ {} }}", path.replace('N', &count.to_string()).replace('?', asked));
    let mut least = usize::MAX;
    for _ in 0..3 {
        let (statements, data) = app.statements_of(api.data(&query, json!({}))).await;
        let list = data.as_object().and_then(|data| data.values().next()).expect("a list");
        assert_eq!(list["nodes"].as_array().map(Vec::len), Some(count), "{query}");
        least = least.min(statements.len());
    }
    least
}

on_both_databases! {
    async fn every_edge_is_read_for_all_parents_at_once(app) {
        let api = a_hundred_of_each(&app).await;
        let types = Types::read(&app.admin).await;
        assert_eq!(types.nodes(), PATHS.map(|(name, _)| name), "each kind of object has its path here");
        let mut edges = 0;
        for (object, path) in PATHS {
            let api = if path.starts_with("workspaces") { &app.admin } else { &api };
            for asked in types.asked_of(object) {
                let (of_one, of_many) = (cost(&app, api, path, 1, &asked).await, cost(&app, api, path, MANY, &asked).await);
                assert_eq!(of_one, of_many, "{object} {asked}");
                edges += usize::from(of_one > 1);
            }
        }
        assert!(edges > 30, "only {edges} fields were read from the database");
        app.end().await;
    }
}
