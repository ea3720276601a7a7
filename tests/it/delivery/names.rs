//! How names are looked up: who is asked, how often, and how many of the answers are tried.

use std::net::IpAddr;

use angarium_tests::builder::text;
use angarium_tests::dns::{NameServer, Reply};
use angarium_tests::{Backend, RawReceiver, TestApp};
use serde_json::json;

async fn start(names: &NameServer) -> TestApp {
    let settings = [("ANGARIUM_NAME_SERVERS", names.address()), ("ANGARIUM_ALLOW_CIDRS", "127.0.0.0/8")];
    TestApp::start_with(Backend::Sqlite, &settings).await
}

/// The URL of a receiver, which takes a new connection for each request, with another host.
fn at(receiver: &RawReceiver, host: &str) -> String {
    receiver.url().replace("127.0.0.1", host)
}

fn loopback(last: u8) -> IpAddr {
    IpAddr::from([127, 0, 0, last])
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_addresses_of_a_name_four_are_tried() {
    // Nobody listens at the others.
    let (fourth, fifth) = ([7, 8, 9, 1, 6].map(loopback), [6, 7, 8, 9, 1].map(loopback));
    let names = NameServer::start()
        .await
        .with("fourth.example", [Reply::Addresses(fourth.to_vec())])
        .with("fifth.example", [Reply::Addresses(fifth.to_vec())]);
    let app = start(&names).await;
    let receiver = RawReceiver::start().await;
    app.subscribe(&at(&receiver, "fourth.example")).await;
    app.publish(json!(1)).await;
    app.delivery_in("SUCCEEDED").await;
    app.subscribe(&at(&receiver, "fifth.example")).await;
    app.publish(json!(2)).await;
    let failed = app.delivery_in("RETRYING").await;
    assert_eq!(failed["attempts"]["nodes"][0]["error"]["message"], "the connection was refused");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_remembered_for_as_long_as_it_says() {
    let names = NameServer::start()
        .await
        .with("lasting.example", [Reply::Lasting(vec![loopback(1)], 3_600)])
        .with("fleeting.example", [Reply::addresses(["127.0.0.1"])]);
    let app = start(&names).await;
    let receivers = [RawReceiver::start().await, RawReceiver::start().await];
    for (receiver, host) in receivers.iter().zip(["lasting.example", "fleeting.example"]) {
        app.subscribe(&at(receiver, host)).await;
    }
    for requests in 1..=3 {
        app.publish(json!(requests)).await;
        for receiver in &receivers {
            receiver.expect_requests(requests).await;
        }
        app.deliveries_in("SUCCEEDED", 2 * requests).await;
    }
    assert_eq!((names.asked("lasting.example"), names.asked("fleeting.example")), (1, 3));
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_does_not_fit_is_asked_for_over_tcp() {
    let names = NameServer::start().await.with("large.example", [Reply::OverTcp(vec![loopback(1)])]);
    let app = start(&names).await;
    let receiver = RawReceiver::start().await;
    app.subscribe(&at(&receiver, "large.example")).await;
    app.publish(json!(1)).await;
    app.delivery_in("SUCCEEDED").await;
    receiver.expect_requests(1).await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hosts_file_goes_first_and_a_name_without_a_dot_is_asked_for_as_it_is() {
    let hosts = std::fs::read_to_string("/etc/hosts").expect("it is there");
    let is_local = |line: &str| line.split_whitespace().next() == Some("127.0.0.1") && line.contains("localhost");
    assert!(hosts.lines().any(is_local), "it names this machine: {hosts}");
    // Who asked the name server would be led elsewhere.
    let names = NameServer::start().await.with("localhost", [Reply::addresses(["127.0.0.6"])]);
    let app = start(&names).await;
    let receiver = RawReceiver::start().await;
    app.subscribe(&at(&receiver, "localhost")).await;
    app.publish(json!(1)).await;
    app.delivery_in("SUCCEEDED").await;
    app.subscribe(&at(&receiver, "intranet")).await;
    app.publish(json!(2)).await;
    let failed = app.delivery_in("RETRYING").await;
    assert_eq!(text(&failed["attempts"]["nodes"][0]["error"]["message"]), "the host name intranet does not exist");
    assert_eq!(names.all_asked(), ["intranet."]);
    let requests = receiver.expect_requests(2).await;
    assert!(requests.iter().all(|request| request.header("host").starts_with("localhost:")), "{requests:?}");
    app.end().await;
}
