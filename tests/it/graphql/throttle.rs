//! How many operations a key may ask for.

use std::time::Duration;

use angarium_tests::builder::text;
use angarium_tests::client::{Socket, http_client};
use angarium_tests::{Backend, TestApp};
use serde_json::json;

const WHO: &str = "{ viewer { scopes } }";

async fn a_key_over_its_rate_is_told_when_to_come_again(backend: Backend) {
    let app = TestApp::start_with(backend, &[("ANGARIUM_REQUESTS_PER_SECOND", "20")]).await;
    app.clock.advance(Duration::from_secs(2));
    let token = "mutation { accessTokenCreate(input: { scopes: [DELIVERY_READ] }) { token } }";
    let token = text(&app.api.data(token, json!({})).await["accessTokenCreate"]["token"]);
    let page = app.api.with_headers(&[("authorization", &format!("Bearer {token}"))]);
    for number in 1..20 {
        assert_eq!((if number % 2 == 0 { &app.api } else { &page }).post(WHO, json!({})).await.0, 200);
    }
    for api in [&app.api, &page] {
        let (status, body) = api.post(WHO, json!({})).await;
        assert_eq!((status, &body["errors"][0]["extensions"]["code"]), (429, &json!("THROTTLED")));
        assert_eq!(body["errors"][0]["extensions"]["retryAfterMs"], 50);
    }
    let request = http_client().post(format!("{}/graphql", app.base())).header("content-type", "application/json");
    let answer = request.header("x-api-key", &app.api.headers()[0].1).body(json!({ "query": WHO }).to_string());
    let answer = answer.send().await.expect("an answer");
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (429, &"1".parse().expect("a value")));

    let mut socket = Socket::open(&app.base()).await;
    socket.send(json!({ "type": "connection_init", "payload": { "apiKey": app.api.headers()[0].1 } })).await;
    assert_eq!(socket.next().await.expect("an answer")["type"], "connection_ack");
    for query in [WHO, "subscription { deliveryUpdated { cursor } }"] {
        socket.send(json!({ "id": "1", "type": "subscribe", "payload": { "query": query } })).await;
        let message = socket.next().await.expect("an answer");
        assert_eq!(
            (&message["type"], &message["payload"][0]["extensions"]["code"]),
            (&json!("error"), &json!("THROTTLED"))
        );
    }

    assert_eq!(app.admin.post(WHO, json!({})).await.0, 200, "another key has its own");
    app.clock.advance(Duration::from_millis(50));
    assert_eq!(app.api.post(WHO, json!({})).await.0, 200);
    assert_eq!(app.api.post(WHO, json!({})).await.0, 429);
    app.clock.advance(Duration::from_secs(5));
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_over_its_rate_is_told_when_to_come_again_on_sqlite() {
    a_key_over_its_rate_is_told_when_to_come_again(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_over_its_rate_is_told_when_to_come_again_on_postgres() {
    a_key_over_its_rate_is_told_when_to_come_again(Backend::Postgres).await;
}
