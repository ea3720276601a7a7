//! When failed deliveries are tried again.

use angarium_entity::retry_policy;
use async_graphql::Object;

use crate::graphql::input::RetryStrategy;
use crate::graphql::scalar::Duration;

/// A stored policy.
pub(crate) struct RetryPolicy(pub(crate) retry_policy::RetryPolicy);

/// When failed deliveries are tried again.
#[Object]
impl RetryPolicy {
    /// The delays between attempts, before jitter, in order.
    async fn delays(&self) -> Vec<Duration> {
        self.0.delays().into_iter().map(Duration::from).collect()
    }

    /// Total number of attempts, including the first and without probes of the circuit breaker.
    async fn max_attempts(&self) -> i32 {
        self.0.max_attempts().into()
    }

    /// How the delays came about.
    async fn strategy(&self) -> RetryStrategy {
        match &self.0 {
            retry_policy::RetryPolicy::Standard { .. } => RetryStrategy::Standard,
            retry_policy::RetryPolicy::Custom { .. } => RetryStrategy::Custom,
            retry_policy::RetryPolicy::Computed { growth, .. } => (*growth).into(),
        }
    }
}
