//! The schema of the next version under nodes of this one, while events are published.

use std::process::Command;
use std::time::Duration;

use angarium_entity::Database;
use angarium_migration::Migrator;
use angarium_tests::app::eventually;
use angarium_tests::process::{Process, program};
use angarium_tests::{Backend, GraphQl, Installation, MOMENT, Receiver, builder};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement};
use sea_orm_migration::prelude::*;
use serde_json::json;
use tokio::sync::watch;

/// Events that have to arrive before the next thing happens.
const MORE: usize = 50;

/// What a version may do to the schema beside nodes of the version before: it widens it.
struct Widening;

impl MigrationName for Widening {
    fn name(&self) -> &'static str {
        "m29991231_000001_widen"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Widening {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in [
            "ALTER TABLE event ADD COLUMN region TEXT",
            "ALTER TABLE delivery ADD COLUMN priority INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE endpoint ADD COLUMN region TEXT NOT NULL DEFAULT 'none'",
            "ALTER TABLE installation ADD COLUMN plan TEXT",
            "CREATE TABLE region (id UUID PRIMARY KEY, name TEXT NOT NULL)",
            "CREATE INDEX delivery_priority ON delivery (priority) WHERE status = 'PENDING'",
        ] {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

/// The steps of the next version.
struct Next;

impl MigratorTrait for Next {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        let mut steps = Migrator::migrations();
        steps.push(Box::new(Widening));
        steps
    }
}

/// Publishes one event after the other where it is told to, until it is told nothing more; answers how many were
/// acknowledged.
async fn publish(api: GraphQl, mut base: watch::Receiver<String>) -> u64 {
    let mut count = 0;
    while base.has_changed().is_ok() {
        let at = base.borrow_and_update().clone();
        builder::publish(&api.at(&at), json!({ "eventType": "invoice.paid", "payload": count })).await;
        count += 1;
    }
    count
}

/// Waits until so many more events have come, while they are published.
async fn more(receiver: &Receiver) {
    let before = receiver.received().len();
    let came = async || (receiver.received().len() >= before + MORE).then_some(());
    eventually("events go on arriving", came).await;
}

/// Takes a node down as an orchestrator does, and starts it anew.
fn roll(installation: &Installation, node: &mut Process) {
    node.signal("TERM");
    assert!(node.wait(), "it stops gracefully");
    *node = installation.serve();
}

/// Somebody's long transaction, such as a backup, which holds a lock on the table of events.
async fn reading(db: &Database) -> DatabaseTransaction {
    let transaction = db.begin().await.expect("a transaction");
    let read = Statement::from_string(DbBackend::Postgres, "SELECT count(*) FROM event");
    transaction.query_one_raw(read).await.expect("it reads");
    transaction
}

/// What a node of the next version writes beside those of this one: an event and a delivery with the columns that they do
/// not know, and the region of an endpoint.
async fn use_what_is_new(db: &Database) {
    for statement in [
        "UPDATE endpoint SET region = 'eu'",
        "INSERT INTO region (id, name) VALUES (gen_random_uuid(), 'eu')",
        "WITH made AS (INSERT INTO event (id, workspace_id, event_type, payload, channels, occurred_at, test, created_at, region) \
         SELECT gen_random_uuid(), workspace_id, event_type, '\"next\"', channels, occurred_at, test, created_at, 'eu' \
         FROM event LIMIT 1 RETURNING id) \
         INSERT INTO delivery (id, workspace_id, event_id, endpoint_id, subscription_id, shard, seq, status, \"trigger\", event_type, \
         attempt_count, round, round_attempts, created_at, updated_at, priority) \
         SELECT gen_random_uuid(), d.workspace_id, made.id, d.endpoint_id, d.subscription_id, d.shard, nextval('delivery_seq'), \
         'PENDING', 'EVENT', d.event_type, 0, 1, 0, d.created_at, d.updated_at, 9 \
         FROM made, (SELECT * FROM delivery LIMIT 1) AS d",
    ] {
        db.write().execute_unprepared(statement).await.expect("the next version knows its schema");
    }
}

/// Whether the nodes of this version have delivered that, and changed the endpoint, without a touch to what is not theirs.
async fn is_left_alone(db: &Database) -> bool {
    let asked = "SELECT 1 FROM delivery AS d JOIN event AS e ON e.id = d.event_id JOIN endpoint AS p ON p.id = d.endpoint_id \
                 WHERE d.status = 'SUCCEEDED' AND d.priority = 9 AND e.region = 'eu' AND p.region = 'eu' AND p.name = 'Renamed'";
    let asked = Statement::from_string(DbBackend::Postgres, asked);
    db.read().query_one_raw(asked).await.expect("it reads").is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_go_on_and_start_again_beside_the_schema_of_the_next_version() {
    let installation = Installation::new(Backend::Postgres).await;
    let mut nodes = [installation.serve(), installation.serve()];
    let api = installation.workspace(&nodes[0]).await;
    let receiver = Receiver::start().await;
    let subscribed =
        builder::subscribe(&api, json!({ "eventTypes": ["*"], "endpoint": { "url": receiver.url() } })).await;
    let (at, base) = watch::channel(nodes[1].base().to_owned());
    let publisher = tokio::spawn(publish(api.clone(), base));
    more(&receiver).await;

    // The step wants the lock that a reader has. It must not keep those waiting that come after it.
    let db = Database::open(installation.database(), 2).await.expect("it opens");
    let backup = reading(&db).await;
    let migration = {
        let db = Database::open(installation.database(), 1).await.expect("it opens");
        tokio::spawn(async move { angarium_migration::up_with::<Next>(db.write()).await })
    };
    more(&receiver).await;
    backup.rollback().await.expect("it ends");
    let steps =
        tokio::time::timeout(MOMENT, migration).await.expect("in time").expect("no panic").expect("it migrates");
    assert_eq!(steps, 1);
    use_what_is_new(&db).await;
    let rename =
        "mutation($id: ID!) { webhookEndpointUpdate(id: $id, input: { name: \"Renamed\" }) { userErrors { code } } }";
    api.data(rename, json!({ "id": subscribed.endpoint })).await;

    // A node of this version may crash or be moved meanwhile: it has to come back.
    tokio::task::block_in_place(|| roll(&installation, &mut nodes[0]));
    at.send(nodes[0].base().to_owned()).expect("somebody publishes");
    // What is on its way to the other may still be answered.
    more(&receiver).await;
    tokio::task::block_in_place(|| roll(&installation, &mut nodes[1]));
    at.send(nodes[1].base().to_owned()).expect("somebody publishes");
    more(&receiver).await;
    drop(at);
    let published = publisher.await.expect("every publish was acknowledged");

    let left_alone = async || is_left_alone(&db).await.then_some(());
    eventually("what the next version has written is delivered, and kept as it is", left_alone).await;
    let received = receiver.expect_requests(usize::try_from(published + 1).expect("a few hundred")).await;
    let numbers: Vec<_> = received.iter().filter_map(|request| request.data().as_u64()).collect();
    assert_eq!(numbers, (0..published).collect::<Vec<_>>(), "each once and in order");
    let migrated = Command::new(program())
        .arg("migrate")
        .env("ANGARIUM_DATABASE_URL", installation.database())
        .output()
        .expect("it runs");
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    let told = String::from_utf8_lossy(&migrated.stdout);
    assert!(told.contains("was up to date"), "this version lacks nothing: {told}");
    tokio::time::timeout(Duration::from_secs(10), db.close()).await.expect("it closes");
}
