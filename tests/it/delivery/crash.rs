//! `kill -9` in the middle of publishing: every acknowledged event arrives.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use angarium_tests::app::eventually;
use angarium_tests::{Backend, GraphQl, Installation, Receiver, builder};
use serde_json::{Value, json};

const EVENTS: usize = 2_000;
const PUBLISHERS: usize = 16;
/// When so many are acknowledged, the process is killed.
const KILL_AT: [usize; 2] = [500, 1_200];

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    every_acknowledged_event_arrives(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres() {
    every_acknowledged_event_arrives(Backend::Postgres).await;
}

async fn every_acknowledged_event_arrives(backend: Backend) {
    let installation = Installation::new(backend).await;
    let mut process = installation.serve();
    let api = installation.workspace(&process).await;
    let receiver = Receiver::start().await;
    builder::subscribe(&api, json!({ "eventTypes": ["*"], "endpoint": { "url": receiver.url() } })).await;

    let mut acknowledged: HashSet<String> = HashSet::new();
    let mut published = 0;
    for kill_at in KILL_AT {
        let api = api.at(process.base());
        let count = Arc::new(AtomicUsize::new(acknowledged.len()));
        let publishers: Vec<_> =
            (0..PUBLISHERS).map(|_| tokio::spawn(publish_until_it_dies(api.clone(), count.clone()))).collect();
        eventually("enough are acknowledged", async || (count.load(Ordering::Relaxed) >= kill_at).then_some(())).await;
        process.kill();
        for publisher in publishers {
            acknowledged.extend(publisher.await.expect("no panic"));
        }
        published = published.max(acknowledged.len());
        process = installation.serve();
    }
    let api = api.at(process.base());
    while acknowledged.len() < EVENTS {
        acknowledged.insert(builder::publish(&api, json!({ "eventType": "invoice.paid", "payload": {} })).await);
    }
    eventually("every acknowledged event arrives", async || {
        let arrived: HashSet<_> =
            receiver.received().iter().map(|request| request.header("webhook-id").to_owned()).collect();
        acknowledged.is_subset(&arrived).then_some(())
    })
    .await;
    let open = "{ deliveries(where: { status: [PENDING, RETRYING] }) { totalCount } }";
    eventually("no delivery is left open", async || {
        (api.data(open, json!({})).await["deliveries"]["totalCount"] == 0).then_some(())
    })
    .await;
}

/// Publishes one event after the other until the server stops answering; the IDs of those that it acknowledged.
async fn publish_until_it_dies(api: GraphQl, count: Arc<AtomicUsize>) -> Vec<String> {
    let mutation = "mutation { eventPublish(input: { eventType: \"invoice.paid\", payload: {} }) { event { id } userErrors { code } } }";
    let mut acknowledged = Vec::new();
    while let Ok((200, body)) = api.try_post_body(json!({ "query": mutation }).to_string()).await {
        let body: Value = serde_json::from_str(&body).expect("JSON");
        acknowledged.push(builder::text(&body["data"]["eventPublish"]["event"]["id"]));
        count.fetch_add(1, Ordering::Relaxed);
    }
    acknowledged
}
