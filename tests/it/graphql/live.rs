//! Live streams over a WebSocket.

mod gaps;
mod held;
mod refusal;
mod resume;
mod standing;
mod storm;
mod streams;

use angarium_tests::{builder, on_both_databases};
use serde_json::json;

/// `deliveryUpdated` with every argument.
const RESUMED: &str = "subscription($where: DeliveryWhere, $after: String, $snapshot: Boolean! = false) \
    { deliveryUpdated(where: $where, after: $after, snapshot: $snapshot) \
    { kind cursor occurredAt previousStatus deletedDeliveryId delivery { id status attemptCount } } }";

const LIVE: &str = "subscription($where: DeliveryWhere) { deliveryUpdated(where: $where) \
    { kind cursor occurredAt previousStatus delivery { id status attemptCount event { id } } } }";

on_both_databases! {
    async fn a_delivery_is_seen_live_from_its_making_to_its_end(app) {
        let receiver = app.receiver().await.answer_statuses([503]);
        app.subscribe(receiver.url()).await;
        let mut stream = app.api.subscribe(LIVE, json!({})).await;
        let event = app.publish(json!(1)).await;
        let mut story = Vec::new();
        let mut cursors = Vec::new();
        while story.last().is_none_or(|(_, status)| status != "SUCCEEDED") {
            let update = stream.next().await["deliveryUpdated"].take();
            assert_eq!(update["kind"], "CHANGE");
            assert_eq!(update["delivery"]["event"]["id"], event);
            cursors.push(builder::text(&update["cursor"]));
            story.push((update["previousStatus"].as_str().map(str::to_owned), builder::text(&update["delivery"]["status"])));
            if story.last().is_some_and(|(_, status)| status == "RETRYING") {
                app.clock.advance(std::time::Duration::from_secs(6));
            }
        }
        // What changed several times in between may be told in its latest state.
        assert_eq!(story.last(), Some(&(Some("RETRYING".to_owned()), "SUCCEEDED".to_owned())), "{story:?}");
        cursors.dedup();
        assert_eq!(cursors.len(), story.len(), "every message has a cursor of its own");
        app.end().await;
    }

    async fn a_stream_tells_only_what_was_asked_for_and_only_of_its_own_workspace(app) {
        let (wanted, other) = (app.receiver().await, app.receiver().await);
        let subscribed = app.subscribe(wanted.url()).await;
        app.subscribe(other.url()).await;
        let (_, key) = builder::workspace_with_key(&app.admin, "Other").await;
        let mut foreign = app.admin.with_key(&key).subscribe(LIVE, json!({})).await;
        let filter = json!({ "where": { "endpointId": subscribed.endpoint, "status": ["SUCCEEDED"] } });
        let mut stream = app.api.subscribe(LIVE, filter).await;
        let event = app.publish(json!(1)).await;
        let update = stream.next().await["deliveryUpdated"].take();
        assert_eq!((&update["delivery"]["status"], &update["delivery"]["event"]["id"]), (&json!("SUCCEEDED"), &json!(event)));
        let own = app.admin.with_key(&key);
        let theirs = app.receiver().await;
        builder::subscribe(&own, json!({ "eventTypes": ["*"], "endpoint": { "url": theirs.url() } })).await;
        let event = builder::publish(&own, json!({ "eventType": "invoice.paid", "payload": 2 })).await;
        let first = foreign.next().await["deliveryUpdated"].take();
        assert_eq!(first["delivery"]["event"]["id"], event, "nothing of the other workspace came before");
        app.end().await;
    }

    async fn a_stream_without_the_scope_or_the_workspace_is_refused(app) {
        let reader = app.admin.with_key(&builder::key(&app.admin, &app.workspace, &["EVENT_READ"]).await);
        for (api, code) in [(reader, "FORBIDDEN"), (app.admin.clone(), "WORKSPACE_REQUIRED")] {
            let message = api.subscribe(LIVE, json!({})).await.next_message().await.expect("a message");
            assert!(message.to_string().contains(code), "{message}");
        }
        app.end().await;
    }
}
