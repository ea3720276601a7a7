//! Secret values of an endpoint's own headers.

use angarium_tests::app::stored_text;
use angarium_tests::builder::{self, problems, text};
use angarium_tests::{RawReceiver, TestApp, on_both_databases};
use serde_json::{Value, json};

const UPDATE: &str = "mutation($id: ID!, $input: WebhookEndpointUpdateInput!) { webhookEndpointUpdate(id: $id, input: $input) \
    { webhookEndpoint { version headers { name secret value } } userErrors { code message field } } }";
const CREATE: &str = "mutation($input: WebhookSubscriptionCreateInput!) { webhookSubscriptionCreate(input: $input) \
    { webhookSubscription { id } userErrors { code message field } } }";
const SHOWN: &str = "{ deliveries(first: 10) { nodes { endpoint { headers { name secret value } } \
    attempts { nodes { request { headers { name secret value } } } } } } }";

async fn make(app: &TestApp, receiver: &RawReceiver, headers: Value) -> String {
    let endpoint = json!({ "create": { "url": receiver.url(), "headers": headers } });
    builder::subscribe(&app.api, json!({ "eventTypes": ["*"], "endpoint": endpoint })).await.endpoint
}

async fn change(app: &TestApp, id: &str, headers: Value) -> Value {
    let mut data = app.api.data(UPDATE, json!({ "id": id, "input": { "headers": headers } })).await;
    assert_eq!(data["webhookEndpointUpdate"]["userErrors"], json!([]));
    data["webhookEndpointUpdate"]["webhookEndpoint"].take()
}

fn header(name: &str, secret: bool, value: Option<&str>) -> Value {
    json!({ "name": name, "secret": secret, "value": value })
}

on_both_databases! {
    async fn a_secret_value_is_sent_as_given_shown_to_nobody_and_stored_nowhere_in_the_clear(app) {
        let receiver = RawReceiver::start().await;
        let given = json!([header("Authorization", true, Some("Bearer hush-hush-4711")), header("X-Team", false, Some("a"))]);
        let id = make(&app, &receiver, given).await;
        app.publish(json!(1)).await;
        app.delivery_in("SUCCEEDED").await;
        let later = json!([header("authorization", true, Some("Bearer another-0815")), header("x-team", false, Some("b"))]);
        change(&app, &id, later).await;
        app.publish(json!(2)).await;
        app.deliveries_in("SUCCEEDED", 2).await;
        let sent: Vec<_> = receiver.expect_requests(2).await.iter().map(|request| request.header("authorization").to_owned()).collect();
        assert_eq!(sent, ["Bearer hush-hush-4711", "Bearer another-0815"]);

        for caller in [&app.api, &app.admin.with_headers(&[app.admin.headers()[0].clone(), ("angarium-workspace".to_owned(), app.workspace.clone())].each_ref().map(|(name, value)| (name.as_str(), value.as_str())))] {
            let data = caller.data(SHOWN, json!({})).await;
            let printed = data.to_string();
            assert!(!printed.contains("hush") && !printed.contains("another"), "{printed}");
            let nodes = data["deliveries"]["nodes"].as_array().expect("a list").clone();
            assert_eq!(nodes[0]["endpoint"]["headers"], json!([header("authorization", true, Some("***")), header("x-team", false, Some("b"))]));
            for (node, team) in nodes.iter().zip(["b", "a"]) {
                let headers = node["attempts"]["nodes"][0]["request"]["headers"].as_array().expect("a list").clone();
                let own = [header("authorization", true, Some("***")), header("x-team", false, Some(team))];
                assert!(headers.ends_with(&own), "{headers:?}");
                assert!(headers[..headers.len() - 2].iter().all(|header| header["secret"] == false));
            }
        }
        let key = builder::key(&app.admin, &app.workspace, &["DELIVERY_READ"]).await;
        let masked = app.api.with_key(&key).data("{ deliveries(first: 1) { nodes { attempts { nodes { request { headers { name secret value } } } } } } }", json!({})).await;
        let headers = masked["deliveries"]["nodes"][0]["attempts"]["nodes"][0]["request"]["headers"].as_array().expect("a list").clone();
        assert_eq!(headers.last(), Some(&header("x-team", true, Some("***"))), "without WEBHOOK_READ every own value is masked");

        let stored = stored_text(&app).await;
        assert!(stored.contains("x-team"), "what is stored is looked through");
        for secret in ["hush-hush-4711", "another-0815", "YW5vdGhlci0wODE1"] {
            assert!(!stored.contains(secret), "{secret} is at rest in the clear");
        }
        app.end().await;
    }

    async fn null_keeps_the_value_of_that_name_and_a_kept_secret_stays_one(app) {
        let receiver = RawReceiver::start().await;
        let id = make(&app, &receiver, json!([header("a", true, Some("hush-1")), header("b", false, Some("plain-2")), header("c", true, Some("hush-3"))])).await;
        let same = change(&app, &id, json!([header("A", true, None), header("b", false, None), header("c", true, Some("hush-3"))])).await;
        assert_eq!(same["version"], 1, "nothing is changed");
        // A value that was shown to no one is not shown by taking the mark off, and one may be put on.
        let kept = change(&app, &id, json!([header("b", true, None), header("a", false, None)])).await;
        assert_eq!(kept, json!({ "version": 2, "headers": [header("b", true, Some("***")), header("a", true, Some("***"))] }));
        app.publish(json!(1)).await;
        let request = receiver.expect_requests(1).await.remove(0);
        assert_eq!((request.header("a"), request.header("b"), request.header("c")), ("hush-1", "plain-2", ""));
        let shown = change(&app, &id, json!([header("a", false, Some("no-secret"))])).await;
        assert_eq!(shown["headers"], json!([header("a", false, Some("no-secret"))]));
        app.delivery_in("SUCCEEDED").await;
        app.end().await;
    }

    async fn each_wrong_header_is_told_where_it_is(app) {
        let receiver = RawReceiver::start().await;
        let id = make(&app, &receiver, json!([])).await;
        for (headers, told) in [
            (json!([header("a", false, Some("1")), header("A", false, Some("2"))]), "TAKEN input.headers.1.name"),
            (json!([header("a", true, None)]), "BLANK input.headers.0.value"),
            (json!([header("a", true, Some("***"))]), "INVALID input.headers.0.value"),
            (json!([header("Stripe-Signature", false, Some("1"))]), "HEADER_FORBIDDEN input.headers.0.name"),
        ] {
            assert_eq!(problems(&app.api, UPDATE, json!({ "id": id, "input": { "headers": headers } })).await, [told]);
            let input = json!({ "eventTypes": ["*"], "endpoint": { "create": { "url": receiver.url(), "headers": headers } } });
            let told = told.replace("input.", "input.endpoint.create.");
            assert_eq!(problems(&app.api, CREATE, json!({ "input": input })).await, [told]);
        }
        assert_eq!(text(&app.api.data("query($id: ID!) { webhookEndpoint(id: $id) { id } }", json!({ "id": id })).await["webhookEndpoint"]["id"]), id);
        app.end().await;
    }
}
