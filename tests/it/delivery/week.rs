//! The whole life of endpoints that are dead for a week, by the default policy and with a backlog.
//!
//! FIFO   its circuit opens with the fifth delivery that fails, and from then on nothing is given up.
//! STRICT only its head is ever tried: the first is given up by its own policy, after three days and before the patience of
//!        five ends, and nothing else is.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use angarium_tests::app::eventually;
use angarium_tests::builder::{self, text};
use angarium_tests::client::Stream;
use angarium_tests::{Received, Receiver, TestApp, on_both_databases};
use serde_json::{Value, json};

const ENDPOINTS: &str = "subscription { webhookEndpointUpdated { kind webhookEndpoint { id status statusReason health { status circuit } } } }";
/// Events before the end, at once after it, and one in each so many steps of the week.
const BEFORE: usize = 3;
const BACKLOG: usize = 6;
const EVERY: usize = 12;
/// A bit more than the wait for a probe of an endpoint that is suspended.
const STEP: Duration = Duration::from_mins(61);
const STEPS: usize = 7 * 24;
const DEAD: usize = BACKLOG + STEPS / EVERY;
const EVENTS: usize = BEFORE + DEAD;

/// What is told of the endpoints, as it comes.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Value>>>);

impl Told {
    fn listen(mut stream: Stream) -> Self {
        let told = Self::default();
        let kept = told.clone();
        tokio::spawn(async move {
            while let Ok(mut message) = stream.next_message().await {
                let endpoint = message["payload"]["data"]["webhookEndpointUpdated"]["webhookEndpoint"].take();
                kept.0.lock().expect("no test panics with it").push(endpoint);
            }
        });
        told
    }

    /// What was told of one endpoint, without what repeats.
    fn of(&self, id: &str) -> Vec<Value> {
        let mut told: Vec<_> =
            self.0.lock().expect("no test panics with it").iter().filter(|told| told["id"] == id).cloned().collect();
        told.dedup();
        told
    }

    /// The statuses that it went through.
    fn statuses(&self, id: &str) -> Vec<String> {
        let mut statuses: Vec<_> = self.of(id).iter().map(|told| text(&told["status"])).collect();
        statuses.dedup();
        statuses
    }
}

/// Waits until nothing runs.
async fn settled(app: &TestApp) {
    eventually("nothing is left running", async || {
        let hubs = app.state().dispatcher.observe().await;
        hubs.iter().all(|hub| hub.busy == 0 && hub.in_flight == 0).then_some(())
    })
    .await;
}

async fn count_in(app: &TestApp, status: &str) -> usize {
    let query = "query($status: DeliveryStatus!) { deliveries(where: { status: [$status] }) { totalCount } }";
    let data = app.api.data(query, json!({ "status": status })).await;
    data["deliveries"]["totalCount"].as_u64().and_then(|count| usize::try_from(count).ok()).expect("a count")
}

