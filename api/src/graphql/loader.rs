//! Everything that the objects of a page have in common is loaded together: a page of a hundred costs as many
//! statements as a page of one.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use angarium_entity::{
    ApiKeyId, DeliveryId, EndpointId, EventId, SubscriptionId, Timestamp, WorkspaceId, api_key, attempt, delivery,
    endpoint, endpoint_health, endpoint_revision, event, event_type, signing_secret, subscription,
    subscription_revision, workspace,
};
use sea_orm::sea_query::SelectStatement;
use tokio::sync::oneshot;

use crate::AppState;
use crate::app::AppError;
use crate::app::delivery::Front;
use crate::app::list::{self, COUNT_MAX, Listed, Request, Slice};

mod backlog;
mod child;
mod line;
mod parent;

pub(crate) use backlog::Backlog;

/// An answer that many fields may share.
pub(crate) type Loaded<T> = Result<T, Arc<AppError>>;
/// A row of a tenant.
type Key<I> = (WorkspaceId, I);

/// Collects the questions that the fields of one operation ask at the same time, and answers them together.
///
/// async-graphql's own `DataLoader` waits a millisecond on another thread, and what the fields have not asked by then
/// becomes a second statement; here nothing depends on how fast the machine is. A field that asks gives way once.
/// Fields of one operation are polled by one task, so when the first of them goes on, all that could ask have asked.
pub(crate) struct Batch<Q, A> {
    waiting: Mutex<Vec<(Q, oneshot::Sender<Loaded<A>>)>>,
}

impl<Q, A> Default for Batch<Q, A> {
    fn default() -> Self {
        Self { waiting: Mutex::new(Vec::new()) }
    }
}

