//! What is one more than may be asked is refused, and what is just as much is not. `serverInfo` tells the numbers.

use std::time::{Duration, Instant};

use angarium_tests::builder::{problems, text};
use angarium_tests::{Backend, TestApp};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

const BATCH: &str = "mutation($inputs: [EventPublishInput!]!) { eventPublishBatch(inputs: $inputs) \
    { results { userErrors { code } } userErrors { code message field } } }";
const CREATE: &str = "mutation($input: WebhookEndpointCreateInput!) { webhookEndpointCreate(input: $input) \
    { webhookEndpoint { id } userErrors { code } } }";

async fn app() -> TestApp {
    TestApp::start(Backend::Sqlite).await
}

/// Checks that a document is refused before anything of it is executed, with a sentence that says this.
async fn refused(app: &TestApp, document: &str, says: &str) {
    let (status, answer) = app.api.post(document, Value::Null).await;
    assert_eq!((status, answer.get("data")), (400, None), "{answer}");
    let error = &answer["errors"][0];
    assert!(error["extensions"]["code"].is_string() && text(&error["message"]).contains(says), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_aliases_are_answered_and_one_more_is_refused() {
    let app = app().await;
    let document = |aliases: usize| {
        let fields: Vec<_> = (0..aliases).map(|n| format!("a{n}: serverInfo {{ version }}")).collect();
        format!("{{ {} }}", fields.join(" "))
    };
    let answer = app.api.data(&document(50), json!({})).await;
    assert_eq!(answer.as_object().map(serde_json::Map::len), Some(50));
    refused(&app, &document(51), "aliases").await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_eleventh_directive_on_a_field_is_refused_for_their_number() {
    let app = app().await;
    let document =
        |directives: usize| format!("{{ serverInfo {} {{ version }} }}", "@include(if: true) ".repeat(directives));
    app.api.data(&document(1), json!({})).await;
    refused(&app, &document(11), "directives").await;
    // So many are refused as well, but each may be there once only.
    let (status, answer) = app.api.post(&document(10), Value::Null).await;
    assert!(status == 400 && !text(&answer["errors"][0]["message"]).contains("greater than"), "{answer}");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_costs_more_than_ten_thousand_is_refused_and_says_what_it_costs() {
    let app = app().await;
    // A page of entries, each with a page of entries, which cost 1 each; the pages themselves cost 1.
    let document = |outer: usize, inner: usize| {
        format!(
            "{{ webhookEndpoints(first: {outer}) {{ nodes {{ deliveries(first: {inner}) {{ nodes {{ id }} }} }} }} }}"
        )
    };
    app.api.data(&document(98, 98), json!({})).await;
    refused(&app, &document(100, 100), "at most 10000 is accepted").await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_five_hundred_is_published_and_one_more_is_refused_as_a_whole() {
    let app = app().await;
    let inputs = |count: usize| json!({ "inputs": vec![json!({ "eventType": "invoice.paid", "payload": 1 }); count] });
    let answer = app.api.data(BATCH, inputs(500)).await["eventPublishBatch"].take();
    assert_eq!(answer["results"].as_array().map(Vec::len), Some(500));
    assert_eq!(problems(&app.api, BATCH, inputs(501)).await, ["TOO_MANY inputs"]);
    assert_eq!(angarium_tests::app::count::<angarium_entity::event::Entity>(&app).await, 500);
    app.end().await;
}

/// Another holds what a mutation needs for longer than it may take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mutation_that_is_not_done_within_fifteen_seconds_is_told_so() {
    let app = TestApp::start(Backend::Postgres).await;
    let transaction = app.state().db.begin().await.expect("it begins");
    transaction.execute_unprepared("LOCK TABLE endpoint IN ACCESS EXCLUSIVE MODE").await.expect("it is free");
    let began = Instant::now();
    let (status, answer) = app.api.post(CREATE, json!({ "input": { "url": "https://example.com/" } })).await;
    let took = began.elapsed();
    assert_eq!((status, &answer["errors"][0]["extensions"]["code"]), (503, &json!("TIMEOUT")), "{answer}");
    assert!((Duration::from_secs(15)..Duration::from_secs(20)).contains(&took), "{took:?}");
    transaction.rollback().await.expect("it ends");
    let made = app.api.data(CREATE, json!({ "input": { "url": "https://example.com/" } })).await;
    assert!(made["webhookEndpointCreate"]["webhookEndpoint"]["id"].is_string(), "the next one is answered: {made}");
    app.end().await;
}
