//! Publishers: each sends one operation after the other, and counts what was acknowledged.

use std::time::{Duration, Instant};

use angarium_tests::GraphQl;
use bytes::Bytes;

use crate::client::{Client, client, post};
use crate::mark::Mark;

const ONE: &str = "mutation($i:EventPublishInput!){eventPublish(input:$i){event{id} userErrors{code}}}";
const BATCH: &str = "mutation($i:[EventPublishInput!]!){eventPublishBatch(inputs:$i){results{event{id} userErrors{code}} userErrors{code}}}";

/// What the publishers of a scenario do.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) publishers: u32,
    /// Events of one operation.
    pub(crate) batch: u32,
    /// They publish events of these types in turn.
    pub(crate) event_types: Vec<String>,
    pub(crate) payload_bytes: usize,
    pub(crate) until: Until,
    /// Operations per second of all publishers together; none means one after the other.
    pub(crate) per_second: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    Passed(Duration),
    /// So many operations of each publisher.
    Operations(u32),
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) events: u64,
    pub(crate) begun: Instant,
    pub(crate) lasted: Duration,
    /// From sending an operation to its answer, in microseconds.
    pub(crate) acknowledged: Vec<u32>,
}

impl Load {
    /// Runs it against nodes in turn.
    pub(crate) async fn run(&self, api: &GraphQl, bases: &[String]) -> Published {
        let begun = Instant::now();
        let client = client();
        let running: Vec<_> = (0..self.publishers)
            .map(|publisher| {
                let url = format!("{}/graphql", bases[publisher as usize % bases.len()]);
                let key = api.headers().iter().find(|(name, _)| name == "x-api-key").map(|(_, key)| key.clone());
                let (load, client) = (self.clone(), client.clone());
                tokio::spawn(async move { load.publish(&client, &url, &key.unwrap_or_default(), publisher).await })
            })
            .collect();
        let mut acknowledged = Vec::new();
        for publisher in running {
            acknowledged.extend(publisher.await.expect("a publisher does not panic"));
        }
        let events = acknowledged.len() as u64 * u64::from(self.batch);
        Published { events, begun, lasted: begun.elapsed(), acknowledged }
    }

    async fn publish(&self, client: &Client, url: &str, key: &str, publisher: u32) -> Vec<u32> {
        let begun = Instant::now();
        let mut acknowledged = Vec::new();
        let mut ticks = self.per_second.map(|rate| {
            let each = Duration::from_secs(1) * self.publishers / rate;
            tokio::time::interval_at((begun + each * publisher / self.publishers).into(), each)
        });
        for operation in 0.. {
            let is_over = match self.until {
                Until::Passed(time) => begun.elapsed() >= time,
                Until::Operations(count) => operation >= count,
            };
            if is_over {
                break;
            }
            if let Some(ticks) = &mut ticks {
                ticks.tick().await;
            }
            let body = self.body(publisher, operation);
            let sent = Instant::now();
            let (status, answer) = post(client, url, &[("x-api-key", key)], body).await.expect("the node answers");
            let micros = u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX);
            assert!(status.is_success() && is_accepted(&answer), "{status}: {}", String::from_utf8_lossy(&answer));
            acknowledged.push(micros);
        }
        acknowledged
    }

    fn body(&self, publisher: u32, operation: u32) -> Bytes {
        let event = |offset: u32| {
            let number = operation * self.batch + offset;
            // Neighbours of a publisher use neighbouring types, so that all of them are in use at any time.
            let event_type = &self.event_types[(publisher + number) as usize % self.event_types.len()];
            let payload = Mark::now(publisher, number).payload(self.payload_bytes);
            format!("{{\"eventType\":\"{event_type}\",\"payload\":{payload}}}")
        };
        let (query, input) = if self.batch == 1 {
            (ONE, event(0))
        } else {
            (BATCH, format!("[{}]", (0..self.batch).map(event).collect::<Vec<_>>().join(",")))
        };
        format!("{{\"query\":\"{query}\",\"variables\":{{\"i\":{input}}}}}").into()
    }
}

/// Whether the answer has no error of any kind: every list of them is empty.
fn is_accepted(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    !text.contains("\"errors\"") && !text.contains("\"userErrors\":[{") && text.contains("\"event\":{")
}
