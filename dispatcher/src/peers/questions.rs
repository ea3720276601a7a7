//! Questions to another node, and their answers. A question that stays without answer is answered by its asker.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use angarium_entity::{DeliveryId, EndpointId, NodeId};
use tokio::sync::oneshot;

use super::frame::Frame;
use super::{Order, Peers};

/// How long an answer is waited for.
const ANSWER_WITHIN: Duration = Duration::from_millis(250);

/// Which of these have a request running?
pub(crate) type Question = Vec<(EndpointId, DeliveryId)>;

/// Those that wait for an answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Questions(Arc<Asked>);

#[derive(Debug, Default)]
struct Asked {
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Vec<bool>>>>,
}

impl Questions {
    pub(super) fn answered(&self, number: u64, answer: Vec<bool>) {
        if let Some(waiting) = self.lock().remove(&number) {
            let _ = waiting.send(answer);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<Vec<bool>>>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peers {
    /// Which of these are in flight at `node`, in the order of the question; none of them when it does not answer.
    pub(crate) async fn ask_in_flight(&self, node: NodeId, question: Question) -> Vec<bool> {
        let count = question.len();
        let number = self.questions.0.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.questions.lock().insert(number, answer);
        self.order(Order::Frame(node, Frame { question: Some((number, question)), ..Frame::default() }));
        let answer = tokio::time::timeout(ANSWER_WITHIN, answered).await;
        self.questions.lock().remove(&number);
        let mut answer = answer.ok().and_then(Result::ok).unwrap_or_default();
        answer.resize(count, false);
        answer
    }
}
