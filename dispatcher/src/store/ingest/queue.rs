//! What waits to be committed: bounded, and taken in turn by workspace.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use angarium_entity::WorkspaceId;
use tokio::sync::{mpsc, oneshot};

use crate::publish::{NewEvent, PublishError, Published};
use crate::store::match_table::{MatchTable, MatchTables};
use crate::store::sieve::{Question, Sieve, Verdicts};
use crate::{Metrics, Tracer};

/// Most events of a group; a batch of one caller is never split.
const EVENTS_MAX: usize = 500;
/// Most bytes of payload of a group, by the same rule.
const BYTES_MAX: usize = 1024 * 1024;
/// Events that may wait to be committed; beyond, publishers are asked to come back.
const WAITING_EVENTS_MAX: usize = 50_000;
/// Bytes of payload that may wait.
const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What a publisher that is turned away is told to wait.
const RETRY_AFTER: Duration = Duration::from_secs(1);

pub(super) type Outcome = Result<Published, PublishError>;

/// Events of one caller, committed together.
pub(super) struct Request {
    pub(super) events: Vec<NewEvent>,
    /// What filters said of each event.
    pub(super) verdicts: Vec<Verdicts>,
    /// How often the committer has sent it back for more of them.
    pub(super) sent_back: u8,
    bytes: usize,
    pub(super) reply: oneshot::Sender<Vec<Outcome>>,
    _place: Place,
}

impl Request {
    /// Whether each filter of these tables that its events depend on has been asked.
    pub(super) fn is_judged(&self, table: impl Fn(WorkspaceId) -> Option<Arc<MatchTable>>) -> bool {
        self.events.iter().zip(&self.verdicts).all(|(event, verdicts)| {
            let table = table(event.workspace_id);
            table.is_none_or(|table| table.unasked(&event.event_type, &event.channels, verdicts).is_empty())
        })
    }

    /// Asks the filters of these tables that were not asked yet. None when the server is stopping.
    pub(super) async fn ask(
        &mut self,
        sieve: &Sieve,
        table: impl Fn(WorkspaceId) -> Option<Arc<MatchTable>>,
    ) -> Option<()> {
        let (mut places, mut questions) = (Vec::new(), Vec::new());
        for (place, (event, verdicts)) in self.events.iter().zip(&self.verdicts).enumerate() {
            let Some(table) = table(event.workspace_id) else { continue };
            let conditions = table.unasked(&event.event_type, &event.channels, verdicts);
            if !conditions.is_empty() {
                places.push(place);
                questions.push(Question {
                    event_type: event.event_type.clone(),
                    channels: event.channels.clone(),
                    payload: event.payload.clone(),
                    conditions,
                });
            }
        }
        let Some(workspace) = self.events.first().map(|event| event.workspace_id) else { return Some(()) };
        if questions.is_empty() {
            return Some(());
        }
        for (place, more) in places.into_iter().zip(sieve.judge(workspace, questions).await?) {
            self.verdicts[place].extend(more);
        }
        Some(())
    }
}

/// A place in the queue. Free again when the request has left it, whether or not its caller still waits.
struct Place {
    waiting: Arc<Waiting>,
    events: usize,
    bytes: usize,
}

impl Place {
    /// None when too much waits already.
    fn take(waiting: &Arc<Waiting>, events: usize, bytes: usize) -> Option<Self> {
        let place = Self { waiting: waiting.clone(), events, bytes };
        let events_waiting = waiting.events.fetch_add(events, Ordering::Relaxed) + events;
        let bytes_waiting = waiting.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        (events_waiting <= WAITING_EVENTS_MAX && bytes_waiting <= WAITING_BYTES_MAX).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiting.events.fetch_sub(self.events, Ordering::Relaxed);
        self.waiting.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Where publishes are handed in. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Ingest {
    queue: mpsc::UnboundedSender<Request>,
    waiting: Arc<Waiting>,
    tables: MatchTables,
    sieve: Sieve,
    metrics: Metrics,
    tracer: Tracer,
}

/// What bounds the queue.
#[derive(Debug, Default)]
struct Waiting {
    events: AtomicUsize,
    bytes: AtomicUsize,
}

/// A queue: where publishes are handed in, and where they come out.
pub(super) fn queue(
    tables: MatchTables,
    sieve: Sieve,
    metrics: Metrics,
    tracer: Tracer,
) -> (Ingest, mpsc::UnboundedReceiver<Request>) {
    let (queue, requests) = mpsc::unbounded_channel();
    (Ingest { queue, waiting: Arc::default(), tables, sieve, metrics, tracer }, requests)
}

impl Ingest {
    pub(super) fn weak_queue(&self) -> mpsc::WeakUnboundedSender<Request> {
        self.queue.downgrade()
    }

    /// Events that are not committed yet.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.events.load(Ordering::Relaxed)
    }

    /// Commits `events` and answers for each, in their order.
    pub(crate) async fn publish(&self, events: Vec<NewEvent>) -> Vec<Outcome> {
        let mut commits = self.tracer.commits(&events);
        let outcomes = self.hand_in(events).await;
        commits.iter_mut().zip(&outcomes).for_each(|(commit, outcome)| commit.committed(outcome));
        self.metrics.published(&outcomes);
        outcomes
    }

    async fn hand_in(&self, events: Vec<NewEvent>) -> Vec<Outcome> {
        let count = events.len();
        let bytes = events.iter().map(|event| event.payload.len()).sum();
        let Some(place) = Place::take(&self.waiting, count, bytes) else {
            return vec![Err(PublishError::Overloaded { retry_after: RETRY_AFTER }); count];
        };
        let (reply, answer) = oneshot::channel();
        let verdicts = vec![Verdicts::default(); count];
        let mut request = Request { events, verdicts, sent_back: 0, bytes, reply, _place: place };
        // By the tables as they were last; what has changed since, the committer sends back.
        if request.ask(&self.sieve, |workspace| self.tables.latest(workspace)).await.is_none() {
            return vec![Err(PublishError::Stopping); count];
        }
        // When the committer is gone, so is the request, and with it the sender of its answer.
        let _ = self.queue.send(request);
        answer.await.unwrap_or_else(|_| vec![Err(PublishError::Stopping); count])
    }
}

/// Requests by workspace, taken in turn.
#[derive(Default)]
pub(super) struct Turns {
    order: VecDeque<WorkspaceId>,
    waiting: HashMap<WorkspaceId, VecDeque<Request>>,
}

impl Turns {
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// A batch belongs where its first event does.
    pub(super) fn push(&mut self, request: Request) {
        let Some(workspace) = request.events.first().map(|event| event.workspace_id) else {
            let _ = request.reply.send(Vec::new());
            return;
        };
        let line = self.waiting.entry(workspace).or_default();
        if line.is_empty() {
            self.order.push_back(workspace);
        }
        line.push_back(request);
    }

