//! Thousands of changes, two hundred disconnects, and nothing missing.
//!
//! Nodes    one on each database, 2,000 changes; and two on PostgreSQL with Redis between them, 10,000 changes: what is
//!          published goes to both in turn, and so do the connections. Meanwhile a write transaction is open for five
//!          seconds. `TEST_STORM_CHANGES` asks for other numbers.
//! By hand  some of what was published is canceled, deleted or tried again while it is on its way.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use angarium_tests::{GraphQl, MOMENT, TestApp, builder, on_both_databases};
use serde_json::{Value, json};

use super::RESUMED;
use super::gaps::append;

/// How often deliveries change, unless told otherwise.
const CHANGES: usize = 2_000;
const CHANGES_ON_TWO_NODES: usize = 10_000;
/// How long the write transaction is open.
const OPEN: Duration = Duration::from_secs(5);
/// How often each does on the average: it is made, fails twice, and succeeds.
const CHANGES_OF_EACH: usize = 4;
/// Events that are published together.
const BATCH: usize = 25;
const DISCONNECTS: usize = 200;
/// Most messages of one connection.
const MESSAGES_MAX: u64 = 40;
/// How long a connection waits for a change before it breaks off.
const PATIENCE: Duration = Duration::from_millis(20);

/// What is done by hand to a delivery of a batch, at random.
const BY_HAND: [&str; 3] = ["deliveryCancel", "deliveryDelete", "deliveryRetry"];
/// Deliveries of a batch that something is done to.
const TOUCHED: usize = 5;

/// Events that are published for so many changes, a multiple of [`BATCH`].
fn events_for(changes: usize) -> usize {
    let told = std::env::var("TEST_STORM_CHANGES").ok();
    let changes = told.map_or(changes, |changes| changes.parse().expect("TEST_STORM_CHANGES is a number"));
    (changes / CHANGES_OF_EACH).next_multiple_of(BATCH)
}

/// What a client knows: status and attempts by delivery.
type Known = HashMap<String, (String, i64)>;

/// Takes a message of the stream in.
fn hear(known: &mut Known, update: &Value) {
    learn(known, &update["delivery"]);
    if let Some(id) = update["deletedDeliveryId"].as_str() {
        known.remove(id);
    }
}

fn learn(known: &mut Known, delivery: &Value) {
    if let Some(id) = delivery["id"].as_str() {
        let status = builder::text(&delivery["status"]);
        known.insert(id.to_owned(), (status, delivery["attemptCount"].as_i64().expect("a number")));
    }
}

