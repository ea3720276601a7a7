//! `workspaceCreate`

use async_graphql::{Context, InputObject, Object, Result, SimpleObject};

use crate::app::Change;
use crate::app::workspace::{Draft, Settings, create};
use crate::graphql::context::CallContext as _;
use crate::graphql::input::{RetryPolicyInput, WorkspaceRulesInput};
use crate::graphql::mutation::payload;
use crate::graphql::object::Workspace;
use crate::graphql::object::enums::{SecretVisibility, SubscriptionConfirmation};
use crate::graphql::object::user_error::WorkspaceUserError;
use crate::graphql::scalar::Duration;

/// A workspace to create.
#[derive(Clone, Debug, InputObject)]
pub(crate) struct WorkspaceCreateInput {
    /// The operator's own identifier of this tenant, unique, at most 256 characters.
    external_id: Option<String>,
    /// Default and longest lifetime of a subscription, 1 minute to 10 years; absent when subscriptions need not expire.
    max_subscription_lifetime: Option<Duration>,
    /// Display name, 1-256 characters.
    name: String,
    /// How long a held delivery waits before it becomes EXHAUSTED, 1 minute to 365 days.
    #[graphql(default_with = "Duration(\"P30D\".to_owned())")]
    hold_max: Duration,
    /// How long events and deliveries are kept, 1 day to 10 years (`P3650D`).
    #[graphql(default_with = "Duration(\"P90D\".to_owned())")]
    retention: Duration,
    /// Retry policy of subscriptions that set none; absent is the standard one.
    retry_policy: Option<RetryPolicyInput>,
    /// Limits on what subscriptions may ask for; absent for none.
    rules: Option<WorkspaceRulesInput>,
    /// Whether signing secrets can be read after creation.
    #[graphql(default_with = "SecretVisibility::Once")]
    secret_visibility: SecretVisibility,
    /// How long an endpoint may fail without one success before it is suspended, 1 minute to 365 days.
    #[graphql(default_with = "Duration(\"P5D\".to_owned())")]
    suspend_after: Duration,
    /// How new subscriptions are confirmed.
    #[graphql(default_with = "SubscriptionConfirmation::None")]
    subscription_confirmation: SubscriptionConfirmation,
}

impl From<WorkspaceCreateInput> for Draft {
    fn from(input: WorkspaceCreateInput) -> Self {
        let settings = Settings {
            retry_policy: given(input.retry_policy),
            hold_max: Change::Set(input.hold_max.0),
            retention: Change::Set(input.retention.0),
            suspend_after: Change::Set(input.suspend_after.0),
            max_subscription_lifetime: given(input.max_subscription_lifetime.map(|length| length.0)),
            rules: given(input.rules),
            secret_visibility: Change::Set(input.secret_visibility.into()),
            subscription_confirmation: Change::Set(input.subscription_confirmation.into()),
        };
        Self { name: input.name, external_id: input.external_id, settings }
    }
}

/// What is not given keeps its default.
fn given<T: Into<U>, U>(value: Option<T>) -> Change<U> {
    value.map_or(Change::Keep, |value| Change::Set(value.into()))
}

/// Result of `workspaceCreate`.
#[derive(SimpleObject)]
pub(crate) struct WorkspaceCreatePayload {
    /// The workspace; null on failure.
    workspace: Option<Workspace>,
    /// Problems with the input. Empty on success.
    user_errors: Vec<WorkspaceUserError>,
}

#[derive(Default)]
pub(crate) struct WorkspaceCreate;

#[Object]
impl WorkspaceCreate {
    /// Create a workspace. Requires an administrator key.
    async fn workspace_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The workspace to create.")] input: WorkspaceCreateInput,
    ) -> Option<Result<WorkspaceCreatePayload>> {
        Some(
            async {
                payload(
                    create(ctx.app()?, ctx.caller()?, input.into()).await,
                    |row| WorkspaceCreatePayload { workspace: Some(Workspace(row)), user_errors: Vec::new() },
                    |user_errors| WorkspaceCreatePayload { workspace: None, user_errors },
                )
            }
            .await,
        )
    }
}
