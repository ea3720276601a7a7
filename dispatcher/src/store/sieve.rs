//! Where filters run: a thread of its own, one workspace after the other.
//!
//! Why     a filter is a tenant's, and so is the payload that it looks into. The ingest committer, which all tenants share,
//!         never runs one: it is told the verdicts, and sends back what it has none for.
//! Turns   a workspace's turn ends with the evaluation that brings it to [`TURN_STEPS`]. So what a workspace waits for
//!         another is at most that, one evaluation ([`STEPS_MAX`](angarium_entity::subscription::cel::STEPS_MAX)), and the reading of one payload; it is counted in
//!         steps, of which a core makes about 50 million a second.
//! Bounds  what waits here has its place in the queue of publishes. What nobody waits for any more is dropped unread.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock, mpsc};

use angarium_entity::WorkspaceId;
use angarium_entity::subscription::cel::{EvaluationError, Filter, Steps, Subject};
use tokio::sync::oneshot;
use xxhash_rust::xxh3::xxh3_128;

/// Steps after which another workspace has its turn.
const TURN_STEPS: u64 = 10_000;
/// Steps that reading a filter is worth, which is done when it is first asked.
const READ_STEPS: u64 = 2_000;

/// A filter of a subscription.
#[derive(Debug)]
pub(crate) struct Condition {
    key: u128,
    text: String,
    /// Read when it is first asked; none when it is no filter, which matches nothing.
    filter: OnceLock<Option<Filter>>,
}

impl Condition {
    pub(crate) fn new(text: &str) -> Self {
        Self { key: Self::key_of(text), text: text.to_owned(), filter: OnceLock::new() }
    }

    /// Equal texts have equal keys. Those that are compared are all of one workspace.
    pub(crate) fn key_of(text: &str) -> u128 {
        xxh3_128(text.as_bytes())
    }

    pub(crate) fn key(&self) -> u128 {
        self.key
    }

    /// Whether the event is wanted, and what finding that out has cost.
    fn judge(&self, subject: &Subject) -> (bool, u64) {
        let read = if self.filter.get().is_none() { READ_STEPS } else { 0 };
        let filter = self.filter.get_or_init(|| match catch_unwind(|| Filter::parse(&self.text)) {
            Ok(Ok(filter)) => Some(filter),
            Ok(Err(error)) => {
                tracing::error!(%error, filter = self.text, "a stored filter does not read; it matches nothing");
                None
            }
            Err(_) => {
                tracing::error!(filter = self.text, "a filter panicked while it was read; it matches nothing");
                None
            }
        });
        let Some(filter) = filter else { return (false, read) };
        let mut steps = Steps::default();
        let found = catch_unwind(AssertUnwindSafe(|| filter.matches(subject, &mut steps)));
        let is_wanted = match found {
            Ok(Ok(is_wanted)) => is_wanted,
            Ok(Err(error)) => {
                if error == EvaluationError::Steps {
                    tracing::info!(filter = self.text, "a filter has used up its steps; it does not match");
                }
                false
            }
            Err(_) => {
                tracing::error!(filter = self.text, "a filter panicked; it does not match");
                false
            }
        };
        (is_wanted, read + steps.spent())
    }
}

/// What filters said of one event, by their keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdicts(HashMap<u128, bool>);

impl Verdicts {
    /// None when the filter was not asked.
    pub(crate) fn of(&self, condition: &Condition) -> Option<bool> {
        self.0.get(&condition.key).copied()
    }

    pub(crate) fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }
}

/// An event, and the filters that are asked about it.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) event_type: String,
    pub(crate) channels: Vec<String>,
    pub(crate) payload: String,
    pub(crate) conditions: Vec<Arc<Condition>>,
}

/// Where filters are asked. Cheap to clone; the thread ends with the last.
#[derive(Clone, Debug)]
pub(crate) struct Sieve {
    line: mpsc::Sender<Work>,
}

impl Sieve {
    /// Starts the thread.
    ///
    /// # Errors
    /// When there can be no thread.
    pub(crate) fn start() -> std::io::Result<Self> {
        let (line, waiting) = mpsc::channel();
        std::thread::Builder::new().name("filters".to_owned()).spawn(move || run(&waiting))?;
        Ok(Self { line })
    }

    /// The verdicts on each question, in their order; none when the server is stopping.
    pub(crate) async fn judge(&self, workspace: WorkspaceId, questions: Vec<Question>) -> Option<Vec<Verdicts>> {
        let (reply, answer) = oneshot::channel();
        self.line.send(Work::new(workspace, questions, reply)).ok()?;
        answer.await.ok()
    }
}

fn run(line: &mpsc::Receiver<Work>) {
    let mut rota = Rota::default();
    loop {
        if rota.order.is_empty() {
            let Ok(work) = line.recv() else { return };
            rota.push(work);
        }
        while let Ok(work) = line.try_recv() {
            rota.push(work);
        }
        rota.turn();
    }
}

/// Questions that are answered together.
#[derive(Debug)]
struct Work {
    workspace: WorkspaceId,
    questions: VecDeque<Question>,
    /// The first question's event, once it is read.
    subject: Option<Subject>,
    /// On the first question, so far.
    verdicts: Verdicts,
    done: Vec<Verdicts>,
    reply: oneshot::Sender<Vec<Verdicts>>,
}

impl Work {
    fn new(workspace: WorkspaceId, questions: Vec<Question>, reply: oneshot::Sender<Vec<Verdicts>>) -> Self {
        let (questions, done) = (questions.into(), Vec::new());
        Self { workspace, questions, subject: None, verdicts: Verdicts::default(), done, reply }
    }

