//! No secret in the database, the log, an error, a live stream or a stored attempt.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};

use angarium_tests::app::{eventually, stored_text};
use angarium_tests::builder::{self, text};
use angarium_tests::client::{Stream, http_client};
use angarium_tests::{TestApp, on_both_databases};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tracing_subscriber::fmt::MakeWriter;

const PRIVATE: &str = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
/// What callers bring along, by scheme.
const OWN: [(&str, &str); 5] = [
    ("STANDARD_WEBHOOKS", "whsec_aHVzaC1odXNoLWh1c2gtaHVzaC1odXNo"),
    ("ED25519", PRIVATE),
    ("STRIPE", "whsec_own-of-stripe-4711"),
    ("GITHUB", "own-of-github-0815"),
    ("TWO_SECRET", "own-half-of-two-1234"),
];
const HEADER: &str = "Bearer own-header-9876";
const STREAMS: [&str; 5] = [
    "subscription { deliveryUpdated { delivery { id status statusReason body endpoint { url headers { name value } signing { secretHint } } attempts { nodes { error { message } request { body headers { name value } } response { body headers { name value } } } } } } }",
    "subscription { deliveryAttemptCompleted { attempt { signature error { message } request { body headers { name value } } response { body headers { name value } } } } }",
    "subscription { eventPublished { event { id eventType payload } } }",
    "subscription { webhookEndpointUpdated { webhookEndpoint { id name url status statusReason headers { name value } signing { secretHint publicKey } } } }",
    "subscription { webhookSubscriptionUpdated { webhookSubscription { id name status statusReason endpoint { headers { name value } } } } }",
];

/// All that is logged in this process, by every part of the program.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn start() -> &'static Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        LOG.get_or_init(|| {
            let log = Self::default();
            tracing_subscriber::fmt()
                .with_env_filter("debug,angarium_api=trace,angarium_dispatcher=trace,angarium_entity=trace")
                .with_ansi(false)
                .with_writer(log.clone())
                .init();
            log
        })
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no test panics with it")).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no test panics with it").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Sends back what it got, in its body and in a header, with a status that is a failure.
async fn echoing() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/in", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = vec![0; 65_536];
            let length = stream.read(&mut buffer).await.unwrap_or(0);
            let echo = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let header = echo.lines().find_map(|line| line.strip_prefix("authorization: ")).unwrap_or("none");
            let answer = format!(
                "HTTP/1.1 500 No\r\nx-echo: {header}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{echo}",
                echo.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    url
}

/// Keeps all that comes over a stream.
fn keep(mut stream: Stream, kept: Arc<Mutex<String>>) {
    tokio::spawn(async move {
        while let Ok(message) = stream.next_message().await {
            kept.lock().expect("no test panics with it").push_str(&message.to_string());
        }
    });
}

