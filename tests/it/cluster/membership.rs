//! Nodes come and go.

use std::time::Duration;

use angarium_entity::{delivery, node, shard};
use angarium_tests::app::eventually;
use angarium_tests::{Receiver, TestApp, builder};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, Statement};
use serde_json::json;

/// Deletes the row of a node, as others do that take it for dead.
async fn bury(app: &TestApp, node: angarium_entity::NodeId) {
    execute(app, "DELETE FROM node WHERE id = $1", vec![node.into()]).await;
    execute(app, LOOK, vec![]).await;
}

/// Makes every node look at the rows of its shards.
const LOOK: &str = "UPDATE installation SET membership_version = membership_version + 1";

async fn execute(app: &TestApp, text: &str, values: Vec<sea_orm::Value>) {
    let statement = Statement::from_sql_and_values(sea_orm::DbBackend::Postgres, text, values);
    app.state().db.write().execute_raw(statement).await.expect("it is written");
}

async fn shards(app: &TestApp) -> Vec<shard::Model> {
    shard::Entity::find().order_by_asc(shard::Column::Id).all(app.state().db.read()).await.expect("they read")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_share_the_shards_and_the_last_one_has_them_all() {
    let app = TestApp::start_on_redis().await;
    assert_eq!(app.node().shards, 1024, "a node alone takes them at once");
    let (second, third) = tokio::join!(app.join(), app.join());
    let thirds = async || {
        let shares = [app.node().shards, second.report().shards, third.report().shards];
        let are_shared = shares.iter().sum::<usize>() == 1024 && shares.iter().all(|share| *share > 250);
        // While a shard moves, its row may be nobody's, though the node that gives it away still counts it.
        (are_shared && shards(&app).await.iter().all(|shard| shard.owner_id.is_some())).then_some(())
    };
    eventually("each has about a third, and no shard is nobody's", thirds).await;
    second.leave().await;
    third.leave().await;
    eventually("the last has them all", async || (app.node().shards == 1024).then_some(())).await;
    let left = node::Entity::find().count(app.state().db.read()).await.expect("they are counted");
    assert_eq!(left, 1);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_that_was_taken_for_dead_brings_back_is_not_written_and_it_joins_again() {
    let app = TestApp::start_on_redis().await;
    let receiver = Receiver::start().await;
    receiver.hang();
    app.subscribe(receiver.url()).await;
    app.publish(json!(1)).await;
    receiver.expect_requests(1).await;
    let before = app.node().node.expect("it has joined");
    bury(&app, before).await;
    // The answer to what the dead had sent.
    receiver.let_go(1);
    eventually("it has joined again", async || app.node().node.filter(|node| *node != before)).await;
    // Sent a second time, by the one that it is now.
    let received = receiver.expect_requests(2).await;
    assert_eq!(received[0].header("webhook-id"), received[1].header("webhook-id"));
    receiver.let_go(1);
    app.delivery_in("SUCCEEDED").await;
    let rows: Vec<delivery::Model> = delivery::Entity::find()
        .filter(delivery::Column::AttemptCount.eq(1))
        .all(app.state().db.read())
        .await
        .expect("they read");
    assert_eq!(rows.len(), 1, "the attempt of the dead is not counted");
    assert_eq!(app.node().shards, 1024);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_starts_alone_delivers_what_waits_at_once() {
    let mut app = TestApp::start_on_redis().await;
    let receiver = Receiver::start().await;
    receiver.hang();
    app.subscribe(receiver.url()).await;
    for n in 0..20 {
        builder::publish(&app.api, json!({ "eventType": "invoice.paid", "payload": n })).await;
    }
    app.restart().await;
    receiver.let_go(100);
    app.deliveries_in("SUCCEEDED", 20).await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strict_endpoint_waits_for_the_dead_also_when_the_answer_to_the_claim_of_its_shard_was_lost() {
    let app = TestApp::start_on_redis().await;
    let (fifo, strict) = (Receiver::start().await, Receiver::start().await);
    app.subscribe(fifo.url()).await;
    let endpoint = json!({ "create": { "url": strict.url(), "ordering": "STRICT" } });
    builder::subscribe(&app.api, json!({ "eventTypes": ["*"], "endpoint": endpoint })).await;
    let all_asleep = async || {
        app.clock.advance(Duration::from_mins(1));
        app.state().dispatcher.observe().await.iter().all(|hub| hub.endpoints == 0).then_some(())
    };
    eventually("no endpoint goes by what was known of its shard before", all_asleep).await;
    // What such a claim leaves: shards of this node, with an epoch that it does not know.
    execute(&app, "UPDATE shard SET epoch = epoch + 1", vec![]).await;
    let lost = shards(&app).await;
    execute(&app, LOOK, vec![]).await;
    let claimed_again = async || {
        let now = shards(&app).await;
        now.iter().zip(&lost).all(|(now, lost)| now.epoch > lost.epoch).then_some(())
    };
    eventually("it has claimed them again", claimed_again).await;
    for number in 1..=5 {
        app.publish(json!(number)).await;
        fifo.expect_requests(number).await;
    }
    assert!(strict.received().is_empty(), "what a dead node had sent may still be under way");
    app.clock.advance(Duration::from_mins(1));
    strict.expect_requests(5).await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_requests_keep_their_own_shards_from_moving_and_no_others() {
    let app = TestApp::start_on_redis().await;
    let slow = Receiver::start().await;
    slow.hang();
    for number in 0..30 {
        app.subscribe(&format!("{}?{number}", slow.url())).await;
    }
    app.publish(json!(1)).await;
    slow.expect_requests(30).await;
    let second = app.join().await;
    // Thirty of a thousand stand still, and about half of those belong to the other.
    let have_moved = async || (second.report().shards > 512 - 50).then_some(());
    eventually("all shards that are quiet are where they belong", have_moved).await;
    assert_eq!(slow.received().len(), 30, "nothing was broken off");
    slow.let_go(30);
    app.deliveries_in("SUCCEEDED", 30).await;
    assert_eq!(slow.received().len(), 30, "nothing was sent twice");
    second.leave().await;
    app.end().await;
}