impl<Q: Clone, A> Batch<Q, A> {
    /// The answer to `question`. `answer_all` answers in the order of the questions.
    async fn ask<F>(&self, question: Q, answer_all: impl Fn(Vec<Q>) -> F) -> Loaded<A>
    where
        F: Future<Output = Result<Vec<A>, AppError>>,
    {
        loop {
            let (sender, receiver) = oneshot::channel();
            self.lock().push((question.clone(), sender));
            tokio::task::yield_now().await;
            let (questions, senders): (Vec<_>, Vec<_>) = std::mem::take(&mut *self.lock()).into_iter().unzip();
            if !questions.is_empty() {
                let answers = answer_all(questions).await.map_err(Arc::new);
                match answers {
                    Ok(answers) => {
                        for (sender, answer) in senders.into_iter().zip(answers) {
                            // Whoever asked may be gone: another field of its object has failed.
                            drop(sender.send(Ok(answer)));
                        }
                    }
                    Err(error) => {
                        for sender in senders {
                            drop(sender.send(Err(Arc::clone(&error))));
                        }
                    }
                }
            }
            // The field that went to ask may be gone as well; then another asks.
            if let Ok(answer) = receiver.await {
                return answer;
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Q, oneshot::Sender<Loaded<A>>)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The batches of one operation. Never shared between operations: there is no cache, and so nothing to go stale in a
/// subscription that lives for days.
pub(crate) struct Loaders {
    state: AppState,
    workspaces: Batch<WorkspaceId, Option<workspace::Model>>,
    api_keys: Batch<Key<ApiKeyId>, Option<api_key::Model>>,
    endpoints: Batch<Key<EndpointId>, Option<endpoint::Model>>,
    subscriptions: Batch<Key<SubscriptionId>, Option<subscription::Model>>,
    events: Batch<Key<EventId>, Option<event::Model>>,
    deliveries: Batch<Key<DeliveryId>, Option<delivery::Model>>,
    event_types: Batch<String, Option<event_type::Model>>,
    revisions: Batch<(EndpointId, i32), Option<endpoint_revision::Model>>,
    subscription_revisions: Batch<(SubscriptionId, i32), Option<subscription_revision::Model>>,
    secrets: Batch<EndpointId, Vec<signing_secret::Model>>,
    backlogs: Batch<(EndpointId, i32), Backlog>,
    healths: Batch<Key<EndpointId>, endpoint_health::Model>,
    fronts: Batch<(EndpointId, i32), Front>,
    limits: Batch<EndpointId, Option<Timestamp>>,
    last_attempts: Batch<DeliveryId, Option<attempt::Model>>,
    in_flight: Batch<(EndpointId, DeliveryId), bool>,
    counts: Batch<SelectStatement, u64>,
    delivery_pages: Batch<Request<delivery::Entity>, Slice<delivery::Model>>,
    attempt_pages: Batch<Request<attempt::Entity>, Slice<attempt::Model>>,
    subscription_pages: Batch<Request<subscription::Entity>, Slice<subscription::Model>>,
    api_key_pages: Batch<Request<api_key::Entity>, Slice<api_key::Model>>,
}

impl Loaders {
    /// Nothing asked yet.
    pub(crate) fn new(state: AppState) -> Self {
        Self {
            state,
            workspaces: Batch::default(),
            api_keys: Batch::default(),
            endpoints: Batch::default(),
            subscriptions: Batch::default(),
            events: Batch::default(),
            deliveries: Batch::default(),
            event_types: Batch::default(),
            revisions: Batch::default(),
            subscription_revisions: Batch::default(),
            secrets: Batch::default(),
            backlogs: Batch::default(),
            healths: Batch::default(),
            fronts: Batch::default(),
            limits: Batch::default(),
            last_attempts: Batch::default(),
            in_flight: Batch::default(),
            counts: Batch::default(),
            delivery_pages: Batch::default(),
            attempt_pages: Batch::default(),
            subscription_pages: Batch::default(),
            api_key_pages: Batch::default(),
        }
    }

    /// How many rows `counting` counts, up to [`COUNT_MAX`].
    pub(crate) async fn count(&self, counting: SelectStatement) -> Loaded<u64> {
        self.counts
            .ask(counting, |statements| async move {
                let counts = list::numbers(self.state.db.read(), &statements).await?;
                Ok(counts.into_iter().map(|count| count.and_then(|c| u64::try_from(c).ok()).unwrap_or(0)).collect())
            })
            .await
            .map(|count| count.min(COUNT_MAX))
    }

    async fn page<E: Listed>(
        &self,
        batch: &Batch<Request<E>, Slice<E::Model>>,
        request: Request<E>,
    ) -> Loaded<Slice<E::Model>> {
        batch.ask(request, |requests| async move { Ok(list::slices(self.state.db.read(), &requests).await?) }).await
    }
}

/// The rows of `found` in the order of `keys`, and none where there is none.
fn in_order<K: Eq + Hash, V: Clone>(keys: &[K], found: &HashMap<K, V>) -> Vec<Option<V>> {
    keys.iter().map(|key| found.get(key).cloned()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::{Either, join_all, select};

    use super::*;

    #[tokio::test]
    async fn what_is_asked_at_the_same_time_is_answered_together() {
        let (batch, calls) = (Batch::default(), AtomicUsize::new(0));
        let double = |questions: Vec<usize>| {
            calls.fetch_add(1, Ordering::Relaxed);
            async move { Ok(questions.into_iter().map(|question| question * 2).collect()) }
        };
        let answers = join_all((0..200).map(|question| batch.ask(question, double))).await;
        assert!(answers.into_iter().enumerate().all(|(question, answer)| answer.is_ok_and(|a| a == question * 2)));
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn an_error_reaches_everybody_who_asked() {
        let batch: Batch<u8, u8> = Batch::default();
        let fail = |_| async { Err(AppError::Stopping) };
        let answers = join_all((0..3).map(|question| batch.ask(question, fail))).await;
        assert!(answers.iter().all(Result::is_err));
    }

    #[tokio::test]
    async fn who_asked_is_answered_although_the_one_who_went_is_gone() {
        let batch: Batch<u8, u8> = Batch::default();
        let never = Box::pin(batch.ask(1, |_| std::future::pending()));
        let other = Box::pin(batch.ask(2, |questions| async { Ok(questions) }));
        let gone = Box::pin(async {
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
        });
        let first = async {
            match select(never, gone).await {
                Either::Left(_) => unreachable!("nobody answers it"),
                Either::Right(((), never)) => drop(never),
            }
        };
        let ((), answer) = futures_util::future::join(first, other).await;
        assert_eq!(answer.ok(), Some(2));
    }
}
