//! A stream that is resumed is told of everything since.

use std::time::Duration;

use angarium_tests::{TestApp, builder, on_both_databases};
use serde_json::{Value, json};

use super::RESUMED;

/// The next message of `deliveryUpdated`: kind, delivery, status, cursor.
async fn next(stream: &mut angarium_tests::client::Stream) -> (String, Value, String, String) {
    let update = stream.next().await["deliveryUpdated"].take();
    let status = update["delivery"]["status"].as_str().unwrap_or_default().to_owned();
    (builder::text(&update["kind"]), update["delivery"]["id"].clone(), status, builder::text(&update["cursor"]))
}

/// Three deliveries that wait, because their endpoint is paused; their IDs.
async fn three_waiting(app: &TestApp) -> Vec<Value> {
    let receiver = app.receiver().await;
    let subscribed = app.subscribe(receiver.url()).await;
    let pause = "mutation($id: ID!) { webhookEndpointPause(id: $id) { userErrors { code } } }";
    app.api.data(pause, json!({ "id": subscribed.endpoint })).await;
    for n in 1..=3 {
        app.publish(json!(n)).await;
    }
    let list = "query($endpoint: ID!) { deliveries(where: { endpointId: $endpoint }, \
        orderBy: { field: CREATED_AT, direction: ASC }) { nodes { id } } }";
    let waiting = app.api.data(list, json!({ "endpoint": subscribed.endpoint })).await;
    waiting["deliveries"]["nodes"].as_array().expect("a list").iter().map(|node| node["id"].clone()).collect()
}

on_both_databases! {
    async fn a_stream_goes_on_after_a_restart_with_what_was_missed(mut app) {
        let receiver = app.receiver().await.answer_statuses([503]);
        app.subscribe(receiver.url()).await;
        let mut stream = app.api.subscribe(RESUMED, json!({})).await;
        let event = app.publish(json!(1)).await;
        let mut last = next(&mut stream).await;
        while last.2 != "RETRYING" {
            last = next(&mut stream).await;
        }
        drop(stream);
        app.publish(json!(2)).await;
        app.deliveries_in("SUCCEEDED", 1).await;
        app.restart().await;
        app.clock.advance(Duration::from_secs(6));
        app.deliveries_in("SUCCEEDED", 2).await;
        let mut stream = app.api.subscribe(RESUMED, json!({ "after": last.3 })).await;
        let (mut told, mut cursors) = (Vec::new(), Vec::new());
        loop {
            let (kind, id, status, cursor) = next(&mut stream).await;
            cursors.push((cursor, told.len()));
            if kind == "CAUGHT_UP" {
                break;
            }
            assert_eq!(kind, "CHANGE");
            told.push((id, status));
        }
        assert!(told.iter().all(|(_, status)| status == "SUCCEEDED"), "{told:?}");
        let ids: std::collections::HashSet<String> = told.iter().map(|(id, _)| id.to_string()).collect();
        assert_eq!(ids.len(), 2, "both were missed: {told:?}; {event} was the first");
        // From each cursor on the same follows.
        for (cursor, place) in cursors {
            let mut stream = app.api.subscribe(RESUMED, json!({ "after": cursor })).await;
            let mut rest = Vec::new();
            loop {
                let (kind, id, status, _) = next(&mut stream).await;
                if kind == "CAUGHT_UP" {
                    break;
                }
                rest.push((id, status));
            }
            assert_eq!(rest, told[(place + 1).min(told.len())..]);
        }
        app.end().await;
    }

    async fn a_snapshot_comes_first_then_the_mark_then_what_changes(app) {
        let waiting = three_waiting(&app).await;
        let mut stream = app.api.subscribe(RESUMED, json!({ "snapshot": true })).await;
        for id in &waiting {
            let (kind, told, status, _) = next(&mut stream).await;
            assert_eq!((kind.as_str(), &told, status.as_str()), ("SNAPSHOT", id, "PENDING"));
        }
        let (kind, delivery, _, _) = next(&mut stream).await;
        assert_eq!((kind.as_str(), delivery), ("CAUGHT_UP", Value::Null));
        app.publish(json!(4)).await;
        let (kind, told, status, _) = next(&mut stream).await;
        assert_eq!((kind.as_str(), status.as_str()), ("CHANGE", "PENDING"));
        assert!(!waiting.contains(&told));
        app.end().await;
    }

    async fn a_snapshot_that_was_interrupted_goes_on_where_it_was(app) {
        let waiting = three_waiting(&app).await;
        let mut stream = app.api.subscribe(RESUMED, json!({ "snapshot": true })).await;
        let (_, first, _, cursor) = next(&mut stream).await;
        assert_eq!(first, waiting[0]);
        drop(stream);
        app.publish(json!(4)).await;
        let mut stream = app.api.subscribe(RESUMED, json!({ "after": cursor, "snapshot": true })).await;
        let mut kinds = Vec::new();
        let mut ids = Vec::new();
        for _ in 0..5 {
            let (kind, id, _, _) = next(&mut stream).await;
            kinds.push(kind);
            ids.push(id);
        }
        assert_eq!(kinds, ["SNAPSHOT", "SNAPSHOT", "SNAPSHOT", "CAUGHT_UP", "CHANGE"]);
        assert_eq!(ids[..2], waiting[1..]);
        assert_eq!(ids[2], ids[4], "what was made since is in both");
        app.end().await;
    }

    async fn a_snapshot_holds_only_what_matches_and_nothing_final(app) {
        let receiver = app.receiver().await;
        app.subscribe(receiver.url()).await;
        app.publish(json!(0)).await;
        app.deliveries_in("SUCCEEDED", 1).await;
        let waiting = three_waiting(&app).await;
        let where_ids = json!({ "snapshot": true, "where": { "ids": [waiting[1]], "eventType": ["invoice.*"] } });
        let mut stream = app.api.subscribe(RESUMED, where_ids).await;
        assert_eq!(next(&mut stream).await.1, waiting[1]);
        assert_eq!(next(&mut stream).await.0, "CAUGHT_UP");
        for nothing in [json!({ "status": ["RETRYING", "SUCCEEDED"] }), json!({ "eventType": ["sms.*"] })] {
            let mut stream = app.api.subscribe(RESUMED, json!({ "snapshot": true, "where": nothing })).await;
            assert_eq!(next(&mut stream).await.0, "CAUGHT_UP");
        }
        app.end().await;
    }

    async fn a_resume_with_nothing_missed_says_so_at_once(app) {
        let mut stream = app.api.subscribe(RESUMED, json!({ "snapshot": true })).await;
        let (kind, _, _, cursor) = next(&mut stream).await;
        assert_eq!(kind, "CAUGHT_UP");
        let mut again = app.api.subscribe(RESUMED, json!({ "after": cursor })).await;
        assert_eq!(next(&mut again).await.0, "CAUGHT_UP");
        app.end().await;
    }
}
