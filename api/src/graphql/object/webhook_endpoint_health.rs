//! How an endpoint has been doing lately.

use angarium_entity::{Timestamp, endpoint_health};
use async_graphql::SimpleObject;

use super::enums::{CircuitState, WebhookEndpointHealthStatus};
use crate::graphql::scalar::DateTime;

/// Recent health of an endpoint. Tests count, too.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct WebhookEndpointHealth {
    /// State of the circuit breaker.
    circuit: CircuitState,
    /// Failed attempts since the last success.
    consecutive_failures: i32,
    /// When the last attempt failed.
    last_failure_at: Option<DateTime>,
    /// When the last attempt succeeded, to within 10 seconds.
    last_success_at: Option<DateTime>,
    /// Summary.
    status: WebhookEndpointHealthStatus,
}

impl WebhookEndpointHealth {
    /// As it is at `now`.
    pub(crate) fn new(row: endpoint_health::Model, now: Timestamp) -> Self {
        Self {
            circuit: row.circuit(now).into(),
            consecutive_failures: row.consecutive_failures,
            last_failure_at: row.last_failure_at.map(Into::into),
            last_success_at: row.last_success_at.map(Into::into),
            status: row.status.into(),
        }
    }
}
