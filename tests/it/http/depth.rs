//! Queries as deep as they may be.

use angarium_entity::api_key::ApiKeySecret;
use angarium_entity::sealer::Sealer;
use angarium_tests::process::Process;
use angarium_tests::{GraphQl, Receiver, builder};
use serde_json::{Value, json};

/// `maxDepth` of `serverInfo`.
const DEPTH: usize = 16;

/// A query of `depth` levels that goes from deliveries to their endpoint and back, with filters and orders on the way.
fn query(depth: usize) -> String {
    let levels = ["deliveries(first: 1, where: {}, orderBy: { field: CREATED_AT })", "edges", "node", "endpoint"];
    let opened: Vec<_> = levels.iter().cycle().take(depth - 1).copied().collect();
    format!("{{ {} {{ id {} }}", opened.join(" { "), "}".repeat(depth - 1))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deepest_query_that_is_accepted_is_answered_and_ends_nothing() {
    let directory = std::env::temp_dir().join(format!("angarium-test-{}", uuid::Uuid::now_v7().simple()));
    std::fs::create_dir_all(&directory).expect("the temporary directory is writable");
    let (admin_key, encryption_key) = (ApiKeySecret::generate(), Sealer::generate_key());
    let database = format!("sqlite://{}", directory.join("depth.db").display());
    let settings = [
        ("ANGARIUM_LISTEN", "127.0.0.1:0"),
        ("ANGARIUM_DATABASE_URL", database.as_str()),
        ("ANGARIUM_ADMIN_KEY", admin_key.reveal()),
        ("ANGARIUM_ENCRYPTION_KEY", &encryption_key),
        ("ANGARIUM_ALLOW_HTTP", "true"),
        ("ANGARIUM_ALLOW_CIDRS", "127.0.0.0/8"),
    ];
    let process = Process::start(&directory, &["serve"], &settings);
    let admin = GraphQl::new(process.base(), admin_key.reveal());
    builder::event_type(&admin, "invoice.paid").await;
    let (_, key) = builder::workspace_with_key(&admin, "Acme").await;
    let (api, receiver) = (admin.with_key(&key), Receiver::start().await);
    builder::subscribe(&api, json!({ "eventTypes": ["*"], "endpoint": { "url": receiver.url() } })).await;
    builder::publish(&api, json!({ "eventType": "invoice.paid", "payload": 1 })).await;
    let deepest = api.data(&query(DEPTH), json!({})).await.to_string();
    assert!(deepest.matches("endpoint").count() >= 3, "{deepest}");
    let (status, refused) = api.post(&query(DEPTH + 1), json!({})).await;
    assert_eq!((status, refused["data"].clone()), (400, Value::Null), "{refused}");
    drop(process);
    let _ = std::fs::remove_dir_all(directory);
}
