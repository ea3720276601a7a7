//! Schema, health, and the strictness of `/graphql`.

use angarium_tests::client::http_client;
use angarium_tests::{Backend, TestApp};
use serde_json::Value;

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../schema.graphql");

/// `UPDATE_SCHEMA=1` writes the file instead.
#[test]
fn schema_graphql_is_what_the_server_speaks() {
    let spoken = angarium_api::graphql::sdl();
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(SCHEMA, &spoken).expect("the file can be written");
    }
    let written = std::fs::read_to_string(SCHEMA).expect("schema.graphql is there");
    assert!(written == spoken, "schema.graphql is out of date; run the test with UPDATE_SCHEMA=1");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_is_served_and_printed() {
    let app = TestApp::start(Backend::Sqlite).await;
    let served = get(&app, "/schema.graphql", &[]).await;
    assert_eq!(served, (200, angarium_api::graphql::sdl()));
    let printed =
        std::process::Command::new(angarium_tests::process::program()).arg("schema").output().expect("it runs");
    assert_eq!(String::from_utf8(printed.stdout).expect("text").trim_end(), served.1.trim_end());
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_server_is_live_and_ready() {
    let app = TestApp::start(Backend::Sqlite).await;
    assert_eq!(get(&app, "/health/live", &[]).await.0, 200);
    let (status, body) = get(&app, "/health/ready", &[]).await;
    assert_eq!(status, 200, "{body}");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mutation_over_get_another_content_type_and_an_endless_body_are_refused() {
    let app = TestApp::start(Backend::Sqlite).await;
    let client = http_client();
    let key = &app.api.headers()[0].1;
    let url = format!("{}/graphql", app.base());
    let mutation = "mutation { eventPublish(input: { eventType: \"invoice.paid\", payload: 1 }) { event { id } } }";
    let mut in_url = url::Url::parse(&url).expect("a URL");
    in_url.query_pairs_mut().append_pair("query", mutation);
    let get = client.get(in_url).header("x-api-key", key).send().await.expect("an answer");
    assert_eq!((get.status().as_u16(), get.headers()["allow"].to_str().ok()), (405, Some("POST")));
    let body = serde_json::json!({ "query": mutation }).to_string();
    for content_type in ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"] {
        let post = client.post(&url).header("x-api-key", key).header("content-type", content_type).body(body.clone());
        assert_eq!(post.send().await.expect("an answer").status().as_u16(), 415, "{content_type}");
    }
    let endless = format!("{{\"query\":\"{}\"}}", " ".repeat(5 * 1024 * 1024));
    let post = client.post(&url).header("x-api-key", key).header("content-type", "application/json").body(endless);
    assert_eq!(post.send().await.expect("an answer").status().as_u16(), 413);
    let batch = format!("[{body}]");
    let (status, answer) = app.api.post_body(batch).await;
    assert_eq!(status, 400, "{answer}");
    assert_eq!(angarium_tests::app::count::<angarium_entity::event::Entity>(&app).await, 0);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_explodes_when_its_fragments_are_written_out_is_refused_at_once() {
    let app = TestApp::start(Backend::Sqlite).await;
    let spreads: Vec<_> =
        (0..28).map(|n| format!("fragment F{n} on Query{{...F{next} ...F{next}}} ", next = n + 1)).collect();
    let spreads = spreads.concat();
    let bomb = format!("{{...F0}} {spreads} fragment F28 on Query{{__typename}}");
    let (status, body) = app.api.with_headers(&[]).post(&bomb, Value::Null).await;
    assert_eq!(status, 400, "{body}");
    assert!(
        body["errors"][0]["message"].as_str().is_some_and(|message| message.contains("10000 selections")),
        "{body}"
    );
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_foreign_origin_gets_no_cors_headers() {
    let app = TestApp::start(Backend::Sqlite).await;
    let client = http_client();
    let preflight = |origin: String| {
        let ask = client.request(http::Method::OPTIONS, format!("{}/graphql", app.base()));
        ask.header("origin", origin).header("access-control-request-method", "POST").send()
    };
    let own = preflight(app.base()).await.expect("an answer");
    assert_eq!(own.headers()["access-control-allow-origin"].to_str().ok(), Some(app.base().as_str()));
    let foreign = preflight("https://evil.example".to_owned()).await.expect("an answer");
    assert!(foreign.headers().get("access-control-allow-origin").is_none());
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_inside_is_masked_and_carries_a_request_id() {
    use sea_orm::ConnectionTrait;
    let app = TestApp::start(Backend::Sqlite).await;
    app.state().db.write().execute_unprepared("DROP TABLE event").await.expect("the table goes");
    let (status, body) = app.api.post("{ events { nodes { id } } }", Value::Null).await;
    let error = &body["errors"][0];
    assert_eq!((status, &error["extensions"]["code"]), (200, &serde_json::json!("INTERNAL_SERVER_ERROR")), "{body}");
    assert!(error["extensions"]["requestId"].is_string() && !body.to_string().contains("no such table"), "{body}");
    app.end().await;
}

async fn get(app: &TestApp, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let mut request = http_client().get(format!("{}{path}", app.base()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.expect("an answer");
    (response.status().as_u16(), response.text().await.expect("a body"))
}
