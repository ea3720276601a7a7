//! What would be sent is shown without being sent.

use angarium_entity::{delivery, event};
use angarium_tests::app::count;
use angarium_tests::builder::{self, text};
use angarium_tests::{TestApp, on_both_databases};
use serde_json::{Value, json};

const PREVIEW: &str = "query($id: ID!, $eventType: EventTypeName, $filter: String, $payload: JSON) \
    { webhookRequestPreview(webhookSubscriptionId: $id, eventType: $eventType, filter: $filter, payload: $payload) \
    { matchesFilter filterError request { method url body headers { name value } } } }";

async fn preview(app: &TestApp, variables: Value) -> Value {
    app.api.data(PREVIEW, variables).await["webhookRequestPreview"].take()
}

fn header(preview: &Value, name: &str) -> Option<String> {
    let headers = preview["request"]["headers"].as_array().expect("a list");
    headers.iter().find(|header| header["name"] == name).map(|header| text(&header["value"]))
}

on_both_databases! {
    async fn a_preview_is_the_request_that_a_test_event_then_sends(app) {
        let receiver = app.receiver().await;
        let endpoint = json!({ "create": { "url": receiver.url(), "bodyFormat": "RAW", "headers": [{ "name": "x-own", "value": "v" }] } });
        let input = json!({ "eventTypes": ["sms.*", "invoice.paid"], "endpoint": endpoint, "payloadFields": ["a", "c"], "filter": "event.payload.a > 1" });
        let subscribed = builder::subscribe(&app.api, input).await;
        let payload: Value = serde_json::from_str(r#"{"c":1.0,"b":2,"a":12345678901234567890123}"#).expect("it is JSON");
        let variables = json!({ "id": subscribed.id, "payload": payload });
        let shown = preview(&app, variables.clone()).await;
        assert_eq!((&shown["matchesFilter"], &shown["filterError"]), (&json!(true), &json!(null)));
        assert_eq!(shown["request"]["body"], r#"{"c":1.0,"a":12345678901234567890123}"#);
        assert_eq!((&shown["request"]["method"], &shown["request"]["url"]), (&json!("POST"), &json!(receiver.url())));
        assert_eq!(count::<event::Entity>(&app).await + count::<delivery::Entity>(&app).await, 0);
        assert!(receiver.received().is_empty());

        let test = "mutation($id: ID!, $payload: JSON) { webhookSubscriptionTest(id: $id, payload: $payload) { userErrors { code } } }";
        app.api.data(test, variables).await;
        let sent = receiver.expect_requests(1).await.remove(0);
        assert_eq!(shown["request"]["body"], sent.body);
        for header in shown["request"]["headers"].as_array().expect("a list") {
            let (name, value) = (text(&header["name"]), text(&header["value"]));
            if !["webhook-id", "webhook-signature", "webhook-timestamp"].contains(&name.as_str()) {
                assert_eq!(sent.header(&name), value, "{name}");
            }
        }
        assert!(header(&shown, "webhook-signature").is_some_and(|signature| signature.starts_with("v1,") && signature.len() > 40));
        app.delivery_in("SUCCEEDED").await;
        app.end().await;
    }

    async fn a_filter_is_tried_without_being_stored_and_says_what_it_failed_on(app) {
        let subscribed = app.subscribe("https://example.com/in").await;
        let ask = |filter: &str| json!({ "id": subscribed.id, "eventType": "sms.outbound", "payload": { "n": 1 }, "filter": filter });
        for (filter, matches, error) in [
            ("event.payload.n == 1 && event.type == 'sms.outbound'", true, None),
            ("event.payload.n == 2", false, None),
            ("event.payload.missing == 2", false, Some("there is no field `missing`")),
        ] {
            let shown = preview(&app, ask(filter)).await;
            assert_eq!((&shown["matchesFilter"], &shown["filterError"]), (&json!(matches), &json!(error)), "{filter}");
        }
        let unfiltered = preview(&app, json!({ "id": subscribed.id, "eventType": "invoice.paid" })).await;
        assert_eq!(unfiltered["matchesFilter"], true);
        assert!(text(&unfiltered["request"]["body"]).ends_with(r#""data":{}}"#), "{unfiltered}");
        let update = "mutation { eventTypeUpdate(name: \"invoice.paid\", input: { samplePayload: { n: 7 } }) { userErrors { code } } }";
        app.admin.data(update, json!({})).await;
        let sampled = preview(&app, json!({ "id": subscribed.id, "eventType": "invoice.paid", "filter": "event.payload.n == 7" })).await;
        assert_eq!(sampled["matchesFilter"], true);

        let bad = |more: Value| {
            let mut variables = json!({ "id": subscribed.id, "eventType": "invoice.paid" });
            variables.as_object_mut().expect("it is one").extend(more.as_object().expect("it is one").clone());
            variables
        };
        for variables in [
            bad(json!({ "filter": "event.type = 'a'" })),
            bad(json!({ "filter": "x".repeat(2_001) })),
            bad(json!({ "filter": "" })),
            bad(json!({ "eventType": null })),
            bad(json!({ "eventType": "no.such.type" })),
            bad(json!({ "eventType": "\0" })),
            bad(json!({ "payload": "x".repeat(256 * 1024) })),
        ] {
            assert_eq!(app.api.error_code(PREVIEW, variables.clone()).await, "BAD_USER_INPUT", "{variables}");
        }
        app.end().await;
    }

    async fn a_preview_shows_no_more_than_its_caller_may_see(app) {
        let subscribed = app.subscribe("https://example.com/in").await;
        let variables = json!({ "id": subscribed.id, "eventType": "invoice.paid", "payload": 1 });
        let with = async |scopes: &[&str]| app.admin.with_key(&builder::key(&app.admin, &app.workspace, scopes).await);
        let reader = with(&["WEBHOOK_READ"]).await;
        let shown = reader.data(PREVIEW, variables.clone()).await["webhookRequestPreview"].take();
        assert_eq!(header(&shown, "webhook-signature").as_deref(), Some("***"));
        assert!(text(&shown["request"]["body"]).ends_with(r#""data":1}"#), "the payload is its own");
        let publisher = with(&["EVENT_PUBLISH", "DELIVERY_READ", "WEBHOOK_SECRET_READ"]).await;
        assert_eq!(publisher.error_code(PREVIEW, variables.clone()).await, "FORBIDDEN");

        let (_, key) = builder::workspace_with_key(&app.admin, "Other").await;
        let other = app.admin.with_key(&key);
        for id in [subscribed.id.as_str(), "sub_7zzzzzzzzzzzzzzzzzzzzzzzzz", "nonsense"] {
            let variables = json!({ "id": id, "eventType": "invoice.paid" });
            assert_eq!(other.data(PREVIEW, variables).await["webhookRequestPreview"], json!(null));
        }
        app.end().await;
    }
}
