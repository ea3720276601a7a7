//! Every receiver of `api/docs/verifying.md`, run as it stands there, over the wire.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use angarium_tests::app::eventually;
use angarium_tests::builder::{self, text};
use angarium_tests::client::http_client;
use angarium_tests::{Backend, TestApp};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

const PAGE: &str = include_str!("../../../api/docs/verifying.md");
const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/clients");

/// A language of the page: how its code is marked, the file it goes into, and what runs it.
struct Language {
    fence: &'static str,
    file: &'static str,
    run: fn(&str) -> Vec<String>,
}

const LANGUAGES: [Language; 5] = [
    Language {
        fence: "python",
        file: "receiver.py",
        run: |_| vec![format!("{CLIENTS}/.venv/bin/python"), "receiver.py".to_owned()],
    },
    Language { fence: "javascript", file: "receiver.mjs", run: |_| vec!["node".to_owned(), "receiver.mjs".to_owned()] },
    // Taken out of the page and compiled by `tests/build.rs`.
    Language { fence: "rust", file: "receiver.rs", run: |_| vec![env!("CARGO_BIN_EXE_verifying").to_owned()] },
    Language { fence: "java", file: "Receiver.java", run: |_| vec!["java".to_owned(), "Receiver.java".to_owned()] },
    Language {
        fence: "php",
        file: "receiver.php",
        run: |port| vec!["php".to_owned(), "-S".to_owned(), format!("127.0.0.1:{port}"), "receiver.php".to_owned()],
    },
];

/// A receiver that runs.
struct Running {
    fence: &'static str,
    url: String,
    endpoint: String,
    directory: PathBuf,
    child: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// The code of a language, from its fence to the next.
fn code(fence: &str) -> &'static str {
    let begin = format!("```{fence}\n");
    let after = PAGE.split_once(&begin).unwrap_or_else(|| panic!("the page has no receiver in {fence}")).1;
    after.split_once("```\n").expect("the code ends").0
}

async fn start(language: &Language, port: u16, secret: &str, endpoint: String) -> Running {
    let directory = std::env::temp_dir().join(format!("angarium-test-{}", uuid::Uuid::now_v7().simple()));
    std::fs::create_dir_all(&directory).expect("the temporary directory is writable");
    std::fs::write(directory.join(language.file), code(language.fence)).expect("the file can be written");
    // What `npm install standardwebhooks` would make.
    std::os::unix::fs::symlink(Path::new(CLIENTS).join("node_modules"), directory.join("node_modules"))
        .expect("a link");
    let run = (language.run)(&port.to_string());
    let child = Command::new(&run[0])
        .args(&run[1..])
        .current_dir(&directory)
        .env("WEBHOOK_SECRET", secret)
        .env("PORT", port.to_string())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{} does not run, install what is missing with tests/run: {error}", run[0]));
    let mut running =
        Running { fence: language.fence, url: format!("http://127.0.0.1:{port}/in"), endpoint, directory, child };
    eventually(&format!("the receiver in {} listens", language.fence), async || {
        let ended = running.child.try_wait().expect("it can be asked");
        assert!(ended.is_none(), "the receiver in {} has ended: {ended:?}", language.fence);
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok().map(drop)
    })
    .await;
    running
}

/// A port that nobody listens at.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address").port()
}

/// Sends a request as it was sent, with another body and perhaps without a header; the status of the answer.
async fn repeat(url: &str, request: &Value, body: &str, without: &str) -> u16 {
    let mut repeated = http_client().post(url);
    for header in request["headers"].as_array().expect("a list") {
        let (name, value) = (text(&header["name"]), text(&header["value"]));
        if ![without, "host", "content-length"].contains(&name.as_str()) {
            repeated = repeated.header(name, value);
        }
    }
    repeated.body(body.to_owned()).send().await.expect("an answer").status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_receiver_of_the_page_takes_what_is_signed_and_nothing_else() {
    let app = TestApp::start(Backend::Sqlite).await;
    let mut running = Vec::new();
    for language in &LANGUAGES {
        let port = free_port();
        let input = json!({ "eventTypes": ["*"], "endpoint": { "url": format!("http://127.0.0.1:{port}/in") } });
        let made = builder::subscribe(&app.api, input).await;
        running.push(start(language, port, &made.secret.expect("it is shown once"), made.endpoint).await);
    }
    app.publish(json!({ "text": "größer ☃", "n": 1.0 })).await;
    let deliveries = app.deliveries_in("SUCCEEDED", running.len()).await;
    for receiver in &running {
        let (url, fence) = (&receiver.url, receiver.fence);
        let of = deliveries.iter().find(|delivery| delivery["endpoint"]["id"] == receiver.endpoint.as_str());
        let request = &of.expect("each has one")["attempts"]["nodes"][0]["request"];
        let body = text(&request["body"]);
        assert_eq!(repeat(url, request, &body, "").await, 204, "{fence} takes what was sent");
        assert_eq!(repeat(url, request, &body.replace(":1.0", ":1.1"), "").await, 400, "{fence} refuses another body");
        assert_eq!(
            repeat(url, request, &format!("{body} "), "").await,
            400,
            "{fence} refuses the same body written otherwise"
        );
        for header in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            assert_eq!(repeat(url, request, &body, header).await, 400, "{fence} refuses a request without {header}");
        }
    }

    // During the overlap of a rotation both secrets sign, and the receivers have the old one.
    let rotate =
        "mutation($id: ID!) { webhookEndpointSecretRotate(id: $id, overlap: \"PT1M\") { userErrors { code } } }";
    for receiver in &running {
        app.api.data(rotate, json!({ "id": receiver.endpoint })).await;
    }
    app.publish(json!(2)).await;
    app.deliveries_in("SUCCEEDED", running.len() * 2).await;
    // After it only the new one does.
    app.clock.advance(Duration::from_mins(2));
    app.publish(json!(3)).await;
    let refused = app.deliveries_in("RETRYING", running.len()).await;
    assert!(refused.iter().all(|delivery| delivery["responseStatusCode"] == 400), "{refused:?}");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_receiver_of_the_page_refuses_what_is_too_old_or_too_new() {
    let app = TestApp::start(Backend::Sqlite).await;
    let mut running = Vec::new();
    for language in &LANGUAGES {
        let port = free_port();
        let input = json!({ "eventTypes": ["*"], "endpoint": { "url": format!("http://127.0.0.1:{port}/in") } });
        let made = builder::subscribe(&app.api, input).await;
        running.push(start(language, port, &made.secret.expect("it is shown once"), made.endpoint).await);
    }
    // The clock of the server goes wrong.
    app.clock.advance(Duration::from_mins(6));
    app.publish(json!(1)).await;
    let refused = app.deliveries_in("RETRYING", running.len()).await;
    assert!(refused.iter().all(|delivery| delivery["responseStatusCode"] == 400), "{refused:?}");
    app.end().await;
}

#[test]
fn every_language_of_the_page_is_run() {
    let fences: Vec<_> =
        PAGE.lines().filter_map(|line| line.strip_prefix("```")).filter(|fence| !fence.is_empty()).collect();
    assert_eq!(fences, LANGUAGES.each_ref().map(|language| language.fence));
}
