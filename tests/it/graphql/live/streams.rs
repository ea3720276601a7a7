//! Attempts as they end, and events as they are published.

use std::time::Duration;

use angarium_tests::{builder, on_both_databases};
use serde_json::json;

const ATTEMPTS: &str = "subscription($where: DeliveryWhere, $after: String) \
    { deliveryAttemptCompleted(where: $where, after: $after) \
    { kind cursor occurredAt attempt { number succeeded delivery { id event { id } } } } }";
const EVENTS: &str = "subscription($where: EventWhere, $after: String) { eventPublished(where: $where, after: $after) \
    { kind cursor occurredAt event { id payload } } }";

on_both_databases! {
    async fn attempts_are_told_one_by_one_and_again_after_a_resume(app) {
        let (receiver, other) = (app.receiver().await.answer_statuses([503]), app.receiver().await);
        let subscribed = app.subscribe(receiver.url()).await;
        app.subscribe(other.url()).await;
        let wanted = json!({ "endpointId": subscribed.endpoint });
        let mut stream = app.api.subscribe(ATTEMPTS, json!({ "where": wanted })).await;
        let event = app.publish(json!(1)).await;
        let first = stream.next().await["deliveryAttemptCompleted"].take();
        assert_eq!((&first["kind"], &first["attempt"]["number"], &first["attempt"]["succeeded"]), (&json!("CHANGE"), &json!(1), &json!(false)));
        assert_eq!(first["attempt"]["delivery"]["event"]["id"], event);
        drop(stream);
        app.clock.advance(Duration::from_secs(6));
        app.deliveries_in("SUCCEEDED", 2).await;
        let after = json!({ "where": wanted, "after": first["cursor"] });
        let mut stream = app.api.subscribe(ATTEMPTS, after).await;
        let second = stream.next().await["deliveryAttemptCompleted"].take();
        assert_eq!((&second["kind"], &second["attempt"]["number"], &second["attempt"]["succeeded"]), (&json!("CHANGE"), &json!(2), &json!(true)));
        let end = stream.next().await["deliveryAttemptCompleted"].take();
        assert_eq!((&end["kind"], &end["attempt"]), (&json!("CAUGHT_UP"), &json!(null)));
        app.end().await;
    }

    async fn events_are_told_whether_they_match_a_subscription_or_not(app) {
        let mut stream = app.api.subscribe(EVENTS, json!({})).await;
        let mut published = vec![app.publish(json!(0)).await];
        let first = stream.next().await["eventPublished"].take();
        assert_eq!((&first["kind"], &first["event"]["id"]), (&json!("CHANGE"), &json!(published[0])));
        drop(stream);
        let receiver = app.receiver().await;
        app.subscribe(receiver.url()).await;
        for n in 1..=2 {
            published.push(app.publish(json!(n)).await);
        }
        let other = json!({ "eventType": "sms.outbound", "payload": 3 });
        builder::publish(&app.api, other).await;
        app.deliveries_in("SUCCEEDED", 3).await;
        let wanted = json!({ "after": first["cursor"], "where": { "eventType": ["invoice.*"] } });
        let mut stream = app.api.subscribe(EVENTS, wanted).await;
        for id in &published[1..] {
            assert_eq!(stream.next().await["eventPublished"]["event"]["id"], *id);
        }
        assert_eq!(stream.next().await["eventPublished"]["kind"], "CAUGHT_UP");
        app.end().await;
    }

    async fn events_of_another_workspace_are_not_told(app) {
        let (_, key) = builder::workspace_with_key(&app.admin, "Other").await;
        let other = app.admin.with_key(&key);
        let mut stream = other.subscribe(EVENTS, json!({})).await;
        app.publish(json!(1)).await;
        let own = builder::publish(&other, json!({ "eventType": "invoice.paid", "payload": 2 })).await;
        assert_eq!(stream.next().await["eventPublished"]["event"]["id"], own);
        app.end().await;
    }
}