on_both_databases! {
    async fn endpoints_that_are_dead_for_a_week_come_back_and_get_everything_in_order(mut app) {
        let receivers = [app.receiver().await, app.receiver().await];
        let monitor = app.receiver().await;
        let mut endpoints = Vec::new();
        for (receiver, ordering) in receivers.iter().zip(["STRICT", "FIFO"]) {
            let endpoint = json!({ "create": { "name": ordering, "url": receiver.url(), "ordering": ordering } });
            let input = json!({ "eventTypes": ["invoice.*"], "endpoint": endpoint });
            endpoints.push(builder::subscribe(&app.api, input).await.endpoint);
        }
        builder::subscribe(&app.api, json!({ "eventTypes": ["angarium.*"], "endpoint": { "url": monitor.url() } })).await;
        let mut told = Told::listen(app.api.subscribe(ENDPOINTS, json!({})).await);

        for number in 0..BEFORE {
            app.publish(json!(number)).await;
        }
        app.deliveries_in("SUCCEEDED", 2 * BEFORE).await;
        for receiver in &receivers {
            receiver.answer_from_now_on(500);
        }
        for number in BEFORE..BEFORE + BACKLOG {
            app.publish(json!(number)).await;
        }
        let mut before_the_restart = Vec::new();
        for step in 0..STEPS {
            if step % EVERY == 0 {
                app.publish(json!(BEFORE + BACKLOG + step / EVERY)).await;
            }
            settled(&app).await;
            if step == STEPS / 2 {
                // Nothing of this is in memory only.
                for id in &endpoints {
                    let fails = |told: &Value| told["health"]["status"] == "FAILING";
                    eventually("it is told that it fails", async || {
                        app.clock.advance(Duration::from_mins(1));
                        told.of(id).iter().any(fails).then_some(())
                    })
                    .await;
                }
                before_the_restart = endpoints.iter().map(|id| told.of(id)).collect();
                app.restart().await;
                told = Told::listen(app.api.subscribe(ENDPOINTS, json!({})).await);
            }
            let requests = receivers[1].received().len();
            app.clock.advance(STEP);
            eventually("the dead one is tried, or probed", async || {
                app.clock.advance(Duration::from_secs(1));
                (receivers[1].received().len() > requests).then_some(())
            })
            .await;
            settled(&app).await;
        }
        for (id, before) in endpoints.iter().zip(&before_the_restart) {
            eventually("it is suspended", async || (told.statuses(id).last().is_some_and(|last| last == "SUSPENDED")).then_some(())).await;
            assert!(before.iter().any(|told| told["health"]["status"] == "FAILING"), "{before:?}");
            assert!(before.iter().all(|told| told["status"] == "ACTIVE"), "not before five days: {before:?}");
            let suspended = told.of(id).into_iter().find(|told| told["status"] == "SUSPENDED").expect("it was told");
            let reason = text(&suspended["statusReason"]);
            assert!(reason.starts_with("Every attempt since 20") && reason.contains("tried again every hour"), "{reason}");
        }
        // What tells the monitor of it may still be on its way.
        eventually("everything waits but for one, and what tells of it has arrived", async || {
            let open = count_in(&app, "PENDING").await + count_in(&app, "RETRYING").await;
            (open == 2 * DEAD - 1).then_some(())
        })
        .await;
        let given_up = "{ deliveries(where: { status: [EXHAUSTED] }) { nodes { endpoint { name } attemptCount body } } }";
        let given_up = app.api.data(given_up, json!({})).await["deliveries"]["nodes"].take();
        assert_eq!((&given_up[0]["endpoint"]["name"], &given_up[0]["attemptCount"]), (&json!("STRICT"), &json!(10)), "{given_up}");
        assert_eq!(given_up.as_array().map(Vec::len), Some(1));
        assert!(receivers[1].received().len() > STEPS, "it was probed all the time");

        for receiver in &receivers {
            receiver.answer_from_now_on(204);
        }
        app.clock.advance(Duration::from_mins(61));
        for id in &endpoints {
            eventually("it has recovered", async || {
                app.clock.advance(Duration::from_mins(10));
                told.statuses(id).last().is_some_and(|last| last == "ACTIVE").then_some(())
            })
            .await;
        }
        eventually("everything has arrived", async || {
            app.clock.advance(Duration::from_hours(1));
            settled(&app).await;
            // What was told by the server has arrived as well.
            (count_in(&app, "SUCCEEDED").await == 2 * EVENTS - 1 + 5).then_some(())
        })
        .await;
        for (id, receiver) in endpoints.iter().zip(&receivers) {
            let statuses = told.statuses(id);
            let is_suspended = |status: &&String| *status == "SUSPENDED";
            assert_eq!(statuses.iter().filter(is_suspended).count(), 1, "once since the restart: {statuses:?}");
            assert_eq!(statuses[statuses.len() - 2..], ["SUSPENDED", "ACTIVE"]);
            let last = told.of(id).pop().expect("something was told");
            assert_eq!((&last["statusReason"], &last["health"]["circuit"]), (&json!(null), &json!("CLOSED")));
            let mut arrived = numbers(&receiver.taken());
            let mut all: Vec<_> = (0..EVENTS).collect();
            assert_eq!(first_attempts(receiver), all, "the order of first attempts");
            if receiver.url() == receivers[0].url() {
                all.remove(BEFORE);
                assert_eq!(arrived, all, "STRICT keeps the order to the end");
            } else {
                arrived.sort_unstable();
                assert_eq!(arrived, all, "each arrived once");
            }
        }
        let types: Vec<_> = monitor.received().iter().map(|request| request.header("webhook-event-type").to_owned()).collect();
        assert_eq!(types[0], "angarium.delivery.exhausted", "{types:?}");
        assert_eq!(types[1..3], ["angarium.endpoint.suspended"; 2], "{types:?}");
        assert_eq!(types[3..], ["angarium.endpoint.recovered"; 2], "{types:?}");
        let about = monitor.received()[1].data();
        assert!(text(&about["reason"]).starts_with("Every attempt since 20") && about["endpoint"]["name"].is_string(), "{about}");
        app.end().await;
    }
}

/// The events in the order of their first requests.
fn first_attempts(receiver: &Receiver) -> Vec<usize> {
    let requests: Vec<usize> = numbers(&receiver.received());
    let is_first = |place: &usize| !requests[..*place].contains(&requests[*place]);
    (0..requests.len()).filter(is_first).map(|place| requests[place]).collect()
}

fn numbers(requests: &[Received]) -> Vec<usize> {
    let number = |data: Value| data.as_u64().and_then(|number| usize::try_from(number).ok()).expect("a number");
    requests.iter().map(|request| number(request.data())).collect()
}
