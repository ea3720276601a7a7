//! Bad input gets a clear, typed error and changes nothing.

use angarium_entity::{endpoint, event, subscription};
use angarium_tests::app::count;
use angarium_tests::{GraphQl, TestApp, builder, on_both_databases};
use serde_json::{Value, json};

const CREATE: &str = "mutation($input: WebhookSubscriptionCreateInput!) { webhookSubscriptionCreate(input: $input) \
    { webhookSubscription { id } signingSecret userErrors { code message field } } }";
const PUBLISH: &str = "mutation($input: EventPublishInput!) { eventPublish(input: $input) \
    { event { id } duplicate userErrors { code message field } } }";

/// The problems of a mutation as `(code, field)`; each has a message.
async fn problems(api: &GraphQl, mutation: &str, input: Value) -> Vec<(String, Vec<String>)> {
    let data = api.data(mutation, json!({ "input": input })).await;
    let payload = data.as_object().and_then(|data| data.values().next()).expect("one mutation");
    let errors = payload["userErrors"].as_array().expect("a list");
    errors
        .iter()
        .map(|error| {
            assert!(!builder::text(&error["message"]).is_empty());
            let field = error["field"].as_array().expect("a path").iter().map(builder::text).collect();
            (builder::text(&error["code"]), field)
        })
        .collect()
}

fn one(code: &str, path: &[&str]) -> Vec<(String, Vec<String>)> {
    vec![(code.to_owned(), path.iter().map(|part| (*part).to_owned()).collect())]
}

async fn nothing_is_stored(app: &TestApp) {
    assert_eq!(count::<endpoint::Entity>(app).await, 0);
    assert_eq!(count::<subscription::Entity>(app).await, 0);
    assert_eq!(count::<event::Entity>(app).await, 0);
}

