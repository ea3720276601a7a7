//! What an orchestrator asks.

use std::time::Duration;

use angarium_tests::app::{Backend, TestApp, eventually};
use angarium_tests::client::http_client;
use serde_json::{Value, json};

/// Status and body of a path.
async fn get(base: &str, path: &str) -> (u16, String) {
    let response = http_client().get(format!("{base}{path}")).send().await.expect("an answer");
    (response.status().as_u16(), response.text().await.expect("a body"))
}

async fn readiness(base: &str) -> (u16, Value) {
    let (status, body) = get(base, "/health/ready").await;
    (status, serde_json::from_str::<Value>(&body).expect("JSON")["reasons"].take())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_leaves_serves_on_and_says_that_it_is_not_ready() {
    let mut app = TestApp::start(Backend::Sqlite).await;
    let base = app.base();
    assert_eq!(readiness(&base).await, (200, json!([])));
    let leaving = app.leave(Duration::from_secs(10));
    let refused = async || {
        let found = readiness(&base).await;
        (found.0 == 503).then_some(found.1)
    };
    assert_eq!(eventually("it is not ready", refused).await, json!(["the server is stopping"]));
    assert_eq!(get(&base, "/health/live").await.0, 200);
    app.publish(json!({ "still": "served" })).await;
    app.clock.advance(Duration::from_secs(10));
    leaving.await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_starts_lives_and_says_what_it_waits_for() {
    let app = TestApp::start(Backend::Sqlite).await;
    let opening = app.opening().await;
    let base = format!("http://{}", opening.address());
    assert_eq!(readiness(&base).await, (503, json!(["the database is being opened"])));
    opening.explain("the schema of the database is being brought up to date");
    assert_eq!(readiness(&base).await, (503, json!(["the schema of the database is being brought up to date"])));
    assert_eq!(get(&base, "/health/live").await.0, 200);
    let (status, body) = get(&base, "/graphql?query={__typename}").await;
    assert_eq!(status, 503);
    assert!(body.starts_with("the server is starting"), "{body}");
    app.end().await;
}
