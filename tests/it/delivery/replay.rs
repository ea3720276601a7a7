//! `kill -9` in the middle of a replay: it goes on, and each event goes to each endpoint once.

use std::collections::HashSet;

use angarium_entity::{Database, delivery, replay_item};
use angarium_tests::app::eventually;
use angarium_tests::{Backend, GraphQl, Installation, Receiver, builder};
use sea_orm::{ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _};
use serde_json::{Value, json};

const EVENTS: usize = 1_000;
const ENDPOINTS: usize = 2;
/// Deliveries that are made by the replay when the process is killed.
const KILL_AT: [u64; 2] = [300, 1_000];

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_replay_goes_on_exactly_once_on_sqlite() {
    goes_on_exactly_once(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_replay_goes_on_exactly_once_on_postgres() {
    goes_on_exactly_once(Backend::Postgres).await;
}

async fn goes_on_exactly_once(backend: Backend) {
    let installation = Installation::new(backend).await;
    let mut process = installation.serve();
    let api = installation.workspace(&process).await;
    let receivers = [Receiver::start().await, Receiver::start().await];
    let batch =
        "mutation($inputs: [EventPublishInput!]!) { eventPublishBatch(inputs: $inputs) { userErrors { code } } }";
    for first in (0..EVENTS).step_by(500) {
        let inputs: Value =
            (first..first + 500).map(|n| json!({ "eventType": "invoice.paid", "payload": n })).collect();
        api.data(batch, json!({ "inputs": inputs })).await;
    }
    for receiver in &receivers {
        builder::subscribe(&api, json!({ "eventTypes": ["*"], "endpoint": { "url": receiver.url() } })).await;
    }
    // Killed in the middle of the rows, not of a socket: the rate keeps it busy for a second.
    let create = "mutation($ids: [ID!]) { replayCreate(input: { ratePerSecond: 2000, subscriptionIds: $ids, \
        target: { events: { createdAt: { gte: \"2026-11-01T00:00:00Z\" } } } }) { replay { id } userErrors { code message } } }"
        .replace("2026-11-01T00:00:00Z", &yesterday(&api).await);
    let made = api.data(&create, json!({})).await["replayCreate"].take();
    let id = builder::text(&made["replay"]["id"]);
    let ask = "query($id: ID!) { node(id: $id) { ... on Replay { status matchedCount createdCount } } }";
    for kill_at in KILL_AT {
        let api = api.at(process.base());
        eventually("enough is made", async || {
            let replay = api.data(ask, json!({ "id": id })).await["node"].take();
            (replay["createdCount"].as_u64().expect("a number") >= kill_at).then_some(())
        })
        .await;
        process.kill();
        process = installation.serve();
    }
    let api = api.at(process.base());
    let replay = eventually("the replay ends", async || {
        let replay = api.data(ask, json!({ "id": id })).await["node"].take();
        (replay["status"] != "RUNNING").then_some(replay)
    })
    .await;
    assert_eq!(replay, json!({ "status": "COMPLETED", "matchedCount": EVENTS, "createdCount": EVENTS * ENDPOINTS }));
    let open = "{ deliveries(where: { status: [PENDING, RETRYING] }) { totalCount } }";
    eventually("no delivery is left open", async || {
        (api.data(open, json!({})).await["deliveries"]["totalCount"] == 0).then_some(())
    })
    .await;
    for receiver in &receivers {
        let received = receiver.received();
        let arrived: HashSet<&str> = received.iter().map(|request| request.header("webhook-id")).collect();
        assert_eq!(arrived.len(), EVENTS, "every event arrives");
    }
    process.kill();
    let db = Database::open(installation.database(), 2).await.expect("the database opens");
    let rows = delivery::Entity::find().filter(delivery::Column::ReplayId.is_not_null());
    let rows = rows.order_by_asc(delivery::Column::Seq).all(db.read()).await.expect("they read");
    let pairs: HashSet<_> = rows.iter().map(|row| (row.event_id, row.endpoint_id)).collect();
    assert_eq!((rows.len(), pairs.len()), (EVENTS * ENDPOINTS, EVENTS * ENDPOINTS), "each event once to each endpoint");
    let endpoints: HashSet<_> = rows.iter().map(|row| row.endpoint_id).collect();
    for endpoint in endpoints {
        let line: Vec<_> = rows.iter().filter(|row| row.endpoint_id == endpoint).map(|row| row.event_id).collect();
        assert!(line.is_sorted(), "in publish order");
    }
    assert_eq!(replay_item::Entity::find().count(db.read()).await.expect("it can be counted"), 0);
    db.close().await;
}

/// An instant a day before the newest event.
async fn yesterday(api: &GraphQl) -> String {
    let newest = api.data("{ events(first: 1) { nodes { createdAt } } }", json!({})).await;
    let at = angarium_entity::Timestamp::parse_rfc3339(&builder::text(&newest["events"]["nodes"][0]["createdAt"]));
    (at.expect("an instant") - std::time::Duration::from_hours(24)).to_string()
}
