//! The circuit breaker, the health of endpoints, and suspension.

use std::time::Duration;

use angarium_entity::change_log::{self, Change};
use angarium_tests::app::eventually;
use angarium_tests::{Backend, Receiver, TestApp, builder, on_both_databases};
use sea_orm::EntityTrait as _;
use serde_json::{Value, json};

const RESUME: &str =
    "mutation($id: ID!) { webhookEndpointResume(id: $id) { webhookEndpoint { status } userErrors { code } } }";

/// The endpoint, once its `field` of `health` is `value`.
async fn endpoint_with(app: &TestApp, id: &str, field: &str, value: Value) -> Value {
    let query = "query($id: ID!) { webhookEndpoint(id: $id) { status statusReason \
        health { circuit consecutiveFailures lastFailureAt lastSuccessAt status } } }";
    let ask = async || {
        let endpoint = app.api.data(query, json!({ "id": id })).await["webhookEndpoint"].take();
        (endpoint["health"][field] == value || endpoint[field] == value).then_some(endpoint)
    };
    eventually(&format!("{field} is {value}"), ask).await
}

/// What holds the deliveries in `status`, oldest first.
async fn held(app: &TestApp, status: &str) -> Vec<Value> {
    let query = "query($status: DeliveryStatus!) { deliveries(where: { status: [$status] }, orderBy: { field: CREATED_AT, direction: ASC }) \
        { nodes { heldBy { reason until } } } }";
    let data = app.api.data(query, json!({ "status": status })).await;
    data["deliveries"]["nodes"].as_array().expect("a list").iter().map(|node| node["heldBy"].clone()).collect()
}

/// The triggers of the attempts of each delivery in `status`.
async fn triggers(app: &TestApp, status: &str, count: usize) -> Vec<Vec<String>> {
    let deliveries = app.deliveries_in(status, count).await;
    let attempts = |delivery: &Value| delivery["attempts"]["nodes"].as_array().expect("a list").clone();
    let words = |delivery| attempts(delivery).iter().map(|attempt| builder::text(&attempt["trigger"])).collect();
    deliveries.iter().map(words).collect()
}

/// How often the log says that the status of an endpoint changed, and that something else did.
async fn logged(app: &TestApp) -> (usize, usize) {
    let rows = change_log::Entity::find().all(app.state().db.read()).await.expect("the log reads");
    let changes = rows.iter().flat_map(|row| &row.changes.0);
    let endpoints: Vec<_> =
        changes.filter_map(|c| if let Change::Endpoint(e) = c { Some(e.is_status) } else { None }).collect();
    let of_status = endpoints.iter().filter(|is_status| **is_status).count();
    (of_status, endpoints.len() - of_status)
}

