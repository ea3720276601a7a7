//! Deliveries through the outbound proxy.

use angarium_tests::builder::text;
use angarium_tests::dns::{NameServer, Reply};
use angarium_tests::proxy::Proxy;
use angarium_tests::{Backend, TestApp};
use serde_json::{Value, json};

use super::failure::self_signed;

async fn start(proxy: &str, settings: &[(&str, &str)]) -> TestApp {
    let settings: Vec<_> = [("ANGARIUM_PROXY_URL", proxy)].into_iter().chain(settings.iter().copied()).collect();
    TestApp::start_with(Backend::Sqlite, &settings).await
}

/// The error of the first attempt at `url`.
async fn error_at(app: &TestApp, url: &str) -> Value {
    app.subscribe(url).await;
    app.publish(json!({})).await;
    app.delivery_in("RETRYING").await["attempts"]["nodes"][0]["error"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_goes_through_the_proxy_to_the_address_that_was_checked() {
    let proxy = Proxy::start(None).await;
    let app = start(&format!("http://user:p%40ss@{}", proxy.address()), &[]).await;
    let receiver = app.receiver().await;
    let by_name = receiver.url().replace("127.0.0.1", "localhost");
    let subscribed = app.subscribe(&by_name).await;
    app.publish(json!({ "n": 1 })).await;
    let request = receiver.expect_requests(1).await.remove(0);
    assert!(request.is_verified_by_the_official_library(&subscribed.secret.expect("it is shown once")));
    assert!(request.header("host").starts_with("localhost:"), "the receiver sees the name");
    assert_eq!(request.header("proxy-authorization"), "");
    app.delivery_in("SUCCEEDED").await;
    let target = receiver.url().trim_start_matches("http://").trim_end_matches("/in");
    let expected =
        format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\nproxy-authorization: Basic dXNlcjpwQHNz\r\n\r\n");
    assert_eq!(proxy.heads(), [expected]);
    app.publish(json!({ "n": 2 })).await;
    app.deliveries_in("SUCCEEDED", 2).await;
    assert_eq!(proxy.heads().len(), 1, "the tunnel is used again");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_proxy_does_not_do_is_told_as_its_fault() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address");
    let (refusing, babbling) =
        (Proxy::start(Some("HTTP/1.1 403 No\r\n\r\nno")).await, Proxy::start(Some("SSH-2.0\r\n\r\n")).await);
    for (address, told) in [
        (refusing.address(), "refused to connect, with status 403"),
        (babbling.address(), "did not answer with HTTP"),
        (&closed.to_string(), "cannot be reached"),
    ] {
        let app = start(&format!("http://{address}"), &[]).await;
        let receiver = app.receiver().await;
        let error = error_at(&app, receiver.url()).await;
        assert_eq!(
            (error["code"].as_str(), error["message"].as_str()),
            (Some("PROXY"), Some(format!("the outbound proxy of this server {told}").as_str()))
        );
        assert!(receiver.received().is_empty());
        app.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_is_not_asked_for_a_forbidden_address_and_cannot_come_between_us_and_the_certificate() {
    let proxy = Proxy::start(None).await;
    let url = format!("http://{}", proxy.address());
    let names = NameServer::start().await.with("inside.example", [Reply::addresses(["127.0.0.1"])]);
    let settings = [("ANGARIUM_ALLOW_CIDRS", "127.0.0.2/32"), ("ANGARIUM_NAME_SERVERS", names.address())];
    let app = start(&url, &settings).await;
    assert_eq!(error_at(&app, "http://inside.example:9/in").await["code"], "FORBIDDEN_ADDRESS");
    app.end().await;
    let app = start(&url, &[]).await;
    assert_eq!(error_at(&app, "http://no-such-host.invalid/in").await["code"], "DNS");
    app.end().await;
    assert!(proxy.heads().is_empty(), "{:?}", proxy.heads());
    let app = start(&url, &[]).await;
    let error = error_at(&app, &format!("https://{}/in", self_signed().await)).await;
    assert_eq!(error["code"], "TLS");
    assert!(text(&error["message"]).contains("authority"), "{error}");
    assert_eq!(proxy.heads().len(), 1);
    app.end().await;
}
