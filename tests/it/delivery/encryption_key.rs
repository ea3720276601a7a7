//! The key that secrets are sealed under, and another in its place.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use angarium_entity::api_key::ApiKeySecret;
use angarium_entity::sealer::Sealer;
use angarium_tests::app::create_database;
use angarium_tests::builder::{self, text};
use angarium_tests::process::{Process, program};
use angarium_tests::{GraphQl, Received, Receiver};
use serde_json::{Value, json};

/// A server that is stopped and started with other keys.
struct World {
    directory: PathBuf,
    database: String,
    admin_key: String,
    key: String,
    receiver: Receiver,
    secret: String,
}

impl World {
    fn settings<'a>(&'a self, current: &'a str, previous: &'a str) -> Vec<(&'a str, &'a str)> {
        vec![
            ("ANGARIUM_LISTEN", "127.0.0.1:0"),
            ("ANGARIUM_DATABASE_URL", &self.database),
            ("ANGARIUM_ADMIN_KEY", &self.admin_key),
            ("ANGARIUM_ENCRYPTION_KEY", current),
            ("ANGARIUM_PREVIOUS_ENCRYPTION_KEYS", previous),
            ("ANGARIUM_ALLOW_HTTP", "true"),
            ("ANGARIUM_ALLOW_CIDRS", "127.0.0.0/8"),
        ]
    }

    fn start(&self, current: &str, previous: &str) -> Process {
        Process::start(&self.directory, &["serve"], &self.settings(current, previous))
    }

    fn run(&self, command: &str, current: &str, previous: &str) -> (bool, String) {
        let settings = self.settings(current, previous);
        let Output { status, stdout, stderr } = Command::new(program())
            .arg(command)
            .current_dir(&self.directory)
            .envs(settings)
            .output()
            .expect("the program runs");
        let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
        (status.success(), said)
    }

    /// Publishes, and gives what comes to the receiver.
    async fn delivered(&self, process: &Process) -> Received {
        let (api, before) = (GraphQl::new(process.base(), &self.key), self.receiver.received().len());
        builder::publish(&api, json!({ "eventType": "invoice.paid", "payload": 1 })).await;
        let mut requests = self.receiver.expect_requests(before + 1).await;
        requests.pop().expect("it came")
    }
}

/// A subscription that is made once, however often it is asked for.
async fn create(api: &GraphQl, input: &Value) -> Value {
    let create = "mutation($input: WebhookSubscriptionCreateInput!) { webhookSubscriptionCreate(input: $input, idempotencyKey: \"once\") \
        { webhookSubscription { id endpoint { id } } signingSecret userErrors { code message field } } }";
    let mut made = api.data(create, json!({ "input": input })).await["webhookSubscriptionCreate"].take();
    assert_eq!(made["userErrors"].take(), json!([]));
    made
}

