//! What an orchestrator asks.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::process::Stdio;
use std::time::Duration;

use angarium_tests::Installation;
use angarium_tests::app::{Backend, TestApp, eventually};
use angarium_tests::chaos::link::{Link, Wire};
use angarium_tests::client::http_client;
use angarium_tests::process::program;
use sea_orm::{ConnectOptions, ConnectionTrait as _, TransactionTrait as _};
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use url::Url;

const MIGRATING: &str = "the schema of the database is being brought up to date";

/// Status and body of a path.
async fn get(base: &str, path: &str) -> (u16, String) {
    let response = http_client().get(format!("{base}{path}")).send().await.expect("an answer");
    (response.status().as_u16(), response.text().await.expect("a body"))
}

async fn readiness(base: &str) -> (u16, Value) {
    let (status, body) = get(base, "/health/ready").await;
    (status, serde_json::from_str::<Value>(&body).expect("JSON")["reasons"].take())
}

/// Starts `angarium serve`, which lives and need not get ready, and answers where it listens.
async fn starting(installation: &mut Installation) -> (Child, String) {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    installation.set("ANGARIUM_LISTEN", &free.to_string());
    let settings = installation.settings().iter().map(|(name, value)| (*name, value.as_str()));
    let mut command = Command::new(program());
    command.arg("serve").envs(settings).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    let child = command.spawn().expect("it starts");
    let base = format!("http://{free}");
    let lives =
        async || http_client().get(format!("{base}/health/live")).send().await.ok().filter(|live| live.status() == 200);
    eventually("it lives", lives).await;
    (child, base)
}

async fn becomes(base: &str, status: u16, reasons: Value) {
    let wanted = (status, reasons);
    eventually(&format!("it is {wanted:?}"), async || (readiness(base).await == wanted).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_schema_takes_its_time_says_so_and_is_ready_behind_it() {
    for (backend, hold) in [
        (Backend::Postgres, "LOCK TABLE seaql_migrations IN ACCESS EXCLUSIVE MODE"),
        (Backend::Sqlite, "CREATE TABLE somebody_writes (id integer)"),
    ] {
        let mut installation = Installation::new(backend).await;
        let mut options = match backend {
            Backend::Postgres => ConnectOptions::new(installation.database()),
            Backend::Sqlite => ConnectOptions::new(format!("{}?mode=rwc", installation.database())),
        };
        options.max_connections(1);
        let other = sea_orm::Database::connect(options).await.expect("the database opens");
        if backend == Backend::Sqlite {
            other.execute_unprepared("PRAGMA journal_mode = WAL").await.expect("it is set");
        }
        let holding = other.begin().await.expect("a transaction");
        holding.execute_unprepared(hold).await.expect("it is held");
        let (_child, base) = starting(&mut installation).await;
        becomes(&base, 503, json!([MIGRATING])).await;
        assert_eq!(get(&base, "/health/live").await.0, 200);
        holding.rollback().await.expect("it is let go");
        other.close().await.expect("it closes");
        becomes(&base, 200, json!([])).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_database_is_away_lives_and_is_not_ready() {
    let mut installation = Installation::new(Backend::Postgres).await;
    let mut url = Url::parse(installation.database()).expect("a URL");
    let host = url.host_str().and_then(|host| host.parse::<IpAddr>().ok()).unwrap_or(Ipv4Addr::LOCALHOST.into());
    let link = Link::start(host, (host, url.port().unwrap_or(5432)).into()).await;
    url.set_port(Some(link.address().port())).expect("it takes a port");
    installation.set("ANGARIUM_DATABASE_URL", url.as_str());
    link.set(Wire::Silent);
    let (child, base) = starting(&mut installation).await;
    becomes(&base, 503, json!(["the database is being opened"])).await;
    drop(child);
    link.set(Wire::Whole);
    let (_child, base) = starting(&mut installation).await;
    becomes(&base, 200, json!([])).await;
    link.set(Wire::Silent);
    becomes(&base, 503, json!(["the database does not answer in time"])).await;
    assert_eq!(get(&base, "/health/live").await.0, 200);
    link.set(Wire::Whole);
    becomes(&base, 200, json!([])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_leaves_serves_on_and_says_that_it_is_not_ready() {
    let mut app = TestApp::start(Backend::Sqlite).await;
    let base = app.base();
    assert_eq!(readiness(&base).await, (200, json!([])));
    let leaving = app.leave(Duration::from_secs(10));
    let refused = async || {
        let found = readiness(&base).await;
        (found.0 == 503).then_some(found.1)
    };
    assert_eq!(eventually("it is not ready", refused).await, json!(["the server is stopping"]));
    assert_eq!(get(&base, "/health/live").await.0, 200);
    app.publish(json!({ "still": "served" })).await;
    app.clock.advance(Duration::from_secs(10));
    leaving.await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_starts_lives_and_says_what_it_waits_for() {
    let app = TestApp::start(Backend::Sqlite).await;
    let opening = app.opening().await;
    let base = format!("http://{}", opening.address());
    assert_eq!(readiness(&base).await, (503, json!(["the database is being opened"])));
    opening.explain(MIGRATING);
    assert_eq!(readiness(&base).await, (503, json!([MIGRATING])));
    assert_eq!(get(&base, "/health/live").await.0, 200);
    let (status, body) = get(&base, "/graphql?query={__typename}").await;
    assert_eq!(status, 503);
    assert!(body.starts_with("the server is starting"), "{body}");
    app.end().await;
}
