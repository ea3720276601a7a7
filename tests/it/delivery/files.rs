//! A process that may open few files.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use angarium_tests::app::eventually;
use angarium_tests::client::http_client;
use angarium_tests::process::{Process, program};
use angarium_tests::{Backend, GraphQl, Installation, MOMENT, builder, dns};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::sync::watch;

/// Files and sockets that the process may have.
const FILES: usize = 256;
/// Hosts that endpoints are at, each with connections of its own.
const HOSTS: usize = 300;

/// One receiver behind all hosts. It keeps connections, and answers while it is let.
#[derive(Clone)]
struct Receivers {
    port: u16,
    /// How often each event came to each host.
    came: Arc<Mutex<BTreeMap<(String, String), usize>>>,
    held: Arc<AtomicUsize>,
    answers: Arc<watch::Sender<bool>>,
}

impl Receivers {
    async fn start() -> Self {
        // All of 127.0.0.0/8 leads here.
        let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let all =
            Self { port, came: Arc::default(), held: Arc::default(), answers: Arc::new(watch::Sender::new(true)) };
        let router = Router::new().fallback(receive).with_state(all.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.expect("the receiver serves") });
        all
    }

    fn came(&self) -> BTreeMap<(String, String), usize> {
        self.came.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn receive(State(all): State<Receivers>, headers: HeaderMap) -> StatusCode {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    *all.came
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .entry((header("host"), header("webhook-id")))
        .or_default() += 1;
    all.held.fetch_add(1, Ordering::Relaxed);
    let _ = all.answers.subscribe().wait_for(|answers| *answers).await;
    StatusCode::NO_CONTENT
}

/// The program under a limit that it cannot raise.
fn limited() -> PathBuf {
    let path = std::env::temp_dir().join(format!("angarium-limited-{}", uuid::Uuid::now_v7().simple()));
    let mut script = std::fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o755)
        .open(&path)
        .expect("the temporary directory is writable");
    let text = format!("#!/usr/bin/env bash\nulimit -n {FILES}\nexec {} \"$@\"\n", program().display());
    script.write_all(text.as_bytes()).expect("it is written");
    path
}

/// Whether a caller who comes anew is answered.
async fn answers(base: &str) {
    let asking = http_client().get(format!("{base}/health/ready")).send();
    let response = tokio::time::timeout(MOMENT, asking).await.expect("it answers in time").expect("an answer");
    assert_eq!(response.status(), StatusCode::OK);
}

/// Every delivery with its status and attempts.
async fn deliveries(api: &GraphQl) -> Vec<Value> {
    let query = "query($after: String) { deliveries(first: 100, after: $after) { pageInfo { hasNextPage endCursor } \
        nodes { id status attemptCount attempts(first: 5) { nodes { error { code message } } } } } }";
    let (mut all, mut after) = (Vec::new(), Value::Null);
    loop {
        let mut page = api.data(query, json!({ "after": after })).await["deliveries"].take();
        all.append(page["nodes"].as_array_mut().expect("a list"));
        if page["pageInfo"]["hasNextPage"] == false {
            return all;
        }
        after = page["pageInfo"]["endCursor"].take();
    }
}

/// Waits until everything is delivered, without any attempt that failed.
async fn nobody_is_blamed(api: &GraphQl, receivers: &Receivers, count: usize) {
    eventually("all have succeeded", async || {
        let all = deliveries(api).await;
        for delivery in &all {
            let attempts = delivery["attempts"]["nodes"].as_array().expect("a list");
            assert!(attempts.iter().all(|attempt| attempt["error"] == Value::Null), "{delivery}");
        }
        let succeeded = all.iter().filter(|delivery| delivery["status"] == "SUCCEEDED").count();
        (all.len() == count && succeeded == count).then_some(())
    })
    .await;
    let came = receivers.came();
    assert_eq!(came.len(), count);
    assert!(came.values().all(|count| *count == 1), "none comes twice");
}

