//! Order at every endpoint, whichever nodes take the publishes.

use angarium_tests::{Receiver, TestApp, builder};
use serde_json::json;

async fn numbers(receiver: &Receiver, count: usize) -> Vec<u64> {
    let received = receiver.expect_requests(count).await;
    received.iter().map(|request| request.data().as_u64().expect("a number")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_publisher_gives_to_two_nodes_in_turn_arrives_in_its_order_at_each_of_64_endpoints() {
    let app = TestApp::start_on_redis().await;
    let receivers: Vec<Receiver> = futures_util::future::join_all((0..64).map(|_| app.receiver())).await;
    for receiver in &receivers {
        app.subscribe(receiver.url()).await;
    }
    let other = app.join().await;
    // Also while the shards move.
    for n in 0..60_u64 {
        let api = if n % 2 == 0 { &app.api } else { &other.api };
        builder::publish(api, json!({ "eventType": "invoice.paid", "payload": n })).await;
    }
    other.shares_with(&app).await;
    for n in 60..100_u64 {
        let api = if n % 2 == 0 { &app.api } else { &other.api };
        builder::publish(api, json!({ "eventType": "invoice.paid", "payload": n })).await;
    }
    for receiver in &receivers {
        assert_eq!(numbers(receiver, 100).await, Vec::from_iter(0..100));
        assert_eq!(receiver.most_at_once(), 1);
    }
    other.leave().await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_leaves_hands_over_its_endpoints_without_a_duplicate_and_in_order() {
    let app = TestApp::start_on_redis().await;
    let receivers: Vec<Receiver> = futures_util::future::join_all((0..16).map(|_| app.receiver())).await;
    for (place, receiver) in receivers.iter().enumerate() {
        let ordering = if place % 2 == 0 { "STRICT" } else { "FIFO" };
        let endpoint = json!({ "create": { "url": receiver.url(), "ordering": ordering } });
        builder::subscribe(&app.api, json!({ "eventTypes": ["*"], "endpoint": endpoint })).await;
    }
    let other = app.join().await;
    other.shares_with(&app).await;
    for n in 0..30 {
        builder::publish(&other.api, json!({ "eventType": "invoice.paid", "payload": n })).await;
    }
    let publishing = async {
        for n in 30..60 {
            app.publish(json!(n)).await;
        }
    };
    tokio::join!(publishing, other.leave());
    for receiver in &receivers {
        assert_eq!(numbers(receiver, 60).await, Vec::from_iter(0..60));
        assert_eq!(receiver.most_at_once(), 1);
    }
    assert_eq!(app.node().shards, 1024);
    app.end().await;
}
