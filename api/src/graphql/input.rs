//! Inputs that several operations share.

use angarium_entity::retry_policy::Growth;
use async_graphql::{Enum, ID, InputObject, MaybeUndefined, OneofObject};

use super::scalar::Duration;
use crate::app::Change;
use crate::app::retry_policy::RetryPolicyDraft;
use crate::app::workspace::WorkspaceRef;

mod filter;
mod order;
mod workspace_rules;

pub(crate) use filter::{DeliveryWhere, EventTypeWhere, EventWhere, WebhookEndpointWhere, WebhookSubscriptionWhere};
pub(crate) use order::{DeliveryOrder, EventOrder, WebhookEndpointOrder, WebhookSubscriptionOrder};
pub(crate) use workspace_rules::WorkspaceRulesInput;

/// Names a workspace in exactly one way.
#[derive(Clone, Debug, OneofObject)]
pub(crate) enum WorkspaceRefInput {
    /// The operator's own identifier.
    ExternalId(String),
    /// Global ID.
    Id(ID),
}

impl From<WorkspaceRefInput> for WorkspaceRef {
    fn from(input: WorkspaceRefInput) -> Self {
        match input {
            WorkspaceRefInput::ExternalId(id) => Self::ExternalId(id),
            WorkspaceRefInput::Id(id) => Self::Id(id.0),
        }
    }
}

impl<T> From<MaybeUndefined<T>> for Change<T> {
    fn from(given: MaybeUndefined<T>) -> Self {
        match given {
            MaybeUndefined::Undefined => Self::Keep,
            MaybeUndefined::Null => Self::Clear,
            MaybeUndefined::Value(value) => Self::Set(value),
        }
    }
}

/// How delays between attempts grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub(crate) enum RetryStrategy {
    /// Given one by one.
    Custom,
    /// Doubling.
    Exponential,
    /// The same delay every time.
    Fixed,
    /// Growing by the initial delay each time.
    Linear,
    /// 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h.
    Standard,
}

impl From<Growth> for RetryStrategy {
    fn from(growth: Growth) -> Self {
        match growth {
            Growth::Exponential => Self::Exponential,
            Growth::Fixed => Self::Fixed,
            Growth::Linear => Self::Linear,
        }
    }
}

/// A retry policy, given in exactly one way. Every delay gets a jitter of ±20 %.
#[derive(Clone, Debug, OneofObject)]
pub(crate) enum RetryPolicyInput {
    /// Delays that grow by a rule.
    Computed(ComputedRetryPolicyInput),
    /// The delays one by one, at most 49, each from 0 to 7 days; an empty list never retries.
    Delays(Vec<Duration>),
    /// The standard delays.
    Standard(StandardRetryPolicyInput),
}

/// The standard delays, cut short.
#[derive(Clone, Debug, InputObject)]
pub(crate) struct StandardRetryPolicyInput {
    /// Total number of attempts, including the first; 1-10.
    #[graphql(default = 10)]
    max_attempts: i32,
}

/// Delays that grow by a rule.
#[derive(Clone, Debug, InputObject)]
pub(crate) struct ComputedRetryPolicyInput {
    /// Delay before the first retry, at most 7 days.
    #[graphql(default_with = "Duration(\"PT5S\".to_owned())")]
    initial_delay: Duration,
    /// Total number of attempts, including the first; 1-50.
    #[graphql(default = 10)]
    max_attempts: i32,
    /// Longest delay between attempts, at most 7 days.
    #[graphql(default_with = "Duration(\"PT24H\".to_owned())")]
    max_delay: Duration,
    /// How delays grow; not CUSTOM or STANDARD.
    #[graphql(default_with = "RetryStrategy::Exponential")]
    strategy: RetryStrategy,
}

impl From<RetryPolicyInput> for RetryPolicyDraft {
    fn from(input: RetryPolicyInput) -> Self {
        match input {
            RetryPolicyInput::Standard(input) => Self::Standard { max_attempts: input.max_attempts },
            RetryPolicyInput::Delays(delays) => Self::Delays(delays.into_iter().map(|delay| delay.0).collect()),
            RetryPolicyInput::Computed(input) => Self::Computed {
                growth: match input.strategy {
                    RetryStrategy::Exponential => Some(Growth::Exponential),
                    RetryStrategy::Fixed => Some(Growth::Fixed),
                    RetryStrategy::Linear => Some(Growth::Linear),
                    RetryStrategy::Custom | RetryStrategy::Standard => None,
                },
                initial_delay: input.initial_delay.0,
                max_delay: input.max_delay.0,
                max_attempts: input.max_attempts,
            },
        }
    }
}