on_both_databases! {
    async fn each_wrong_subscription_is_refused_for_its_own_reason(app) {
        let url = "https://example.com/in";
        let long = format!("https://example.com/{}", "x".repeat(2083));
        let to = |url: &str| json!({ "eventTypes": ["invoice.paid"], "endpoint": { "url": url } });
        let types = |types: Value| json!({ "eventTypes": types, "endpoint": { "url": url } });
        let with = |field: &str, value: Value| {
            let mut create = json!({ "url": url });
            create[field] = value;
            json!({ "eventTypes": ["invoice.paid"], "endpoint": { "create": create } })
        };
        let in_url = ["input", "endpoint", "url"];
        for (input, code, field) in [
            (to(""), "BLANK", &in_url[..]),
            (to("not a url"), "INVALID", &in_url),
            (to("ftp://example.com"), "INVALID", &in_url),
            (to("https://user:pass@example.com"), "INVALID", &in_url),
            (to(&long), "TOO_LONG", &in_url),
            (to("http://10.0.0.1/in"), "URL_FORBIDDEN", &in_url),
            (to("https://[::ffff:10.0.0.1]/in"), "URL_FORBIDDEN", &in_url),
            (types(json!([])), "BLANK", &["input", "eventTypes"]),
            (types(json!(["invoice paid"])), "INVALID", &["input", "eventTypes", "0"]),
            (types(json!(["invoice.paid", "no.such.type"])), "UNKNOWN_EVENT_TYPE", &["input", "eventTypes", "1"]),
            (types(json!(vec!["invoice.paid"; 101])), "TOO_MANY", &["input", "eventTypes"]),
            (with("timeout", json!("PT2M")), "INVALID", &["input", "endpoint", "create", "timeout"]),
            (with("timeout", json!("soon")), "INVALID", &["input", "endpoint", "create", "timeout"]),
            (with("maxInFlight", json!(4)), "INVALID", &["input", "endpoint", "create", "maxInFlight"]),
            (with("signing", json!({ "secret": "short" })), "SECRET_WEAK", &["input", "endpoint", "create", "signing", "secret"]),
            (with("headers", json!([{ "name": "Host", "value": "x" }])), "HEADER_FORBIDDEN", &["input", "endpoint", "create", "headers", "0", "name"]),
        ] {
            assert_eq!(problems(&app.api, CREATE, input.clone()).await, one(code, field), "{input}");
        }
        let missing = json!({ "eventTypes": ["*"], "endpoint": { "id": "ep_7zzzzzzzzzzzzzzzzzzzzzzzzz" } });
        assert_eq!(problems(&app.api, CREATE, missing).await, one("NOT_FOUND", &["input", "endpoint", "id"]));
        nothing_is_stored(&app).await;
        app.end().await;
    }

    async fn several_problems_are_told_at_once(app) {
        let input = json!({ "eventTypes": ["no.such.type"], "endpoint": { "url": "" }, "metadata": 3 });
        let found = problems(&app.api, CREATE, input).await;
        let codes: Vec<_> = found.iter().map(|(code, _)| code.as_str()).collect();
        assert!(["UNKNOWN_EVENT_TYPE", "BLANK", "INVALID"].iter().all(|code| codes.contains(code)), "{found:?}");
        nothing_is_stored(&app).await;
        app.end().await;
    }

    async fn each_wrong_event_is_refused_for_its_own_reason(app) {
        let large = "x".repeat(256 * 1024);
        for (input, code, field) in [
            (json!({ "eventType": "no.such.type", "payload": 1 }), "UNKNOWN_EVENT_TYPE", "eventType"),
            (json!({ "eventType": "", "payload": 1 }), "BLANK", "eventType"),
            (json!({ "eventType": "invoice.*", "payload": 1 }), "INVALID", "eventType"),
            (json!({ "eventType": "angarium.endpoint.suspended", "payload": 1 }), "RESERVED", "eventType"),
            (json!({ "eventType": "invoice.paid", "payload": large }), "PAYLOAD_TOO_LARGE", "payload"),
            (json!({ "eventType": "invoice.paid", "payload": 1, "idempotencyKey": "k".repeat(257) }), "TOO_LONG", "idempotencyKey"),
            (json!({ "eventType": "invoice.paid", "payload": 1, "channels": ["a", "b", "c", "d", "e", "f"] }), "TOO_MANY", "channels"),
        ] {
            assert_eq!(problems(&app.api, PUBLISH, input).await, one(code, &["input", field]), "{code} {field}");
        }
        nothing_is_stored(&app).await;
        app.end().await;
    }

    async fn a_request_that_is_no_graphql_is_refused_before_anything_runs(app) {
        let (status, body) = app.api.post_body("{ not json".to_owned()).await;
        assert_eq!((status, body.get("data")), (400, None), "{body}");
        assert!(!builder::text(&body["errors"][0]["message"]).is_empty());
        let (status, body) = app.api.post("{ noSuchField }", json!({})).await;
        assert_eq!((status, body.get("data")), (400, None), "{body}");
        assert!(builder::text(&body["errors"][0]["message"]).contains("noSuchField"), "{body}");
        let (status, body) = app.api.post(PUBLISH, json!({ "input": { "payload": 1 } })).await;
        assert_eq!((status, body.get("data")), (400, None), "{body}");
        nothing_is_stored(&app).await;
        app.end().await;
    }

    async fn a_filter_with_a_nul_is_the_callers_fault_or_finds_nothing(app) {
        let receiver = app.receiver().await;
        app.subscribe(receiver.url()).await;
        let nul = "\0\0\0";
        for (field, filter) in [
            ("webhookEndpoints", json!({ "search": nul })),
            ("webhookEndpoints", json!({ "url": nul })),
            ("webhookEndpoints", json!({ "channel": nul })),
            ("webhookSubscriptions", json!({ "name": nul })),
            ("events", json!({ "idempotencyKey": nul })),
        ] {
            let ty = format!("{}{}Where", field[..1].to_uppercase(), &field[1..field.len() - 1]);
            let query = format!("query($where: {ty}) {{ {field}(where: $where) {{ totalCount nodes {{ id }} }} }}");
            let (_, body) = app.api.post(&query, json!({ "where": filter })).await;
            let code = &body["errors"][0]["extensions"]["code"];
            assert!(code == "BAD_USER_INPUT" || body["data"][field]["totalCount"] == 0, "{field} {filter} {body}");
        }
        app.end().await;
    }

    async fn an_idempotency_key_gives_the_first_event_again_or_refuses_another_payload(app) {
        let receiver = app.receiver().await;
        app.subscribe(receiver.url()).await;
        let input = |payload: u32| json!({ "eventType": "invoice.paid", "payload": payload, "idempotencyKey": "k1" });
        let first = app.api.data(PUBLISH, json!({ "input": input(1) })).await;
        let again = app.api.data(PUBLISH, json!({ "input": input(1) })).await;
        assert_eq!(first["eventPublish"]["duplicate"], false);
        assert_eq!(again["eventPublish"]["duplicate"], true);
        assert_eq!(first["eventPublish"]["event"], again["eventPublish"]["event"]);
        assert_eq!(problems(&app.api, PUBLISH, input(2)).await, one("IDEMPOTENCY_MISMATCH", &["input", "idempotencyKey"]));
        receiver.expect_requests(1).await;
        app.clock.advance(std::time::Duration::from_hours(49));
        let later = app.api.data(PUBLISH, json!({ "input": input(2) })).await;
        assert_eq!(later["eventPublish"]["duplicate"], false, "a key is forgotten after 48 hours");
        receiver.expect_requests(2).await;
        app.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http_is_refused_where_it_is_not_allowed() {
    let settings = [("ANGARIUM_ALLOW_HTTP", "false")];
    let app = TestApp::start_with(angarium_tests::Backend::Sqlite, &settings).await;
    let input = json!({ "eventTypes": ["*"], "endpoint": { "url": "http://example.com/in" } });
    assert_eq!(problems(&app.api, CREATE, input).await, one("URL_NOT_HTTPS", &["input", "endpoint", "url"]));
    nothing_is_stored(&app).await;
    app.end().await;
}
