//! Queries as deep as they may be.

use angarium_tests::{Backend, Installation, Receiver, builder};
use serde_json::{Value, json};

/// `maxDepth` of `serverInfo`.
const DEPTH: usize = 16;

/// A query of `depth` levels that goes from deliveries to their endpoint and back, with filters and orders on the way.
fn query(depth: usize) -> String {
    let levels = ["deliveries(first: 1, where: {}, orderBy: { field: CREATED_AT })", "edges", "node", "endpoint"];
    let opened: Vec<_> = levels.iter().cycle().take(depth - 1).copied().collect();
    format!("{{ {} {{ id {} }}", opened.join(" { "), "}".repeat(depth - 1))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deepest_query_that_is_accepted_is_answered_and_ends_nothing() {
    let installation = Installation::new(Backend::Sqlite).await;
    let process = installation.serve();
    let (api, receiver) = (installation.workspace(&process).await, Receiver::start().await);
    builder::subscribe(&api, json!({ "eventTypes": ["*"], "endpoint": { "url": receiver.url() } })).await;
    builder::publish(&api, json!({ "eventType": "invoice.paid", "payload": 1 })).await;
    let deepest = api.data(&query(DEPTH), json!({})).await.to_string();
    assert!(deepest.matches("endpoint").count() >= 3, "{deepest}");
    let (status, refused) = api.post(&query(DEPTH + 1), json!({})).await;
    assert_eq!((status, refused["data"].clone()), (400, Value::Null), "{refused}");
}
