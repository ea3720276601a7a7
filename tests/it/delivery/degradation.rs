//! PostgreSQL or Redis is away for a while, seen from those who publish and those who operate.

use std::net::{IpAddr, Ipv4Addr};

use angarium_entity::{Database, event};
use angarium_tests::app::{create_database, eventually};
use angarium_tests::chaos::cluster::{address_of, through};
use angarium_tests::chaos::link::{Link, Wire};
use angarium_tests::client::http_client;
use angarium_tests::services::services;
use angarium_tests::{Backend, GraphQl, TestApp, builder};
use sea_orm::{ConnectionTrait as _, DatabaseConnection, EntityTrait as _, PaginatorTrait as _};
use serde_json::{Value, json};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PUBLISH: &str = "mutation($input: EventPublishInput!) { eventPublish(input: $input) \
    { event { id } userErrors { code message } } }";

/// A server behind a wire to its database, and its database.
async fn behind_a_wire() -> (TestApp, Link, Database) {
    let url = create_database(&uuid::Uuid::now_v7().simple().to_string()).await;
    let link = Link::start(LOCALHOST, address_of(&url)).await;
    let app = TestApp::start_with(Backend::Postgres, &[("ANGARIUM_DATABASE_URL", &through(&url, &link))]).await;
    let db = Database::open(&url, 10).await.expect("the database opens");
    (app, link, db)
}

async fn publish(api: &GraphQl, event_type: &str, payload: Value) -> Value {
    api.post(PUBLISH, json!({ "input": { "eventType": event_type, "payload": payload } })).await.1
}

/// How many sessions wait for an advisory lock.
async fn waiting(db: &DatabaseConnection) -> i64 {
    let text = "SELECT count(*) AS count FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let row = db.query_one_raw(sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, text)).await;
    row.expect("it is asked").expect("a row").try_get("", "count").expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishes_whose_commit_was_not_answered_are_stored_and_sent_once() {
    let (app, link, db) = behind_a_wire().await;
    let receiver = app.receiver().await;
    app.subscribe(receiver.url()).await;
    // An event of either type waits in its insert for whoever holds its lock.
    let slow = "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
        PERFORM pg_advisory_xact_lock(CASE NEW.event_type WHEN 'sms.outbound' THEN 1 ELSE 2 END); RETURN NEW; END $$; \
        CREATE TRIGGER wait BEFORE INSERT ON event FOR EACH ROW EXECUTE FUNCTION wait()";
    db.write().execute_unprepared(slow).await.expect("it is made");
    let (group, first) = (db.begin().await.expect("it begins"), db.begin().await.expect("it begins"));
    group.execute_unprepared("SELECT pg_advisory_xact_lock(1)").await.expect("it is free");
    first.execute_unprepared("SELECT pg_advisory_xact_lock(2)").await.expect("it is free");

    let (alone, one, two) = (app.api.clone(), app.api.clone(), app.api.clone());
    let alone = tokio::spawn(async move { publish(&alone, "invoice.paid", json!(0)).await });
    eventually("the first waits", async || (waiting(db.read()).await == 1).then_some(())).await;
    // They are a group, since they come while another one is being committed.
    let one = tokio::spawn(async move { publish(&one, "sms.outbound", json!(1)).await });
    let two = tokio::spawn(async move { publish(&two, "sms.outbound", json!(2)).await });
    eventually("they are in the queue", async || (app.node().publishes_waiting == 3).then_some(())).await;
    first.commit().await.expect("it ends");
    eventually("the group waits", async || (waiting(db.read()).await == 1).then_some(())).await;

    link.set(Wire::Cut);
    eventually("no connection is left", async || (link.connections() == 0).then_some(())).await;
    link.set(Wire::Whole);
    eventually("it is tried again", async || (waiting(db.read()).await == 2).then_some(())).await;
    group.commit().await.expect("it ends");
    for published in [alone, one, two] {
        let answer = published.await.expect("it was sent");
        assert!(answer["data"]["eventPublish"]["event"]["id"].is_string(), "{answer}");
    }
    let mut came: Vec<String> = receiver.expect_requests(3).await.iter().map(|request| request.body.clone()).collect();
    app.deliveries_in("SUCCEEDED", 3).await;
    came.sort_unstable();
    came.dedup();
    assert_eq!((came.len(), receiver.received().len()), (3, 3));
    assert_eq!(event::Entity::find().count(db.read()).await.expect("they are counted"), 3);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_is_refused_as_unavailable_while_the_database_is_away_and_what_was_accepted_arrives() {
    let (app, link, _) = behind_a_wire().await;
    let receiver = app.receiver().await;
    receiver.hang();
    app.subscribe(receiver.url()).await;
    app.publish(json!("before")).await;
    receiver.expect_requests(1).await;
    link.set(Wire::Cut);
    let refused = publish(&app.api, "invoice.paid", json!("while")).await;
    assert_eq!(refused["errors"][0]["extensions"]["code"], "UNAVAILABLE", "{refused}");
    let message = refused["errors"][0]["message"].as_str().expect("a message");
    assert!(message.contains("the database does not answer"), "{message}");
    // The answer comes while its result cannot be written.
    receiver.let_go(10);
    link.set(Wire::Whole);
    app.delivery_in("SUCCEEDED").await;
    app.publish(json!("after")).await;
    app.deliveries_in("SUCCEEDED", 2).await;
    assert_eq!(receiver.received().len(), 2, "nothing is sent twice");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_warns_while_redis_is_away_and_deliveries_go_on() {
    let link = Link::start(LOCALHOST, address_of(&services().redis_url)).await;
    let url = through(&services().redis_url, &link);
    let app = TestApp::start_with(Backend::Postgres, &[("ANGARIUM_REDIS_URL", &url)]).await;
    let receiver = app.receiver().await;
    app.subscribe(receiver.url()).await;
    let warnings = async || {
        let asked = http_client().get(format!("{}/health/ready", app.base())).send().await.expect("it answers");
        assert_eq!(asked.status(), 200, "requests need not go elsewhere");
        let health: Value = asked.json().await.expect("JSON");
        health["warnings"].as_array().expect("a list").clone()
    };
    eventually("nothing is wrong", async || warnings().await.is_empty().then_some(())).await;
    // Nothing happens meanwhile that would have to be told to Redis.
    link.set(Wire::Cut);
    eventually("Redis is missed", async || (!warnings().await.is_empty()).then_some(())).await;
    builder::publish(&app.api, json!({ "eventType": "invoice.paid", "payload": 1 })).await;
    receiver.expect_requests(1).await;
    app.deliveries_in("SUCCEEDED", 1).await;
    link.set(Wire::Whole);
    eventually("Redis is there again", async || warnings().await.is_empty().then_some(())).await;
    app.end().await;
}