fn stop(mut process: Process) {
    process.signal("TERM");
    assert!(process.wait(), "it stops in order");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_sealed_anew_under_another_key_on_sqlite() {
    let directory = std::env::temp_dir().join(format!("angarium-test-{}", uuid::Uuid::now_v7().simple()));
    std::fs::create_dir_all(&directory).expect("the temporary directory is writable");
    let database = format!("sqlite://{}", directory.join("keys.db").display());
    secrets_are_sealed_anew(&directory, database).await;
    std::fs::remove_dir_all(directory).expect("the files can be removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_sealed_anew_under_another_key_on_postgres() {
    let database = create_database(&uuid::Uuid::now_v7().simple().to_string()).await;
    let db = angarium_entity::Database::open(&database, 2).await.expect("the database opens");
    angarium_migration::up(db.write()).await.expect("the migrations apply");
    db.close().await;
    secrets_are_sealed_anew(&std::env::temp_dir(), database).await;
}

async fn secrets_are_sealed_anew(directory: &Path, database: String) {
    let (old, new) = (Sealer::generate_key(), Sealer::generate_key());
    let is_postgres = database.starts_with("postgres");
    let mut world = World {
        directory: directory.to_owned(),
        database,
        admin_key: ApiKeySecret::generate().reveal().to_owned(),
        key: String::new(),
        receiver: Receiver::start().await,
        secret: String::new(),
    };
    let process = world.start(&old, "");
    let admin = GraphQl::new(process.base(), &world.admin_key);
    builder::event_type(&admin, "invoice.paid").await;
    let (workspace, key) = builder::workspace_with_key(&admin, "Acme").await;
    world.key = key;
    let api = admin.with_key(&world.key);
    let headers = json!([{ "name": "X-Token", "value": "hush-hush", "secret": true }]);
    let endpoint = json!({ "create": { "url": world.receiver.url(), "headers": headers } });
    let input = json!({ "eventTypes": ["invoice.*"], "endpoint": endpoint });
    let made = create(&api, &input).await;
    world.secret = text(&made["signingSecret"]);
    let endpoint = text(&made["webhookSubscription"]["endpoint"]["id"]);
    // A revision, a message that waits to be confirmed, and an event in between.
    let update =
        "mutation($id: ID!) { webhookEndpointUpdate(id: $id, input: { name: \"b\" }) { userErrors { code } } }";
    api.data(update, json!({ "id": endpoint })).await;
    let want = "mutation($id: ID!) { workspaceUpdate(id: $id, input: { subscriptionConfirmation: LINK }) { userErrors { code } } }";
    admin.data(want, json!({ "id": workspace })).await;
    // It fails, and waits to be sent again by hand.
    let silent = Receiver::start().await.answer_statuses([500]);
    builder::subscribe(
        &api,
        json!({ "eventTypes": ["invoice.*"], "endpoint": { "url": silent.url() }, "retryPolicy": { "delays": [] } }),
    )
    .await;
    silent.expect_requests(1).await;
    let request = world.delivered(&process).await;
    assert!(request.is_signed_with(&world.secret) && request.header("x-token") == "hush-hush");
    stop(process);

    let (starts, said) = world.run("check", &new, "");
    assert!(!starts && said.contains("sealed under another key than ANGARIUM_ENCRYPTION_KEY"), "{said}");
    let (starts, said) = world.run("serve", &new, "");
    assert!(!starts && said.contains("ANGARIUM_PREVIOUS_ENCRYPTION_KEYS"), "{said}");
    let (done, said) = world.run("reencrypt", &new, "");
    assert!(!done && said.contains("open under none of the keys"), "{said}");

    // With both keys everything goes on, and what is made goes under the new one.
    let process = world.start(&new, &old);
    let api = GraphQl::new(process.base(), &world.key);
    assert_eq!(create(&api, &input).await, made, "what an idempotency key keeps opens too");
    let running = is_postgres.then(|| world.run("reencrypt", &new, &old));
    let request = world.delivered(&process).await;
    assert!(request.is_signed_with(&world.secret) && request.header("x-token") == "hush-hush");
    stop(process);
    let (done, said) = running.unwrap_or_else(|| world.run("reencrypt", &new, &old));
    // Two signing secrets, headers of the endpoint and its two revisions, two idempotency keys or one, and the message.
    assert!(done && said.contains("were sealed anew") && !said.starts_with("0 "), "{said}");
    let (_, said) = world.run("reencrypt", &new, &old);
    assert!(said.starts_with("0 secret(s) were sealed anew"), "{said}");

    let (starts, said) = world.run("check", &new, "");
    assert!(starts && said.contains("all secrets are under ANGARIUM_ENCRYPTION_KEY"), "{said}");
    let process = world.start(&new, "");
    let request = world.delivered(&process).await;
    assert!(request.is_signed_with(&world.secret) && request.header("x-token") == "hush-hush");
    let api = GraphQl::new(process.base(), &world.key);
    let waits =
        "{ deliveries(where: { eventType: [\"angarium.subscription.confirmation\"] }) { nodes { id status } } }";
    let data = api.data(waits, json!({})).await;
    let id = text(&data["deliveries"]["nodes"][0]["id"]);
    api.data("mutation($id: ID!) { deliveryRetry(id: $id) { userErrors { code } } }", json!({ "id": id })).await;
    let message = silent.expect_requests(2).await.remove(1);
    assert_eq!(text(&message.data()["token"]).len(), 43, "the message opens under the new key");
    stop(process);
}
