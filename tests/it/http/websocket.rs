//! `graphql-transport-ws`: every close code that the protocol asks for.

use std::time::Duration;

use angarium_tests::client::Socket;
use angarium_tests::{Backend, TestApp};
use serde_json::{Value, json};

const PROTOCOL: (&str, &str) = ("sec-websocket-protocol", "graphql-transport-ws");

async fn app() -> TestApp {
    TestApp::start(Backend::Sqlite).await
}

fn init(app: &TestApp) -> Value {
    json!({ "type": "connection_init", "payload": { "apiKey": app.api.headers()[0].1 } })
}

fn subscribe(id: &str, query: &str) -> Value {
    json!({ "id": id, "type": "subscribe", "payload": { "query": query } })
}

/// A socket that was acknowledged.
async fn open(app: &TestApp) -> Socket {
    let mut socket = Socket::open(&app.base()).await;
    socket.send(init(app)).await;
    assert_eq!(socket.next().await.expect("an answer")["type"], "connection_ack");
    socket
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_mutations_and_pings_are_answered() {
    let app = app().await;
    let mut socket = open(&app).await;
    socket.send(json!({ "type": "ping" })).await;
    assert_eq!(socket.next().await.expect("an answer")["type"], "pong");
    socket.send(subscribe("q", "{ viewer { workspace { name } } }")).await;
    let next = socket.next().await.expect("an answer");
    assert_eq!(
        (&next["type"], &next["id"], &next["payload"]["data"]["viewer"]["workspace"]["name"]),
        (&json!("next"), &json!("q"), &json!("Acme"))
    );
    assert_eq!(socket.next().await.expect("an answer"), json!({ "type": "complete", "id": "q" }));
    let publish = "mutation { eventPublish(input: { eventType: \"invoice.paid\", payload: 1.50 }) { event { payload } userErrors { code } } }";
    socket.send(subscribe("m", publish)).await;
    let next = socket.next().await.expect("an answer");
    assert_eq!(next["payload"]["data"]["eventPublish"]["event"]["payload"].to_string(), "1.50");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_does_not_validate_is_an_error_message() {
    let app = app().await;
    let mut socket = open(&app).await;
    for query in
        ["{ noSuchField }", "{", "subscription { a: deliveryUpdated { cursor } b: deliveryUpdated { cursor } }"]
    {
        socket.send(subscribe("1", query)).await;
        let answer = socket.next().await.expect("an answer");
        assert_eq!((&answer["type"], &answer["id"]), (&json!("error"), &json!("1")), "{query} {answer}");
        assert!(answer["payload"][0]["message"].is_string(), "{answer}");
    }
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_breach_of_the_protocol_closes_with_its_code() {
    let app = app().await;
    let wrong_key =
        json!({ "type": "connection_init", "payload": { "apiKey": format!("sk_live_{}", "0".repeat(64)) } });
    let live = "subscription { deliveryUpdated { cursor } }";
    for (what, messages, code) in [
        ("subscribe before init", vec![subscribe("1", live).to_string()], 4401),
        ("not JSON", vec!["{ not json".to_owned()], 4400),
        ("unknown type", vec![json!({ "type": "x".repeat(300) }).to_string()], 4400),
        (
            "no id",
            vec![init(&app).to_string(), json!({ "type": "subscribe", "payload": { "query": live } }).to_string()],
            4400,
        ),
        ("second init", vec![init(&app).to_string(), init(&app).to_string()], 4429),
        (
            "duplicate id",
            vec![init(&app).to_string(), subscribe("1", live).to_string(), subscribe("1", live).to_string()],
            4409,
        ),
        ("wrong key", vec![wrong_key.to_string()], 4403),
    ] {
        let mut socket = Socket::open(&app.base()).await;
        for message in messages {
            socket.send_text(&message).await;
        }
        let closed = loop {
            match socket.next().await {
                Ok(_) => {}
                Err(code) => break code,
            }
        };
        assert_eq!(closed, code, "{what}");
    }
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_never_says_who_it_is_is_closed() {
    let app = app().await;
    assert_eq!(Socket::open(&app.base()).await.next().await, Err(4408));
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_page_and_another_protocol_are_refused() {
    let app = app().await;
    assert_eq!(Socket::try_open(&app.base(), &[PROTOCOL, ("origin", "https://evil.example")]).await.err(), Some(403));
    let own = app.base();
    assert!(Socket::try_open(&app.base(), &[PROTOCOL, ("origin", &own)]).await.is_ok());
    // The protocol would have it open the socket and close it with 4406; a browser tells its page neither.
    for offered in ["graphql-ws", "nonsense"] {
        let refused = Socket::try_open(&app.base(), &[("sec-websocket-protocol", offered)]).await.err();
        assert_eq!(refused, Some(400), "{offered}");
    }
    assert_eq!(Socket::try_open(&app.base(), &[]).await.err(), Some(400));
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_runs_64_operations_at_once_and_another_when_one_has_ended() {
    let app = app().await;
    let mut socket = open(&app).await;
    let live = "subscription { deliveryUpdated { cursor } }";
    for id in 0..64 {
        socket.send(subscribe(&id.to_string(), live)).await;
    }
    socket.send(subscribe("more", live)).await;
    let refused = socket.next().await.expect("an answer");
    assert_eq!((&refused["type"], &refused["id"]), (&json!("error"), &json!("more")), "{refused}");
    assert_eq!(refused["payload"][0]["extensions"]["code"], "THROTTLED", "{refused}");
    socket.send(json!({ "type": "complete", "id": "7" })).await;
    socket.send(subscribe("more", "{ serverInfo { maxDepth } }")).await;
    let answered = socket.next().await.expect("an answer");
    assert_eq!((&answered["type"], &answered["id"]), (&json!("next"), &json!("more")), "{answered}");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_large_or_binary_closes_the_socket() {
    let app = app().await;
    let padded = |bytes: usize| {
        let message = |padding: &str| json!({ "type": "ping", "payload": { "padding": padding } }).to_string();
        message(&"x".repeat(bytes - message("").len()))
    };
    let mut socket = open(&app).await;
    socket.send_text(&padded(256 * 1024)).await;
    assert_eq!(socket.next().await.expect("an answer")["type"], "pong");
    socket.send_text(&padded(256 * 1024 + 1)).await;
    assert_eq!(socket.next().await, Err(1009));
    let mut socket = open(&app).await;
    socket.send_binary(b"{\"type\":\"ping\"}").await;
    assert_eq!(socket.next().await, Err(4400));
    app.end().await;
}

/// The server asks every 15 s, and gives a client up that said nothing for 40 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_answers_no_ping_is_given_up_and_one_that_only_answers_is_not() {
    let app = app().await;
    let (mut silent, mut quiet) = (open(&app).await, open(&app).await);
    let asked = std::time::Instant::now();
    let listening = tokio::time::timeout(Duration::from_secs(50), quiet.next());
    // Who reads nothing answers nothing.
    let (still_open, ()) = tokio::join!(listening, tokio::time::sleep(Duration::from_secs(50)));
    assert!(still_open.is_err(), "{still_open:?} after {:?}", asked.elapsed());
    assert!(silent.pings_until_its_end().await >= 2, "it was asked before");
    quiet.send(json!({ "type": "ping" })).await;
    assert_eq!(quiet.next().await.expect("an answer")["type"], "pong");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_the_server_closes_its_sockets_at_once() {
    let mut app = app().await;
    let mut socket = open(&app).await;
    socket.send(subscribe("1", "subscription { deliveryUpdated { cursor } }")).await;
    app.restart().await;
    assert_eq!(socket.next().await, Err(1001));
    app.end().await;
}
