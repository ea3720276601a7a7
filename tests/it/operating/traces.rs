//! What is traced, where it goes, and what receivers are told.

use std::time::Duration;

use angarium_tests::app::{Backend, TestApp, eventually};
use angarium_tests::client::http_client;
use angarium_tests::collector::Exported;
use angarium_tests::services::services;
use angarium_tests::{Answer, Collector, GraphQl, Receiver, builder};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const ENDPOINTS: usize = 24;

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

/// Calls as `api` does, from within a trace.
fn traced(api: &GraphQl, headers: &[(&str, &str)]) -> GraphQl {
    let own: Vec<_> = api.headers().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    api.with_headers(&[&own, headers].concat())
}

/// Publishes from within a trace, and answers the ID of the event.
async fn publish(app: &TestApp, headers: &[(&str, &str)]) -> String {
    builder::publish(&traced(&app.api, headers), json!({ "eventType": "invoice.paid", "payload": {} })).await
}

async fn app_with(collector: &Collector, more: &[(&str, &str)]) -> TestApp {
    let settings = [&[("ANGARIUM_OTLP_ENDPOINT", collector.endpoint())], more].concat();
    TestApp::start_with(Backend::Sqlite, &settings).await
}

/// The headers of tracing in what an attempt says that it sent.
fn shown(attempt: &Value) -> Vec<(String, String)> {
    let headers = attempt["request"]["headers"].as_array().expect("headers");
    let pairs = headers.iter().map(|header| (builder::text(&header["name"]), builder::text(&header["value"])));
    pairs.filter(|(name, _)| name.starts_with("trace")).collect()
}

