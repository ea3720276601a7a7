//! Server-sent events.

use angarium_tests::client::http_client;
use angarium_tests::{GraphQl, MOMENT, TestApp, builder, on_both_databases};
use serde_json::json;

const LIVE: &str = "subscription { eventPublished { kind event { id } } }";
const REVOKE: &str = "mutation($id: ID!) { apiKeyRevoke(id: $id) { userErrors { code } } }";

/// A live stream of events.
async fn open(app: &TestApp, api: &GraphQl) -> reqwest::Response {
    let mut call = http_client().post(format!("{}/graphql", app.base())).header("accept", "text/event-stream");
    for (name, value) in api.headers() {
        call = call.header(name, value);
    }
    let answer = call.json(&json!({ "query": LIVE })).send().await.expect("an answer");
    assert_eq!(
        (answer.status().as_u16(), answer.headers()["content-type"].as_bytes()),
        (200, &b"text/event-stream"[..])
    );
    answer
}

/// What comes until the stream says this, or until its end.
async fn until(stream: &mut reqwest::Response, says: &str) -> String {
    let mut told = String::new();
    while !told.contains(says) {
        match tokio::time::timeout(MOMENT, stream.chunk()).await.expect("it goes on or ends in time") {
            Ok(Some(piece)) => told.push_str(&String::from_utf8_lossy(&piece)),
            Ok(None) | Err(_) => break,
        }
    }
    told
}

on_both_databases! {
    async fn a_revoked_key_ends_its_stream_as_one_that_was_cut_and_nobody_elses(app) {
        let victim = app.admin.with_key(&builder::key(&app.admin, &app.workspace, &["EVENT_READ", "WORKSPACE_READ"]).await);
        let id = victim.data("{ viewer { apiKey { id } } }", json!({})).await["viewer"]["apiKey"]["id"].take();
        let (mut stream, mut other) = (open(&app, &victim).await, open(&app, &app.api).await);
        for stream in [&mut stream, &mut other] {
            // A client is not told when it is heard, so events go out until it has seen one.
            let seen = async { until(stream, "event: next").await };
            let publish = async {
                loop {
                    app.publish(json!(1)).await;
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            };
            tokio::select! {
                told = seen => assert!(told.contains("\"kind\":\"CHANGE\""), "{told}"),
                () = publish => unreachable!("it publishes for ever"),
            }
        }
        app.api.data(REVOKE, json!({ "id": id })).await;
        let rest = until(&mut stream, "nothing says this").await;
        assert!(!rest.contains("event: complete"), "a client that sees no end comes back, and is refused: {rest}");
        let after = app.publish(json!("after")).await;
        assert!(until(&mut other, &after).await.contains(&after));
        app.end().await;
    }
}
