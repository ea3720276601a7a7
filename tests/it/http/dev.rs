//! `angarium dev`, as a newcomer meets it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use angarium_tests::app::eventually;
use angarium_tests::client::http_client;
use angarium_tests::process::Process;
use angarium_tests::{GraphQl, builder};
use serde_json::{Value, json};

struct Dev {
    directory: PathBuf,
    process: Process,
}

impl Dev {
    fn start() -> Self {
        let directory = std::env::temp_dir().join(format!("angarium-test-{}", uuid::Uuid::now_v7().simple()));
        std::fs::create_dir_all(&directory).expect("the temporary directory is writable");
        let process = Self::start_in(&directory);
        Self { directory, process }
    }

    fn start_in(directory: &Path) -> Process {
        Process::start(directory, &["dev"], &[("ANGARIUM_LISTEN", "127.0.0.1:0")])
    }

    fn said(&self) -> String {
        self.process.output().join("\n")
    }

    /// What stands between two markers on one line.
    fn key(&self) -> String {
        let said = self.said();
        let start = said.find("sk_live_").expect("it prints the key");
        said[start..start + 72].to_owned()
    }

    /// The document that it prints, from its keyword to the end of its last line.
    fn document(&self) -> String {
        let said = self.said();
        let start = said.find("mutation ").expect("it prints a document");
        let mut depth = 0;
        for (place, letter) in said[start..].char_indices() {
            match letter {
                '{' => depth += 1,
                '}' if depth == 1 => return said[start..=start + place].to_owned(),
                '}' => depth -= 1,
                _ => {}
            }
        }
        panic!("the document does not end:\n{said}");
    }

    async fn inbox(&self) -> Vec<Value> {
        let url = format!("{}/dev/inbox.json", self.process.base());
        let body = http_client().get(url).send().await.expect("an answer").text().await.expect("a body");
        serde_json::from_str(&body).expect("JSON")
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_document_runs_without_an_edit_and_the_inbox_verifies_what_arrives() {
    let dev = Dev::start();
    let api = GraphQl::new(dev.process.base(), &dev.key());
    let data = api.data(&dev.document(), json!({})).await;
    assert_eq!(data["webhookSubscriptionCreate"]["userErrors"], json!([]), "{data}");
    assert_eq!(data["eventPublish"]["userErrors"], json!([]), "{data}");
    let event = builder::text(&data["eventPublish"]["event"]["id"]);
    let arrived = eventually("the event is in the inbox", async || {
        dev.inbox().await.into_iter().find(|entry| entry["webhookId"] == event.as_str())
    })
    .await;
    assert_eq!(arrived["verified"], true, "{arrived}");
    let page = http_client().get(format!("{}/dev/inbox", dev.process.base())).send().await.expect("an answer");
    assert!(page.text().await.expect("a page").contains(&event));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inbox_verifies_every_scheme_of_signature() {
    let dev = Dev::start();
    let api = GraphQl::new(dev.process.base(), &dev.key());
    let schemes = ["STANDARD_WEBHOOKS", "ED25519", "GITHUB", "SHOPIFY", "STRIPE", "TWO_SECRET", "NONE"];
    for scheme in schemes {
        let signing = json!({ "scheme": scheme, "secret": (scheme == "TWO_SECRET").then_some("the-callers-half") });
        let url = format!("{}/dev/inbox/{scheme}", dev.process.base());
        let endpoint = json!({ "create": { "url": url, "signing": signing } });
        builder::subscribe(&api, json!({ "eventTypes": ["sms.outbound"], "endpoint": endpoint })).await;
    }
    builder::publish(&api, json!({ "eventType": "sms.outbound", "payload": {} })).await;
    let arrived = eventually("the event is in the inbox of each", async || {
        let arrived = dev.inbox().await;
        (arrived.len() == schemes.len()).then_some(arrived)
    })
    .await;
    for entry in arrived {
        assert_eq!(entry["verified"], entry["path"] != "/dev/inbox/NONE", "{entry}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_curl_command_runs_in_bash() {
    let dev = Dev::start();
    let said = dev.said();
    let start = said.find("curl ").expect("it prints a curl command");
    let end = said[start..].find("\n\n").map_or(said.len(), |length| start + length);
    let ran = std::process::Command::new("bash").args(["-c", &said[start..end]]).output().expect("bash and curl run");
    let answer: Value = serde_json::from_slice(&ran.stdout)
        .unwrap_or_else(|_| panic!("{}\n{}", &said[start..end], String::from_utf8_lossy(&ran.stderr)));
    assert_eq!(answer["data"]["eventPublish"]["userErrors"], json!([]), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_it_within_two_seconds_with_sockets_open_and_the_next_start_finds_all_again() {
    let mut dev = Dev::start();
    let api = GraphQl::new(dev.process.base(), &dev.key());
    let mut stream = api.subscribe("subscription { deliveryUpdated { delivery { status } } }", json!({})).await;
    let key = dev.key();
    let asked = Instant::now();
    dev.process.signal("INT");
    assert_eq!(stream.next_message().await, Err(1001));
    assert!(dev.process.wait(), "it ends well");
    assert!(asked.elapsed() < Duration::from_secs(2), "it took {:?}", asked.elapsed());
    dev.process = Dev::start_in(&dev.directory);
    assert_eq!(dev.key(), key, "the second start has the same key");
}

#[test]
fn the_keys_lie_in_a_file_that_only_their_owner_can_read() {
    use std::os::unix::fs::PermissionsExt;
    let dev = Dev::start();
    let said = dev.said();
    let files = std::fs::read_dir(&dev.directory).expect("the directory").map(|entry| entry.expect("an entry").path());
    let holding: Vec<_> =
        files.filter(|path| std::fs::read(path).is_ok_and(|bytes| contains(&bytes, dev.key().as_bytes()))).collect();
    assert_eq!(holding.len(), 1, "the key lies in one file only: {holding:?}");
    let mode = std::fs::metadata(&holding[0]).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(said.contains(&holding[0].display().to_string()), "its path is printed:\n{said}");
}

#[test]
fn a_busy_port_is_one_sentence_that_says_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let directory = std::env::temp_dir().join(format!("angarium-test-{}", uuid::Uuid::now_v7().simple()));
    std::fs::create_dir_all(&directory).expect("the temporary directory is writable");
    let ran = std::process::Command::new(angarium_tests::process::program())
        .arg("dev")
        .current_dir(&directory)
        .env("ANGARIUM_LISTEN", &address)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(!ran.status.success() && said.contains(&address) && said.contains("ANGARIUM_LISTEN"), "{said}");
    std::fs::remove_dir_all(directory).expect("the files can be removed");
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
