//! Cursors and callers that are turned away.

use std::time::Duration;

use angarium_tests::{GraphQl, TestApp, builder, on_both_databases};
use serde_json::{Value, json};

use super::RESUMED;

const ATTEMPTS: &str =
    "subscription($after: String) { deliveryAttemptCompleted(after: $after) { kind cursor attempt { id } } }";
const EVENTS: &str = "subscription($after: String) { eventPublished(after: $after) { kind cursor event { id } } }";

/// The code that a stream is refused with; afterwards it has ended.
async fn refused(api: &GraphQl, query: &str, variables: Value) -> String {
    let mut stream = api.subscribe(query, variables).await;
    let message = stream.next_message().await.expect("a message");
    let error = if message["type"] == "error" { &message["payload"][0] } else { &message["payload"]["errors"][0] };
    let code = builder::text(&error["extensions"]["code"]);
    if message["type"] == "next" {
        assert_eq!(stream.next_message().await.expect("a message")["type"], "complete");
    }
    code
}

async fn a_cursor(app: &TestApp) -> String {
    let mut stream = app.api.subscribe(RESUMED, json!({ "snapshot": true })).await;
    builder::text(&stream.next().await["deliveryUpdated"]["cursor"])
}

on_both_databases! {
    async fn a_cursor_that_is_broken_or_of_another_stream_or_workspace_is_refused(app) {
        let cursor = a_cursor(&app).await;
        let mut changed = cursor.clone().into_bytes();
        for place in [0, 5, changed.len() - 1] {
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed.clone()).expect("letters");
            assert_eq!(refused(&app.api, RESUMED, json!({ "after": changed })).await, "BAD_USER_INPUT", "{changed}");
        }
        for text in ["", "nonsense", "é", &cursor[1..]] {
            assert_eq!(refused(&app.api, RESUMED, json!({ "after": text })).await, "BAD_USER_INPUT", "{text}");
        }
        for stream in [ATTEMPTS, EVENTS] {
            assert_eq!(refused(&app.api, stream, json!({ "after": cursor })).await, "BAD_USER_INPUT");
        }
        let (_, key) = builder::workspace_with_key(&app.admin, "Other").await;
        let foreign = app.admin.with_key(&key);
        assert_eq!(refused(&foreign, RESUMED, json!({ "after": cursor })).await, "BAD_USER_INPUT");
        app.end().await;
    }

    async fn a_cursor_expires_with_the_log(app) {
        let cursor = a_cursor(&app).await;
        app.clock.advance(Duration::from_hours(24));
        let mut stream = app.api.subscribe(RESUMED, json!({ "after": cursor })).await;
        assert_eq!(stream.next().await["deliveryUpdated"]["kind"], "CAUGHT_UP");
        app.clock.advance(Duration::from_millis(1));
        assert_eq!(refused(&app.api, RESUMED, json!({ "after": cursor })).await, "CURSOR_EXPIRED");
        app.end().await;
    }

    async fn each_stream_needs_its_scope_and_a_workspace(app) {
        let events = app.admin.with_key(&builder::key(&app.admin, &app.workspace, &["EVENT_READ"]).await);
        let deliveries = app.admin.with_key(&builder::key(&app.admin, &app.workspace, &["DELIVERY_READ"]).await);
        for (api, query) in [(&events, RESUMED), (&events, ATTEMPTS), (&deliveries, EVENTS)] {
            assert_eq!(refused(api, query, json!({})).await, "FORBIDDEN");
        }
        for query in [RESUMED, ATTEMPTS, EVENTS] {
            assert_eq!(refused(&app.admin, query, json!({})).await, "WORKSPACE_REQUIRED");
        }
        app.end().await;
    }
}
