//! Callers that publish one event after the other, and write down each acknowledgement before they go on.
//!
//! Half of the events have a key, and are sent again until they are acknowledged. The others, which a node stores in another
//! way, are sent once: nobody can know whether one that is not acknowledged was stored.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};

use super::evidence::{Published, RunClock};
use super::script::EVENT_TYPES;
use crate::GraphQl;

/// How long one call may take. A caller without patience would never notice a node that hangs.
const CALL_WITHIN: Duration = Duration::from_secs(3);
/// Pause before the same event is sent again.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// How long an event is still tried after the end of publishing.
const GIVE_UP_AFTER: Duration = Duration::from_secs(30);

const PUBLISH: &str = "mutation($input: EventPublishInput!) { eventPublish(input: $input) \
    { event { id } userErrors { code message } } }";

/// One caller.
#[derive(Debug)]
pub struct Publisher {
    /// Which one.
    pub number: usize,
    /// The nodes, which it asks by turns, and each when another does not answer.
    pub nodes: Vec<GraphQl>,
    /// The time of the run.
    pub clock: RunClock,
    /// Where acknowledgements are written down.
    pub ledger: Ledger,
    /// Time from one event to the next, where acknowledgements do not take longer.
    pub every: Duration,
    /// What the types of the events are drawn from.
    pub seed: u64,
}

impl Publisher {
    /// Publishes until it is told to stop.
    pub async fn run(self, stop: watch::Receiver<bool>) -> Vec<Published> {
        let mut random = StdRng::seed_from_u64(self.seed ^ self.number as u64);
        let mut pace = tokio::time::interval(self.every);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut published = Vec::new();
        while !*stop.borrow() {
            pace.tick().await;
            let event_type = EVENT_TYPES[random.random_range(0..EVENT_TYPES.len())];
            published.push(self.publish(published.len(), event_type, &stop).await);
        }
        published
    }

    /// Sends one event, and one with a key until it is acknowledged. Then, and only then, the next may be sent.
    async fn publish(&self, n: usize, event_type: &'static str, stop: &watch::Receiver<bool>) -> Published {
        let key = n.is_multiple_of(2).then(|| format!("{}-{n}", self.number));
        let has_key = key.is_some();
        let input = json!({
            "eventType": event_type,
            "payload": { "publisher": self.number, "n": n },
            "idempotencyKey": key,
        });
        let body = json!({ "query": PUBLISH, "variables": { "input": input } }).to_string();
        let mut published = Published { event: None, event_type, sent: self.clock.now(), acknowledged: None, tries: 0 };
        let mut stopped = None;
        while stopped.is_none_or(|at: Instant| at.elapsed() < GIVE_UP_AFTER) {
            let node = &self.nodes[(n + published.tries as usize) % self.nodes.len()];
            published.tries += 1;
            let called = tokio::time::timeout(CALL_WITHIN, node.try_post_body(body.clone())).await;
            if let Ok(Ok((200, answer))) = called
                && let Some(event) = acknowledged(&answer)
            {
                let at = self.clock.now();
                published.acknowledged = Some(at);
                self.ledger.write(format!("{at} {} {n} {event_type} {event}", self.number)).await;
                published.event = Some(event);
                break;
            }
            if !has_key {
                break;
            }
            tokio::time::sleep(AGAIN_AFTER).await;
            if *stop.borrow() {
                stopped = stopped.or_else(|| Some(Instant::now()));
            }
        }
        published
    }
}

/// The ID of the event, if the answer acknowledges one.
fn acknowledged(answer: &str) -> Option<String> {
    let answer: Value = serde_json::from_str(answer).ok()?;
    answer["data"]["eventPublish"]["event"]["id"].as_str().map(str::to_owned)
}

/// A file of acknowledgements that outlives this process and the machine.
#[derive(Clone, Debug)]
pub struct Ledger(mpsc::Sender<(String, oneshot::Sender<()>)>);

impl Ledger {
    /// Starts a new one.
    pub fn create(path: &Path) -> Self {
        let mut file = File::create(path).expect("the directory is writable");
        let (lines, written) = mpsc::channel::<(String, oneshot::Sender<()>)>();
        std::thread::spawn(move || {
            while let Ok(first) = written.recv() {
                // What came meanwhile shares one wait for the disk.
                let group: Vec<_> = std::iter::once(first).chain(written.try_iter()).collect();
                let text: String = group.iter().flat_map(|(line, _)| [line.as_str(), "\n"]).collect();
                file.write_all(text.as_bytes()).and_then(|()| file.sync_data()).expect("the disk has room");
                for (_, done) in group {
                    let _ = done.send(());
                }
            }
        });
        Self(lines)
    }

    /// Writes a line and waits until it is durable.
    async fn write(&self, line: String) {
        let (done, is_done) = oneshot::channel();
        self.0.send((line, done)).expect("the ledger is open");
        is_done.await.expect("the ledger writes");
    }
}
