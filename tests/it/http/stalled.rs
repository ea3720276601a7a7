//! A thousand clients that subscribe and then do not read cost little memory: some 50 KiB each, half of it before the
//! first message.

use angarium_tests::client::http_client;
use angarium_tests::process::Process;
use angarium_tests::{Backend, Installation, Receiver, builder};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const SOCKETS: usize = 1_000;
/// Sockets that are opened at the same time.
const TOGETHER: usize = 50;
const GROWTH_MAX_KIB: u64 = 64 * 1024;
/// Together far more than the system keeps for a socket.
const EVENTS: usize = 300;
const PAYLOAD_BYTES: usize = 4_000;

/// Memory that a process holds.
fn resident_kib(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Live streams that a process says are open.
async fn streams(process: &Process) -> usize {
    let scraped = http_client().get(format!("{}/metrics", process.base())).send().await.expect("an answer");
    let scraped = scraped.text().await.expect("a body");
    let line = scraped.lines().find_map(|line| line.strip_prefix("angarium_live_streams "));
    line.expect("the gauge is there").parse().expect("a number")
}

/// A subscription that was begun and is never read.
async fn stalled(base: &str, key: &str) -> WebSocketStream<TcpStream> {
    let address = base.strip_prefix("http://").expect("it is HTTP");
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("it can be small");
    let stream = socket.connect(address.parse().expect("an address")).await.expect("it connects");
    let mut request = format!("ws://{address}/graphql").into_client_request().expect("a URL");
    request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().expect("a value"));
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.expect("it is upgraded");
    let init = json!({ "type": "connection_init", "payload": { "apiKey": key } });
    socket.send(Message::text(init.to_string())).await.expect("it is sent");
    let acknowledged = socket.next().await.expect("an answer").expect("it is right");
    assert!(acknowledged.to_text().expect("a text").contains("connection_ack"));
    let query =
        "subscription { deliveryUpdated { kind cursor previousStatus delivery { id status event { payload } } } }";
    let subscribe = json!({ "id": "1", "type": "subscribe", "payload": { "query": query } });
    socket.send(Message::text(subscribe.to_string())).await.expect("it is sent");
    socket
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_stalled_sockets_cost_less_than_64_mib() {
    let installation = Installation::new(Backend::Sqlite).await;
    let process = installation.serve();
    let (api, receiver) = (installation.workspace(&process).await, Receiver::start().await);
    let key = api.headers()[0].1.clone();
    builder::subscribe(&api, json!({ "eventTypes": ["*"], "endpoint": { "url": receiver.url() } })).await;
    let publish =
        "mutation($inputs: [EventPublishInput!]!) { eventPublishBatch(inputs: $inputs) { results { event { id } } } }";
    let inputs: Vec<Value> = (0..EVENTS)
        .map(|n| json!({ "eventType": "invoice.paid", "payload": format!("{n}{}", "x".repeat(PAYLOAD_BYTES)) }))
        .collect();
    // What publishing and delivering takes by itself.
    api.data(publish, json!({ "inputs": inputs })).await;
    receiver.expect_requests(EVENTS).await;
    let before = resident_kib(&process);
    let mut sockets = Vec::with_capacity(SOCKETS);
    while sockets.len() < SOCKETS {
        let some = (0..TOGETHER).map(|_| stalled(process.base(), &key));
        sockets.extend(futures_util::future::join_all(some).await);
    }
    angarium_tests::app::eventually("each of them is subscribed", async || {
        (streams(&process).await == SOCKETS).then_some(())
    })
    .await;
    let idle = resident_kib(&process);
    api.data(publish, json!({ "inputs": inputs })).await;
    receiver.expect_requests(2 * EVENTS).await;
    // Until nobody takes anything any more: what the process holds stays as it is.
    let (mut most, mut calm) = (idle, 0);
    while calm < 20 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let now = resident_kib(&process);
        calm = if now > most { 0 } else { calm + 1 };
        most = most.max(now);
    }
    println!(
        "{SOCKETS} sockets: {} KiB when they wait, {} KiB when they are stalled",
        idle.saturating_sub(before),
        most.saturating_sub(before)
    );
    assert!(
        most.saturating_sub(before) <= GROWTH_MAX_KIB,
        "it grew by {} KiB, {} of them at once",
        most.saturating_sub(before),
        idle.saturating_sub(before)
    );
    drop(sockets);
}
