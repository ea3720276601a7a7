//! Retry schedules in Redis.

use std::time::Duration;

use angarium_tests::app::eventually;
use angarium_tests::nodes::Tuning;
use angarium_tests::services::services;
use angarium_tests::{Backend, Receiver, RedisServer, RedisSetup, TestApp, builder};
use serde_json::json;

mod cluster;
mod retries;
mod security;
mod sentinel;

/// Deletes the keys of every installation that uses the Redis of the tests.
async fn empty_redis() {
    let client = redis::Client::open(services().redis_url.as_str()).expect("it is a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("Redis answers");
    redis::cmd("FLUSHALL").query_async::<()>(&mut connection).await.expect("it is emptied");
}

/// A server whose only way to know of retries that are more than a minute away is Redis, with one such retry.
async fn with_a_retry_in_redis() -> (TestApp, angarium_tests::Node, Receiver) {
    let app = TestApp::start_on_redis().await;
    let receiver = Receiver::start().await.answer_statuses([500; 2]);
    let retry = json!({ "computed": { "strategy": "FIXED", "initialDelay": "PT10M", "maxAttempts": 5 } });
    let input = json!({ "eventTypes": ["*"], "endpoint": { "url": receiver.url() }, "retryPolicy": retry });
    builder::subscribe(&app.api, input).await;
    let node = app.join_tuned(Tuning { sweeps_retries: false, ..Tuning::default() }).await;
    (app, node, receiver)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_leave_on_time_from_redis_when_nobody_looks_through_the_rows() {
    let (mut app, node, receiver) = with_a_retry_in_redis().await;
    app.hand_over().await;
    eventually("it has all shards", async || (node.report().shards == 1024).then_some(())).await;
    builder::publish(&node.api, json!({ "eventType": "invoice.paid", "payload": 1 })).await;
    for attempt in 2..=3 {
        eventually("it waits for its retry", async || {
            let data = node.api.data("{ deliveries(first: 1) { nodes { status attemptCount } } }", json!({})).await;
            let delivery = &data["deliveries"]["nodes"][0];
            (delivery["status"] == "RETRYING" && delivery["attemptCount"] == attempt - 1).then_some(())
        })
        .await;
        assert_eq!(receiver.received().len(), attempt - 1);
        // Ten minutes, a fifth more or less.
        app.clock.advance(Duration::from_secs(8 * 60 - 1));
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(receiver.received().len(), attempt - 1, "it is not due yet");
        for _ in 0..9 {
            app.clock.advance(Duration::from_secs(30));
            tokio::time::sleep(Duration::from_millis(100)).await;
            if receiver.received().len() == attempt {
                break;
            }
        }
        receiver.expect_requests(attempt).await;
    }
    node.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_that_was_emptied_is_rebuilt_from_the_rows() {
    let (mut app, node, receiver) = with_a_retry_in_redis().await;
    app.hand_over().await;
    eventually("it has all shards", async || (node.report().shards == 1024).then_some(())).await;
    builder::publish(&node.api, json!({ "eventType": "invoice.paid", "payload": 1 })).await;
    receiver.expect_requests(1).await;
    eventually("the schedule is made", async || (node.report().schedule_rebuilds > 0).then_some(())).await;
    let before = node.report().schedule_rebuilds;
    empty_redis().await;
    app.clock.advance(Duration::from_secs(31));
    eventually("it is made again", async || (node.report().schedule_rebuilds > before).then_some(())).await;
    for _ in 0..30 {
        app.clock.advance(Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    receiver.expect_requests(2).await;
    node.leave().await;
}

/// Takes one member out of every sorted set of the Redis of the tests, as if it had never been put in. Answers from how many.
async fn take_out(member: &[u8]) -> i64 {
    let client = redis::Client::open(services().redis_url.as_str()).expect("it is a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("Redis answers");
    let sets: Vec<Vec<u8>> = redis::cmd("KEYS").arg("ang:*:e:*").query_async(&mut connection).await.expect("its keys");
    let mut taken = 0;
    for set in sets {
        let removed: i64 =
            redis::cmd("ZREM").arg(set).arg(member).query_async(&mut connection).await.expect("it is taken out");
        taken += removed;
    }
    taken
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_that_redis_has_lost_alone_is_sent_within_25_seconds_of_its_time() {
    let app = TestApp::start_on_redis().await;
    let receiver = Receiver::start().await.answer_statuses([500]);
    let retry = json!({ "computed": { "strategy": "FIXED", "initialDelay": "PT10M", "maxAttempts": 5 } });
    let input = json!({ "eventTypes": ["*"], "endpoint": { "url": receiver.url() }, "retryPolicy": retry });
    builder::subscribe(&app.api, input).await;
    app.publish(json!(1)).await;
    let waiting = app.delivery_in("RETRYING").await;
    let id: angarium_entity::DeliveryId = waiting["id"].as_str().expect("an ID").parse().expect("of a delivery");
    let taken = async || (take_out(id.0.as_bytes()).await == 1).then_some(());
    eventually("it is in Redis, and then it is not", taken).await;
    goes_by_until_late(&app, &waiting, &receiver, 2).await;
    receiver.expect_requests(2).await;
    app.end().await;
}

/// Lets time go by until 25 s after a delivery is due, or until so many requests have come.
async fn goes_by_until_late(app: &TestApp, waiting: &serde_json::Value, receiver: &Receiver, count: usize) {
    let due = waiting["nextAttemptAt"].as_str().expect("a time");
    let late = angarium_entity::Timestamp::parse_rfc3339(due).expect("an instant") + Duration::from_secs(25);
    while angarium_entity::Clock::now(&app.clock) < late && receiver.received().len() < count {
        app.clock.advance(Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_that_a_crash_has_kept_from_redis_is_sent_within_25_seconds_of_its_time_by_the_next_owner() {
    // Nobody else is to empty it.
    let redis = RedisServer::start(&RedisSetup::default()).await;
    let url = format!("redis://{}/", redis.address());
    let mut app = TestApp::start_with(Backend::Postgres, &[("ANGARIUM_REDIS_URL", &url)]).await;
    let receiver = Receiver::start().await.answer_statuses([500, 500]);
    let retry = json!({ "computed": { "strategy": "FIXED", "initialDelay": "PT10M", "maxAttempts": 5 } });
    let input = json!({ "eventTypes": ["*"], "endpoint": { "url": receiver.url() }, "retryPolicy": retry });
    builder::subscribe(&app.api, input).await;
    app.publish(json!(1)).await;
    let waiting = app.delivery_in("RETRYING").await;
    let id: angarium_entity::DeliveryId = waiting["id"].as_str().expect("an ID").parse().expect("of a delivery");
    // What is due long after it keeps the schedule of the shard alive.
    app.clock.advance(Duration::from_mins(5));
    app.publish(json!(2)).await;
    app.deliveries_in("RETRYING", 2).await;
    let both = async || {
        let keys = redis.keys("ang:*:e:*").await;
        let [key] = &keys[..] else { return None };
        (redis.told::<i64>(&[b"ZCARD".as_slice(), key]).await == 2).then(|| key.clone())
    };
    let key = eventually("both are in Redis", both).await;
    assert_eq!(redis.told::<i64>(&[b"ZREM".as_slice(), &key, id.0.as_bytes()]).await, 1);
    app.restart().await;
    eventually("it has the shards", async || (app.node().shards == 1024).then_some(())).await;
    goes_by_until_late(&app, &waiting, &receiver, 3).await;
    assert_eq!(receiver.expect_requests(3).await[2].data(), json!(1));
    assert_eq!(app.node().schedule_rebuilds, 0, "the schedule was found, and nobody knew that it lacked something");
    app.end().await;
}
