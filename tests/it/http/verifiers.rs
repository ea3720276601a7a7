//! What others verify deliveries with accepts ours: npm packages, in a receiver run by node.

use std::collections::HashSet;
use std::path::Path;
use std::process::Stdio;

use angarium_tests::builder::{self, text};
use angarium_tests::{Backend, MOMENT, TestApp};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/clients");

/// A running `verify.mjs`.
struct Verifier {
    base: String,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Verifier {
    async fn start() -> Self {
        assert!(
            Path::new(CLIENTS).join("node_modules").is_dir(),
            "tests/clients/node_modules is missing: run `tests/run`, or `npm ci` in tests/clients"
        );
        let mut child = Command::new("node")
            .arg("verify.mjs")
            .current_dir(CLIENTS)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node is installed");
        let input = child.stdin.take().expect("it is piped");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut verifier = Self { base: String::new(), input, lines, _child: child };
        verifier.base = verifier.next().await;
        verifier
    }

    fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }

    async fn tell(&mut self, secrets: &Value) {
        self.input.write_all(format!("{secrets}\n").as_bytes()).await.expect("it reads");
    }

    async fn next(&mut self) -> String {
        let line = tokio::time::timeout(MOMENT, self.lines.next_line()).await.expect("a line comes in time");
        line.expect("it is text").expect("it goes on")
    }

    async fn next_verdict(&mut self) -> Value {
        serde_json::from_str(&self.next().await).expect("JSON")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_packages_of_each_scheme_accept_our_signatures_and_refuse_a_changed_byte() {
    let app = TestApp::start(Backend::Sqlite).await;
    let mut verifier = Verifier::start().await;
    let schemes = ["STANDARD_WEBHOOKS", "ED25519", "GITHUB", "SHOPIFY", "STRIPE", "TWO_SECRET"];
    let mut secrets = Map::new();
    for scheme in schemes {
        let half = (scheme == "TWO_SECRET").then_some("the-callers-half");
        let endpoint =
            json!({ "create": { "url": verifier.url(scheme), "signing": { "scheme": scheme, "secret": half } } });
        let made = builder::subscribe(&app.api, json!({ "eventTypes": ["*"], "endpoint": endpoint })).await;
        let query = "query($id: ID!) { webhookEndpoint(id: $id) { signing { publicKey } } }";
        let data = app.api.data(query, json!({ "id": made.endpoint })).await;
        let public = data["webhookEndpoint"]["signing"]["publicKey"].as_str().map(str::to_owned);
        let shown = format!("{}{}", half.unwrap_or_default(), made.secret.expect("it is shown once"));
        secrets.insert(scheme.to_owned(), json!(public.unwrap_or(shown)));
    }
    verifier.tell(&Value::Object(secrets)).await;
    app.publish(json!({ "text": "größer ☃" })).await;
    let mut judged = HashSet::new();
    for _ in schemes {
        let verdict = verifier.next_verdict().await;
        assert_eq!(verdict["error"], json!(null), "{verdict}");
        judged.insert(text(&verdict["path"]));
    }
    assert_eq!(judged, schemes.map(str::to_owned).into());
    app.deliveries_in("SUCCEEDED", schemes.len()).await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_of_cloudevents_reads_our_events() {
    let app = TestApp::start(Backend::Sqlite).await;
    let mut verifier = Verifier::start().await;
    let endpoint = json!({ "create": { "url": verifier.url("CLOUDEVENTS"), "bodyFormat": "CLOUDEVENTS" } });
    builder::subscribe(&app.api, json!({ "eventTypes": ["*"], "endpoint": endpoint })).await;
    let event = app.publish(json!({ "z": 1, "a": { "b": [true, null] } })).await;
    let verdict = verifier.next_verdict().await;
    assert_eq!(verdict["error"], json!(null), "{verdict}");
    let read = &verdict["event"];
    let workspace = app
        .api
        .data("query($id: ID!) { node(id: $id) { ... on Workspace { uuid } } }", json!({ "id": app.workspace }))
        .await;
    for (attribute, value) in [
        ("specversion", json!("1.0")),
        ("id", json!(event)),
        ("source", json!(format!("urn:uuid:{}", text(&workspace["node"]["uuid"])))),
        ("type", json!("invoice.paid")),
        ("datacontenttype", json!("application/json")),
        ("data", json!({ "z": 1, "a": { "b": [true, null] } })),
    ] {
        assert_eq!(read[attribute], value, "{attribute}");
    }
    let occurred = app.api.data("query($id: ID!) { event(id: $id) { occurredAt } }", json!({ "id": event })).await;
    assert_eq!(read["time"], occurred["event"]["occurredAt"]);
    assert!(text(&verdict["body"]).ends_with(r#","data":{"z":1,"a":{"b":[true,null]}}}"#), "{verdict}");
    let delivery = app.delivery_in("SUCCEEDED").await;
    assert_eq!(delivery["body"], verdict["body"]);
    let headers = delivery["attempts"]["nodes"][0]["request"]["headers"].as_array().expect("a list").clone();
    assert!(
        headers.contains(&json!({ "name": "content-type", "value": "application/cloudevents+json; charset=utf-8" }))
    );
    app.end().await;
}
