//! What waits is found again, and idle actors sleep without loss.

use std::time::Duration;

use angarium_tests::app::eventually;
use angarium_tests::{builder, on_both_databases};
use serde_json::json;

on_both_databases! {
    async fn a_restart_goes_on_with_retries_that_were_waiting(mut app) {
        let receiver = app.receiver().await.answer_statuses([503]);
        app.subscribe(receiver.url()).await;
        app.publish(json!(1)).await;
        app.delivery_in("RETRYING").await;
        app.restart().await;
        app.clock.advance(Duration::from_secs(6));
        receiver.expect_requests(2).await;
        app.delivery_in("SUCCEEDED").await;
        app.end().await;
    }

    async fn a_retry_that_is_due_later_than_the_wheel_looks_ahead_leaves_on_time(app) {
        let receiver = app.receiver().await.answer_statuses([503, 503]);
        app.subscribe(receiver.url()).await;
        app.publish(json!(1)).await;
        app.delivery_in("RETRYING").await;
        app.clock.advance(Duration::from_secs(6));
        receiver.expect_requests(2).await;
        let waiting = eventually("the second failure is recorded", async || {
            let delivery = app.delivery_in("RETRYING").await;
            (delivery["attemptCount"] == 2).then_some(delivery)
        }).await;
        let due = angarium_entity::Timestamp::parse_rfc3339(waiting["nextAttemptAt"].as_str().expect("a time")).expect("a time");
        let now = angarium_entity::Clock::now(&app.clock);
        app.clock.advance(due.since(now + Duration::from_secs(1)));
        app.delivery_in("RETRYING").await;
        receiver.expect_requests(2).await;
        app.clock.advance(Duration::from_secs(1));
        receiver.expect_requests(3).await;
        app.end().await;
    }

    async fn idle_actors_are_forgotten_and_wake_for_the_next_event(app) {
        let receiver = app.receiver().await;
        app.subscribe(receiver.url()).await;
        for round in 1..=3 {
            app.publish(json!(round)).await;
            receiver.expect_requests(round).await;
            app.deliveries_in("SUCCEEDED", round).await;
            // Hubs look every 15 s for actors that have been idle for 60 s.
            eventually("the actor is forgotten", async || {
                app.clock.advance(Duration::from_secs(16));
                let hubs = app.state().dispatcher.observe().await;
                hubs.iter().all(|hub| hub.endpoints == 0).then_some(())
            }).await;
        }
        app.end().await;
    }

    async fn a_graceful_stop_under_load_repeats_nothing(mut app) {
        let (slow, busy) = (app.receiver().await, app.receiver().await);
        slow.hang();
        builder::subscribe(&app.api, json!({ "eventTypes": ["sms.outbound"], "endpoint": { "url": slow.url() } })).await;
        builder::subscribe(&app.api, json!({ "eventTypes": ["invoice.paid"], "endpoint": { "url": busy.url() } })).await;
        builder::publish(&app.api, json!({ "eventType": "sms.outbound", "payload": 0 })).await;
        slow.expect_requests(1).await;
        let inputs: Vec<_> = (0..300).map(|n| json!({ "eventType": "invoice.paid", "payload": n })).collect();
        let batch = "mutation($inputs: [EventPublishInput!]!) { eventPublishBatch(inputs: $inputs) { userErrors { code } } }";
        app.api.data(batch, json!({ "inputs": inputs })).await;
        let ((), ()) = tokio::join!(app.restart_gracefully(), async { slow.let_go(1) });
        eventually("all is delivered", async || {
            let open = "{ deliveries(where: { status: [PENDING, RETRYING] }) { totalCount } }";
            (app.api.data(open, json!({})).await["deliveries"]["totalCount"] == 0).then_some(())
        })
        .await;
        assert_eq!((slow.received().len(), busy.received().len()), (1, 300));
        app.end().await;
    }

    async fn a_row_that_does_not_read_stops_only_its_own_endpoint(mut app) {
        use sea_orm::ConnectionTrait;
        let (broken, other) = (app.receiver().await.answer_statuses([503]), app.receiver().await);
        app.subscribe(broken.url()).await;
        app.publish(json!(1)).await;
        app.delivery_in("RETRYING").await;
        let spoil = format!("UPDATE endpoint SET ordering = 'UNHEARD_OF' WHERE url = '{}'", broken.url());
        app.state().db.write().execute_unprepared(&spoil).await.expect("the row can be spoilt");
        app.restart().await;
        app.clock.advance(Duration::from_mins(1));
        let (_, key) = builder::workspace_with_key(&app.admin, "Other").await;
        let api = app.admin.with_key(&key);
        builder::subscribe(&api, json!({ "eventTypes": ["*"], "endpoint": { "url": other.url() } })).await;
        builder::publish(&api, json!({ "eventType": "invoice.paid", "payload": 2 })).await;
        other.expect_requests(1).await;
        broken.expect_requests(1).await;
        app.end().await;
    }

    async fn a_paused_endpoint_keeps_its_events_and_sends_them_in_order_when_resumed(app) {
        let receiver = app.receiver().await;
        let subscribed = app.subscribe(receiver.url()).await;
        let pause = "mutation($id: ID!) { webhookEndpointPause(id: $id, reason: \"maintenance\") { webhookEndpoint { status } userErrors { code } } }";
        app.api.data(pause, json!({ "id": subscribed.endpoint })).await;
        for n in 1..=3 {
            app.publish(json!(n)).await;
        }
        app.clock.advance(Duration::from_hours(1));
        let held = app.api.data("{ deliveries { nodes { status heldBy { reason until } } } webhookSubscriptions { nodes { status statusReason } } }", json!({})).await;
        assert_eq!(held["deliveries"]["nodes"][0], json!({ "status": "PENDING", "heldBy": { "reason": "ENDPOINT_PAUSED", "until": null } }));
        assert_eq!(held["webhookSubscriptions"]["nodes"][0]["status"], "PAUSED");
        assert_eq!(receiver.received().len(), 0);
        let resume = "mutation($id: ID!) { webhookEndpointResume(id: $id) { webhookEndpoint { status } userErrors { code } } }";
        app.api.data(resume, json!({ "id": subscribed.endpoint })).await;
        let data: Vec<_> = receiver.expect_requests(3).await.iter().map(angarium_tests::Received::data).collect();
        assert_eq!(data, [json!(1), json!(2), json!(3)]);
        app.end().await;
    }
}