    /// Asks one filter. Answers what it has cost; none when all are asked.
    fn step(&mut self) -> Option<u64> {
        loop {
            let question = self.questions.front_mut()?;
            if let Some(condition) = question.conditions.pop() {
                let mut cost = 0;
                let subject = self.subject.get_or_insert_with(|| {
                    let subject = Subject::new(&question.event_type, &question.channels, &question.payload);
                    cost = subject.cost();
                    subject
                });
                let (is_wanted, steps) = condition.judge(subject);
                self.verdicts.0.insert(condition.key, is_wanted);
                return Some(cost + steps);
            }
            self.subject = None;
            self.done.push(std::mem::take(&mut self.verdicts));
            self.questions.pop_front();
        }
    }
}

/// Work by workspace, taken in turn.
#[derive(Debug, Default)]
struct Rota {
    order: VecDeque<WorkspaceId>,
    waiting: HashMap<WorkspaceId, VecDeque<Work>>,
}

impl Rota {
    fn push(&mut self, work: Work) {
        let line = self.waiting.entry(work.workspace).or_default();
        if line.is_empty() {
            self.order.push_back(work.workspace);
        }
        line.push_back(work);
    }

    /// The next workspace's turn. Answers the steps it took.
    fn turn(&mut self) -> u64 {
        let mut spent = 0;
        let Some(workspace) = self.order.pop_front() else { return spent };
        let Some(mut line) = self.waiting.remove(&workspace) else { return spent };
        while spent < TURN_STEPS
            && let Some(work) = line.front_mut()
        {
            let is_wanted = !work.reply.is_closed();
            match work.step().filter(|_| is_wanted) {
                Some(steps) => spent += steps,
                None => {
                    if let Some(Work { done, reply, .. }) = line.pop_front() {
                        // Nobody waiting is not an error.
                        let _ = reply.send(done);
                    }
                }
            }
        }
        if !line.is_empty() {
            self.waiting.insert(workspace, line);
            self.order.push_back(workspace);
        }
        spent
    }
}

#[cfg(test)]
mod tests {
    use angarium_entity::Timestamp;
    use angarium_entity::subscription::cel;

    use super::*;

    /// Uses up its steps over a payload of many numbers.
    const HOSTILE: &str = "event.payload.all(a, event.payload.all(b, event.payload.all(c, a == b && b == c)))";

    fn question(payload: &str, conditions: &[&Arc<Condition>]) -> Question {
        let conditions = conditions.iter().map(|condition| (*condition).clone()).collect();
        Question { event_type: "a.b".to_owned(), channels: Vec::new(), payload: payload.to_owned(), conditions }
    }

    fn workspaces() -> [WorkspaceId; 2] {
        [1, 2].map(|at| WorkspaceId::new(Timestamp::from_millis(at)))
    }

    #[test]
    fn a_workspace_waits_for_one_turn_of_another_and_no_longer() {
        let (mut rota, [hostile, quiet]) = (Rota::default(), workspaces());
        let largest = format!("[{}1]", "1,".repeat(130_000));
        let costly = Arc::new(Condition::new(HOSTILE));
        let mut answers = Vec::new();
        for _ in 0..20 {
            let (reply, answer) = oneshot::channel();
            let questions = (0..5).map(|_| question(&largest, &[&costly, &costly, &costly])).collect();
            rota.push(Work::new(hostile, questions, reply));
            answers.push(answer);
        }
        let turn_max =
            TURN_STEPS + cel::STEPS_MAX + READ_STEPS + u64::try_from(largest.len() / 64).expect("it is small") + 64;
        assert!(rota.turn() <= turn_max);

        let cheap = Arc::new(Condition::new("event.payload.n == 1"));
        let (reply, mut answer) = oneshot::channel();
        rota.push(Work::new(quiet, vec![question(r#"{"n":1}"#, &[&cheap])], reply));
        let mut waited = 0;
        let verdicts = loop {
            match answer.try_recv() {
                Ok(verdicts) => break verdicts,
                Err(_) => waited += rota.turn(),
            }
        };
        assert_eq!(verdicts[0].of(&cheap), Some(true));
        assert!(waited <= turn_max + TURN_STEPS, "waited {waited} steps");
        assert!(answers.iter_mut().any(|answer| answer.try_recv().is_err()), "the other goes on");
    }

    #[test]
    fn each_question_is_answered_and_what_nobody_waits_for_is_dropped() {
        let (mut rota, [workspace, _]) = (Rota::default(), workspaces());
        let [one, two, broken] =
            ["event.payload == 1", "event.payload == 2", "event.payload ="].map(|text| Arc::new(Condition::new(text)));
        let (reply, mut answer) = oneshot::channel();
        let questions = vec![question("1", &[&one, &two, &broken]), question("2", &[]), question("2", &[&two])];
        let (left, _) = oneshot::channel();
        rota.push(Work::new(workspace, vec![question("1", &[&one])], left));
        rota.push(Work::new(workspace, questions, reply));
        while !rota.order.is_empty() {
            rota.turn();
        }
        let answer = answer.try_recv().expect("it is answered");
        let of = |place: usize| [&one, &two, &broken].map(|condition| answer[place].of(condition));
        assert_eq!(of(0), [Some(true), Some(false), Some(false)]);
        assert_eq!((of(1), of(2)), ([None; 3], [None, Some(true), None]));
    }
}
