//! What one node changes holds on the others.

use std::time::{Duration, Instant};

use angarium_tests::app::eventually;
use angarium_tests::nodes::Tuning;
use angarium_tests::{Node, Receiver, TestApp, builder};
use serde_json::json;

const PAUSE: &str = "mutation($id: ID!) { webhookEndpointPause(id: $id) { userErrors { code } } }";

/// Endpoints that are not paused: so many that each node has some.
const WITNESSES: usize = 12;
/// Events that they get, one after the other.
const PUBLISHED: usize = 3;

/// Two nodes that cannot hear each other.
async fn deaf_nodes() -> (TestApp, Node) {
    let app = TestApp::start(angarium_tests::Backend::Postgres).await;
    let other = app.join_tuned(Tuning { redis: false, ..Tuning::default() }).await;
    other.shares_with(&app).await;
    (app, other)
}

async fn all_succeeded(app: &TestApp, count: usize) {
    let query = "{ deliveries(first: 100, where: { status: [SUCCEEDED] }) { nodes { id } } }";
    eventually("all have succeeded", async || {
        let data = app.api.data(query, json!({})).await;
        (data["deliveries"]["nodes"].as_array().expect("a list").len() == count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_one_node_acknowledged_gets_every_event_published_on_the_other_from_then_on() {
    let (app, other) = deaf_nodes().await;
    // So that both know the configuration of the workspace.
    let first = app.receiver().await;
    app.subscribe(first.url()).await;
    app.publish(json!(0)).await;
    builder::publish(&other.api, json!({ "eventType": "invoice.paid", "payload": 0 })).await;
    for n in 1..=10 {
        let receiver = app.receiver().await;
        let (maker, publisher) = if n % 2 == 0 { (&app.api, &other.api) } else { (&other.api, &app.api) };
        let input = json!({ "eventTypes": ["*"], "endpoint": { "url": receiver.url() } });
        builder::subscribe(maker, input).await;
        builder::publish(publisher, json!({ "eventType": "invoice.paid", "payload": n })).await;
        let received = receiver.expect_requests(1).await;
        assert_eq!(received[0].data(), json!(n));
    }
    other.leave().await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_and_a_rotation_without_overlap_hold_everywhere_within_five_seconds_also_unheard() {
    let (app, other) = deaf_nodes().await;
    let receivers = futures_util::future::join_all((0..8).map(|_| app.receiver())).await;
    let mut secrets = Vec::new();
    for receiver in &receivers {
        let subscribed = app.subscribe(receiver.url()).await;
        app.publish(json!(1)).await;
        secrets.push(subscribed);
    }
    // The actors are awake on their nodes, and know the old settings.
    all_succeeded(&app, 36).await;
    let rotate = "mutation($id: ID!) { webhookEndpointSecretRotate(id: $id, overlap: \"PT0S\") \
        { signingSecret userErrors { code message } } }";
    let mut rotated = Vec::new();
    for subscribed in &secrets {
        let data =
            other.api.data(rotate, json!({ "id": subscribed.endpoint })).await["webhookEndpointSecretRotate"].take();
        rotated.push(builder::text(&data["signingSecret"]));
    }
    // Within five seconds; what the nodes do for it takes one look.
    tokio::time::sleep(Duration::from_millis(4_500)).await;
    app.publish(json!(2)).await;
    all_succeeded(&app, 44).await;
    for (receiver, secret) in receivers.iter().zip(&rotated) {
        let received = receiver.received();
        let last = received.last().expect("there are some");
        assert!(last.is_signed_with(secret), "the new secret signs");
    }
    for subscribed in &secrets {
        other.api.data(PAUSE, json!({ "id": subscribed.endpoint })).await;
    }
    tokio::time::sleep(Duration::from_millis(4_500)).await;
    // Of what is published then, those on the same nodes that are not paused get everything, one after the other; so long
    // the others could send as well.
    let witnesses = futures_util::future::join_all((0..WITNESSES).map(|_| app.receiver())).await;
    for witness in &witnesses {
        app.subscribe(witness.url()).await;
    }
    for published in 1..=PUBLISHED {
        app.publish(json!(3)).await;
        for witness in &witnesses {
            witness.expect_requests(published).await;
        }
    }
    let sent_data = |receiver: &Receiver| receiver.received().iter().filter(|sent| sent.data() == json!(3)).count();
    let sent: Vec<usize> = receivers.iter().map(sent_data).collect();
    assert_eq!(sent, vec![0; receivers.len()], "to each that is paused");
    app.deliveries_in("PENDING", receivers.len() * PUBLISHED).await;
    other.leave().await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_one_node_revokes_is_refused_by_the_other_within_five_seconds() {
    let (app, other) = deaf_nodes().await;
    let key = builder::key(&app.admin, &app.workspace, &["WEBHOOK_READ"]).await;
    let query = "{ viewer { apiKey { id } } }";
    let used = other.api.with_key(&key);
    let id = builder::text(&used.data(query, json!({})).await["viewer"]["apiKey"]["id"]);
    app.admin.data("mutation($id: ID!) { apiKeyRevoke(id: $id) { userErrors { code } } }", json!({ "id": id })).await;
    let began = Instant::now();
    while used.post(query, json!({})).await.0 == 200 {
        assert!(began.elapsed() < Duration::from_secs(5), "the key still works");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    other.leave().await;
    app.end().await;
}
