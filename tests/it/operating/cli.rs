//! The command line beside a server that runs.

use std::process::{Output, Stdio};

use angarium_entity::sealer::Sealer;
use angarium_tests::app::{Backend, TestApp, create_database, eventually};
use angarium_tests::client::http_client;
use angarium_tests::dns::{NameServer, Reply};
use angarium_tests::process::program;
use angarium_tests::proxy::Proxy;
use angarium_tests::{Collector, Receiver, builder};
use hickory_proto::op::ResponseCode;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

fn angarium(arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(program());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ANGARIUM_")) {
        command.env_remove(name);
    }
    command.args(arguments).envs(settings.iter().copied()).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

async fn run(arguments: &[&str], settings: &[(&str, &str)], input: &str) -> Output {
    let mut child = angarium(arguments, settings).spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    // A program that reads nothing may have ended already.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    child.wait_with_output().await.expect("it ends")
}

fn said(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

/// A program that goes on, and what it says.
struct Talker {
    /// What it introduces itself with.
    first: Value,
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Talker {
    async fn start(arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let mut child = angarium(arguments, settings).spawn().expect("the program starts");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let first = lines.next_line().await.expect("it speaks").expect("it introduces itself");
        Self { first: serde_json::from_str(&first).expect("JSON"), lines, _child: child }
    }

    async fn next(&mut self) -> Value {
        let line = self.lines.next_line().await.expect("it speaks").expect("it goes on");
        serde_json::from_str(&line).expect("JSON")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn listen_forwards_signed_deliveries_whose_endpoint_is_down() {
    let app = TestApp::start(Backend::Sqlite).await;
    let down = app.receiver().await.answer_statuses(vec![503; 100]);
    let other = app.receiver().await;
    let subscribed = app.subscribe(down.url()).await;
    app.subscribe(other.url()).await;
    let key = builder::key(&app.admin, &app.workspace, &["DELIVERY_READ", "EVENT_READ", "WEBHOOK_READ"]).await;
    let local = Receiver::start().await.answer_statuses(vec![500; 100]);
    let settings = [("ANGARIUM_URL", &*app.base()), ("ANGARIUM_API_KEY", &*key)];
    let arguments = ["listen", local.url(), "--json", "--subscription", &subscribed.id];
    let mut listener = Talker::start(&arguments, &settings).await;

    // When its stream begins is for the server to say.
    let event = eventually("a delivery is forwarded", async || {
        let event = app.publish(json!({ "amount": 1 })).await;
        let is_forwarded = async || (!local.received().is_empty()).then_some(());
        tokio::time::timeout(std::time::Duration::from_millis(300), eventually("it is", is_forwarded)).await.ok()?;
        Some(event)
    })
    .await;
    let told = listener.next().await;
    assert_eq!(
        (&told["event"], &told["status"], &told["eventType"]),
        (&json!(event), &json!(500), &json!("invoice.paid"))
    );
    let forwarded = local.received();
    assert_eq!(forwarded[0].header("webhook-id"), event);
    assert!(forwarded[0].is_verified_by_the_official_library(&builder::text(&listener.first["secret"])));
    assert!(
        !forwarded[0].is_signed_with(&subscribed.secret.expect("it was shown")),
        "the endpoint's own stays its own"
    );
    let stored =
        down.received().into_iter().find(|request| request.header("webhook-id") == event).expect("it was sent");
    assert_eq!(forwarded[0].body, stored.body);

    // In its order, once each; what the local URL answers is nobody's business.
    for amount in 0..20 {
        app.publish(json!({ "amount": amount })).await;
    }
    let forwarded = local.expect_requests(forwarded.len() + 20).await;
    let amounts: Vec<_> =
        forwarded[forwarded.len() - 20..].iter().map(|request| request.data()["amount"].clone()).collect();
    assert_eq!(json!(amounts), json!((0..20).collect::<Vec<_>>()));
    drop(listener);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listen_ends_when_its_key_may_not_read() {
    let app = TestApp::start(Backend::Sqlite).await;
    let key = builder::key(&app.admin, &app.workspace, &["EVENT_PUBLISH"]).await;
    let settings = [("ANGARIUM_URL", &*app.base()), ("ANGARIUM_API_KEY", &*key)];
    let ended = run(&["listen", "http://127.0.0.1:9/"], &settings, "").await;
    assert_eq!(ended.status.code(), Some(1));
    assert!(said(&ended.stderr).contains("DELIVERY_READ"), "{ended:?}");
    let ended = run(&["listen", "http://127.0.0.1:9/"], &[("ANGARIUM_URL", &app.base())], "").await;
    assert_eq!(ended.status.code(), Some(2));
    assert!(said(&ended.stderr).contains("ANGARIUM_API_KEY is not set"), "{ended:?}");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receive_verifies_and_shows_what_arrives() {
    let app = TestApp::start(Backend::Sqlite).await;
    let mut receiver = Talker::start(&["receive", "--listen", "127.0.0.1:0", "--json"], &[]).await;
    let (base, secret) = (builder::text(&receiver.first["url"]), builder::text(&receiver.first["secret"]));
    let endpoint =
        json!({ "create": { "name": "r", "url": format!("{base}/in?x=1"), "signing": { "secret": secret } } });
    let input = json!({ "name": "r", "eventTypes": ["invoice.paid"], "endpoint": endpoint });
    builder::subscribe(&app.api, input).await;
    let event = app.publish(json!({ "amount": 1 })).await;
    let told = receiver.next().await;
    assert_eq!(
        told,
        json!({ "path": "/in?x=1", "event": event, "eventType": "invoice.paid", "verified": true, "status": 204 })
    );

    // Nobody else's signature is taken for one, and the sender may choose its answer.
    let post = async |path: &str| {
        let request = http_client().post(format!("{base}{path}")).header("webhook-id", "x").body("{}");
        request.send().await.expect("an answer").status().as_u16()
    };
    assert_eq!((post("/?status=503").await, post("/?status=99").await), (503, 400));
    let told = receiver.next().await;
    assert_eq!((&told["verified"], &told["status"], &told["event"]), (&json!(false), &json!(503), &json!("x")));

    let get = async |path: &str, host: &str| {
        let request = http_client().get(format!("{base}{path}")).header("host", host);
        let response = request.send().await.expect("an answer");
        (response.status().as_u16(), response.text().await.expect("a body"))
    };
    let own = base.strip_prefix("http://").expect("a URL");
    let (status, body) = get("/received.json", own).await;
    let kept: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((status, kept.as_array().map(Vec::len), &kept[1]["verified"]), (200, Some(2), &json!(true)));
    assert!(get("/", own).await.1.contains("✓ verified"));
    for path in ["/", "/received.json"] {
        assert_eq!(get(path, "evil.example").await.0, 421, "{path}");
    }
    let asked = run(&["health", &base], &[], "").await;
    assert!(asked.status.success(), "{asked:?}");
    let refused = run(&["receive", "--secret", "short"], &[], "").await;
    assert!(!refused.status.success() && !said(&refused.stderr).contains("panicked"), "{refused:?}");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_tells_whether_a_server_is_ready_and_why_not() {
    let app = TestApp::start(Backend::Sqlite).await;
    let address = app.base().strip_prefix("http://").expect("a URL").to_owned();
    let ready = run(&["health"], &[("ANGARIUM_LISTEN", &address)], "").await;
    assert_eq!((ready.status.code(), said(&ready.stdout).trim()), (Some(0), "ready"));

    let opening = app.opening().await;
    opening.explain("the schema of the database is being brought up to date");
    let base = format!("http://{}", opening.address());
    let unready = run(&["health", &base], &[], "").await;
    assert_eq!((unready.status.code(), said(&unready.stdout)), (Some(1), ""));
    assert!(said(&unready.stderr).contains("not ready: the schema of the database is being"), "{unready:?}");
    let live = run(&["health", "--live", &base], &[], "").await;
    assert_eq!((live.status.code(), said(&live.stdout).trim()), (Some(0), "live"));
    drop(opening);

    let gone = eventually("nobody listens", async || {
        let asked = run(&["health", "--live", &base], &[], "").await;
        (!asked.status.success()).then_some(asked)
    })
    .await;
    assert!(gone.status.code() == Some(1) && said(&gone.stderr).contains("failed to ask"), "{gone:?}");
    let wrong = run(&["health"], &[("ANGARIUM_LISTEM", "x")], "").await;
    assert_eq!(wrong.status.code(), Some(2));
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn send_publishes_what_it_reads_with_every_digit() {
    let app = TestApp::start(Backend::Sqlite).await;
    let receiver = app.receiver().await;
    app.subscribe(receiver.url()).await;
    let key = builder::key(&app.admin, &app.workspace, &["EVENT_PUBLISH"]).await;
    let settings = [("ANGARIUM_URL", &*app.base()), ("ANGARIUM_API_KEY", &*key)];
    let sent =
        run(&["send", "invoice.paid", "--idempotency-key", "a"], &settings, r#"{"b":1.10,"a":12345678901234567890}"#)
            .await;
    assert!(sent.status.success(), "{sent:?}");
    let received = receiver.expect_requests(1).await;
    assert_eq!(received[0].header("webhook-id"), said(&sent.stdout).trim());
    assert!(received[0].body.ends_with(r#""data":{"b":1.10,"a":12345678901234567890}}"#), "{}", received[0].body);

    let path = std::env::temp_dir().join(format!("angarium-payload-{}", uuid::Uuid::now_v7().simple()));
    std::fs::write(&path, r#"{"b":1.10,"a":12345678901234567890}"#).expect("written");
    let file = path.to_str().expect("text");
    let again = run(&["send", "invoice.paid", file, "--idempotency-key", "a", "--json"], &settings, "").await;
    let again: Value = serde_json::from_slice(&again.stdout).expect("JSON");
    assert_eq!(again, json!({ "id": said(&sent.stdout).trim(), "duplicate": true }));
    std::fs::remove_file(path).expect("it was there");

    let refused = run(&["send", "no.such.type"], &settings, "{}").await;
    assert_eq!((refused.status.code(), said(&refused.stdout)), (Some(1), ""));
    let refused = run(&["send", "invoice.paid"], &settings, "{").await;
    assert!(said(&refused.stderr).contains("the payload is not JSON"), "{refused:?}");
    app.end().await;
}

/// The checks by name, and whether each is good.
async fn checks(settings: &[(&str, &str)]) -> (Option<i32>, Vec<(String, bool, String)>) {
    let checked = run(&["check", "--json"], settings, "").await;
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap_or_else(|_| panic!("{checked:?}"));
    let one = |check: &Value| {
        (builder::text(&check["name"]), check["ok"].as_bool().expect("a boolean"), builder::text(&check["detail"]))
    };
    (checked.status.code(), report["checks"].as_array().expect("a list").iter().map(one).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tries_everything_and_says_what_is_wrong() {
    let unique = uuid::Uuid::now_v7().simple().to_string();
    let (url, encryption_key) = (create_database(&unique).await, Sealer::generate_key());
    let admin_key = angarium_entity::api_key::ApiKeySecret::generate();
    let settings = |url| {
        [
            ("ANGARIUM_DATABASE_URL", url),
            ("ANGARIUM_ENCRYPTION_KEY", &*encryption_key),
            ("ANGARIUM_ADMIN_KEY", admin_key.reveal()),
            ("ANGARIUM_LISTEN", "127.0.0.1:0"),
        ]
    };
    let complete = settings(&url);
    let bad = |checks: &[(String, bool, String)]| -> Vec<String> {
        checks.iter().filter(|(_, good, _)| !good).map(|(name, _, detail)| format!("{name}: {detail}")).collect()
    };
    let (code, found) = checks(&complete).await;
    assert_eq!(code, Some(1));
    assert!(bad(&found)[0].contains("run `angarium migrate` first"), "{found:?}");

    let migrated = run(&["migrate", "--json"], &complete, "").await;
    let steps: Value = serde_json::from_slice(&migrated.stdout).expect("JSON");
    assert!(steps["steps"].as_u64().is_some_and(|steps| steps > 5), "{steps}");
    let collectors = [Collector::start().await, Collector::answering(401).await];
    let traced = [&complete[..], &[("ANGARIUM_OTLP_ENDPOINT", collectors[0].endpoint())]].concat();
    let (code, found) = checks(&traced).await;
    assert_eq!((code, bad(&found)), (Some(0), vec![]));
    assert!(found.iter().any(|(name, ..)| name == "collector of traces"), "{found:?}");

    // Somebody else listens, the proxy is away, the collector wants a key, and the database's user may only read.
    let busy = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let busy = busy.local_addr().map(|address| (address.to_string(), busy)).expect("an address");
    let root = sea_orm::Database::connect(&url).await.expect("it answers");
    let user = format!("r{unique}");
    let grant = format!(
        "CREATE ROLE {user} LOGIN PASSWORD 'x'; GRANT USAGE ON SCHEMA public TO {user}; \
         GRANT SELECT ON ALL TABLES IN SCHEMA public TO {user}"
    );
    root.execute_unprepared(&grant).await.expect("its user may make roles");
    let mut of_reader = url::Url::parse(&url).expect("a URL");
    of_reader.set_username(&user).and_then(|()| of_reader.set_password(Some("x"))).expect("it takes a login");
    let mut wrong = settings(of_reader.as_str()).to_vec();
    wrong.retain(|(name, _)| *name != "ANGARIUM_LISTEN");
    wrong.extend([("ANGARIUM_LISTEN", &*busy.0), ("ANGARIUM_PROXY_URL", "http://127.0.0.1:9")]);
    wrong.push(("ANGARIUM_OTLP_ENDPOINT", collectors[1].endpoint()));
    let (code, found) = checks(&wrong).await;
    let wrong = bad(&found);
    assert_eq!((code, wrong.len()), (Some(1), 4), "{wrong:?}");
    for part in ["delivery", "proxy", "answered 401", "ANGARIUM_LISTEN"] {
        assert!(wrong.iter().any(|line| line.contains(part)), "{part}: {wrong:?}");
    }
    root.execute_unprepared(&format!("DROP OWNED BY {user}; DROP ROLE {user}")).await.expect("it is gone");
    root.close().await.expect("it closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_asks_the_proxy_for_a_tunnel_and_each_name_server_for_a_name() {
    let (encryption_key, admin_key) = (Sealer::generate_key(), angarium_entity::api_key::ApiKeySecret::generate());
    let unique = uuid::Uuid::now_v7().simple();
    let database = format!("sqlite:///tmp/angarium-never-made-{unique}.db");
    let (good, deaf) = (NameServer::start().await, NameServer::start().await.with("example.com", [Reply::Silence]));
    let strict = NameServer::start().await.with("example.com", [Reply::Code(ResponseCode::Refused)]);
    let stranger = Proxy::start(Some("HTTP/1.1 407 Who\r\n\r\n")).await;
    let friend = Proxy::start(Some("HTTP/1.1 502 Nobody\r\n\r\n")).await;
    for (proxy, servers, wanted) in [
        (&friend, vec![&good], [Ok("gave status 502"), Ok("answers")].to_vec()),
        (
            &stranger,
            vec![&good, &deaf, &strict],
            [Err("status 407"), Ok("answers"), Err("does not answer"), Err("does not answer")].to_vec(),
        ),
    ] {
        let proxy_url = format!("http://team:word@{}", proxy.address());
        let servers = servers.iter().map(|server| server.address()).collect::<Vec<_>>().join(",");
        let settings = [
            ("ANGARIUM_DATABASE_URL", &*database),
            ("ANGARIUM_ENCRYPTION_KEY", &*encryption_key),
            ("ANGARIUM_ADMIN_KEY", admin_key.reveal()),
            ("ANGARIUM_LISTEN", "127.0.0.1:0"),
            ("ANGARIUM_PROXY_URL", &*proxy_url),
            ("ANGARIUM_NAME_SERVERS", &*servers),
        ];
        let (code, found) = checks(&settings).await;
        let tried: Vec<_> = found.iter().filter(|(name, ..)| name == "proxy" || name == "name server").collect();
        assert_eq!((code == Some(0), tried.len()), (wanted.iter().all(Result::is_ok), wanted.len()), "{found:?}");
        for ((_, is_good, detail), wanted) in tried.iter().zip(wanted) {
            assert_eq!(*is_good, wanted.is_ok(), "{detail}");
            assert!(detail.contains(wanted.unwrap_or_else(|bad| bad)), "{detail}");
        }
        assert!(proxy.heads()[0].contains("proxy-authorization: Basic dGVhbTp3b3Jk\r\n"), "{:?}", proxy.heads());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_a_key_that_is_not_that_of_the_database() {
    let directory = std::env::temp_dir().join(format!("angarium-test-{}", uuid::Uuid::now_v7().simple()));
    std::fs::create_dir_all(&directory).expect("the temporary directory is writable");
    let url = format!("sqlite://{}", directory.join("x.db").display());
    let app = TestApp::start_with(Backend::Sqlite, &[("ANGARIUM_DATABASE_URL", &url)]).await;
    let receiver = app.receiver().await;
    app.subscribe(receiver.url()).await;
    app.end().await;
    let admin_key = angarium_entity::api_key::ApiKeySecret::generate();
    let settings = [
        ("ANGARIUM_DATABASE_URL", &*url),
        ("ANGARIUM_ENCRYPTION_KEY", &*Sealer::generate_key()),
        ("ANGARIUM_ADMIN_KEY", admin_key.reveal()),
        ("ANGARIUM_LISTEN", "127.0.0.1:0"),
    ];
    let (code, found) = checks(&settings).await;
    assert_eq!(code, Some(1));
    let good: Vec<_> = found.iter().map(|(name, good, _)| (name.as_str(), *good)).collect();
    assert!(good.contains(&("permissions", true)) && good.contains(&("encryption key", false)), "{found:?}");
    std::fs::remove_dir_all(directory).expect("it was there");
}
