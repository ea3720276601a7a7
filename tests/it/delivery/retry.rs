//! Failed deliveries are tried again.

use std::time::Duration;

use angarium_tests::app::eventually;
use angarium_tests::{Answer, builder, on_both_databases};
use serde_json::json;

on_both_databases! {
    async fn a_receiver_that_answers_503_503_204_gets_three_signed_attempts_with_the_same_id(app) {
        let receiver = app.receiver().await.answer_statuses([503, 503, 204]);
        let subscribed = app.subscribe(receiver.url()).await;
        let event = app.publish(json!({ "n": 1 })).await;
        receiver.expect_requests(1).await;
        app.delivery_in("RETRYING").await;
        app.clock.advance(Duration::from_secs(6));
        receiver.expect_requests(2).await;
        app.delivery_in("RETRYING").await;
        app.clock.advance(Duration::from_mins(6));
        let requests = receiver.expect_requests(3).await;

        let secret = subscribed.secret.expect("it is shown once");
        assert!(requests.iter().all(|request| request.is_signed_with(&secret)));
        assert!(requests.iter().all(|request| request.header("webhook-id") == event && request.body == requests[0].body));
        let seconds: Vec<i64> = requests.iter().map(|r| r.header("webhook-timestamp").parse().expect("seconds")).collect();
        assert!(seconds[0] + 6 <= seconds[1] && seconds[1] + 360 <= seconds[2], "{seconds:?}");

        let delivery = app.delivery_in("SUCCEEDED").await;
        assert_eq!(delivery["attemptCount"], 3);
        let attempts = delivery["attempts"]["nodes"].as_array().expect("a list");
        let told: Vec<_> = attempts.iter().map(|a| (a["number"].clone(), a["trigger"].clone(), a["response"]["statusCode"].clone())).collect();
        let expected = [(1, "INITIAL", 503), (2, "RETRY", 503), (3, "RETRY", 204)];
        assert_eq!(told, expected.map(|(number, trigger, status)| (json!(number), json!(trigger), json!(status))));
        assert_eq!(attempts[0]["error"]["code"], "HTTP_STATUS");
        assert_eq!(attempts[2]["error"], json!(null));
        app.end().await;
    }

    async fn an_exhausted_delivery_says_why_and_can_be_retried_by_hand(app) {
        let receiver = app.receiver().await.answer_statuses([500, 500, 500, 204]);
        let input = json!({ "eventTypes": ["*"], "endpoint": { "url": receiver.url() }, "retryPolicy": { "delays": ["PT1M"] } });
        builder::subscribe(&app.api, input).await;
        app.publish(json!({})).await;
        app.delivery_in("RETRYING").await;
        app.clock.advance(Duration::from_secs(73));
        let exhausted = app.delivery_in("EXHAUSTED").await;
        assert_eq!(exhausted["maxAttempts"], 2);
        assert!(builder::text(&exhausted["statusReason"]).contains("All 2 attempts"), "{exhausted}");

        let retry = "mutation($id: ID!) { deliveryRetry(id: $id) { delivery { status nextAttemptAt } userErrors { code } } }";
        let variables = json!({ "id": exhausted["id"] });
        let data = app.api.data(retry, variables.clone()).await;
        assert_eq!(data["deliveryRetry"]["delivery"]["status"], "RETRYING");
        receiver.expect_requests(3).await;
        // A fresh round of the policy: it failed again, and has one more attempt.
        let retrying = eventually("the third attempt is recorded", async || {
            let delivery = app.delivery_in("RETRYING").await;
            (delivery["attemptCount"] == 3).then_some(delivery)
        })
        .await;
        assert_eq!(retrying["attempts"]["nodes"][2]["trigger"], "MANUAL");
        app.clock.advance(Duration::from_secs(73));
        assert_eq!(app.delivery_in("SUCCEEDED").await["attemptCount"], 4);
        app.end().await;
    }

    async fn a_retry_by_hand_of_a_delivery_that_waits_in_memory_is_sent_once(app) {
        let receiver = app.receiver().await.answer_statuses([500]);
        app.subscribe(receiver.url()).await;
        app.publish(json!(1)).await;
        let failed = app.delivery_in("RETRYING").await;
        receiver.hang();
        app.publish(json!(2)).await;
        receiver.expect_requests(2).await;
        // The retry is due, and waits behind the request that hangs.
        app.clock.advance(Duration::from_secs(6));
        eventually("the retry is in memory", async || {
            let hubs = app.state().dispatcher.observe().await;
            hubs.iter().any(|hub| hub.job_bytes > 0).then_some(())
        })
        .await;
        let retry = "mutation($id: ID!) { deliveryRetry(id: $id) { delivery { status } userErrors { code } } }";
        let data = app.api.data(retry, json!({ "id": failed["id"] })).await;
        assert_eq!(data["deliveryRetry"]["userErrors"], json!([]));
        receiver.let_go(2);
        app.deliveries_in("SUCCEEDED", 2).await;
        app.clock.advance(Duration::from_mins(1));
        assert_eq!(receiver.expect_requests(3).await.len(), 3);
        app.end().await;
    }

    async fn a_pending_delivery_and_one_in_flight_cannot_be_retried(app) {
        let receiver = app.receiver().await;
        receiver.hang();
        app.subscribe(receiver.url()).await;
        app.publish(json!(1)).await;
        app.publish(json!(2)).await;
        receiver.expect_requests(1).await;
        let retry = "mutation($id: ID!) { deliveryRetry(id: $id) { delivery { id } userErrors { code field } } }";
        for delivery in app.deliveries_in("PENDING", 2).await {
            let data = app.api.data(retry, json!({ "id": delivery["id"] })).await;
            assert_eq!(data["deliveryRetry"], json!({ "delivery": null, "userErrors": [{ "code": "NOT_RETRYABLE", "field": ["id"] }] }));
        }
        receiver.let_go(2);
        app.deliveries_in("SUCCEEDED", 2).await;
        app.end().await;
    }

    async fn retry_after_holds_the_whole_endpoint(app) {
        let receiver = app.receiver().await.answer([Answer::status(429).header("retry-after", "600")]);
        app.subscribe(receiver.url()).await;
        app.publish(json!(1)).await;
        app.delivery_in("RETRYING").await;
        app.publish(json!(2)).await;
        app.clock.advance(Duration::from_secs(590));
        app.delivery_in("PENDING").await;
        receiver.expect_requests(1).await;
        app.clock.advance(Duration::from_secs(20));
        app.deliveries_in("SUCCEEDED", 2).await;
        receiver.expect_requests(3).await;
        app.end().await;
    }

    async fn resuming_an_endpoint_ends_the_hold_that_its_receiver_asked_for(app) {
        let receiver = app.receiver().await.answer([Answer::status(503).header("retry-after", "600")]);
        let subscribed = app.subscribe(receiver.url()).await;
        app.publish(json!(1)).await;
        app.delivery_in("RETRYING").await;
        app.publish(json!(2)).await;
        let held = app.api.data("{ deliveries(where: { status: PENDING }) { nodes { heldBy { reason until } } } }", json!({})).await;
        assert_eq!(held["deliveries"]["nodes"][0]["heldBy"]["reason"], "RETRY_AFTER");
        let resume = "mutation($id: ID!) { webhookEndpointResume(id: $id) { userErrors { code } } }";
        app.api.data(resume, json!({ "id": subscribed.endpoint })).await;
        assert_eq!(receiver.expect_requests(2).await[1].data(), json!(2));
        app.delivery_in("SUCCEEDED").await;
        app.end().await;
    }

    async fn a_410_suspends_the_endpoint_and_its_deliveries_wait_until_it_is_resumed(app) {
        let receiver = app.receiver().await.answer_statuses([410]);
        let subscribed = app.subscribe(receiver.url()).await;
        app.publish(json!(1)).await;
        let waiting = app.delivery_in("RETRYING").await;
        assert_eq!(waiting["endpoint"]["status"], "SUSPENDED");
        assert!(builder::text(&waiting["endpoint"]["statusReason"]).contains("410 Gone"), "{waiting}");
        app.publish(json!(2)).await;
        app.clock.advance(Duration::from_hours(48));
        app.delivery_in("PENDING").await;
        receiver.expect_requests(1).await;
        let resume = "mutation($id: ID!) { webhookEndpointResume(id: $id) { webhookEndpoint { status statusReason } userErrors { code } } }";
        let data = app.api.data(resume, json!({ "id": subscribed.endpoint })).await;
        assert_eq!(data["webhookEndpointResume"]["webhookEndpoint"], json!({ "status": "ACTIVE", "statusReason": null }));
        app.deliveries_in("SUCCEEDED", 2).await;
        let data: Vec<_> = receiver.expect_requests(3).await.iter().map(angarium_tests::Received::data).collect();
        assert_eq!(data, [json!(1), json!(1), json!(2)]);
        app.end().await;
    }

    async fn a_receiver_that_cannot_be_reached_is_told_apart(app) {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address");
        app.subscribe(&format!("http://{closed}/in")).await;
        app.publish(json!(1)).await;
        let delivery = app.delivery_in("RETRYING").await;
        let attempt = &delivery["attempts"]["nodes"][0];
        assert_eq!((&attempt["error"]["code"], &attempt["response"]), (&json!("CONNECTION"), &json!(null)));
        app.end().await;
    }
}