on_both_databases! {
    async fn five_failed_deliveries_open_the_circuit_also_across_a_restart_and_a_probe_closes_it(mut app) {
        let receiver = app.receiver().await.answer_statuses([500, 500, 500, 500, 500, 500]);
        let subscribed = app.subscribe(receiver.url()).await;
        let fresh = endpoint_with(&app, &subscribed.endpoint, "status", json!("ACTIVE")).await;
        let unknown = json!({ "circuit": "CLOSED", "consecutiveFailures": 0, "lastFailureAt": null, "lastSuccessAt": null, "status": "UNKNOWN" });
        assert_eq!(fresh["health"], unknown);
        let before = logged(&app).await;
        for n in 0..8 {
            app.publish(json!(n)).await;
        }
        let open = endpoint_with(&app, &subscribed.endpoint, "circuit", json!("OPEN")).await;
        assert_eq!((&open["health"]["consecutiveFailures"], &open["health"]["status"]), (&json!(5), &json!("FAILING")));
        assert!(open["health"]["lastFailureAt"].is_string() && open["status"] == "ACTIVE");
        app.deliveries_in("RETRYING", 5).await;
        // Failing, and the circuit.
        assert_eq!(logged(&app).await, (before.0, before.1 + 2));
        let held_by = held(&app, "PENDING").await;
        assert!(held_by.iter().all(|hold| hold["reason"] == "CIRCUIT_OPEN" && hold["until"].is_string()), "{held_by:?}");
        app.restart().await;
        app.clock.advance(Duration::from_secs(29));
        app.publish(json!(8)).await;
        app.deliveries_in("PENDING", 4).await;
        assert_eq!(receiver.received().len(), 5);

        // The first probe fails, and the circuit waits for a minute.
        receiver.hang();
        app.clock.advance(Duration::from_secs(17));
        assert_eq!(receiver.expect_requests(6).await[5].data(), json!(5));
        endpoint_with(&app, &subscribed.endpoint, "circuit", json!("HALF_OPEN")).await;
        let waits = json!({ "reason": "CIRCUIT_OPEN", "until": null });
        assert_eq!(held(&app, "PENDING").await, [json!(null), waits.clone(), waits.clone(), waits]);
        receiver.let_go(100);
        assert_eq!(triggers(&app, "RETRYING", 6).await.iter().filter(|words| **words == ["PROBE"]).count(), 1);
        endpoint_with(&app, &subscribed.endpoint, "consecutiveFailures", json!(6)).await;
        app.clock.advance(Duration::from_secs(61));
        app.deliveries_in("SUCCEEDED", 9).await;
        let attempts: usize = triggers(&app, "SUCCEEDED", 9).await.iter().map(Vec::len).sum();
        assert_eq!((attempts, receiver.received().len()), (15, 15), "what waited used up nothing");
        let closed = endpoint_with(&app, &subscribed.endpoint, "circuit", json!("CLOSED")).await;
        assert_eq!((&closed["health"]["consecutiveFailures"], &closed["health"]["status"]), (&json!(0), &json!("UNSTABLE")));
        app.end().await;
    }

    async fn failures_between_which_the_endpoint_is_forgotten_open_the_circuit_all_the_same(app) {
        let receiver = app.receiver().await.answer_statuses([500; 5]);
        let input = json!({ "eventTypes": ["*"], "endpoint": { "url": receiver.url() }, "retryPolicy": { "delays": ["PT1H"] } });
        let subscribed = builder::subscribe(&app.api, input).await;
        for n in 1..5 {
            app.publish(json!(n)).await;
            endpoint_with(&app, &subscribed.endpoint, "consecutiveFailures", json!(n)).await;
            app.clock.advance(Duration::from_secs(80));
            eventually("it is forgotten", async || {
                // It may have heard that the result is durable only now.
                app.clock.advance(Duration::from_secs(15));
                let awake: usize = app.state().dispatcher.observe().await.iter().map(|hub| hub.endpoints).sum();
                (awake == 0).then_some(())
            })
            .await;
        }
        app.publish(json!(5)).await;
        endpoint_with(&app, &subscribed.endpoint, "circuit", json!("OPEN")).await;
        app.end().await;
    }

    async fn a_single_delivery_is_retried_as_its_own_policy_says(app) {
        let receiver = app.receiver().await.answer_statuses([500; 9]);
        let input = json!({ "eventTypes": ["*"], "endpoint": { "url": receiver.url() }, "retryPolicy": { "delays": vec!["PT1S"; 9] } });
        let subscribed = builder::subscribe(&app.api, input).await;
        app.publish(json!(1)).await;
        for attempts in 1..10 {
            eventually("the attempt is recorded", async || {
                (app.delivery_in("RETRYING").await["attemptCount"] == attempts).then_some(())
            })
            .await;
            app.clock.advance(Duration::from_secs(2));
        }
        assert_eq!(app.delivery_in("SUCCEEDED").await["attemptCount"], 10);
        endpoint_with(&app, &subscribed.endpoint, "circuit", json!("CLOSED")).await;
        app.end().await;
    }

    async fn endpoints_are_listed_by_their_health(app) {
        let receivers = [
            app.receiver().await.answer_statuses([500; 9]),
            app.receiver().await.answer_statuses([500]),
            app.receiver().await,
        ];
        let mut ids = Vec::new();
        for receiver in &receivers {
            ids.push(app.subscribe(receiver.url()).await.endpoint);
        }
        let create = "mutation { webhookEndpointCreate(input: { url: \"https://example.com\" }) { webhookEndpoint { id } } }";
        ids.push(builder::text(&app.api.data(create, json!({})).await["webhookEndpointCreate"]["webhookEndpoint"]["id"]));
        for n in 0..2 {
            app.publish(json!(n)).await;
        }
        let all = ["FAILING", "UNSTABLE", "HEALTHY", "UNKNOWN"];
        for (id, (status, [fails, succeeds])) in
            ids.iter().zip(all.into_iter().zip([[true, false], [true, true], [false, true], [false, false]]))
        {
            let health = endpoint_with(&app, id, "status", json!(status)).await["health"].take();
            assert_eq!((&health["status"], &health["circuit"]), (&json!(status), &json!("CLOSED")));
            assert_eq!((health["lastFailureAt"].is_string(), health["lastSuccessAt"].is_string()), (fails, succeeds));
        }
        let failures = endpoint_with(&app, &ids[0], "consecutiveFailures", json!(2)).await;
        assert_eq!((&failures["health"]["status"], &failures["status"]), (&json!("FAILING"), &json!("ACTIVE")));

        let list = "query($health: [WebhookEndpointHealthStatus!]) { webhookEndpoints(where: { health: $health }, \
            orderBy: { field: CREATED_AT, direction: ASC }) { nodes { health { status } } totalCount } }";
        for wanted in [&all[..1], &all[1..2], &all[2..3], &all[3..], &all[..2], &all[2..], &all[..], &[]] {
            let found = app.api.data(list, json!({ "health": wanted })).await["webhookEndpoints"].take();
            let nodes = found["nodes"].as_array().expect("a list").iter();
            let mut statuses: Vec<_> = nodes.map(|node| builder::text(&node["health"]["status"])).collect();
            statuses.sort_by_key(|status| all.iter().position(|known| known == status));
            assert_eq!((statuses, &found["totalCount"]), (wanted.iter().map(ToString::to_string).collect(), &json!(wanted.len())));
        }
        app.end().await;
    }

    async fn whoever_resumes_an_endpoint_does_not_wait_for_a_probe(app) {
        let receiver = app.receiver().await.answer_statuses([500; 5]);
        let subscribed = app.subscribe(receiver.url()).await;
        for n in 0..6 {
            app.publish(json!(n)).await;
        }
        endpoint_with(&app, &subscribed.endpoint, "circuit", json!("OPEN")).await;
        app.api.data(RESUME, json!({ "id": subscribed.endpoint })).await;
        app.delivery_in("SUCCEEDED").await;
        endpoint_with(&app, &subscribed.endpoint, "status", json!("UNSTABLE")).await;
        app.end().await;
    }

    async fn an_endpoint_that_fails_for_too_long_is_suspended_probed_every_hour_and_recovers(mut app) {
        let update = "mutation($id: ID!) { workspaceUpdate(id: $id, input: { suspendAfter: \"PT1H\" }) { userErrors { code message } } }";
        let data = app.admin.data(update, json!({ "id": app.workspace })).await;
        assert_eq!(data["workspaceUpdate"]["userErrors"], json!([]));
        let receiver = app.receiver().await.answer_statuses([500; 4]);
        let policy = json!({ "delays": ["PT1H", "PT1M", "PT1M", "PT1M"] });
        let input = json!({ "eventTypes": ["*"], "endpoint": { "url": receiver.url() }, "retryPolicy": policy });
        let subscribed = builder::subscribe(&app.api, input).await;
        app.publish(json!(1)).await;
        app.delivery_in("RETRYING").await;
        let monitor = app.receiver().await;
        builder::subscribe(&app.api, json!({ "eventTypes": ["angarium.endpoint.*"], "endpoint": { "url": monitor.url() } })).await;
        let before = logged(&app).await;
        app.clock.advance(Duration::from_mins(73));
        let suspended = endpoint_with(&app, &subscribed.endpoint, "status", json!("SUSPENDED")).await;
        let reason = builder::text(&suspended["statusReason"]);
        assert!(reason.contains("Every attempt since 20"), "{reason}");
        app.delivery_in("SUCCEEDED").await;
        app.publish(json!(2)).await;
        app.delivery_in("PENDING").await;
        assert_eq!(held(&app, "PENDING").await, [json!({ "reason": "ENDPOINT_SUSPENDED", "until": null })]);

        for requests in [3, 4] {
            app.clock.advance(Duration::from_mins(61));
            receiver.expect_requests(requests).await;
            endpoint_with(&app, &subscribed.endpoint, "consecutiveFailures", json!(requests)).await;
            endpoint_with(&app, &subscribed.endpoint, "status", json!("SUSPENDED")).await;
            app.restart().await;
            // Wakes the endpoint, which learns from the rows when the next probe is due.
            app.publish(json!(requests)).await;
        }
        app.clock.advance(Duration::from_mins(61));
        endpoint_with(&app, &subscribed.endpoint, "status", json!("ACTIVE")).await;
        let told = monitor.expect_requests(2).await;
        let told: Vec<_> = told.iter().map(|request| request.header("webhook-event-type")).collect();
        assert_eq!(told, ["angarium.endpoint.suspended", "angarium.endpoint.recovered"]);
        app.deliveries_in("SUCCEEDED", 6).await;
        assert!(triggers(&app, "SUCCEEDED", 6).await.iter().flatten().any(|word| word == "PROBE"));
        assert_eq!(logged(&app).await.0, before.0 + 2, "suspended, and recovered");
        app.end().await;
    }

    async fn a_410_is_final_until_somebody_resumes_the_endpoint(mut app) {
        let receiver = app.receiver().await.answer_statuses([410]);
        let subscribed = app.subscribe(receiver.url()).await;
        app.publish(json!(1)).await;
        endpoint_with(&app, &subscribed.endpoint, "status", json!("SUSPENDED")).await;
        app.delivery_in("RETRYING").await;
        app.restart().await;
        app.clock.advance(Duration::from_hours(100));
        app.publish(json!(2)).await;
        app.delivery_in("PENDING").await;
        receiver.expect_requests(1).await;
        app.api.data(RESUME, json!({ "id": subscribed.endpoint })).await;
        app.deliveries_in("SUCCEEDED", 2).await;
        assert_eq!(receiver.expect_requests(3).await[1].data(), json!(1));
        app.end().await;
    }

    async fn deliveries_of_a_disabled_subscription_say_so_and_let_others_pass_in_a_strict_line(app) {
        let receiver = app.receiver().await;
        receiver.hang();
        let endpoint = json!({ "create": { "url": receiver.url(), "ordering": "STRICT" } });
        let one = builder::subscribe(&app.api, json!({ "eventTypes": ["sms.outbound"], "endpoint": endpoint })).await;
        let other = json!({ "eventTypes": ["invoice.paid"], "endpoint": { "id": one.endpoint } });
        builder::subscribe(&app.api, other).await;
        app.publish(json!(1)).await;
        receiver.expect_requests(1).await;
        builder::publish(&app.api, json!({ "eventType": "sms.outbound", "payload": 2 })).await;
        app.publish(json!(3)).await;
        let disable = "mutation($id: ID!) { webhookSubscriptionsDisable(ids: [$id]) { userErrors { code } } }";
        app.api.data(disable, json!({ "id": one.id })).await;
        let reasons: Vec<_> = held(&app, "PENDING").await.iter().map(|hold| hold["reason"].clone()).collect();
        assert_eq!(reasons, [json!(null), json!("SUBSCRIPTION_DISABLED"), json!("LINE")]);
        receiver.let_go(100);
        app.deliveries_in("SUCCEEDED", 2).await;
        let enable = "mutation($id: ID!) { webhookSubscriptionsEnable(ids: [$id]) { userErrors { code } } }";
        app.api.data(enable, json!({ "id": one.id })).await;
        app.deliveries_in("SUCCEEDED", 3).await;
        endpoint_with(&app, &one.endpoint, "status", json!("HEALTHY")).await;
        app.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_that_hang_leave_requests_in_flight_to_a_healthy_one() {
    let settings = [("ANGARIUM_ARBITERS", "1"), ("ANGARIUM_IN_FLIGHT_MAX", "40")];
    let app = TestApp::start_with(Backend::Sqlite, &settings).await;
    let hanging: [Receiver; 3] = [app.receiver().await, app.receiver().await, app.receiver().await];
    for receiver in &hanging {
        receiver.hang();
        let endpoint = json!({ "create": { "url": receiver.url(), "ordering": "NONE", "maxInFlight": 64 } });
        builder::subscribe(&app.api, json!({ "eventTypes": ["sms.outbound"], "endpoint": endpoint })).await;
    }
    let healthy = app.receiver().await;
    let input = json!({ "eventTypes": ["invoice.paid"], "endpoint": { "url": healthy.url() } });
    builder::subscribe(&app.api, input).await;
    let publish =
        "mutation($inputs: [EventPublishInput!]!) { eventPublishBatch(inputs: $inputs) { results { event { id } } } }";
    let batch: Value = (0..64).map(|n| json!({ "eventType": "sms.outbound", "payload": n })).collect();
    app.api.data(publish, json!({ "inputs": batch })).await;
    eventually("as many hang as may", async || {
        let running: usize = app.state().dispatcher.observe().await.iter().map(|hub| hub.in_flight).sum();
        (running > 20).then_some(())
    })
    .await;
    for n in 0..20 {
        app.publish(json!(n)).await;
    }
    healthy.expect_requests(20).await;
    app.deliveries_in("SUCCEEDED", 20).await;
    for receiver in &hanging {
        receiver.let_go(100);
    }
    app.deliveries_in("PENDING", 0).await;
    app.end().await;
}
