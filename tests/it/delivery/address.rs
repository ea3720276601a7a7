//! Where a delivery may go: names are looked up through a name server of the test, and what they lead to is checked when
//! the connection is made.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use angarium_entity::api_key::ApiKeySecret;
use angarium_entity::sealer::Sealer;
use angarium_tests::builder::{self, problems, text};
use angarium_tests::dns::{NameServer, Reply};
use angarium_tests::process::Process;
use angarium_tests::proxy::Proxy;
use angarium_tests::{Answer, Backend, GraphQl, Receiver, TestApp};
use hickory_proto::op::ResponseCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Only this address may be connected to, besides public ones.
const ALLOWED: &str = "127.0.0.1/32";

async fn start(names: &NameServer) -> TestApp {
    let settings = [("ANGARIUM_NAME_SERVERS", names.address()), ("ANGARIUM_ALLOW_CIDRS", ALLOWED)];
    TestApp::start_with(Backend::Sqlite, &settings).await
}

/// The URL of `receiver` with another host.
fn at(receiver: &Receiver, host: &str) -> String {
    receiver.url().replace("127.0.0.1", host)
}

/// Something inside of the operator's network, at the port of `receiver`, and how many connections it has seen.
async fn inside(receiver: &Receiver) -> Arc<AtomicUsize> {
    let address =
        receiver.url().trim_start_matches("http://").trim_end_matches("/in").replace("127.0.0.1", "127.0.0.2");
    let listener = TcpListener::bind(address).await.expect("the same port is free at another address");
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = connections.clone();
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    connections
}

