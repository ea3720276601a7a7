//! Retries and hints by Redis servers of a test's own; what tests of its kinds have in common.

use std::time::Duration;

use angarium_entity::{Clock as _, Timestamp};
use angarium_tests::app::{Backend, eventually};
use angarium_tests::builder::{self, text};
use angarium_tests::nodes::Tuning;
use angarium_tests::{Node, Receiver, TestApp};
use serde_json::{Value, json};

/// A deployment whose only way to know of retries that are more than a minute away is the Redis of `url`.
pub(super) struct Retries {
    pub(super) app: TestApp,
    pub(super) node: Node,
    receivers: Vec<Receiver>,
    published: usize,
}

/// A delivery as the test knows it: its ID, attempts so far and when the next is due.
struct Waiting {
    id: String,
    attempts: usize,
    due: Timestamp,
}

impl Retries {
    /// One node that has all shards, and endpoints that are down.
    pub(super) async fn start(url: &str, endpoints: usize) -> Self {
        let mut app = TestApp::start_with(Backend::Postgres, &[("ANGARIUM_REDIS_URL", url)]).await;
        let retry = json!({ "computed": { "strategy": "FIXED", "initialDelay": "PT10M", "maxAttempts": 9 } });
        let mut receivers = Vec::new();
        for _ in 0..endpoints {
            let receiver = Receiver::start().await;
            receiver.answer_from_now_on(500);
            let input = json!({ "eventTypes": ["*"], "endpoint": { "url": receiver.url() }, "retryPolicy": retry });
            builder::subscribe(&app.api, input).await;
            receivers.push(receiver);
        }
        let node = app.join_tuned(Tuning { sweeps_retries: false, ..Tuning::default() }).await;
        app.hand_over().await;
        eventually("it has all shards", async || (node.report().shards == 1024).then_some(())).await;
        Self { app, node, receivers, published: 0 }
    }

    /// Publishes an event, and waits until each endpoint has refused it.
    pub(super) async fn publish(&mut self) {
        self.published += 1;
        builder::publish(&self.node.api, json!({ "eventType": "invoice.paid", "payload": self.published })).await;
        let count = self.published * self.receivers.len();
        eventually("all were tried", async || (self.waiting().await.len() == count).then_some(())).await;
    }

    /// What waits for a retry, the earliest first.
    async fn waiting(&self) -> Vec<Waiting> {
        let query =
            "{ deliveries(first: 100, where: { status: [RETRYING] }) { nodes { id attemptCount nextAttemptAt } } }";
        let mut data = self.node.api.data(query, json!({})).await;
        let one = |delivery: &Value| Waiting {
            id: text(&delivery["id"]),
            attempts: usize::try_from(delivery["attemptCount"].as_u64().expect("a number")).expect("it fits"),
            due: Timestamp::parse_rfc3339(&text(&delivery["nextAttemptAt"])).expect("a time"),
        };
        let nodes = data["deliveries"]["nodes"].take();
        let mut waiting: Vec<_> = nodes.as_array().expect("a list").iter().map(one).collect();
        waiting.sort_by_key(|waiting| waiting.due);
        waiting
    }

    /// Moves the clock from one retry to the next: each leaves when it is due, and not before.
    pub(super) async fn all_leave_on_time(&self) {
        let waiting = self.waiting().await;
        assert!(!waiting.is_empty(), "something waits");
        for Waiting { id, attempts, due } in waiting {
            let now = self.app.clock.now();
            assert!(now < due, "the retry of {id} is to come");
            self.app.clock.advance(due.since(now));
            let attempt = eventually("the retry has left", async || self.attempt(&id, attempts + 1).await).await;
            assert_eq!(Timestamp::parse_rfc3339(&text(&attempt["startedAt"])), Ok(due), "{id}");
        }
    }

    async fn attempt(&self, delivery: &str, number: usize) -> Option<Value> {
        let query = "query($id: ID!) { delivery(id: $id) { attempts(first: 50) { nodes { number startedAt } } } }";
        let data = self.node.api.data(query, json!({ "id": delivery })).await;
        let attempts = data["delivery"]["attempts"]["nodes"].as_array().expect("a list");
        attempts.iter().find(|attempt| attempt["number"] == number).cloned()
    }

    /// Ends it in order.
    pub(super) async fn end(self) {
        self.node.leave().await;
    }
}

/// Two nodes that share the shards, and hear each other by the Redis of `url`.
pub(super) struct Pair {
    pub(super) app: TestApp,
    pub(super) other: Node,
    receivers: Vec<Receiver>,
    published: u32,
}

impl Pair {
    pub(super) async fn start(url: &str) -> Self {
        let app = TestApp::start_with(Backend::Postgres, &[("ANGARIUM_REDIS_URL", url)]).await;
        let other = app.join().await;
        other.shares_with(&app).await;
        let mut receivers = Vec::new();
        for _ in 0..16 {
            let receiver = Receiver::start().await;
            app.subscribe(receiver.url()).await;
            receivers.push(receiver);
        }
        Self { app, other, receivers, published: 0 }
    }

    /// Publishes on each node.
    pub(super) async fn publish(&mut self) {
        for api in [&self.app.api, &self.other.api] {
            self.published += 1;
            builder::publish(api, json!({ "eventType": "invoice.paid", "payload": self.published })).await;
        }
    }

    /// Waits until both nodes reach Redis.
    pub(super) async fn are_connected(&mut self) {
        let deadline = tokio::time::Instant::now() + angarium_tests::MOMENT;
        while [self.app.node(), self.other.report()].iter().any(|report| report.redis != Some(true)) {
            assert!(tokio::time::Instant::now() < deadline, "both nodes reach Redis again");
            tokio::time::sleep(Duration::from_millis(200)).await;
            // Who has nothing to say does not notice.
            self.publish().await;
        }
    }

    /// Everything published so far has arrived.
    pub(super) async fn all_arrive(&self) {
        for receiver in &self.receivers {
            let arrived = async || {
                let mut payloads: Vec<_> = receiver.received().iter().map(|request| request.data().as_u64()).collect();
                payloads.sort_unstable();
                payloads.dedup();
                (payloads.len() == self.published as usize).then_some(())
            };
            eventually("everything arrives", arrived).await;
        }
    }

    /// What is published on one node reaches endpoints of the other, several times over, while the clock stands still
    /// and with it every look at the rows.
    pub(super) async fn hear_each_other(&mut self) {
        for _ in 0..5 {
            self.publish().await;
            self.all_arrive().await;
        }
        assert_eq!((self.app.node().redis, self.other.report().redis), (Some(true), Some(true)));
    }

    pub(super) async fn end(self) {
        self.other.leave().await;
        self.app.end().await;
    }
}