async fn a_publish_and_its_retries_are_one_trace(backend: Backend) {
    let collector = Collector::start().await;
    let settings = [("ANGARIUM_OTLP_ENDPOINT", collector.endpoint()), ("ANGARIUM_OTLP_HEADERS", "x-key=a%20key")];
    let mut app = TestApp::start_with(backend, &settings).await;
    let receiver = app.receiver().await.answer_statuses([503]);
    let subscribed = app.subscribe(receiver.url()).await;
    let event = publish(&app, &[("traceparent", &traceparent("01")), ("tracestate", "acme=1")]).await;
    app.delivery_in("RETRYING").await;
    // Another process makes the second attempt, much later.
    app.restart_gracefully().await;
    app.clock.advance(Duration::from_secs(3600));
    let delivery = app.delivery_in("SUCCEEDED").await;
    let received = receiver.expect_requests(2).await;
    app.end().await;

    let [publish] = &collector.spans_with("publish", "angarium.event.id", &event)[..] else { panic!("one publish") };
    let [commit] = &collector.spans_with("commit", "angarium.event.id", &event)[..] else { panic!("one commit") };
    let attempts = collector.spans_with("POST", "angarium.event.id", &event);
    let [failed, succeeded] = &attempts[..] else { panic!("two attempts: {attempts:?}") };
    let is_request = |span: &_| Exported::id(span) == publish.parent();
    let request = collector.spans().into_iter().find(is_request).expect("the request is there");

    let [handed] = &collector.spans_with("hand-over", "angarium.event.id", &event)[..] else { panic!("one hand-over") };

    let all = [&request, publish, commit, handed, failed, succeeded];
    assert_eq!(all.map(Exported::trace), [TRACE; 6], "one trace, and it is the caller's");
    assert_eq!(request.parent(), CALLER);
    assert_eq!([commit, handed, failed, succeeded].map(Exported::parent), [(); 4].map(|()| publish.id()));
    assert_eq!(all.map(|span| span.state().to_owned()), ["acme=1"; 6]);
    let kinds = [SpanKind::Server, SpanKind::Producer, SpanKind::Internal, SpanKind::Internal, SpanKind::Client];
    assert_eq!(all[..5].iter().map(|span| span.kind()).collect::<Vec<_>>(), kinds);
    assert_eq!(succeeded.kind(), SpanKind::Client);
    for (span, attribute, value) in [
        (&request, "http.request.method", "POST"),
        (&request, "http.route", "/graphql"),
        (&request, "http.response.status_code", "200"),
        (&request, "graphql.operation.type", "mutation"),
        (publish, "messaging.destination.name", "invoice.paid"),
        (publish, "messaging.message.id", &event),
        (publish, "angarium.event.duplicate", "false"),
        (failed, "server.address", "127.0.0.1"),
        (failed, "http.response.status_code", "503"),
        (failed, "error.type", "503"),
        (failed, "angarium.delivery.status", "RETRYING"),
        (failed, "angarium.endpoint.id", &subscribed.endpoint),
        (failed, "angarium.delivery.id", &builder::text(&delivery["id"])),
        (succeeded, "angarium.attempt.number", "2"),
        (succeeded, "angarium.attempt.trigger", "RETRY"),
        (succeeded, "error.type", ""),
    ] {
        assert_eq!(span.attribute(attribute), value, "{attribute} of {span:?}");
    }
    assert!(failed.failed() && !succeeded.failed());
    assert!(!request.attribute("angarium.request.id").is_empty());

    for (attempt, (span, received)) in attempts.iter().zip(&received).enumerate() {
        let sent = [("traceparent".to_owned(), span.traceparent()), ("tracestate".to_owned(), "acme=1".to_owned())];
        assert_eq!(["traceparent", "tracestate"].map(|name| received.header(name)), [&*sent[0].1, &sent[1].1]);
        assert_eq!(shown(&delivery["attempts"]["nodes"][attempt]), sent, "the request is shown as it was sent");
    }
    assert!(collector.requests().iter().all(|(headers, _)| headers["x-key"] == "a key"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_and_its_retries_are_one_trace_from_the_caller_to_the_receiver_on_sqlite() {
    a_publish_and_its_retries_are_one_trace(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_and_its_retries_are_one_trace_from_the_caller_to_the_receiver_on_postgres() {
    a_publish_and_its_retries_are_one_trace(Backend::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_on_one_node_and_delivered_by_another_is_one_trace_through_the_hand_over() {
    let collector = Collector::start().await;
    let settings = [
        ("ANGARIUM_OTLP_ENDPOINT", collector.endpoint()),
        ("ANGARIUM_REDIS_URL", &services().redis_url),
        ("ANGARIUM_TRACE_SAMPLE_RATIO", "1"),
    ];
    let app = TestApp::start_with(Backend::Postgres, &settings).await;
    let other = app.join().await;
    other.shares_with(&app).await;
    let receiver = app.receiver().await;
    // Enough endpoints for both nodes to have some.
    for _ in 0..ENDPOINTS {
        app.subscribe(receiver.url()).await;
    }
    let event = publish(&app, &[("traceparent", &traceparent("01"))]).await;
    receiver.expect_requests(ENDPOINTS).await;
    app.deliveries_in("SUCCEEDED", ENDPOINTS).await;
    other.leave().await;
    app.end().await;

    let [publish] = &collector.spans_with("publish", "angarium.event.id", &event)[..] else { panic!("one publish") };
    let attempts = collector.spans_with("POST", "angarium.event.id", &event);
    assert_eq!(attempts.len(), ENDPOINTS);
    for attempt in &attempts {
        let delivery = attempt.attribute("angarium.delivery.id");
        let [handed] = &collector.spans_with("hand-over", "angarium.delivery.id", &delivery)[..] else {
            panic!("one hand-over of {delivery}")
        };
        for span in [handed, attempt] {
            assert_eq!((span.trace(), span.parent()), (TRACE.to_owned(), publish.id()));
        }
        assert_eq!(handed.instance(), attempt.instance(), "who delivers tells of it");
        assert!(handed.took() < Duration::from_secs(60));
    }
    let elsewhere = attempts.iter().filter(|attempt| attempt.instance() != publish.instance()).count();
    assert!((1..ENDPOINTS).contains(&elsewhere), "{elsewhere} were delivered by the other node");
    let told: Vec<_> = receiver.received().iter().map(|request| request.header("traceparent").to_owned()).collect();
    assert!(attempts.iter().all(|attempt| told.contains(&attempt.traceparent())), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_of_a_batch_has_its_own_span_and_the_refused_one_says_why() {
    let collector = Collector::start().await;
    let app = app_with(&collector, &[]).await;
    let mutation = "mutation Both($inputs: [EventPublishInput!]!) { eventPublishBatch(inputs: $inputs) \
        { results { event { id } userErrors { code } } } }";
    let types = ["invoice.paid", "no.such.type", "sms.outbound"];
    let inputs: Vec<_> = types.iter().map(|name| json!({ "eventType": name, "payload": {} })).collect();
    let data = app.api.data(mutation, json!({ "inputs": inputs })).await;
    app.end().await;

    let [request] = &collector.spans_with("POST /graphql", "graphql.operation.name", "Both")[..] else {
        panic!("one request")
    };
    assert_eq!(request.parent(), "", "the caller was in no trace");
    let spans: Vec<_> = collector.spans().into_iter().filter(|span| span.parent() == request.id()).collect();
    assert_eq!(spans.len(), 3);
    for (place, error) in ["", "UNKNOWN_EVENT_TYPE", ""].into_iter().enumerate() {
        let id = data["eventPublishBatch"]["results"][place]["event"]["id"].as_str().unwrap_or_default();
        let is_of_it = |span: &&_| Exported::attribute(span, "angarium.event.id") == id;
        let [span] = &spans.iter().filter(is_of_it).collect::<Vec<_>>()[..] else { panic!("one span for {id}") };
        assert_eq!((span.name(), &*span.attribute("error.type")), ("publish", error));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_on_a_websocket_and_in_an_event_stream_are_traced() {
    let collector = Collector::start().await;
    let app = app_with(&collector, &[]).await;
    app.api.subscribe("query Here { serverInfo { version } }", json!({})).await.next().await;
    let body = json!({ "query": "query There { serverInfo { version } }" });
    let request = http_client().post(format!("{}/graphql", app.base())).json(&body);
    let request = request.header("accept", "text/event-stream").header("traceparent", traceparent("01"));
    let streamed = request.send().await.expect("an answer").text().await.expect("a body");
    assert!(streamed.contains("complete"), "{streamed}");
    app.end().await;

    let [socket] = &collector.spans_with("GraphQL Operation", "graphql.operation.name", "Here")[..] else {
        panic!("one operation")
    };
    assert_eq!((socket.kind(), socket.parent().as_str()), (SpanKind::Server, ""));
    let [stream] = &collector.spans_with("POST /graphql", "graphql.operation.name", "There")[..] else {
        panic!("one request")
    };
    assert_eq!((stream.trace(), stream.parent()), (TRACE.to_owned(), CALLER.to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_span_has_a_payload_a_secret_or_the_path_and_query_of_a_url() {
    let collector = Collector::start().await;
    let app = app_with(&collector, &[]).await;
    let receiver = app.receiver().await.answer([Answer::status(500).body("hush-answer")]);
    let headers = json!([{ "name": "x-api-token", "value": "hush-header", "secret": true }]);
    let url = format!("{}/hush-path?token=hush-query", receiver.url());
    let input = json!({ "eventTypes": ["*"], "endpoint": { "create": { "url": url, "headers": headers } } });
    let subscribed = builder::subscribe(&app.api, input).await;
    let input =
        json!({ "eventType": "invoice.paid", "payload": { "a": "hush-payload" }, "idempotencyKey": "hush-once" });
    builder::publish(&app.api, input).await;
    app.delivery_in("RETRYING").await;
    let literal = r#"mutation { eventPublish(input: { eventType: "hush", payload: "hush-literal" }) { duplicate } }"#;
    app.api.post(literal, json!({})).await;
    let keys: Vec<_> = [&app.api, &app.admin].iter().map(|api| api.headers()[0].1.clone()).collect();
    app.end().await;

    assert!(collector.spans().iter().any(|span| span.name() == "POST" && span.failed()));
    let secret = subscribed.secret.expect("it was shown");
    let hidden = ["hush", &*keys[0], &*keys[1], secret.trim_start_matches("whsec_")];
    for (_, body) in collector.requests() {
        for hidden in hidden {
            assert!(!body.windows(hidden.len()).any(|bytes| bytes == hidden.as_bytes()), "{hidden} was exported");
        }
    }
}

/// What a receiver is told of an event that is published with these headers.
async fn told(settings: &[(&str, &str)], headers: &[(&str, &str)]) -> [String; 2] {
    let app = TestApp::start_with(Backend::Sqlite, settings).await;
    let receiver = app.receiver().await;
    app.subscribe(receiver.url()).await;
    publish(&app, headers).await;
    let received = receiver.expect_requests(1).await;
    let delivery = app.delivery_in("SUCCEEDED").await;
    app.end().await;
    let told = ["traceparent", "tracestate"].map(|name| received[0].header(name).to_owned());
    let shown = shown(&delivery["attempts"]["nodes"][0]);
    let values: Vec<_> = shown.into_iter().map(|(_, value)| value).collect();
    assert_eq!(values, told.iter().filter(|value| !value.is_empty()).cloned().collect::<Vec<_>>());
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_what_the_publisher_says_is_passed_on_and_nothing_is_made_up() {
    let caller = traceparent("01");
    assert_eq!(told(&[], &[("traceparent", &caller), ("tracestate", "a=1,b=2")]).await, [&*caller, "a=1,b=2"]);
    assert_eq!(told(&[], &[]).await, ["", ""]);
    assert_eq!(told(&[], &[("traceparent", "00-nonsense"), ("tracestate", "a=1")]).await, ["", ""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_are_told_nothing_when_that_is_switched_off() {
    let collector = Collector::start().await;
    let off = ("ANGARIUM_SEND_TRACEPARENT", "false");
    let headers = [("traceparent", &*traceparent("01")), ("tracestate", "a=1")];
    assert_eq!(told(&[off], &headers).await, ["", ""]);
    assert_eq!(told(&[off, ("ANGARIUM_OTLP_ENDPOINT", collector.endpoint())], &headers).await, ["", ""]);
    assert!(collector.spans().iter().any(|span| span.name() == "POST" && span.trace() == TRACE), "it is traced still");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_caller_records_is_recorded_and_of_the_rest_the_share_that_is_wanted() {
    let collector = Collector::start().await;
    let app = app_with(&collector, &[("ANGARIUM_TRACE_SAMPLE_RATIO", "0")]).await;
    let receiver = app.receiver().await;
    app.subscribe(receiver.url()).await;
    let sampled = publish(&app, &[("traceparent", &traceparent("01"))]).await;
    publish(&app, &[("traceparent", &traceparent("00"))]).await;
    publish(&app, &[]).await;
    let received = receiver.expect_requests(3).await;
    app.deliveries_in("SUCCEEDED", 3).await;
    app.end().await;

    let [attempt] = &collector.spans_with("POST", "angarium.event.id", &sampled)[..] else { panic!("one attempt") };
    assert_eq!(received[0].header("traceparent"), attempt.traceparent());
    assert!(collector.spans().iter().all(|span| span.trace() == TRACE), "nothing else was recorded");
    let unsampled = received[1].header("traceparent");
    assert!(unsampled.starts_with(&format!("00-{TRACE}-")) && unsampled.ends_with("-00"), "{unsampled}");
    assert!(received[2].header("traceparent").ends_with("-00"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_event_is_traced_like_any_other() {
    let collector = Collector::start().await;
    let app = app_with(&collector, &[]).await;
    let receiver = app.receiver().await;
    let subscribed = app.subscribe(receiver.url()).await;
    let test = "mutation($id: ID!) { webhookSubscriptionTest(id: $id, eventType: \"invoice.paid\") \
        { event { id } userErrors { message } } }";
    let caller = traced(&app.api, &[("traceparent", &traceparent("01"))]);
    let data = caller.data(test, json!({ "id": subscribed.id })).await;
    let event = builder::text(&data["webhookSubscriptionTest"]["event"]["id"]);
    receiver.expect_requests(1).await;
    app.delivery_in("SUCCEEDED").await;
    app.end().await;
    let spans = ["publish", "POST"].map(|name| collector.spans_with(name, "angarium.event.id", &event));
    let [[publish], [attempt]] = spans.each_ref().map(Vec::as_slice) else { panic!("one of each: {spans:?}") };
    assert_eq!((publish.trace(), attempt.parent()), (TRACE.to_owned(), publish.id()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_holds_up_neither_deliveries_nor_the_stop() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let away = format!("http://{}", closed.local_addr().expect("an address"));
    drop(closed);
    // Taken, and never answered.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let hangs = format!("http://{}", silent.local_addr().expect("an address"));
    for endpoint in [away, hangs] {
        let app = TestApp::start_with(Backend::Sqlite, &[("ANGARIUM_OTLP_ENDPOINT", &endpoint)]).await;
        let receiver = app.receiver().await;
        app.subscribe(receiver.url()).await;
        for _ in 0..20 {
            publish(&app, &[]).await;
        }
        receiver.expect_requests(20).await;
        app.deliveries_in("SUCCEEDED", 20).await;
        tokio::time::timeout(Duration::from_secs(10), app.end()).await.expect("it stops");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_collector_could_not_take_for_a_moment_is_sent_again() {
    let collector = Collector::answering(503).await;
    let app = app_with(&collector, &[]).await;
    publish(&app, &[]).await;
    let again = eventually("the same is sent twice", async || {
        let requests = collector.requests();
        requests.get(..2).map(|first| first.iter().map(|(_, body)| body.clone()).collect::<Vec<_>>())
    })
    .await;
    assert_eq!(again[0], again[1]);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_cannot_set_the_headers_of_tracing_itself() {
    let app = TestApp::start(Backend::Sqlite).await;
    let receiver = Receiver::start().await;
    for name in ["traceparent", "TraceState"] {
        let headers = json!([{ "name": name, "value": traceparent("01") }]);
        let endpoint = json!({ "create": { "url": receiver.url(), "headers": headers } });
        let create = "mutation($input: WebhookSubscriptionCreateInput!) { webhookSubscriptionCreate(input: $input) \
            { userErrors { code message field } } }";
        let input = json!({ "eventTypes": ["*"], "endpoint": endpoint });
        let told = builder::problems(&app.api, create, json!({ "input": input })).await;
        assert_eq!(told.len(), 1, "{told:?}");
    }
    app.end().await;
}
