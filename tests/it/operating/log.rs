//! What the log tells, and what it never tells.

use std::fs::File;
use std::process::{Command, Stdio};

use angarium_entity::api_key::ApiKeySecret;
use angarium_entity::sealer::Sealer;
use angarium_tests::app::eventually;
use angarium_tests::process::program;
use angarium_tests::{Answer, Collector, GraphQl, Receiver, builder};
use serde_json::{Value, json};

/// A server whose log is a file.
struct Logging {
    child: std::process::Child,
    directory: std::path::PathBuf,
}

impl Logging {
    fn start(admin_key: &ApiKeySecret, format: &str, more: &[(&str, &str)]) -> Self {
        let directory = std::env::temp_dir().join(format!("angarium-test-{}", uuid::Uuid::now_v7().simple()));
        std::fs::create_dir_all(&directory).expect("the temporary directory is writable");
        let log = File::create(directory.join("log")).expect("it is writable");
        let mut command = Command::new(program());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ANGARIUM_")) {
            command.env_remove(name);
        }
        let database = format!("sqlite://{}", directory.join("x.db").display());
        command.arg("serve").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).envs([
            ("ANGARIUM_LISTEN", "127.0.0.1:0"),
            ("ANGARIUM_DATABASE_URL", &*database),
            ("ANGARIUM_ADMIN_KEY", admin_key.reveal()),
            ("ANGARIUM_ENCRYPTION_KEY", &*Sealer::generate_key()),
            ("ANGARIUM_ALLOW_HTTP", "true"),
            ("ANGARIUM_ALLOW_CIDRS", "127.0.0.0/8"),
            ("ANGARIUM_LOG", "trace"),
            ("ANGARIUM_LOG_FORMAT", format),
        ]);
        command.envs(more.iter().copied());
        Self { child: command.spawn().expect("the program starts"), directory }
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).expect("it is there")
    }

    /// The whole lines so far.
    fn lines(&self) -> Vec<String> {
        let text = self.text();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(str::to_owned).collect()
    }

    /// The first line with this message, of a log in JSON.
    async fn line(&self, message: &str) -> Value {
        let read =
            |line: String| -> Value { serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}")) };
        let find = async || self.lines().into_iter().map(read).find(|line| line["message"] == message);
        eventually(&format!("`{message}` is logged"), find).await
    }

    /// The first line that says this, of a log as text.
    async fn text_line(&self, message: &str) -> String {
        let find = async || self.lines().into_iter().find(|line| line.contains(message));
        eventually(&format!("`{message}` is logged"), find).await
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// What the log is looked through for.
struct Scene {
    admin_key: ApiKeySecret,
    key: String,
    api: GraphQl,
    receiver: Receiver,
    subscribed: builder::Subscribed,
    event: String,
}

/// An event that an endpoint refuses at first, and everything about it that must not be told.
async fn scene(base: &str, admin_key: ApiKeySecret) -> Scene {
    let admin = GraphQl::new(base, admin_key.reveal());
    builder::event_type(&admin, "invoice.paid").await;
    let (_, key) = builder::workspace_with_key(&admin, "Acme").await;
    let api = admin.with_key(&key);
    let receiver = Receiver::start().await.answer([Answer::status(503).body("hush-answer")]);
    let headers = json!([{ "name": "authorization", "value": "hush-header", "secret": true }]);
    let endpoint = json!({ "create": { "url": format!("{}?token=hush-query", receiver.url()), "headers": headers } });
    let subscribed = builder::subscribe(&api, json!({ "eventTypes": ["*"], "endpoint": endpoint })).await;
    let input = json!({ "eventType": "invoice.paid", "payload": { "a": "hush-payload" } });
    let event = builder::publish(&api, input).await;
    receiver.expect_requests(1).await;
    Scene { admin_key, key, api, receiver, subscribed, event }
}

fn expect_nothing_hidden(log: &str, scene: &Scene) {
    let secret = scene.subscribed.secret.as_deref().expect("it was shown");
    let hidden = ["hush", &scene.key, scene.admin_key.reveal(), secret, secret.trim_start_matches("whsec_")];
    for hidden in hidden {
        let line = log.lines().find(|line| line.contains(hidden));
        assert_eq!(line, None, "{hidden}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_names_request_event_delivery_and_endpoint_but_no_payload_and_no_secret() {
    let admin_key = ApiKeySecret::generate();
    let server = Logging::start(&admin_key, "json", &[]);
    let up = server.line("the server is up").await;
    let scene = scene(&format!("http://{}", builder::text(&up["address"])), admin_key).await;

    let ended = server.line("an attempt has ended").await;
    let ids = (&ended["event"], &ended["endpoint"]);
    assert_eq!(ids, (&json!(scene.event), &json!(scene.subscribed.endpoint)), "{ended}");
    assert!(builder::text(&ended["delivery"]).starts_with("dlv_"), "{ended}");
    assert_eq!((&ended["status"], &ended["next"]), (&json!(503), &json!("RETRYING")), "{ended}");
    let published = server.line("an event was published").await;
    assert_eq!(published["event"], json!(scene.event), "{published}");
    assert!(published["span"]["request_id"].is_string(), "{published}");
    let answered = server.line("answered").await;
    assert!(answered["request_id"].is_string(), "{answered}");
    expect_nothing_hidden(&server.text(), &scene);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_as_text_names_the_same_and_what_failed_below_http_too() {
    let admin_key = ApiKeySecret::generate();
    let server = Logging::start(&admin_key, "text", &[]);
    let up = server.text_line("the server is up").await;
    let address = up.split("address=").nth(1).and_then(|rest| rest.split(' ').next()).expect("it is told");
    let scene = scene(&format!("http://{address}"), admin_key).await;
    let ended = server.text_line("an attempt has ended").await;
    let published = server.text_line("an event was published").await;
    assert!(published.contains("request{request_id=") && published.contains(&format!("event={}", scene.event)));

    // Nobody listens there.
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let away = format!("http://{}/hush-path?token=hush-query", closed.local_addr().expect("an address"));
    drop(closed);
    let subscribed = builder::subscribe(&scene.api, json!({ "eventTypes": ["*"], "endpoint": { "url": away } })).await;
    builder::publish(&scene.api, json!({ "eventType": "invoice.paid", "payload": {} })).await;
    let failed = server.text_line("a request failed").await;
    for (line, endpoint) in [(ended, &scene.subscribed.endpoint), (failed, &subscribed.endpoint)] {
        for part in ["event=evt_", "delivery=dlv_", &format!("endpoint={endpoint}")] {
            assert!(line.contains(part), "{part} in {line}");
        }
    }
    expect_nothing_hidden(&server.text(), &scene);
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_that_a_collector_refuses_are_one_line_and_every_line_of_a_request_names_its_trace() {
    let collector = Collector::answering(400).await;
    let admin_key = ApiKeySecret::generate();
    let more = [("ANGARIUM_OTLP_ENDPOINT", collector.endpoint()), ("ANGARIUM_OTLP_HEADERS", "x-key=hush-collector")];
    let server = Logging::start(&admin_key, "json", &more);
    let up = server.line("the server is up").await;
    let scene = scene(&format!("http://{}", builder::text(&up["address"])), admin_key).await;
    eventually("several batches were refused", async || {
        builder::publish(&scene.api, json!({ "eventType": "invoice.paid", "payload": {} })).await;
        (collector.requests().len() > 2).then_some(())
    })
    .await;
    let told = server.line("spans of traces are lost; deliveries are not touched by it").await;
    assert!(told["spans"].as_u64().is_some_and(|spans| spans > 0), "{told}");
    let lost = server.lines().into_iter().filter(|line| line.contains("spans of traces are lost")).count();
    assert_eq!(lost, 1, "once a minute");
    let published = server.line("an event was published").await;
    let ended = server.line("an attempt has ended").await;
    assert_eq!(published["span"]["trace_id"], ended["trace_id"], "{published} {ended}");
    assert!(ended["trace_id"].as_str().is_some_and(|id| id.len() == 32), "{ended}");
    assert!(!scene.receiver.received().is_empty());
    expect_nothing_hidden(&server.text(), &scene);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_inside_is_told_by_one_line_that_has_the_id_of_the_answer() {
    use sea_orm::ConnectionTrait as _;
    let admin_key = ApiKeySecret::generate();
    let server = Logging::start(&admin_key, "json", &[]);
    let up = server.line("the server is up").await;
    let admin = GraphQl::new(&format!("http://{}", builder::text(&up["address"])), admin_key.reveal());
    let (_, key) = builder::workspace_with_key(&admin, "Acme").await;
    let api = admin.with_key(&key);
    let file = format!("sqlite://{}", server.directory.join("x.db").display());
    let beside = sea_orm::Database::connect(file).await.expect("the file opens");
    beside.execute_unprepared("ALTER TABLE replay RENAME TO elsewhere").await.expect("it is renamed");
    let (_, answer) = api.post("{ replays { nodes { id } } }", json!({})).await;
    let error = &answer["errors"][0];
    assert_eq!(error["extensions"]["code"], "INTERNAL_SERVER_ERROR", "{answer}");
    assert!(!answer.to_string().contains("replay\""), "{answer}");
    let id = builder::text(&error["extensions"]["requestId"]);
    let find = async || {
        let read = |line: String| -> Value { serde_json::from_str(&line).expect("JSON") };
        let all = server.lines().into_iter().map(read);
        let told: Vec<_> = all.filter(|line| line["level"] == "ERROR" && line["request_id"] == *id).collect();
        (!told.is_empty()).then_some(told)
    };
    let told = eventually("the failure is logged", find).await;
    assert_eq!(told.len(), 1, "{told:?}");
    let message = builder::text(&told[0]["message"]);
    assert!(message.contains("the database failed") && message.contains("no such table"), "with its causes: {message}");
    assert!(told[0]["path"].to_string().contains("replays"), "{told:?}");
}
