//! Live streams see what happens on every node.

use std::time::{Duration, Instant};

use angarium_tests::TestApp;
use angarium_tests::nodes::Tuning;
use serde_json::json;

const UPDATES: &str = "subscription { deliveryUpdated { kind delivery { id status event { id } } } }";

const EVENTS: &str = "subscription { eventPublished { event { id } } }";
/// How often a wake-up is measured.
const TRIES: usize = 6;
/// Half of what a node waits before it looks by itself.
const WOKEN_WITHIN: Duration = Duration::from_millis(500);

async fn a_stream_tells_what_is_published_and_sent_elsewhere(tuning: Tuning) {
    let app = TestApp::start_on_redis().await;
    let other = app.join_tuned(tuning).await;
    other.shares_with(&app).await;
    let receiver = app.receiver().await;
    app.subscribe(receiver.url()).await;
    let mut stream = other.api.subscribe(UPDATES, json!({})).await;
    let event = app.publish(json!(1)).await;
    loop {
        let update = stream.next().await["deliveryUpdated"].take();
        assert_eq!(update["delivery"]["event"]["id"], event);
        if update["delivery"]["status"] == "SUCCEEDED" {
            break;
        }
    }
    drop(stream);
    other.leave().await;
    app.end().await;
}

/// Each try begins when the one before was seen, which without a wake-up is right behind a look of the node: it would be
/// a second until the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_woken_long_before_its_node_would_look_by_itself() {
    let app = TestApp::start_on_redis().await;
    let other = app.join().await;
    other.shares_with(&app).await;
    let mut stream = other.api.subscribe(EVENTS, json!({})).await;
    let mut took = Vec::new();
    for _ in 0..TRIES {
        let began = Instant::now();
        let event = app.publish(json!(1)).await;
        assert_eq!(stream.next().await["eventPublished"]["event"]["id"], event);
        took.push(began.elapsed());
    }
    let best = took[1..].iter().min().expect("there are some");
    assert!(*best < WOKEN_WITHIN, "{took:?}");
    drop(stream);
    other.leave().await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_on_one_node_is_woken_by_what_happens_on_another() {
    a_stream_tells_what_is_published_and_sent_elsewhere(Tuning::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_hears_nothing_looks_by_itself() {
    a_stream_tells_what_is_published_and_sent_elsewhere(Tuning { redis: false, ..Tuning::default() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_flight_on_one_node_is_seen_on_the_other() {
    let app = TestApp::start_on_redis().await;
    let other = app.join().await;
    other.shares_with(&app).await;
    let receivers = futures_util::future::join_all((0..8).map(|_| app.receiver())).await;
    for receiver in &receivers {
        receiver.hang();
        app.subscribe(receiver.url()).await;
    }
    app.publish(json!(1)).await;
    for receiver in &receivers {
        receiver.expect_requests(1).await;
    }
    for api in [&app.api, &other.api] {
        let seen = api.data("{ deliveries(first: 10) { nodes { inFlight } } }", json!({})).await;
        let nodes = seen["deliveries"]["nodes"].as_array().expect("a list").clone();
        assert!(nodes.len() == 8 && nodes.iter().all(|node| node["inFlight"] == true), "{nodes:?}");
    }
    for receiver in &receivers {
        receiver.let_go(1);
    }
    app.deliveries_in("SUCCEEDED", 8).await;
    other.leave().await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_event_reaches_a_paused_endpoint_of_another_node() {
    let app = TestApp::start_on_redis().await;
    let other = app.join().await;
    other.shares_with(&app).await;
    let receivers = futures_util::future::join_all((0..6).map(|_| app.receiver())).await;
    for receiver in &receivers {
        let subscribed = app.subscribe(receiver.url()).await;
        let pause = "mutation($id: ID!) { webhookEndpointPause(id: $id) { userErrors { code } } }";
        app.api.data(pause, json!({ "id": subscribed.endpoint })).await;
        let test = "mutation($id: ID!) { webhookSubscriptionTest(id: $id, eventType: \"invoice.paid\") \
            { userErrors { code message } } }";
        let sent = other.api.data(test, json!({ "id": subscribed.id })).await;
        assert_eq!(sent["webhookSubscriptionTest"]["userErrors"], json!([]));
        receiver.expect_requests(1).await;
    }
    other.leave().await;
    app.end().await;
}
