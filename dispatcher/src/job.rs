//! A delivery that is due, with all that its next attempt needs.

use std::sync::Arc;

use angarium_entity::attempt::Trigger;
use angarium_entity::delivery::{self, DeliveryState, Status};
use angarium_entity::{DeliveryId, EndpointId, SubscriptionId, Timestamp, event};

/// A due delivery. The event is shared by all of its deliveries.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) delivery_id: DeliveryId,
    pub(crate) endpoint_id: EndpointId,
    pub(crate) subscription_id: SubscriptionId,
    /// Place in the line.
    pub(crate) seq: i64,
    /// Since when it could have gone out.
    pub(crate) ready_at: Timestamp,
    /// Whether it waited for a time rather than in the line.
    pub(crate) timed: bool,
    pub(crate) status: Status,
    pub(crate) attempt_count: i32,
    pub(crate) round: i32,
    pub(crate) round_attempts: i32,
    /// The circuit breaker lets it through, to ask whether the endpoint is back.
    pub(crate) is_probe: bool,
    pub(crate) event: Arc<event::Model>,
}

impl Job {
    pub(crate) fn new(row: &delivery::Model, event: Arc<event::Model>) -> Self {
        Self {
            delivery_id: row.id,
            endpoint_id: row.endpoint_id,
            subscription_id: row.subscription_id,
            seq: row.seq,
            ready_at: row.next_attempt_at.unwrap_or(row.created_at),
            timed: row.next_attempt_at.is_some(),
            status: row.status,
            attempt_count: row.attempt_count,
            round: row.round,
            round_attempts: row.round_attempts,
            is_probe: false,
            event,
        }
    }

    /// Why its next attempt is made.
    pub(crate) fn trigger(&self) -> Trigger {
        match (self.attempt_count, self.round_attempts) {
            _ if self.is_probe => Trigger::Probe,
            (0, _) => Trigger::Initial,
            (_, 0) if self.round > 1 => Trigger::Manual,
            _ => Trigger::Retry,
        }
    }

    /// See [`delivery::is_begun`].
    pub(crate) fn is_begun(&self) -> bool {
        delivery::is_begun(self.status, self.round, self.round_attempts)
    }

    pub(crate) fn state(&self) -> DeliveryState {
        match self.status {
            Status::Pending => DeliveryState::Pending,
            _ => DeliveryState::Retrying { next_attempt_at: self.ready_at },
        }
    }

    /// Bytes that it holds in memory, roughly.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + size_of::<event::Model>() + self.event.payload.len()
    }
}
