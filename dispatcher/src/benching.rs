//! Doors for the micro benchmarks in `tests/benches`, to what is private otherwise.

use std::sync::Arc;
use std::time::Duration;

use angarium_entity::delivery::Status;
use angarium_entity::endpoint::Ordering;
use angarium_entity::json::StringList;
use angarium_entity::{DeliveryId, EndpointId, EventId, SubscriptionId, Timestamp, WorkspaceId, delivery, event};
use sea_orm::DbBackend;

use crate::job::Job;
use crate::machine::breaker::Patience;
use crate::machine::endpoint::{EndpointMachine, Hold, Input, Output, Rules, WINDOW};
use crate::store::ingest::pending;
use crate::store::match_table::{Match, MatchTable};
use crate::store::sieve::Verdicts;
use crate::store::sql;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

/// The subscriptions of a workspace.
#[derive(Debug)]
pub struct Subscriptions(MatchTable);

impl Subscriptions {
    /// Of these event types or patterns, one subscription and one endpoint for each.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Self {
        Self(MatchTable::of_patterns(patterns))
    }

    /// How many endpoints get an event.
    pub fn matching(&self, event_type: &str) -> usize {
        self.0.matches(event_type, &[], &Verdicts::default(), NOW).len()
    }
}

/// The machine of a FIFO endpoint.
#[derive(Debug)]
pub struct Line {
    machine: EndpointMachine,
    event: Arc<event::Model>,
    seq: i64,
}

impl Default for Line {
    fn default() -> Self {
        let mut machine = EndpointMachine::new();
        let rules = Rules {
            ordering: Ordering::Fifo,
            max_in_flight: 1,
            rate_limit: None,
            hold: Hold::No,
            patience: Patience { suspend_after: Duration::from_hours(120), suspended: false, gone: false },
        };
        machine.step(NOW, WINDOW, Input::Configured(rules));
        machine.step(NOW, WINDOW, Input::Page { jobs: Vec::new(), full: false });
        Self { machine, event: Arc::new(event()), seq: 0 }
    }
}

impl Line {
    /// Takes one delivery from its arrival to its durable result: four steps. Answers whether it was sent.
    pub fn deliver(&mut self) -> bool {
        self.seq += 1;
        let row = delivery::Model { seq: self.seq, ..row(&self.event) };
        let delivery = row.id;
        let job = Job { status: Status::Pending, ..Job::new(&row, self.event.clone()) };
        let asked = self.machine.step(NOW, WINDOW, Input::Arrived(vec![job]));
        let started = self.machine.step(NOW, WINDOW, Input::Granted);
        self.machine.step(NOW, WINDOW, Input::Finished { delivery, hold: None });
        self.machine.step(NOW, WINDOW, Input::Recorded { delivery, is_final: true });
        matches!(asked[..], [Output::Ask, ..]) && started.iter().any(|output| matches!(output, Output::Start(_)))
    }
}

/// Rows of deliveries, to be inserted.
#[derive(Debug)]
pub struct Rows(Vec<delivery::Model>);

impl Rows {
    /// So many.
    pub fn new(count: usize) -> Self {
        let event = event();
        Self((0..count).map(|_| row(&event)).collect())
    }

    /// Builds the statement that inserts them. Answers how many parameters it has.
    pub fn statement(&self, backend: DbBackend) -> usize {
        sql::inserting(backend, &self.0).values.map_or(0, |values| values.0.len())
    }
}

fn event() -> event::Model {
    event::Model {
        id: EventId::new(NOW),
        workspace_id: WorkspaceId::new(NOW),
        event_type: "invoice.paid".to_owned(),
        payload: "{}".to_owned(),
        channels: StringList::default(),
        idempotency_key: None,
        occurred_at: NOW,
        test: false,
        created_at: NOW,
        sealed: None,
        trace_parent: None,
        trace_state: None,
    }
}

fn row(event: &event::Model) -> delivery::Model {
    let wanted = Match { subscription_id: SubscriptionId::new(NOW), endpoint_id: EndpointId::new(NOW), shard: 0 };
    delivery::Model { id: DeliveryId::new(NOW), ..pending(event, wanted, NOW) }
}
