//! `kill -9` in the middle of publishing: every acknowledged event arrives.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use angarium_entity::api_key::ApiKeySecret;
use angarium_entity::sealer::Sealer;
use angarium_tests::app::{create_database, eventually};
use angarium_tests::process::Process;
use angarium_tests::{GraphQl, Receiver, builder};
use serde_json::{Value, json};

const EVENTS: usize = 2_000;
const PUBLISHERS: usize = 16;
/// When so many are acknowledged, the process is killed.
const KILL_AT: [usize; 2] = [500, 1_200];

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    let directory = std::env::temp_dir().join(format!("angarium-test-{}", uuid::Uuid::now_v7().simple()));
    std::fs::create_dir_all(&directory).expect("the temporary directory is writable");
    every_acknowledged_event_arrives(&format!("sqlite://{}", directory.join("crash.db").display())).await;
    std::fs::remove_dir_all(directory).expect("the files can be removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres() {
    every_acknowledged_event_arrives(&create_database(&uuid::Uuid::now_v7().simple().to_string()).await).await;
}

async fn every_acknowledged_event_arrives(database: &str) {
    let (admin_key, encryption_key) = (ApiKeySecret::generate(), Sealer::generate_key());
    let settings = [
        ("ANGARIUM_LISTEN", "127.0.0.1:0"),
        ("ANGARIUM_DATABASE_URL", database),
        ("ANGARIUM_ADMIN_KEY", admin_key.reveal()),
        ("ANGARIUM_ENCRYPTION_KEY", &encryption_key),
        ("ANGARIUM_ALLOW_HTTP", "true"),
        ("ANGARIUM_ALLOW_CIDRS", "127.0.0.0/8"),
    ];
    let directory = std::env::temp_dir();
    if database.starts_with("postgres") {
        let db = angarium_entity::Database::open(database, 2).await.expect("the database opens");
        angarium_migration::up(db.write()).await.expect("the migrations apply");
        db.close().await;
    }
    let start = || Process::start(&directory, &["serve"], &settings);
    let mut process = start();
    let admin = GraphQl::new(process.base(), admin_key.reveal());
    builder::event_type(&admin, "invoice.paid").await;
    let (_, key) = builder::workspace_with_key(&admin, "Acme").await;
    let receiver = Receiver::start().await;
    let api = admin.with_key(&key);
    builder::subscribe(&api, json!({ "eventTypes": ["*"], "endpoint": { "url": receiver.url() } })).await;

    let mut acknowledged: HashSet<String> = HashSet::new();
    let mut published = 0;
    for kill_at in KILL_AT {
        let api = api.at(process.base());
        let count = Arc::new(AtomicUsize::new(acknowledged.len()));
        let publishers: Vec<_> =
            (0..PUBLISHERS).map(|_| tokio::spawn(publish_until_it_dies(api.clone(), count.clone()))).collect();
        eventually("enough are acknowledged", async || (count.load(Ordering::Relaxed) >= kill_at).then_some(())).await;
        process.kill();
        for publisher in publishers {
            acknowledged.extend(publisher.await.expect("no panic"));
        }
        published = published.max(acknowledged.len());
        process = start();
    }
    let api = api.at(process.base());
    while acknowledged.len() < EVENTS {
        acknowledged.insert(builder::publish(&api, json!({ "eventType": "invoice.paid", "payload": {} })).await);
    }
    eventually("every acknowledged event arrives", async || {
        let arrived: HashSet<_> =
            receiver.received().iter().map(|request| request.header("webhook-id").to_owned()).collect();
        acknowledged.is_subset(&arrived).then_some(())
    })
    .await;
    let open = "{ deliveries(where: { status: [PENDING, RETRYING] }) { totalCount } }";
    eventually("no delivery is left open", async || {
        (api.data(open, json!({})).await["deliveries"]["totalCount"] == 0).then_some(())
    })
    .await;
}

/// Publishes one event after the other until the server stops answering; the IDs of those that it acknowledged.
async fn publish_until_it_dies(api: GraphQl, count: Arc<AtomicUsize>) -> Vec<String> {
    let mutation = "mutation { eventPublish(input: { eventType: \"invoice.paid\", payload: {} }) { event { id } userErrors { code } } }";
    let mut acknowledged = Vec::new();
    while let Ok((200, body)) = api.try_post_body(json!({ "query": mutation }).to_string()).await {
        let body: Value = serde_json::from_str(&body).expect("JSON");
        acknowledged.push(builder::text(&body["data"]["eventPublish"]["event"]["id"]));
        count.fetch_add(1, Ordering::Relaxed);
    }
    acknowledged
}
