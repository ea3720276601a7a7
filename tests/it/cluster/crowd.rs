//! Memory is for endpoints that work, and not for all that did a moment ago.

use std::time::Duration;

use angarium_dispatcher::config::AWAKE_MAX;
use angarium_tests::app::eventually;
use angarium_tests::nodes::{Node, Tuning};
use angarium_tests::{Receiver, TestApp, builder};
use serde_json::json;

const NEW_TYPES: [&str; 2] = ["sms.inbound", "invoice.sent"];
const TYPES: [&str; 4] = ["sms.outbound", "invoice.paid", NEW_TYPES[0], NEW_TYPES[1]];
const OF_EACH: usize = 20;
/// Who was idle for so long may be forgotten early; after all of [`TYPES`] it is not yet a minute.
const PAUSE: Duration = Duration::from_secs(13);

async fn awake(node: &Node) -> usize {
    node.state().dispatcher.observe().await.iter().map(|hub| hub.endpoints).sum()
}

/// One event for each type in turn, each so long after the one before has been delivered. Answers how many endpoints are
/// awake afterwards.
async fn awake_after_all(app: &TestApp, node: &Node, receiver: &Receiver, pause: Duration) -> usize {
    for event_type in TYPES {
        app.clock.advance(pause);
        let before = receiver.received().len();
        builder::publish(&node.api, json!({ "eventType": event_type, "payload": 1 })).await;
        receiver.expect_requests(before + OF_EACH).await;
        eventually("nothing is under way", async || {
            let hubs = node.state().dispatcher.observe().await;
            hubs.iter().all(|hub| hub.busy == 0).then_some(())
        })
        .await;
    }
    awake(node).await
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
    assert_eq!(awake_after_all(&app, &node, &receiver, Duration::ZERO).await, all, "none is forgotten at once");
    app.clock.advance(Duration::from_mins(2));
    eventually("all are forgotten", async || (awake(&node).await == 0).then_some(())).await;
    let left = awake_after_all(&app, &node, &receiver, PAUSE).await;
    assert!(left <= all / 2, "{left} of {all} are awake");
    // Who was forgotten gets the next as well.
    awake_after_all(&app, &node, &receiver, PAUSE).await;

    let other = app.join_tuned(many).await;
    node.leave().await;
    eventually("it has all shards", async || (other.report().shards == 1024).then_some(())).await;
    assert_eq!(awake_after_all(&app, &other, &receiver, PAUSE).await, all, "none is forgotten where there is room");
    assert_eq!(receiver.received().len(), 4 * all, "each once");
    other.leave().await;
}
