//! A page of a hundred costs as many statements as a page of one, whatever is asked of its entries.

use angarium_entity::{Clock, ReplayId, Timestamp, WorkspaceId, replay};
use angarium_tests::{GraphQl, TestApp, builder, on_both_databases};
use sea_orm::{EntityTrait, IntoActiveModel};
use serde_json::{Value, json};

use super::introspection::Types;

const MANY: usize = 100;

/// How entries of each kind are reached: `N` is how many, `?` what is asked of each.
const PATHS: [(&str, &str); 9] = [
    ("ApiKey", "workspaces(first: N) { nodes { __typename apiKeys(first: 1) { nodes { ? } } } }"),
    ("Delivery", "deliveries(first: N) { nodes { __typename ? } }"),
    ("DeliveryAttempt", "deliveries(first: N) { nodes { __typename attempts(first: 1) { nodes { ? } } } }"),
    ("Event", "events(first: N) { nodes { __typename ? } }"),
    ("EventType", "eventTypes(first: N) { nodes { __typename ? } }"),
    ("Replay", "replays(first: N) { nodes { __typename ? } }"),
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
    let workspace: WorkspaceId = app.workspace.parse().expect("an ID");
    let replays = (0..MANY).map(|_| done(workspace, app.clock.now()).into_active_model());
    let stored = replay::Entity::insert_many(replays).exec_without_returning(app.state().db.write()).await;
    stored.expect("they are stored");
    let own = &app.admin.headers()[0];
    app.admin.with_headers(&[(&own.0, &own.1), ("angarium-workspace", &app.workspace)])
}

/// A replay that has nothing left to do.
fn done(workspace_id: WorkspaceId, now: Timestamp) -> replay::Model {
    replay::Model {
        id: ReplayId::new(now),
        workspace_id,
        status: replay::Status::Completed,
        target: "{}".to_owned(),
        subscription_ids: None,
        rate_per_second: None,
        matched_count: Some(0),
        created_count: 0,
        item_count: 0,
        planned_at: None,
        planned_id: None,
        next_batch_at: None,
        failure_reason: None,
        created_by: None,
        created_at: now,
        completed_at: Some(now),
    }
}

/// How often each page is asked for: others work at the same database.
const TRIES: usize = 3;

/// The statements of a page of one and of a page of many, at the least.
async fn costs(app: &TestApp, api: &GraphQl, path: &str, asked: &str) -> (usize, usize) {
    let mut least = (usize::MAX, usize::MAX);
    for _ in 0..TRIES {
        least.0 = least.0.min(cost(app, api, path, 1, asked).await);
        least.1 = least.1.min(cost(app, api, path, MANY, asked).await);
        if least.0 == least.1 {
            break;
        }
    }
    least
}

/// The statements of a page.
async fn cost(app: &TestApp, api: &GraphQl, path: &str, count: usize, asked: &str) -> usize {
    let query = format!("{{ {} }}", path.replace('N', &count.to_string()).replace('?', asked));
    let (statements, data) = app.statements_of(api.data(&query, json!({}))).await;
    let list = data.as_object().and_then(|data| data.values().next()).expect("a list");
    assert_eq!(list["nodes"].as_array().map(Vec::len), Some(count), "{query}");
    statements.len()
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
                let (of_one, of_many) = costs(&app, api, path, &asked).await;
                assert_eq!(of_one, of_many, "{object} {asked}");
                edges += usize::from(of_one > 1);
            }
        }
        assert!(edges > 30, "only {edges} fields were read from the database");
        app.end().await;
    }
}