    /// The next group: a request of each workspace in turn until it is full.
    pub(super) fn take_group(&mut self) -> Vec<Request> {
        let (mut group, mut events, mut bytes) = (Vec::new(), 0, 0);
        while let Some(workspace) = self.order.pop_front() {
            let Some(line) = self.waiting.get_mut(&workspace) else { continue };
            let Some(next) = line.front() else { continue };
            let is_full = events + next.events.len() > EVENTS_MAX || bytes + next.bytes > BYTES_MAX;
            if is_full && !group.is_empty() {
                self.order.push_front(workspace);
                break;
            }
            events += next.events.len();
            bytes += next.bytes;
            group.extend(line.pop_front());
            if line.is_empty() {
                self.waiting.remove(&workspace);
            } else {
                self.order.push_back(workspace);
            }
        }
        group
    }
}

#[cfg(test)]
mod tests {
    use angarium_entity::Timestamp;

    use super::*;

    fn request(workspace_id: WorkspaceId, events: usize) -> Request {
        let event = NewEvent {
            catalogue_version: 0,
            workspace_id,
            event_type: "x".to_owned(),
            payload: "{}".to_owned(),
            channels: vec![],
            occurred_at: None,
            idempotency_key: None,
            deliver_at: None,
            trace: None,
        };
        let place = Place::take(&Arc::default(), events, 2 * events).expect("the queue is empty");
        Request {
            events: vec![event; events],
            verdicts: vec![Verdicts::default(); events],
            sent_back: 0,
            bytes: 2 * events,
            reply: oneshot::channel().0,
            _place: place,
        }
    }

    #[test]
    fn a_workspace_that_floods_waits_in_turn_with_one_that_does_not() {
        let now = Timestamp::from_millis(1);
        let (flood, quiet) = (WorkspaceId::new(now), WorkspaceId::new(now));
        let mut turns = Turns::default();
        for _ in 0..1_000 {
            turns.push(request(flood, 1));
        }
        turns.push(request(quiet, 1));
        let group = turns.take_group();
        assert_eq!(group.len(), EVENTS_MAX);
        assert_eq!(group.iter().filter(|request| request.events[0].workspace_id == quiet).count(), 1);
        assert_eq!(turns.take_group().len(), EVENTS_MAX);
        assert_eq!((turns.take_group().len(), turns.is_empty()), (1, true));
    }

    #[test]
    fn a_batch_is_never_split() {
        let workspace = WorkspaceId::new(Timestamp::from_millis(1));
        let mut turns = Turns::default();
        turns.push(request(workspace, 300));
        turns.push(request(workspace, 300));
        turns.push(request(workspace, 700));
        let sizes: Vec<_> = std::iter::from_fn(|| (!turns.is_empty()).then(|| turns.take_group().len())).collect();
        assert_eq!(sizes, [1, 1, 1]);
    }

    #[tokio::test]
    async fn a_publisher_that_leaves_gives_its_place_back_when_its_request_is_taken() {
        let (ingest, mut requests) = {
            let metrics = Metrics::register(&prometheus::Registry::new()).expect("the first of their names");
            queue(MatchTables::default(), Sieve::start().expect("a thread starts"), metrics, Tracer::off())
        };
        let event = request(WorkspaceId::new(Timestamp::from_millis(1)), 1).events.remove(0);
        let large = NewEvent { payload: "x".repeat(1024 * 1024), ..event };
        for _ in 0..WAITING_BYTES_MAX / large.payload.len() {
            let publishing = ingest.publish(vec![large.clone()]);
            // It is asked once, and then nobody waits for the answer any more.
            assert!(tokio::time::timeout(Duration::ZERO, publishing).await.is_err());
        }
        let refused = ingest.publish(vec![large]).await;
        assert!(matches!(refused[0], Err(PublishError::Overloaded { .. })));
        while requests.try_recv().is_ok() {}
        assert_eq!(ingest.waiting.bytes.load(Ordering::Relaxed), 0);
    }
}
