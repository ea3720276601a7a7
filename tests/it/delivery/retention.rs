//! Events that go, and deliveries of them that come or stay.

use std::time::Duration;

use angarium_entity::delivery::{self, Status};
use angarium_entity::{DeliveryId, EventId, event};
use angarium_tests::app::{count, eventually};
use angarium_tests::builder::text;
use angarium_tests::{Backend, TestApp, on_both_databases};
use sea_orm::{ActiveModelTrait as _, ConnectionTrait as _, EntityTrait as _, IntoActiveModel as _, Statement};
use serde_json::json;

const SET: &str =
    "mutation($id: ID!) { workspaceUpdate(id: $id, input: { retention: \"P1D\" }) { userErrors { code } } }";
const PAUSE: &str = "mutation($id: ID!) { webhookEndpointPause(id: $id) { userErrors { code } } }";
const RESUME: &str = "mutation($id: ID!) { webhookEndpointResume(id: $id) { userErrors { code } } }";
/// Sessions that wait for a lock in this database.
const WAITING: &str =
    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' LIMIT 1";
/// More than an endpoint keeps of its line in memory.
const LOST: usize = 300;

/// What a replay does, by hand: it holds the row of the event, and has not committed its delivery yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_being_sent_again_is_not_deleted_under_it() {
    let app = TestApp::start(Backend::Postgres).await;
    let receiver = app.receiver().await;
    app.subscribe(receiver.url()).await;
    app.api.data(SET, json!({ "id": app.workspace })).await;
    app.publish(json!("again")).await;
    app.delivery_in("SUCCEEDED").await;
    let db = app.state().db.clone();
    let sent = delivery::Entity::find().one(db.read()).await.expect("it reads").expect("the delivery");
    let sending = db.begin().await.expect("a transaction");
    let hold = Statement::from_sql_and_values(
        db.backend(),
        "SELECT id FROM event WHERE id = $1 FOR KEY SHARE",
        [sent.event_id.into()],
    );
    sending.query_one_raw(hold).await.expect("it is held");

    app.clock.advance(Duration::from_hours(25));
    eventually("its old delivery goes", async || {
        app.clock.advance(Duration::from_mins(10));
        (count::<delivery::Entity>(&app).await == 0).then_some(())
    })
    .await;
    // Who would wait for the row has the time to begin.
    let begins = async {
        while db.read().query_one_raw(Statement::from_string(db.backend(), WAITING)).await.expect("it asks").is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), begins).await;
    let again = delivery::Model {
        id: DeliveryId::new(sent.created_at),
        status: Status::Pending,
        attempt_count: 0,
        round_attempts: 0,
        completed_at: None,
        ..sent
    };
    again.into_active_model().insert(&sending).await.expect("it is stored");
    sending.commit().await.expect("it is committed");
    eventually("the new delivery is found and sent", async || {
        app.clock.advance(Duration::from_secs(10));
        (receiver.received().len() == 2).then_some(())
    })
    .await;
    app.end().await;
}

on_both_databases! {
    async fn deliveries_that_have_lost_their_event_fail_and_hide_nothing_behind_them(app) {
        let receiver = app.receiver().await;
        let subscribed = app.subscribe(receiver.url()).await;
        app.api.data(PAUSE, json!({ "id": subscribed.endpoint })).await;
        let publish = "mutation($inputs: [EventPublishInput!]!) { eventPublishBatch(inputs: $inputs) { results { event { id } } } }";
        let mut ids = Vec::new();
        for _ in 0..LOST / 100 {
            let batch: Vec<_> = (0..100).map(|n| json!({ "eventType": "invoice.paid", "payload": n })).collect();
            let data = app.api.data(publish, json!({ "inputs": batch })).await;
            let results = data["eventPublishBatch"]["results"].as_array().expect("a list").clone();
            ids.extend(results.iter().map(|result| text(&result["event"]["id"])));
        }
        for id in &ids {
            let id: EventId = id.parse().expect("an ID");
            event::Entity::delete_by_id(id).exec(app.state().db.write()).await.expect("it goes");
        }
        app.publish(json!("behind")).await;
        app.api.data(RESUME, json!({ "id": subscribed.endpoint })).await;
        assert_eq!(receiver.expect_requests(1).await[0].data(), json!("behind"));
        app.delivery_in("SUCCEEDED").await;
        let failed = "{ deliveries(first: 1, where: { status: [FAILED] }) { totalCount nodes { statusReason completedAt } } }";
        let data = app.api.data(failed, json!({})).await["deliveries"].take();
        assert_eq!((&data["totalCount"], &data["nodes"][0]["statusReason"]), (&json!(LOST), &json!("The payload of its event is gone.")));
        assert!(data["nodes"][0]["completedAt"].is_string());
        app.end().await;
    }
}
