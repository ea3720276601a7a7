//! What probes cost, and who is not probed.

use std::time::Duration;

use angarium_tests::app::eventually;
use angarium_tests::builder::{self, text};
use angarium_tests::{TestApp, on_both_databases};
use serde_json::{Value, json};

/// The endpoint, once `is_so` says of it.
async fn endpoint_where(app: &TestApp, id: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let query = "query($id: ID!) { webhookEndpoint(id: $id) { status health { circuit consecutiveFailures } } }";
    let ask = async || {
        let endpoint = app.api.data(query, json!({ "id": id })).await["webhookEndpoint"].take();
        is_so(&endpoint).then_some(endpoint)
    };
    eventually(what, ask).await
}

on_both_databases! {
    async fn an_endpoint_that_is_gone_is_not_probed_when_what_was_still_running_fails(mut app) {
        let receiver = app.receiver().await.answer_statuses([410, 500, 500, 500, 500, 500, 500]);
        receiver.hang();
        let endpoint = json!({ "create": { "url": receiver.url(), "ordering": "NONE", "maxInFlight": 8 } });
        let subscribed = builder::subscribe(&app.api, json!({ "eventTypes": ["invoice.*"], "endpoint": endpoint })).await;
        for n in 0..7 {
            app.publish(json!(n)).await;
        }
        receiver.expect_requests(7).await;
        receiver.let_go(1);
        endpoint_where(&app, &subscribed.endpoint, "it is suspended", |it| it["status"] == "SUSPENDED").await;
        receiver.let_go(6);
        let ended = endpoint_where(&app, &subscribed.endpoint, "all have failed", |it| it["health"]["consecutiveFailures"] == 7).await;
        assert_eq!(ended["health"]["circuit"], "CLOSED");
        let witness = app.receiver().await;
        builder::subscribe(&app.api, json!({ "eventTypes": ["invoice.*"], "endpoint": { "url": witness.url() } })).await;
        for requests in 1..=3 {
            app.restart().await;
            app.clock.advance(Duration::from_hours(100));
            app.publish(json!("late")).await;
            witness.expect_requests(requests).await;
            app.deliveries_in("PENDING", requests).await;
            endpoint_where(&app, &subscribed.endpoint, "it is still suspended", |it| it["status"] == "SUSPENDED").await;
        }
        assert_eq!(receiver.received().len(), 7, "whoever is gone gets no request");
        app.end().await;
    }

    async fn a_probe_is_an_attempt_that_uses_up_nothing_of_the_retry_policy(mut app) {
        let receiver = app.receiver().await;
        receiver.answer_from_now_on(500);
        let input = json!({ "eventTypes": ["*"], "endpoint": { "url": receiver.url() }, "retryPolicy": { "delays": ["PT1S"] } });
        let subscribed = builder::subscribe(&app.api, input).await;
        for n in 0..5 {
            app.publish(json!(n)).await;
        }
        endpoint_where(&app, &subscribed.endpoint, "the circuit is open", |it| it["health"]["circuit"] == "OPEN").await;
        for failures in 6..=25 {
            if failures == 15 {
                app.restart().await;
            }
            app.clock.advance(Duration::from_mins(11));
            // Wakes the endpoint after a restart.
            endpoint_where(&app, &subscribed.endpoint, "a probe has failed", |it| it["health"]["consecutiveFailures"] == failures).await;
        }
        let waiting = app.deliveries_in("RETRYING", 5).await;
        let attempts: u64 = waiting.iter().filter_map(|one| one["attemptCount"].as_u64()).sum();
        assert_eq!(attempts, 25, "each probe is counted");
        receiver.answer_from_now_on(204);
        app.clock.advance(Duration::from_mins(11));
        for delivery in app.deliveries_in("SUCCEEDED", 5).await {
            let attempts = delivery["attempts"]["nodes"].as_array().expect("a list").clone();
            let triggers: Vec<_> = attempts.iter().map(|attempt| text(&attempt["trigger"])).collect();
            assert!(triggers.len() > 3 && triggers[0] == "INITIAL", "{triggers:?}");
            assert!(triggers.iter().skip(1).all(|trigger| trigger == "PROBE" || trigger == "RETRY"), "{triggers:?}");
        }
        app.end().await;
    }
}