/// The error of the first attempt of the only delivery to `endpoint`, once it failed.
async fn error_at(app: &TestApp, endpoint: &str) -> Value {
    let query = "query($id: ID!) { deliveries(where: { endpointId: $id, status: [RETRYING] }) { nodes { attempts { nodes { error { code message } } } } } }";
    angarium_tests::app::eventually(&format!("the attempt at {endpoint} has failed"), async || {
        let data = app.api.data(query, json!({ "id": endpoint })).await;
        data.pointer("/deliveries/nodes/0/attempts/nodes/0/error").filter(|error| error.is_object()).cloned()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_checked_is_connected_to_and_a_name_that_was_rebound_is_checked_again() {
    let lasting = |last| Reply::Lasting(vec![[127, 0, 0, last].into()], 86_400);
    let names = NameServer::start().await.with("rebound.example", [1, 2, 1].map(lasting));
    let app = start(&names).await;
    let receiver = app.receiver().await.answer((0..3).map(|_| Answer::status(204).header("connection", "close")));
    let inside = inside(&receiver).await;
    app.subscribe(&at(&receiver, "rebound.example")).await;
    for count in 1..=2 {
        app.publish(json!(count)).await;
        app.deliveries_in("SUCCEEDED", count).await;
        // By now it would lead inside, but nobody asks between the check and a connection.
        assert_eq!(names.asked("rebound.example"), 1);
    }
    // A day is said, and five minutes are believed.
    app.clock.advance(Duration::from_mins(5));
    app.publish(json!(3)).await;
    let refused = app.delivery_in("RETRYING").await;
    assert_eq!(refused["attempts"]["nodes"][0]["error"]["code"], "FORBIDDEN_ADDRESS");
    assert_eq!(names.asked("rebound.example"), 2);
    app.clock.advance(Duration::from_secs(10));
    app.deliveries_in("SUCCEEDED", 3).await;
    assert_eq!((receiver.received().len(), inside.load(Ordering::Relaxed)), (3, 0));
    assert!(receiver.received()[0].header("host").starts_with("rebound.example:"));
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_lead_inside_are_refused_and_of_mixed_answers_only_the_allowed_address_is_used() {
    let names = NameServer::start()
        .await
        .with("private.example", [Reply::addresses(["10.0.0.1"])])
        .with("metadata.example", [Reply::addresses(["169.254.169.254", "fd00:ec2::254"])])
        .with("mapped.example", [Reply::addresses(["::ffff:127.0.0.2"])])
        .with("many.example", [Reply::addresses(["127.0.0.2", "127.0.0.3", "::1", "2002:7f00:1::"])])
        .with("alias.example", [Reply::Alias("inside.example")])
        .with("inside.example", [Reply::addresses(["127.0.0.2"])])
        .with("mixed.example", [Reply::addresses(["127.0.0.2", "10.0.0.1", "127.0.0.1", "::1", "fe80::1"])])
        .with("public-alias.example", [Reply::Alias("receiver.example")])
        .with("receiver.example", [Reply::addresses(["127.0.0.1"])]);
    let app = start(&names).await;
    let receiver = app.receiver().await;
    let inside = inside(&receiver).await;
    let mut endpoints = Vec::new();
    let refused =
        ["private.example", "metadata.example", "mapped.example", "many.example", "alias.example", "ALIAS.example."];
    for host in refused {
        endpoints.push(app.subscribe(&at(&receiver, host)).await.endpoint);
    }
    for host in ["mixed.example", "public-alias.example"] {
        app.subscribe(&at(&receiver, host)).await;
    }
    app.publish(json!(1)).await;
    for (host, endpoint) in refused.iter().zip(&endpoints) {
        let error = error_at(&app, endpoint).await;
        assert_eq!(error["code"], "FORBIDDEN_ADDRESS", "{host}: {error}");
        let message = text(&error["message"]);
        assert!(!message.contains("10.") && !message.contains("127.") && !message.contains("169."), "{message}");
    }
    app.deliveries_in("SUCCEEDED", 2).await;
    assert_eq!((receiver.received().len(), inside.load(Ordering::Relaxed)), (2, 0));
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_in_which_a_name_leads_nowhere_is_told_apart() {
    let names = NameServer::start()
        .await
        .with("empty.example", [Reply::addresses([])])
        .with("broken.example", [Reply::Code(ResponseCode::ServFail)])
        .with("refused.example", [Reply::Code(ResponseCode::Refused)])
        .with("silent.example", [Reply::Silence]);
    let app = start(&names).await;
    let cases = [
        ("missing.example", "the host name missing.example does not exist"),
        ("empty.example", "the host name empty.example has no address"),
        ("broken.example", "the host name broken.example could not be resolved"),
        ("refused.example", "the host name refused.example could not be resolved"),
        ("silent.example", "the host name silent.example could not be resolved within 3 s"),
    ];
    let mut endpoints = Vec::new();
    for (host, _) in cases {
        endpoints.push(app.subscribe(&format!("http://{host}:9/in")).await.endpoint);
    }
    app.publish(json!(1)).await;
    for ((_, message), endpoint) in cases.iter().zip(&endpoints) {
        assert_eq!(error_at(&app, endpoint).await, json!({ "code": "DNS", "message": message }));
    }
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_told_when_an_endpoint_is_saved_is_told_then() {
    let app = TestApp::start_with(Backend::Sqlite, &[("ANGARIUM_ALLOW_CIDRS", ALLOWED)]).await;
    let create = "mutation($input: WebhookEndpointCreateInput!) { webhookEndpointCreate(input: $input) { userErrors { code message field } } }";
    for host in ["10.0.0.1", "0x7f.0.0.2", "[::1]", "[::ffff:10.0.0.1]", "[64:ff9b::a00:1]", "169.254.169.254"] {
        let input = json!({ "input": { "url": format!("https://{host}/in") } });
        assert_eq!(problems(&app.api, create, input.clone()).await, ["URL_FORBIDDEN input.url"], "{host}");
        let told = text(&app.api.data(create, input).await["webhookEndpointCreate"]["userErrors"][0]["message"]);
        assert!(told.contains("is not public"), "{told}");
    }
    let input = json!({ "input": { "url": "https://user:hush@example.com/in" } });
    assert_eq!(problems(&app.api, create, input).await, ["INVALID input.url"]);
    let endpoint = app.subscribe("https://example.com/in").await.endpoint;
    let update = "mutation($id: ID!, $input: WebhookEndpointUpdateInput!) { webhookEndpointUpdate(id: $id, input: $input) { userErrors { code message field } } }";
    let input = json!({ "id": endpoint, "input": { "url": "https://192.168.0.1/" } });
    assert_eq!(problems(&app.api, update, input).await, ["URL_FORBIDDEN input.url"]);
    app.end().await;
    let app = TestApp::start_with(Backend::Sqlite, &[("ANGARIUM_ALLOW_CIDRS", "10.0.0.0/8")]).await;
    for host in ["localhost", "a.localhost."] {
        let input = json!({ "input": { "url": format!("https://{host}/in") } });
        assert_eq!(problems(&app.api, create, input).await, ["URL_FORBIDDEN input.url"], "{host}");
    }
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_followed_nowhere() {
    let app = TestApp::start_with(Backend::Sqlite, &[("ANGARIUM_ALLOW_CIDRS", ALLOWED)]).await;
    let (receiver, allowed) = (app.receiver().await, app.receiver().await);
    let inside = inside(&receiver).await;
    let moved = [301, 302, 303, 307, 308];
    let targets = [at(&receiver, "127.0.0.2"), allowed.url().to_owned()];
    let all = moved.iter().flat_map(|status| targets.iter().map(|target| (*status, target.as_str())));
    let receiver = receiver.answer(all.map(|(status, target)| Answer::status(status).header("location", target)));
    for _ in 0..moved.len() * targets.len() {
        let endpoint = json!({ "url": receiver.url() });
        let input = json!({ "eventTypes": ["*"], "endpoint": endpoint, "retryPolicy": { "delays": [] } });
        builder::subscribe(&app.api, input).await;
    }
    app.publish(json!(1)).await;
    for failed in app.deliveries_in("EXHAUSTED", moved.len() * targets.len()).await {
        assert_eq!(failed["attempts"]["nodes"][0]["error"]["code"], "REDIRECT", "{failed}");
    }
    assert_eq!((inside.load(Ordering::Relaxed), allowed.received().len()), (0, 0));
    app.end().await;
}

/// The variables that most programs obey would send deliveries, with their names unchecked, to whatever is there.
#[tokio::test(flavor = "multi_thread")]
async fn proxies_in_the_environment_are_not_used() {
    let directory = std::env::temp_dir().join(format!("angarium-test-{}", uuid::Uuid::now_v7().simple()));
    std::fs::create_dir_all(&directory).expect("the temporary directory is writable");
    let (proxy, receiver) = (Proxy::start(None).await, Receiver::start().await);
    let (admin_key, encryption_key) = (ApiKeySecret::generate(), Sealer::generate_key());
    let proxy_url = format!("http://{}", proxy.address());
    let mut settings = vec![
        ("ANGARIUM_LISTEN", "127.0.0.1:0"),
        ("ANGARIUM_DATABASE_URL", "sqlite://proxies.db"),
        ("ANGARIUM_ADMIN_KEY", admin_key.reveal()),
        ("ANGARIUM_ENCRYPTION_KEY", &encryption_key),
        ("ANGARIUM_ALLOW_HTTP", "true"),
        ("ANGARIUM_ALLOW_CIDRS", "127.0.0.0/8"),
    ];
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        settings.push((name, &proxy_url));
    }
    let process = Process::start(&directory, &["serve"], &settings);
    let admin = GraphQl::new(process.base(), admin_key.reveal());
    builder::event_type(&admin, "invoice.paid").await;
    let (_, key) = builder::workspace_with_key(&admin, "Acme").await;
    let api = admin.with_key(&key);
    builder::subscribe(&api, json!({ "eventTypes": ["*"], "endpoint": { "url": receiver.url() } })).await;
    builder::publish(&api, json!({ "eventType": "invoice.paid", "payload": 1 })).await;
    receiver.expect_requests(1).await;
    assert!(proxy.heads().is_empty(), "{:?}", proxy.heads());
    drop(process);
    std::fs::remove_dir_all(directory).expect("the files can be removed");
}
