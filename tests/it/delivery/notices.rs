//! Events of Angarium's own: told with the change, to who asked for them by name, once, and never about themselves.

use std::time::Duration;

use angarium_entity::event;
use angarium_tests::app::{count, eventually};
use angarium_tests::builder::{self, problems, text};
use angarium_tests::{Received, TestApp, on_both_databases};
use serde_json::{Value, json};

const RESUME: &str = "mutation($id: ID!) { webhookEndpointResume(id: $id) { userErrors { code } } }";
const PAUSE: &str = "mutation($id: ID!) { webhookEndpointPause(id: $id) { userErrors { code } } }";
const TEST: &str = "mutation($id: ID!, $eventType: EventTypeName, $payload: JSON) \
    { webhookSubscriptionTest(id: $id, eventType: $eventType, payload: $payload) { delivery { id } userErrors { code message field } } }";

/// Subscribes a receiver to these types, with one attempt for each delivery.
async fn subscribe(app: &TestApp, url: &str, types: &[&str]) -> builder::Subscribed {
    let input = json!({ "name": "Monitor", "eventTypes": types, "retryPolicy": { "delays": [] }, "endpoint": { "create": { "url": url, "name": "Its endpoint" } } });
    builder::subscribe(&app.api, input).await
}

fn types(requests: &[Received]) -> Vec<&str> {
    requests.iter().map(|request| request.header("webhook-event-type")).collect()
}