/// A program that may open few files, and endpoints at so many hosts; every third is found by its name.
struct Limited {
    receivers: Receivers,
    process: Process,
    api: GraphQl,
    script: PathBuf,
    _names: dns::NameServer,
    _installation: Installation,
}

impl Limited {
    async fn start(backend: Backend) -> Self {
        let receivers = Receivers::start().await;
        let mut names = dns::NameServer::start().await;
        let hosts: Vec<String> = (0..HOSTS)
            .map(|number| match number % 3 {
                0 => format!("host-{number}.example"),
                _ => format!("127.1.{}.{}", number / 250, number % 250 + 1),
            })
            .collect();
        for (number, host) in hosts.iter().enumerate().filter(|(_, host)| host.ends_with(".example")) {
            let address = format!("127.2.{}.{}", number / 250, number % 250 + 1);
            names = names.with(host, [dns::Reply::addresses([address.as_str()])]);
        }
        let mut installation = Installation::new(backend).await;
        installation.set("ANGARIUM_NAME_SERVERS", names.address());
        installation.set("ANGARIUM_ARBITERS", "2");
        let script = limited();
        let process = installation.serve_with(&script);
        let api = installation.workspace(&process).await;
        for host in &hosts {
            let url = format!("http://{host}:{}/in", receivers.port);
            let endpoint = json!({ "url": url, "timeout": "PT1M" });
            builder::subscribe(&api, json!({ "eventTypes": ["*"], "endpoint": { "create": endpoint } })).await;
        }
        Self { receivers, process, api, script, _names: names, _installation: installation }
    }

    async fn publish(&self, payload: usize) {
        builder::publish(&self.api, json!({ "eventType": "invoice.paid", "payload": payload })).await;
    }

    fn end(self) {
        drop(self.process);
        std::fs::remove_file(self.script).expect("it was there");
    }
}

async fn everything_arrives_and_nobody_is_blamed(backend: Backend) {
    let limited = Limited::start(backend).await;
    let Limited { receivers, process, api, .. } = &limited;
    for payload in 0..4 {
        limited.publish(payload).await;
        answers(process.base()).await;
    }
    eventually("all hosts get all", async || {
        if receivers.came().len() == 4 * HOSTS {
            return Some(());
        }
        answers(process.base()).await;
        None
    })
    .await;
    // Nobody answers for a while.
    let before = receivers.held.load(Ordering::Relaxed);
    receivers.answers.send_replace(false);
    limited.publish(4).await;
    eventually("as many requests run as may", async || {
        (receivers.held.load(Ordering::Relaxed) > before + FILES / 16).then_some(())
    })
    .await;
    for _ in 0..20 {
        answers(process.base()).await;
        api.data("{ viewer { apiKey { id } } }", json!({})).await;
    }
    receivers.answers.send_replace(true);
    nobody_is_blamed(api, receivers, 5 * HOSTS).await;
    limited.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_few_files_every_delivery_arrives_and_the_server_answers_on_sqlite() {
    everything_arrives_and_nobody_is_blamed(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_few_files_every_delivery_arrives_and_the_server_answers_on_postgres() {
    everything_arrives_and_nobody_is_blamed(Backend::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_who_use_up_all_files_make_deliveries_late_and_nothing_else() {
    let limited = Limited::start(Backend::Sqlite).await;
    let Limited { receivers, process, api, .. } = &limited;
    let address = process.base().trim_start_matches("http://");
    let connect = || tokio::net::TcpStream::connect(address);
    let callers = futures_util::future::join_all((0..FILES).map(|_| connect())).await;
    let callers: Vec<_> = callers.into_iter().map(|caller| caller.expect("the system's queue takes it")).collect();
    eventually("it has no file left", async || process.has_said("failed to accept a connection").then_some(())).await;
    // On the connection that the caller has.
    limited.publish(1).await;
    eventually("it cannot connect", async || process.has_said("it has too few files").then_some(())).await;
    drop(callers);
    nobody_is_blamed(api, receivers, HOSTS).await;
    limited.end();
}
