//! Metrics, and what names them.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use angarium_tests::app::{Backend, TestApp, eventually};
use angarium_tests::client::http_client;
use angarium_tests::on_both_databases;
use serde_json::{Value, json};

const ALERTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../api/operating/alerts.yml");
const DASHBOARD: &str = include_str!("../../../api/operating/dashboard.json");

/// Prometheus' own judge. `tests/run` installs it.
fn promtool(arguments: &[&str], input: &str) {
    let mut command = Command::new("promtool");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool is there: it is in Debian's package prometheus");
    child.stdin.take().expect("it is piped").write_all(input.as_bytes()).expect("it reads");
    let ended = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&ended.stdout) + String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "promtool {arguments:?} says {said}");
}

async fn scrape(base: &str) -> String {
    let response = http_client().get(format!("{base}/metrics")).send().await.expect("an answer");
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4");
    response.text().await.expect("a body")
}

/// The value of a series as it is written.
fn value(scraped: &str, series: &str) -> f64 {
    let line = scraped.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{series} is not in\n{scraped}")).parse().expect("a number")
}

/// The expressions of the panels, as a server would get them.
fn expressions(dashboard: &Value) -> Vec<String> {
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let expression = |target: &Value| target["expr"].as_str().expect("an expression").replace("$__rate_interval", "5m");
    targets.map(expression).collect()
}

/// The names of metrics in an expression.
fn names(expression: &str) -> impl Iterator<Item = &str> {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let words = expression.split(move |letter| !is_letter(letter));
    words.filter(|word| word.starts_with("angarium_"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_satisfy_the_linter_of_prometheus() {
    let app = TestApp::start(Backend::Sqlite).await;
    promtool(&["check", "metrics"], &scrape(&app.base()).await);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_that_an_alert_or_the_dashboard_names_is_in_a_first_scrape() {
    promtool(&["check", "rules", ALERTS], "");
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let expressions = expressions(&dashboard);
    let rules: Vec<_> =
        expressions.iter().map(|expression| json!({ "record": "checked:panel", "expr": expression })).collect();
    let path = std::env::temp_dir().join(format!("angarium-panels-{}.json", uuid::Uuid::now_v7().simple()));
    // JSON is YAML, and the same rule twice is only a hint.
    std::fs::write(&path, json!({ "groups": [{ "name": "panels", "rules": rules }] }).to_string()).expect("written");
    promtool(&["check", "rules", "--lint=none", path.to_str().expect("text")], "");
    std::fs::remove_file(path).expect("it was there");

    let alerts = std::fs::read_to_string(ALERTS).expect("it is there");
    let alerts = alerts.lines().filter(|line| line.trim_start().starts_with("expr:"));
    let named: BTreeSet<_> = expressions.iter().map(String::as_str).chain(alerts).flat_map(names).collect();
    assert!(named.len() > 20, "{named:?}");
    let app = TestApp::start(Backend::Sqlite).await;
    let scraped = scrape(&app.base()).await;
    for name in named {
        let is_there = |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        assert!(scraped.lines().any(is_there), "{name} is not in\n{scraped}");
    }
    app.end().await;
}

on_both_databases! {
    async fn a_delivery_is_counted_on_its_way(app) {
    let receiver = app.receiver().await.answer_statuses([503]);
    app.subscribe(receiver.url()).await;
    let before = scrape(&app.base()).await;
    app.publish(json!({ "invoice": 7 })).await;
    app.delivery_in("RETRYING").await;
    let after = eventually("the result is counted", async || {
        let scraped = scrape(&app.base()).await;
        (value(&scraped, r#"angarium_deliveries_total{outcome="retrying"}"#) > 0.0).then_some(scraped)
    })
    .await;
    let grown = |series: &str| value(&after, series) - value(&before, series);
    for (series, by) in [
        (r#"angarium_publishes_total{outcome="accepted"}"#, 1.0),
        (r#"angarium_publishes_total{outcome="failed"}"#, 0.0),
        (r#"angarium_attempts_total{outcome="failed"}"#, 1.0),
        ("angarium_attempt_duration_seconds_count", 1.0),
        ("angarium_attempt_lateness_seconds_count", 1.0),
        (r#"angarium_group_commit_rows_count{of="publishes"}"#, 1.0),
        (r#"angarium_group_commit_rows_sum{of="results"}"#, 1.0),
    ] {
        assert!((grown(series) - by).abs() < 0.5, "{series} has grown by {}", grown(series));
    }
    assert!(grown(r#"angarium_graphql_operations_total{kind="mutation",outcome="ok"}"#) > 0.5);
    assert!((value(&after, "angarium_shards") - value(&after, "angarium_shards_owned")).abs() < 0.5);

    let delivery = app.delivery_in("RETRYING").await;
    let cancel = "mutation($id: ID!) { deliveryCancel(id: $id) { userErrors { message } } }";
    app.api.data(cancel, json!({ "id": delivery["id"] })).await;
    let scraped = scrape(&app.base()).await;
    assert!((value(&scraped, r#"angarium_deliveries_total{outcome="canceled"}"#) - 1.0).abs() < 0.5);
    app.end().await;
    }

    async fn what_waits_is_counted_and_what_is_paused_is_not_late(app) {
    let receiver = app.receiver().await.answer_statuses([503, 503]);
    app.subscribe(receiver.url()).await;
    app.publish(json!({ "invoice": 7 })).await;
    app.delivery_in("RETRYING").await;
    let paused = app.receiver().await;
    let subscribed = app.subscribe(paused.url()).await;
    let pause = "mutation($id: ID!) { webhookEndpointPause(id: $id) { userErrors { message } } }";
    app.api.data(pause, json!({ "id": subscribed.endpoint })).await;
    app.publish(json!({ "invoice": 8 })).await;
    app.deliveries_in("RETRYING", 2).await;
    app.clock.advance(std::time::Duration::from_secs(2));
    let scraped = scrape(&app.base()).await;
    for (series, expected) in [
        (r#"angarium_backlog_deliveries{state="scheduled"}"#, 2.0),
        (r#"angarium_backlog_deliveries{state="in_line"}"#, 1.0),
        ("angarium_oldest_waiting_seconds", 0.0),
        ("angarium_open_circuits", 0.0),
        ("angarium_in_flight_requests", 0.0),
    ] {
        assert!((value(&scraped, series) - expected).abs() < 0.01, "{series} is {}", value(&scraped, series));
    }
    app.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_proxy_passes_on_is_not_shown_metrics() {
    let app = TestApp::start(Backend::Sqlite).await;
    for header in ["forwarded", "via", "x-forwarded-for", "x-real-ip"] {
        let request = http_client().get(format!("{}/metrics", app.base())).header(header, "for=192.0.2.1");
        assert_eq!(request.send().await.expect("an answer").status(), 403, "{header}");
    }
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_with_a_listener_of_their_own_are_nowhere_else() {
    let app = TestApp::start_with(Backend::Sqlite, &[("ANGARIUM_METRICS_LISTEN", "127.0.0.1:0")]).await;
    let beside = http_client().get(format!("{}/metrics", app.base())).send().await.expect("an answer");
    assert_eq!(beside.status(), 404);
    let own = format!("http://{}", app.metrics_address().expect("it listens"));
    assert!(scrape(&own).await.contains("angarium_build_info"));
    let ready = http_client().get(format!("{own}/health/ready")).send().await.expect("an answer");
    assert_eq!(ready.status(), 200);
    app.end().await;
}
