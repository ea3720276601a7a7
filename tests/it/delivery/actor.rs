//! The actor of an endpoint dies of a panic: it is noticed, another one starts from the rows, and nothing is lost, doubled
//! or out of order.

use std::time::Duration;

use angarium_tests::app::eventually;
use angarium_tests::{Backend, Receiver, TestApp, builder};
use sea_orm::{ConnectionTrait as _, DbBackend, Statement};
use serde_json::{Value, json};

/// One actor for all that is sent at a time: a grant that is lost with an actor is missed at once.
const ONE_AT_A_TIME: [(&str, &str); 2] = [("ANGARIUM_ARBITERS", "1"), ("ANGARIUM_IN_FLIGHT_MAX", "1")];
/// A dead one is left alone for so long.
const REVIVED_AFTER: Duration = Duration::from_secs(5);
/// What failed without the receiver is repeated after so long.
const PAUSED_FOR: Duration = Duration::from_secs(10);

async fn subscribe(app: &TestApp, event_type: &str, receiver: &Receiver, ordering: &str) {
    let endpoint = json!({ "create": { "url": receiver.url(), "ordering": ordering } });
    builder::subscribe(&app.api, json!({ "eventTypes": [event_type], "endpoint": endpoint })).await;
}

fn numbers(receiver: &Receiver) -> Vec<u64> {
    receiver.received().iter().map(|request| request.data().as_u64().expect("a number")).collect()
}

/// How many endpoints have an actor. The question waits behind everything that its hub was told before.
async fn awake(app: &TestApp) -> usize {
    app.state().dispatcher.observe().await.iter().map(|hub| hub.endpoints).sum()
}

/// Of so many that were awake.
async fn its_death_is_noticed(app: &TestApp, of: usize) {
    eventually("its death is noticed", async || (awake(app).await == of - 1).then_some(())).await;
}

/// Lets time pass until so many deliveries have succeeded, each by its only attempt.
async fn all_succeed(app: &TestApp, count: usize) {
    let query = "{ deliveries(first: 100) { nodes { status attemptCount } } }";
    let deliveries = eventually("everything is delivered", async || {
        app.clock.advance(Duration::from_secs(1));
        let deliveries = app.api.data(query, json!({})).await["deliveries"]["nodes"].take();
        let is_open = |delivery: &Value| delivery["status"] != "SUCCEEDED";
        (!deliveries.as_array().expect("a list").iter().any(is_open)).then_some(deliveries)
    })
    .await;
    assert_eq!(deliveries, json!(vec![json!({ "status": "SUCCEEDED", "attemptCount": 1 }); count]));
}

async fn dies_with_an_answer(backend: Backend, ordering: &str) {
    let app = TestApp::start_with(backend, &ONE_AT_A_TIME).await;
    let (receiver, neighbour) = (app.receiver().await, app.receiver().await);
    receiver.hang();
    subscribe(&app, "invoice.paid", &receiver, ordering).await;
    subscribe(&app, "sms.outbound", &neighbour, ordering).await;
    for n in 0..5 {
        app.publish(json!(n)).await;
    }
    receiver.expect_requests(1).await;
    let before = awake(&app).await;
    app.kill_an_actor_with_its_attempt();
    receiver.let_go(1);
    its_death_is_noticed(&app, before).await;
    // Nothing that comes meanwhile wakes it: it might die of just that, again and again.
    app.publish(json!(5)).await;
    assert_eq!((awake(&app).await, receiver.received().len()), (before - 1, 1));
    // What it had in flight is not in the way of others.
    builder::publish(&app.api, json!({ "eventType": "sms.outbound", "payload": 0 })).await;
    neighbour.expect_requests(1).await;
    receiver.let_go(100);
    all_succeed(&app, 7).await;
    assert_eq!(
        numbers(&receiver),
        [0, 0, 1, 2, 3, 4, 5],
        "only the answer that died with the actor is asked for again"
    );
    app.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_that_dies_of_an_answer_repeats_that_one_and_goes_on_in_order_on_sqlite() {
    for ordering in ["FIFO", "STRICT"] {
        dies_with_an_answer(Backend::Sqlite, ordering).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_that_dies_of_an_answer_repeats_that_one_and_goes_on_in_order_on_postgres() {
    for ordering in ["FIFO", "STRICT"] {
        dies_with_an_answer(Backend::Postgres, ordering).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_panics_fails_alone_and_is_repeated_after_a_pause() {
    let app = TestApp::start_with(Backend::Sqlite, &[("ANGARIUM_ARBITERS", "1")]).await;
    let receiver = app.receiver().await;
    receiver.hang();
    let endpoint = json!({ "create": { "url": receiver.url(), "ordering": "NONE", "maxInFlight": 3 } });
    builder::subscribe(&app.api, json!({ "eventTypes": ["invoice.paid"], "endpoint": endpoint })).await;
    for n in 0..3 {
        app.publish(json!(n)).await;
    }
    receiver.expect_requests(3).await;
    let before = awake(&app).await;
    app.fail_an_attempt();
    receiver.let_go(100);
    app.deliveries_in("SUCCEEDED", 2).await;
    assert_eq!((awake(&app).await, receiver.received().len()), (before, 3), "nothing was broken off");
    app.clock.advance(PAUSED_FOR);
    all_succeed(&app, 3).await;
    assert_eq!(receiver.received().len(), 4);
    app.end().await;
}

/// How many sessions wait for an advisory lock.
async fn waiting(app: &TestApp) -> i64 {
    let text = "SELECT count(*) AS count FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let asked = app.state().db.read().query_one_raw(Statement::from_string(DbBackend::Postgres, text)).await;
    asked.expect("it is asked").expect("a row").try_get("", "count").expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_actor_had_reported_before_it_died_is_not_sent_again_however_long_it_takes_to_be_stored() {
    for ordering in ["FIFO", "STRICT"] {
        let app = TestApp::start_with(Backend::Postgres, &ONE_AT_A_TIME).await;
        let receiver = app.receiver().await;
        subscribe(&app, "invoice.paid", &receiver, ordering).await;
        // Results wait in their insert for whoever holds the lock.
        let slow = "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
            PERFORM pg_advisory_xact_lock(1); RETURN NEW; END $$; \
            CREATE TRIGGER wait BEFORE INSERT ON attempt FOR EACH ROW EXECUTE FUNCTION wait()";
        app.state().db.write().execute_unprepared(slow).await.expect("it is made");
        let lock = app.state().db.begin().await.expect("it begins");
        lock.execute_unprepared("SELECT pg_advisory_xact_lock(1)").await.expect("it is free");
        app.publish(json!(0)).await;
        eventually("the result waits", async || (waiting(&app).await == 1).then_some(())).await;

        app.kill_an_actor();
        app.publish(json!(1)).await;
        its_death_is_noticed(&app, 1).await;
        for n in 2..12 {
            app.publish(json!(n)).await;
            app.clock.advance(REVIVED_AFTER);
            assert_eq!(awake(&app).await, 0, "its row still says that nothing was sent");
        }
        lock.commit().await.expect("it ends");
        all_succeed(&app, 12).await;
        assert_eq!(numbers(&receiver), Vec::from_iter(0..12));
        app.end().await;
    }
}
