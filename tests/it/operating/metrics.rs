//! Metrics, and what names them.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use angarium_tests::app::{Backend, TestApp, eventually};
use angarium_tests::client::http_client;
use angarium_tests::{RedisServer, RedisSetup, builder, on_both_databases};
use sea_orm::ConnectionTrait as _;
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

/// Waits until a series has this value.
async fn becomes(base: &str, series: &str, wanted: f64) {
    let is_so = async || ((value(&scrape(base).await, series) - wanted).abs() < 0.01).then_some(());
    eventually(&format!("{series} is {wanted}"), is_so).await;
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
    app.clock.advance(Duration::from_secs(2));
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

    async fn what_runs_who_is_left_alone_and_how_long_anything_has_waited_are_told(app) {
    let (hanging, dead) = (app.receiver().await, app.receiver().await);
    hanging.hang();
    let strict = json!({ "create": { "url": hanging.url(), "timeout": "PT1M" } });
    builder::subscribe(&app.api, json!({ "eventTypes": ["sms.outbound"], "endpoint": strict })).await;
    for number in 0..2 {
        builder::publish(&app.api, json!({ "eventType": "sms.outbound", "payload": number })).await;
    }
    hanging.expect_requests(1).await;
    app.clock.advance(Duration::from_secs(90));
    becomes(&app.base(), "angarium_in_flight_requests", 1.0).await;
    let waited = value(&scrape(&app.base()).await, "angarium_oldest_waiting_seconds");
    assert!((90.0..120.0).contains(&waited), "it has waited {waited} s");

    dead.answer_from_now_on(500);
    builder::subscribe(&app.api, json!({ "eventTypes": ["invoice.paid"], "endpoint": { "url": dead.url() } })).await;
    for number in 0..5 {
        app.publish(json!(number)).await;
    }
    app.deliveries_in("RETRYING", 5).await;
    app.clock.advance(Duration::from_secs(2));
    becomes(&app.base(), "angarium_open_circuits", 1.0).await;
    dead.answer_from_now_on(204);
    app.clock.advance(Duration::from_mins(1));
    becomes(&app.base(), "angarium_open_circuits", 0.0).await;
    hanging.let_go(2);
    becomes(&app.base(), "angarium_in_flight_requests", 0.0).await;
    app.clock.advance(Duration::from_mins(10));
    app.deliveries_in("SUCCEEDED", 7).await;
    becomes(&app.base(), "angarium_oldest_waiting_seconds", 0.0).await;
    app.end().await;
    }

    async fn open_streams_and_what_a_sweep_has_found_are_told(app) {
    let receiver = app.receiver().await;
    app.subscribe(receiver.url()).await;
    let mut streams = Vec::new();
    for open in [1.0, 2.0] {
        streams.push(app.api.subscribe("subscription { deliveryUpdated { kind } }", json!({})).await);
        becomes(&app.base(), "angarium_live_streams", open).await;
    }
    app.publish(json!(1)).await;
    let sent = app.delivery_in("SUCCEEDED").await;
    streams.clear();
    becomes(&app.base(), "angarium_live_streams", 0.0).await;
    let found = "angarium_sweep_woken_endpoints_total";
    let before = value(&scrape(&app.base()).await, found);
    // A row that nobody is told of.
    let open = "UPDATE delivery SET status = 'PENDING', attempt_count = 0, round_attempts = 0, completed_at = NULL";
    app.state().db.write().execute_unprepared(open).await.expect("it is written");
    eventually("the sweep finds it", async || {
        app.clock.advance(Duration::from_secs(15));
        (receiver.received().len() == 2).then_some(())
    })
    .await;
    assert!(sent["id"].is_string() && value(&scrape(&app.base()).await, found) > before);
    app.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_is_made_anew_is_counted() {
    let redis = RedisServer::start(&RedisSetup::default()).await;
    let url = format!("redis://{}/", redis.address());
    let app = TestApp::start_with(Backend::Postgres, &[("ANGARIUM_REDIS_URL", &url)]).await;
    let receiver = app.receiver().await.answer_statuses([503, 503]);
    app.subscribe(receiver.url()).await;
    app.publish(json!(1)).await;
    app.delivery_in("RETRYING").await;
    eventually("Redis holds it", async || (redis.keys("ang:*:e:*").await.len() == 1).then_some(())).await;
    let rebuilt = "angarium_schedule_rebuilds_total";
    let before = value(&scrape(&app.base()).await, rebuilt);
    let () = redis.told(&["FLUSHALL"]).await;
    eventually("it is made anew", async || {
        app.clock.advance(Duration::from_secs(1));
        (value(&scrape(&app.base()).await, rebuilt) > before).then_some(())
    })
    .await;
    app.clock.advance(Duration::from_mins(10));
    app.deliveries_in("SUCCEEDED", 1).await;
    app.end().await;
}

/// What one tenant does: it publishes, is refused, asks for nonsense, listens.
async fn be_busy(app: &TestApp, name: &str) {
    let (_, key) = builder::workspace_with_key(&app.admin, name).await;
    let api = app.admin.with_key(&key);
    let receiver = app.receiver().await.answer_statuses([500]);
    for _ in 0..3 {
        builder::subscribe(&api, json!({ "eventTypes": ["*"], "endpoint": { "url": receiver.url() } })).await;
    }
    builder::publish(&api, json!({ "eventType": "invoice.paid", "payload": name })).await;
    receiver.expect_requests(3).await;
    let named = format!("query Of{name} {{ serverInfo {{ version }} }}");
    api.data(&named, json!({})).await;
    api.post(&format!("{{ {name} }}"), json!({})).await;
    let publish = "mutation($type: EventTypeName!) { eventPublish(input: { eventType: $type, payload: 1 }) { userErrors { code } } }";
    api.data(publish, json!({ "type": format!("no.{}", name.to_lowercase()) })).await;
    drop(api.subscribe("subscription { deliveryUpdated { kind } }", json!({})).await);
    let path = format!("{}/{name}", app.base());
    http_client().get(path).header("user-agent", name).send().await.expect("an answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_series_does_not_grow_with_tenants_types_operations_or_paths() {
    let app = TestApp::start(Backend::Sqlite).await;
    let series = async || {
        let scraped = scrape(&app.base()).await;
        let lines = scraped.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.rsplit_once(' ').expect("a value").0.to_owned()).collect::<BTreeSet<_>>()
    };
    be_busy(&app, "Tenant0").await;
    becomes(&app.base(), "angarium_live_streams", 0.0).await;
    let before = series().await;
    for number in 1..=5 {
        be_busy(&app, &format!("Tenant{number}")).await;
    }
    becomes(&app.base(), "angarium_live_streams", 0.0).await;
    let after = series().await;
    assert_eq!(after.difference(&before).collect::<Vec<_>>(), [] as [&String; 0]);
    assert!(after.iter().all(|series| !series.contains("enant") && !series.contains("127.0.0.1")), "{after:?}");
    app.end().await;
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
