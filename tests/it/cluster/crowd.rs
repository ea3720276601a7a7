//! Memory is for endpoints that work, and not for all that did a moment ago.

use angarium_dispatcher::config::AWAKE_MAX;
use angarium_tests::app::eventually;
use angarium_tests::nodes::{Node, Tuning};
use angarium_tests::{Receiver, TestApp, builder};
use serde_json::json;

const NEW_TYPES: [&str; 2] = ["sms.inbound", "invoice.sent"];
const TYPES: [&str; 4] = ["sms.outbound", "invoice.paid", NEW_TYPES[0], NEW_TYPES[1]];
const OF_EACH: usize = 20;

/// One event for each type in turn, each after the one before has been delivered. Answers how many endpoints are awake
/// afterwards.
async fn awake_after_all(node: &Node, receiver: &Receiver) -> usize {
    for event_type in TYPES {
        let before = receiver.received().len();
        builder::publish(&node.api, json!({ "eventType": event_type, "payload": 1 })).await;
        receiver.expect_requests(before + OF_EACH).await;
        eventually("nothing is under way", async || {
            let hubs = node.state().dispatcher.observe().await;
            hubs.iter().all(|hub| hub.busy == 0).then_some(())
        })
        .await;
    }
    node.state().dispatcher.observe().await.iter().map(|hub| hub.endpoints).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_endpoints_are_forgotten_early_when_too_many_are_awake_and_wake_again() {
    let mut app = TestApp::start_on_redis().await;
    let receiver = Receiver::start().await;
    for event_type in NEW_TYPES {
        builder::event_type(&app.admin, event_type).await;
    }
    for event_type in TYPES {
        for _ in 0..OF_EACH {
            let input = json!({ "eventTypes": [event_type], "endpoint": { "url": receiver.url() } });
            builder::subscribe(&app.api, input).await;
        }
    }
    let all = TYPES.len() * OF_EACH;
    let [few, many] = [4, AWAKE_MAX].map(|awake_max| Tuning { awake_max, ..Tuning::default() });
    let node = app.join_tuned(few).await;
    app.hand_over().await;
    eventually("it has all shards", async || (node.report().shards == 1024).then_some(())).await;
    let awake = awake_after_all(&node, &receiver).await;
    assert!(awake <= all / 2, "{awake} of {all} are awake");
    // Who was forgotten gets the next as well.
    awake_after_all(&node, &receiver).await;

    let other = app.join_tuned(many).await;
    node.leave().await;
    eventually("it has all shards", async || (other.report().shards == 1024).then_some(())).await;
    assert_eq!(awake_after_all(&other, &receiver).await, all, "none is forgotten where there is room");
    assert_eq!(receiver.received().len(), 3 * all, "each once");
    other.leave().await;
}
