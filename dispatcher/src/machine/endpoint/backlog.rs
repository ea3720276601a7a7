//! What waits in memory for an endpoint, and who is next.
//!
//! Without STRICT, retries wait by their time beside the line of first attempts, and who has been ready longest goes
//! first. With STRICT a retry stands in the line: what was begun goes before everything else, so that nothing starts
//! before it is final, and what was asked for by hand stands where it joined. Only what is scheduled waits beside the
//! line, and joins it when it is due.

use std::collections::{BTreeMap, HashSet};

use angarium_entity::delivery::Status;
use angarium_entity::endpoint::Ordering;
use angarium_entity::{DeliveryId, Timestamp};

use crate::job::Job;

/// A place in the line: what was begun comes first, then publish order.
type Place = (bool, i64);

/// Jobs in memory, boxed: a leaf of these maps has room for eleven, and of a hundred thousand endpoints most have one.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    line: BTreeMap<Place, Box<Job>>,
    /// By time; ties by id.
    due: BTreeMap<(Timestamp, DeliveryId), Box<Job>>,
    /// Ids of all of them, and their size.
    ids: HashSet<DeliveryId>,
    bytes: usize,
}

impl Backlog {
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    pub(super) fn in_line(&self) -> usize {
        self.line.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn contains(&self, delivery: DeliveryId) -> bool {
        self.ids.contains(&delivery)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes in a job that is not there yet.
    pub(super) fn keep(&mut self, job: Job, ordering: Ordering) {
        self.ids.insert(job.delivery_id);
        self.bytes += job.bytes();
        let is_retry = job.status == Status::Retrying;
        if job.timed && !(is_retry && ordering == Ordering::Strict) {
            self.due.insert((job.ready_at, job.delivery_id), Box::new(job));
        } else {
            // No two deliveries have the same place. If they had, one is left to the rows: a job that is counted and cannot
            // be taken out would have its endpoint ask for grants for ever.
            if let Some(former) = self.line.insert((!job.is_begun(), job.seq), Box::new(job)) {
                self.ids.remove(&former.delivery_id);
                self.bytes = self.bytes.saturating_sub(former.bytes());
            }
        }
    }

    pub(super) fn remove(&mut self, delivery: DeliveryId) {
        if self.ids.remove(&delivery) {
            let is_other = |job: &Job| job.delivery_id != delivery;
            self.line.retain(|_, job| is_other(job));
            self.due.retain(|_, job| is_other(job));
            self.bytes = self.line.values().chain(self.due.values()).map(|job| job.bytes()).sum();
        }
    }

    /// Until when the line stands still, because its head was tried before and waits for its time. Only with STRICT
    /// does such a job stand in the line.
    pub(super) fn stands_until(&self, now: Timestamp) -> Option<Timestamp> {
        let (_, head) = self.line.first_key_value()?;
        (head.status == Status::Retrying && head.ready_at > now).then_some(head.ready_at)
    }

    /// Takes out who is next: who has been ready longest of the head of the line and the first of the due. A head that
    /// was tried before, or asked for by hand, lets nobody pass.
    pub(super) fn pop(&mut self) -> Option<Job> {
        let head = self.line.first_key_value().map(|(_, job)| (job.status, job.ready_at));
        let first_due = self.due.first_key_value().map(|(&(at, _), _)| at);
        let is_due_first = match (head, first_due) {
            (Some((Status::Pending, head)), Some(due)) => due <= head,
            (head, _) => head.is_none(),
        };
        let job = if is_due_first {
            self.due.pop_first().map(|(_, job)| job)
        } else {
            self.line.pop_first().map(|(_, job)| job)
        }?;
        self.ids.remove(&job.delivery_id);
        self.bytes = self.bytes.saturating_sub(job.bytes());
        Some(*job)
    }
}