/// All deliveries of the workspace.
async fn stored(app: &TestApp) -> Known {
    let query = "query($after: String) { deliveries(first: 100, after: $after) \
        { nodes { id status attemptCount } pageInfo { endCursor hasNextPage } } }";
    let (mut known, mut after) = (Known::new(), Value::Null);
    loop {
        let page = app.api.data(query, json!({ "after": after })).await["deliveries"].take();
        page["nodes"].as_array().expect("a list").iter().for_each(|delivery| learn(&mut known, delivery));
        if page["pageInfo"]["hasNextPage"] == false {
            return known;
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
}

fn random(below: usize) -> usize {
    usize::from(uuid::Uuid::now_v7().as_bytes()[15]) % below
}

/// What was done by hand, by the place in [`BY_HAND`].
type Hands = [AtomicUsize; BY_HAND.len()];

/// Cancels, deletes and tries again at random; what cannot be done in the present state is refused.
async fn meddle(api: &GraphQl, hands: &Hands) {
    let page = api.data("{ deliveries(first: 50) { nodes { id } } }", json!({})).await["deliveries"]["nodes"].take();
    let ids = page.as_array().expect("a list");
    for _ in 0..TOUCHED.min(ids.len()) {
        let (verb, id) = (random(BY_HAND.len()), &ids[random(ids.len())]["id"]);
        let mutation = format!("mutation($id: ID!) {{ {0}(id: $id) {{ userErrors {{ code }} }} }}", BY_HAND[verb]);
        let answer = api.data(&mutation, json!({ "id": id })).await;
        if answer[BY_HAND[verb]]["userErrors"] == json!([]) {
            hands[verb].fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Publishes, and moves the clock so that what failed is tried again, until all is delivered.
async fn weather(app: &TestApp, nodes: &[&GraphQl], events: usize, hands: &Hands) {
    let publish =
        "mutation($inputs: [EventPublishInput!]!) { eventPublishBatch(inputs: $inputs) { results { event { id } } } }";
    for batch in 0..events / BATCH {
        let inputs: Vec<Value> =
            (0..BATCH).map(|n| json!({ "eventType": "invoice.paid", "payload": [batch, n] })).collect();
        nodes[batch % nodes.len()].data(publish, json!({ "inputs": inputs })).await;
        meddle(nodes[(batch + 1) % nodes.len()], hands).await;
        app.clock.advance(Duration::from_secs(6));
    }
    // However long all of it takes on a busy machine: it goes on.
    let mut left = open(app).await;
    while left > 0 {
        left = angarium_tests::app::eventually("more of it is delivered", async || {
            app.clock.advance(Duration::from_secs(6));
            let now = open(app).await;
            (now < left).then_some(now)
        })
        .await;
    }
}

/// How many deliveries are open.
async fn open(app: &TestApp) -> u64 {
    let query = "query($where: DeliveryWhere) { deliveries(first: 1, where: $where) { totalCount } }";
    let data = app.api.data(query, json!({ "where": { "status": ["PENDING", "RETRYING"] } })).await;
    data["deliveries"]["totalCount"].as_u64().expect("a count")
}

/// Watches, breaks off at random, and resumes with the last cursor.
async fn watch(nodes: &[&GraphQl]) -> (Known, Value) {
    let (mut known, mut cursor) = (Known::new(), Value::Null);
    for connection in 0..DISCONNECTS {
        let start = if cursor.is_null() { json!({ "snapshot": true }) } else { json!({ "after": cursor }) };
        let mut stream = nodes[connection % nodes.len()].subscribe(RESUMED, start).await;
        let messages = 1 + u64::from(uuid::Uuid::now_v7().as_bytes()[15]) % MESSAGES_MAX;
        let mut has_caught_up = false;
        for _ in 0..messages {
            // Until it has caught up a message is sure to come; then perhaps.
            let patience = if has_caught_up { PATIENCE } else { MOMENT };
            let Ok(mut update) = tokio::time::timeout(patience, stream.next()).await else { break };
            let update = update["deliveryUpdated"].take();
            cursor = update["cursor"].clone();
            has_caught_up |= update["kind"] == "CAUGHT_UP";
            hear(&mut known, &update);
        }
    }
    (known, cursor)
}

/// Reads on from a cursor until it has caught up; the cursor there.
async fn catch_up(app: &TestApp, known: &mut Known, cursor: Value) -> Value {
    let mut stream = app.api.subscribe(RESUMED, json!({ "after": cursor })).await;
    loop {
        let update = stream.next().await["deliveryUpdated"].take();
        hear(known, &update);
        if update["kind"] == "CAUGHT_UP" {
            return update["cursor"].clone();
        }
    }
}

/// A client that is cut off over and over ends with what is stored.
async fn endure(app: &TestApp, nodes: &[&GraphQl], events: usize) {
    // Two of three requests fail, as long as the script goes.
    let scripted = events * 12 / 5;
    let receiver = app.receiver().await.answer_statuses((0..scripted).map(|n| if n % 3 == 0 { 204 } else { 500 }));
    let retry = json!({ "computed": { "strategy": "FIXED", "initialDelay": "PT5S", "maxAttempts": 50 } });
    let endpoint = json!({ "url": receiver.url() });
    builder::subscribe(&app.api, json!({ "eventTypes": ["*"], "endpoint": endpoint, "retryPolicy": retry })).await;
    let hands = Hands::default();
    let ((), (mut known, cursor)) = tokio::join!(weather(app, nodes, events, &hands), watch(nodes));
    // Once to the end of the snapshot, should it still be there, and once to the end of what was missed.
    let cursor = catch_up(app, &mut known, cursor).await;
    catch_up(app, &mut known, cursor).await;
    let stored = stored(app).await;
    let hands = hands.map(AtomicUsize::into_inner);
    assert!(hands.iter().all(|count| *count > 0), "{BY_HAND:?} were done {hands:?} times");
    assert_eq!(stored.len() + hands[1], events);
    // Less what would have been tried of those that were canceled or deleted.
    let attempts: i64 = stored.values().map(|(_, attempts)| attempts).sum();
    assert!(
        usize::try_from(attempts).is_ok_and(|attempts| attempts > scripted / 2),
        "{attempts} of {scripted} attempts"
    );
    let wrong: Vec<_> = stored.iter().filter(|(id, state)| known.get(*id) != Some(state)).collect();
    assert!(wrong.is_empty() && known.len() == stored.len(), "{} of {}: {wrong:?}", known.len(), stored.len());
}

/// Keeps a transaction open that has drawn a place in the change log, once there is an event.
async fn hold(app: &TestApp) {
    let event = angarium_tests::app::eventually("there is an event", async || {
        let events = app.api.data("{ events(first: 1) { nodes { id } } }", json!({})).await;
        events["events"]["nodes"][0]["id"].as_str().map(str::to_owned)
    });
    let event = event.await;
    let transaction = app.state().db.begin().await.expect("a transaction");
    append(&transaction, app.workspace.parse().expect("an ID"), &event).await;
    tokio::time::sleep(OPEN).await;
    transaction.commit().await.expect("it commits");
}

on_both_databases! {
    async fn a_client_that_is_cut_off_over_and_over_ends_with_what_is_stored(app) {
        endure(&app, &[&app.api], events_for(CHANGES)).await;
        app.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_changes_between_two_nodes_ends_with_what_is_stored() {
    let app = TestApp::start_on_redis().await;
    let other = app.join().await;
    other.shares_with(&app).await;
    let nodes = [&app.api, &other.api];
    tokio::join!(endure(&app, &nodes, events_for(CHANGES_ON_TWO_NODES)), hold(&app));
    other.leave().await;
    app.end().await;
}