on_both_databases! {
    async fn a_suspension_and_a_recovery_are_told_to_who_asked_for_them(app) {
        let (gone, monitor, by_name, all) =
            (app.receiver().await.answer_statuses([410]), app.receiver().await, app.receiver().await, app.receiver().await);
        subscribe(&app, monitor.url(), &["angarium.*"]).await;
        subscribe(&app, by_name.url(), &["angarium.endpoint.recovered"]).await;
        let subscribed = subscribe(&app, gone.url(), &["invoice.*"]).await;
        subscribe(&app, all.url(), &["*"]).await;
        app.publish(json!(1)).await;
        let suspended = monitor.expect_requests(1).await.remove(0);
        assert_eq!(suspended.header("webhook-event-type"), "angarium.endpoint.suspended");
        let data = suspended.data();
        assert_eq!(data["endpoint"], json!({ "id": subscribed.endpoint, "name": "Its endpoint", "workspaceId": app.workspace }));
        assert!(text(&data["reason"]).contains("410"), "{data}");
        // Pausing and resuming what is not suspended tells nothing.
        let paused = app.subscribe("https://example.com/in").await;
        for mutation in [PAUSE, RESUME] {
            app.api.data(mutation, json!({ "id": paused.endpoint })).await;
        }
        app.api.data(RESUME, json!({ "id": subscribed.endpoint })).await;
        app.api.data(RESUME, json!({ "id": subscribed.endpoint })).await;
        let told = monitor.expect_requests(2).await;
        assert_eq!(types(&told), ["angarium.endpoint.suspended", "angarium.endpoint.recovered"]);
        assert_eq!(told[1].data()["endpoint"]["id"], subscribed.endpoint);
        assert_eq!(by_name.expect_requests(1).await[0].data(), told[1].data());
        gone.expect_requests(2).await;
        app.deliveries_in("SUCCEEDED", 5).await;
        assert_eq!(types(&all.received()), ["invoice.paid"], "a star does not mean Angarium's own");
        app.end().await;
    }

    async fn a_filter_chooses_what_is_told_and_payload_fields_cut_none_of_it(app) {
        let (gone, chosen, other) = (app.receiver().await.answer_statuses([410]), app.receiver().await, app.receiver().await);
        let subscribed = subscribe(&app, gone.url(), &["invoice.*"]).await;
        for (receiver, id) in [(&chosen, subscribed.endpoint.as_str()), (&other, "ep_none")] {
            let filter = format!("event.payload.endpoint.id == '{id}'");
            let input = json!({ "eventTypes": ["angarium.*"], "filter": filter, "payloadFields": ["reason"], "endpoint": { "url": receiver.url() } });
            builder::subscribe(&app.api, input).await;
        }
        app.publish(json!(1)).await;
        let told = chosen.expect_requests(1).await.remove(0).data();
        assert_eq!(told["endpoint"]["id"], subscribed.endpoint);
        assert!(told["suspendedAt"].is_string() && told["reason"].is_string(), "{told}");
        let delivered = app.delivery_in("SUCCEEDED").await;
        let body = text(&delivered["attempts"]["nodes"][0]["request"]["body"]);
        assert!(body.contains("suspendedAt"), "what is shown is what was sent: {delivered}");
        assert!(other.received().is_empty());
        app.end().await;
    }

    async fn a_delivery_that_is_given_up_is_told_once_and_never_one_of_these(mut app) {
        let (dead, deaf) = (app.receiver().await.answer_statuses([500, 500]), app.receiver().await.answer_statuses([500; 3]));
        let subscribed = subscribe(&app, dead.url(), &["*"]).await;
        let monitor = subscribe(&app, deaf.url(), &["angarium.delivery.exhausted"]).await;
        let event = app.publish(json!(1)).await;
        let data = deaf.expect_requests(1).await[0].data();
        app.deliveries_in("EXHAUSTED", 2).await;
        let about = &data["delivery"];
        assert_eq!((&about["eventId"], &about["subscriptionId"], &about["endpointId"]), (&json!(event), &json!(subscribed.id), &json!(subscribed.endpoint)));
        assert_eq!((&about["eventType"], &about["attemptCount"]), (&json!("invoice.paid"), &json!(1)));
        assert_eq!(data["reason"], "The only attempt has failed.");
        app.restart().await;
        app.clock.advance(Duration::from_mins(10));
        // Neither a failed test nor the failed delivery of the event above is told.
        for id in [&subscribed.id, &monitor.id] {
            app.api.data(TEST, json!({ "id": id, "eventType": "invoice.paid" })).await;
        }
        app.deliveries_in("EXHAUSTED", 4).await;
        assert_eq!(count::<event::Entity>(&app).await, 4, "the event, what told of its end, and two tests");
        // A retry by hand that fails again is given up again.
        let retry = "mutation($id: ID!) { deliveryRetry(id: $id) { userErrors { code } } }";
        app.api.data(retry, json!({ "id": about["id"] })).await;
        app.delivery_in("SUCCEEDED").await;
        assert_eq!(count::<event::Entity>(&app).await, 4);
        app.end().await;
    }

    async fn an_endpoint_that_only_hears_of_endpoints_and_fails_at_it_is_told_nothing_of_itself(app) {
        let (gone, monitor) = (app.receiver().await.answer_statuses([410]), app.receiver().await);
        let update = "mutation($id: ID!) { workspaceUpdate(id: $id, input: { suspendAfter: \"PT1H\" }) { userErrors { code } } }";
        app.admin.data(update, json!({ "id": app.workspace })).await;
        let input = json!({ "eventTypes": ["angarium.endpoint.*"], "retryPolicy": { "delays": vec!["PT31M"; 40] }, "endpoint": { "url": monitor.url() } });
        let hears = builder::subscribe(&app.api, input).await;
        let subscribed = subscribe(&app, gone.url(), &["invoice.*"]).await;
        app.publish(json!(1)).await;
        monitor.expect_requests(1).await;
        monitor.answer_from_now_on(500);
        app.api.data(RESUME, json!({ "id": subscribed.endpoint })).await;
        monitor.expect_requests(2).await;
        let status = async |wanted: &str| {
            let query = "query($id: ID!) { webhookEndpoint(id: $id) { status } }";
            eventually(&format!("it is {wanted}"), async || {
                app.clock.advance(Duration::from_mins(5));
                let data = app.api.data(query, json!({ "id": hears.endpoint })).await;
                (data["webhookEndpoint"]["status"] == wanted).then_some(())
            })
            .await;
        };
        status("SUSPENDED").await;
        assert_eq!(count::<event::Entity>(&app).await, 3, "what was published, and of the other endpoint");
        monitor.answer_from_now_on(204);
        status("ACTIVE").await;
        app.deliveries_in("SUCCEEDED", 3).await;
        assert_eq!(count::<event::Entity>(&app).await, 3);
        // What others wait for is told, also when it came of such a delivery.
        monitor.answer_from_now_on(500);
        let also = json!({ "eventTypes": ["invoice.*"], "endpoint": { "id": hears.endpoint }, "retryPolicy": { "delays": vec!["PT31M"; 40] } });
        builder::subscribe(&app.api, also).await;
        let witness = app.receiver().await;
        builder::subscribe(&app.api, json!({ "eventTypes": ["angarium.endpoint.*"], "endpoint": { "url": witness.url() } })).await;
        app.publish(json!(2)).await;
        status("SUSPENDED").await;
        assert_eq!(types(&witness.expect_requests(1).await), ["angarium.endpoint.suspended"]);
        app.end().await;
    }

    async fn the_own_types_are_in_the_catalogue_and_only_the_server_publishes_and_changes_them(app) {
        let list = "{ eventTypes(first: 100) { nodes { name service description samplePayload archivedAt } } }";
        let data = app.admin.data(list, json!({})).await;
        let own: Vec<&Value> = data["eventTypes"]["nodes"].as_array().expect("a list").iter().filter(|node| node["service"] == "angarium").collect();
        let names: Vec<_> = own.iter().map(|node| text(&node["name"])).collect();
        assert_eq!(names, ["angarium.delivery.exhausted", "angarium.endpoint.recovered", "angarium.endpoint.suspended", "angarium.subscription.confirmation", "angarium.subscription.expired", "angarium.subscription.expiring"]);
        assert!(own.iter().all(|node| node["description"].is_string() && node["samplePayload"].is_object() && node["archivedAt"].is_null()));
        for name in [names[0].as_str(), "angarium.anything"] {
            let publish = "mutation($input: EventPublishInput!) { eventPublish(input: $input) { userErrors { code message field } } }";
            let input = json!({ "input": { "eventType": name, "payload": 1 } });
            assert_eq!(problems(&app.api, publish, input).await, ["RESERVED input.eventType"]);
            let create = "mutation($input: EventTypeCreateInput!) { eventTypeCreate(input: $input) { userErrors { code message field } } }";
            assert_eq!(problems(&app.admin, create, json!({ "input": { "name": name } })).await, ["RESERVED input.name"]);
            let update = "mutation($name: EventTypeName!) { eventTypeUpdate(name: $name, input: { description: \"x\" }) { userErrors { code message field } } }";
            assert_eq!(problems(&app.admin, update, json!({ "name": name })).await, ["RESERVED name"]);
            let archive = "mutation($name: EventTypeName!) { eventTypeArchive(name: $name) { userErrors { code message field } } }";
            assert_eq!(problems(&app.admin, archive, json!({ "name": name })).await, ["RESERVED name"]);
        }
        app.end().await;
    }

    async fn a_subscription_to_own_types_is_tried_out_with_their_samples_only(app) {
        let receiver = app.receiver().await;
        let subscribed = subscribe(&app, receiver.url(), &["angarium.*"]).await;
        let ask = |name: &str, payload: Value| json!({ "id": subscribed.id, "eventType": name, "payload": payload });
        assert_eq!(problems(&app.api, TEST, ask("angarium.endpoint.suspended", json!({}))).await, ["INVALID payload"]);
        assert_eq!(problems(&app.api, TEST, ask("angarium.subscription.confirmation", json!(null))).await, ["INVALID eventType"]);
        let sample = json!({ "id": subscribed.id, "eventType": "angarium.endpoint.recovered" });
        assert_eq!(problems(&app.api, TEST, sample).await, [] as [&str; 0]);
        assert_eq!(receiver.expect_requests(1).await[0].data()["endpoint"]["name"], "Billing");
        app.delivery_in("SUCCEEDED").await;
        app.end().await;
    }

    async fn nobody_else_is_told(app) {
        let (gone, other) = (app.receiver().await.answer_statuses([410]), app.receiver().await);
        let (_, key) = builder::workspace_with_key(&app.admin, "Other").await;
        builder::subscribe(&app.admin.with_key(&key), json!({ "eventTypes": ["angarium.*"], "endpoint": { "url": other.url() } })).await;
        app.subscribe(gone.url()).await;
        app.publish(json!(1)).await;
        let told = async || (count::<event::Entity>(&app).await == 2).then_some(());
        eventually("the event that tells is there", told).await;
        assert!(other.received().is_empty());
        app.end().await;
    }
}
