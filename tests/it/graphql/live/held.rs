//! A transaction that somebody keeps open, which the streams cannot see into.

use std::time::{Duration, Instant};

use angarium_entity::WorkspaceId;
use angarium_tests::client::Stream;
use angarium_tests::{Backend, TestApp};
use serde_json::{Value, json};

use super::gaps::{EVENTS, append, next, replay};

/// How long it is open.
const OPEN: Duration = Duration::from_secs(5);
const DELIVERIES: &str = "subscription { deliveryUpdated { kind cursor delivery { id status event { id } } } }";

/// The events whose deliveries have succeeded, once there are `count`.
async fn succeeded(stream: &mut Stream, count: usize) -> Vec<Value> {
    let mut events = Vec::new();
    while events.len() < count {
        let delivery = stream.next().await["deliveryUpdated"]["delivery"].take();
        // What is told of an earlier change may be its latest state already.
        if delivery["status"] == "SUCCEEDED" && !events.contains(&delivery["event"]["id"]) {
            events.push(delivery["event"]["id"].clone());
        }
    }
    events
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_is_open_for_five_seconds_takes_nothing_from_a_stream() {
    let app = TestApp::start(Backend::Postgres).await;
    let workspace: WorkspaceId = app.workspace.parse().expect("an ID");
    let receiver = app.receiver().await;
    app.subscribe(receiver.url()).await;
    let mut streams = [
        app.api.subscribe(EVENTS, json!({})).await,
        app.api.subscribe(EVENTS, json!({})).await,
        app.api.subscribe(EVENTS, json!({})).await,
    ];
    let mut deliveries = app.api.subscribe(DELIVERIES, json!({})).await;
    let held = app.publish(json!("held")).await;
    for stream in &mut streams {
        assert_eq!(next(stream).await.0, held);
    }

    // It has drawn its number, and holds back what any snapshot can take for granted.
    let transaction = app.state().db.begin().await.expect("a transaction");
    append(&transaction, workspace, &held).await;
    let opened = Instant::now();
    let (mut published, mut cursors) = (Vec::new(), Vec::new());
    while opened.elapsed() < OPEN {
        let event = app.publish(json!(published.len())).await;
        for stream in &mut streams {
            let (told, cursor) = next(stream).await;
            assert_eq!(told, event, "nobody waits for the transaction");
            cursors.push(cursor);
        }
        published.push(json!(event));
    }
    transaction.commit().await.expect("it commits");

    for stream in &mut streams {
        assert_eq!(next(stream).await.0, held, "what it wrote is told when it is there");
    }
    let told = succeeded(&mut deliveries, published.len() + 1).await;
    assert!(
        told.contains(&json!(held)) && published.iter().all(|event| told.contains(event)),
        "every delivery is told"
    );
    // Whoever was cut off meanwhile misses nothing either.
    let half = published.len() / 2;
    let mut wanted = vec![json!(held)];
    wanted.extend(published[half + 1..].iter().cloned());
    assert_eq!(replay(&app, &cursors[half * streams.len()]).await, wanted);
    app.end().await;
}