/// The ways in which a secret may be written.
fn spellings(secret: &str) -> Vec<String> {
    let mut spellings =
        vec![secret.to_owned(), STANDARD.encode(secret), URL_SAFE_NO_PAD.encode(secret), hex(secret.as_bytes())];
    let key = secret.strip_prefix("whsec_").or_else(|| secret.strip_prefix("whsk_"));
    if let Some(bytes) = key.and_then(|key| STANDARD.decode(key).ok()) {
        spellings.extend([
            key.expect("it is there").to_owned(),
            hex(&bytes),
            String::from_utf8(bytes).unwrap_or_default(),
        ]);
    }
    spellings.retain(|spelling| !spelling.is_empty());
    spellings
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

async fn subscribe(app: &TestApp, url: &str, scheme: &str, secret: Option<&str>) -> builder::Subscribed {
    let headers = json!([{ "name": "Authorization", "value": HEADER, "secret": true }]);
    let endpoint =
        json!({ "create": { "url": url, "headers": headers, "signing": { "scheme": scheme, "secret": secret } } });
    let input = json!({ "eventTypes": ["*"], "endpoint": endpoint, "retryPolicy": { "delays": [] } });
    builder::subscribe(&app.api, input).await
}

on_both_databases! {
    async fn no_secret_is_written_anywhere_in_the_clear(mut app) {
        let log = Log::start();
        app.restart().await;
        let streamed: Arc<Mutex<String>> = Arc::default();
        for stream in STREAMS {
            keep(app.api.subscribe(stream, json!({})).await, streamed.clone());
        }
        let (url, mut answers) = (echoing().await, String::new());
        let mut secrets = vec![app.api.headers()[0].1.clone(), app.admin.headers()[0].1.clone(), HEADER.to_owned(), "own-header-9876".to_owned()];
        let mut endpoints = Vec::new();
        for (scheme, secret) in OWN {
            let made = subscribe(&app, &url, scheme, Some(secret)).await;
            secrets.extend([secret.to_owned(), made.secret.expect("it is shown once")]);
            endpoints.push(made.endpoint);
        }
        for scheme in ["STANDARD_WEBHOOKS", "ED25519", "STRIPE", "GITHUB", "SHOPIFY"] {
            let made = subscribe(&app, &url, scheme, None).await;
            secrets.push(made.secret.expect("it is shown once"));
            endpoints.push(made.endpoint);
        }
        let rotate = "mutation($id: ID!) { webhookEndpointSecretRotate(id: $id, overlap: \"PT1H\") { signingSecret userErrors { code } } }";
        for endpoint in &endpoints {
            let data = app.api.data(rotate, json!({ "id": endpoint })).await;
            secrets.push(text(&data["webhookEndpointSecretRotate"]["signingSecret"]));
        }
        let token = "mutation { accessTokenCreate(input: { scopes: [DELIVERY_READ] }) { token userErrors { code message } } }";
        secrets.push(text(&app.api.data(token, json!({})).await["accessTokenCreate"]["token"]));

        // A confirmation that comes back, and one that does not.
        let want = "mutation($id: ID!) { workspaceUpdate(id: $id, input: { subscriptionConfirmation: LINK }) { userErrors { code } } }";
        app.admin.data(want, json!({ "id": app.workspace })).await;
        let confirmed = app.receiver().await;
        builder::subscribe(&app.api, json!({ "eventTypes": ["*"], "endpoint": { "url": confirmed.url() } })).await;
        builder::subscribe(&app.api, json!({ "eventTypes": ["*"], "endpoint": { "url": url } })).await;
        secrets.push(text(&confirmed.expect_requests(1).await[0].data()["token"]));

        // Whatever is wrong with a secret is told without it.
        let create = "mutation($input: WebhookEndpointCreateInput!) { webhookEndpointCreate(input: $input) { webhookEndpoint { id } userErrors { code message field } } }";
        for (scheme, secret) in [("STANDARD_WEBHOOKS", "whsec_no base64 4242"), ("ED25519", "whsk_no-key-4242"), ("NONE", "not-wanted-4242"), ("GITHUB", "bell\u{7}inside-4242"), ("SHOPIFY", "short-4242")] {
            let input = json!({ "url": "https://example.com/", "signing": { "scheme": scheme, "secret": secret } });
            let answer = app.api.data(create, json!({ "input": input })).await;
            assert!(answer["webhookEndpointCreate"]["webhookEndpoint"].is_null(), "{scheme}: {answer}");
            answers.push_str(&answer.to_string());
            secrets.push(secret.to_owned());
        }
        for variables in [json!({ "input": { "url": 1, "signing": { "secret": "in-a-wrong-place-5151" } } }), json!({ "input": { "secret": "in-a-wrong-place-5151" } })] {
            answers.push_str(&app.api.post(create, variables).await.1.to_string());
        }
        secrets.push("in-a-wrong-place-5151".to_owned());
        let wrong_key = app.api.with_key("sk_live_wrong-key-6161").post("{ viewer { __typename } }", json!({})).await.1;
        answers.push_str(&wrong_key.to_string());
        secrets.push("wrong-key-6161".to_owned());

        app.publish(json!({ "n": 1 })).await;
        app.deliveries_in("EXHAUSTED", endpoints.len()).await;
        eventually("every end is streamed", async || {
            (streamed.lock().expect("no test panics with it").matches("\"EXHAUSTED\"").count() >= endpoints.len()).then_some(())
        })
        .await;
        let shown = format!("{{ deliveries(first: 20) {{ nodes {{ {} endpoint {{ headers {{ name value }} signing {{ secretHint publicKey }} }} }} }} }}", builder::DELIVERY);
        answers.push_str(&app.api.data(&shown, json!({})).await.to_string());
        let bodies: Vec<Value> = app.deliveries_in("EXHAUSTED", endpoints.len()).await.iter().map(|delivery| delivery["attempts"]["nodes"][0]["response"]["body"].clone()).collect();
        assert!(bodies.iter().all(|body| text(body).contains("authorization: ***\r\n")), "what comes back is kept, without the secret: {bodies:?}");

        let metrics = http_client().get(format!("{}/metrics", app.base())).send().await.expect("an answer");
        let metrics = metrics.text().await.expect("a text");
        let places = [
            ("the database", stored_text(&app).await),
            ("the log", log.said()),
            ("a live stream", streamed.lock().expect("no test panics with it").clone()),
            ("an answer", answers),
            ("the metrics", metrics),
        ];
        for (place, needle) in [(0, "webhook-event-type"), (1, "the server is up"), (2, "EXHAUSTED"), (3, "SECRET_WEAK"), (4, "angarium_attempts_total")] {
            assert!(places[place].1.contains(needle), "{} is looked through", places[place].0);
        }
        for secret in &secrets {
            for spelling in spellings(secret) {
                for (place, said) in &places {
                    assert!(!said.contains(&spelling), "{place} has {secret} as {spelling}");
                }
            }
        }
        app.end().await;
    }
}
