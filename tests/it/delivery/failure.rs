//! Each kind of failure, told in words.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use angarium_tests::builder::{self, text};
use angarium_tests::dns::{NameServer, Reply};
use angarium_tests::{Answer, Backend, TestApp, on_both_databases};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// Answers whatever comes with these bytes and closes.
async fn raw(answer: &'static str) -> SocketAddr {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

/// Speaks TLS with a certificate that it has made itself.
pub(super) async fn self_signed() -> SocketAddr {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("its versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("they belong together");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(acceptor.accept(stream).await);
        }
    });
    address
}

/// An endpoint at `url` that wants everything.
async fn wanting(app: &TestApp, url: &str) -> String {
    let endpoint = json!({ "create": { "url": url, "timeout": "PT1S" } });
    builder::subscribe(&app.api, json!({ "eventTypes": ["*"], "endpoint": endpoint })).await.endpoint
}

/// The error of the first attempt at an endpoint.
fn error_at<'a>(deliveries: &'a [Value], endpoint: &str) -> &'a Value {
    let delivery = deliveries.iter().find(|delivery| delivery["endpoint"]["id"] == endpoint).expect("it has one");
    &delivery["attempts"]["nodes"][0]["error"]
}

on_both_databases! {
    async fn each_kind_of_failure_is_told_in_words(app) {
        let receiver = app.receiver().await.answer_statuses([500]);
        let moved = app.receiver().await.answer([Answer::status(302).header("location", "http://example.com/")]);
        let hanging = app.receiver().await;
        hanging.hang();
        let closed = listen().await.1;
        let cases = [
            (format!("http://{closed}/in"), "CONNECTION", "the connection was refused"),
            (format!("http://{}/in", raw("").await), "CONNECTION", "the connection was closed before an answer came"),
            ("http://no-such-host.invalid/in".to_owned(), "DNS", "the host name no-such-host.invalid does not exist"),
            (receiver.url().to_owned(), "HTTP_STATUS", "answered 500"),
            (moved.url().to_owned(), "REDIRECT", "answered 302, a redirect, which is not followed"),
            (format!("http://{}/in", raw("SSH-2.0-OpenSSH_9.9\r\n").await), "PROTOCOL", "the answer is not valid HTTP"),
            (hanging.url().to_owned(), "TIMEOUT", "no complete response within 1000 ms"),
            (format!("https://{}/in", self_signed().await), "TLS", "the certificate is not from an authority that this server trusts"),
            (format!("https://{}/in", raw("HTTP/1.1 400 Bad Request\r\n\r\n").await), "TLS", "the receiver does not speak TLS at this port"),
        ];
        let mut endpoints = Vec::new();
        for (url, ..) in &cases {
            endpoints.push(wanting(&app, url).await);
        }
        app.publish(json!({})).await;
        let deliveries = app.deliveries_in("RETRYING", cases.len()).await;
        for ((url, code, message), endpoint) in cases.iter().zip(&endpoints) {
            assert_eq!(error_at(&deliveries, endpoint), &json!({ "code": code, "message": message }), "{url}");
        }
        hanging.let_go(1);
        app.end().await;
    }
}

/// A name that leads to an address which is not allowed is found out when it is looked up.
#[tokio::test(flavor = "multi_thread")]
async fn a_forbidden_address_is_told_without_naming_it() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let names = NameServer::start().await.with("inside.example", [Reply::addresses(["127.0.0.1"])]);
        let settings = [("ANGARIUM_ALLOW_CIDRS", "127.0.0.2/32"), ("ANGARIUM_NAME_SERVERS", names.address())];
        let app = TestApp::start_with(backend, &settings).await;
        let port = listen().await.1.port();
        let endpoint = wanting(&app, &format!("http://inside.example:{port}/in")).await;
        app.publish(json!({})).await;
        let deliveries = app.deliveries_in("RETRYING", 1).await;
        let error = error_at(&deliveries, &endpoint);
        assert_eq!(error["code"], "FORBIDDEN_ADDRESS");
        let message = text(&error["message"]);
        assert!(message.contains("not public") && !message.contains(&Ipv4Addr::LOCALHOST.to_string()), "{message}");
        app.end().await;
    }
}
