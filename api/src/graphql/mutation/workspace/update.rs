//! `workspaceUpdate`

use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, Result, SimpleObject};

use crate::app::Change;
use crate::app::workspace::{Patch, Settings, update};
use crate::graphql::context::CallContext as _;
use crate::graphql::input::{RetryPolicyInput, WorkspaceRulesInput};
use crate::graphql::mutation::payload;
use crate::graphql::object::Workspace;
use crate::graphql::object::enums::{SecretVisibility, SubscriptionConfirmation};
use crate::graphql::object::user_error::WorkspaceUserError;
use crate::graphql::scalar::Duration;

/// Fields of a workspace to change.
#[derive(Clone, Debug, InputObject)]
pub(crate) struct WorkspaceUpdateInput {
    /// The operator's own identifier of this tenant, unique, at most 256 characters. Only administrators may change it.
    external_id: MaybeUndefined<String>,
    /// Default and longest lifetime of a subscription, 1 minute to 10 years (`P3650D`); null when subscriptions need not
    /// expire. Subscriptions that exist keep their end.
    max_subscription_lifetime: MaybeUndefined<Duration>,
    /// Display name, 1-256 characters; cannot be null.
    name: MaybeUndefined<String>,
    /// How long a held delivery waits before it becomes EXHAUSTED, 1 minute to 365 days; cannot be null.
    hold_max: MaybeUndefined<Duration>,
    /// How long events and deliveries are kept, 1 day to 10 years (`P3650D`); cannot be null.
    retention: MaybeUndefined<Duration>,
    /// Retry policy of subscriptions that set none; null for the standard one.
    retry_policy: MaybeUndefined<RetryPolicyInput>,
    /// Limits on what subscriptions may ask for; replaces them all, null for none. Subscriptions and endpoints that exist
    /// stay as they are.
    rules: MaybeUndefined<WorkspaceRulesInput>,
    /// Whether signing secrets can be read after creation; cannot be null.
    secret_visibility: MaybeUndefined<SecretVisibility>,
    /// How long an endpoint may fail without one success before it is suspended, 1 minute to 365 days; cannot be null.
    suspend_after: MaybeUndefined<Duration>,
    /// How new subscriptions are confirmed; cannot be null.
    subscription_confirmation: MaybeUndefined<SubscriptionConfirmation>,
}

impl From<WorkspaceUpdateInput> for Patch {
    fn from(input: WorkspaceUpdateInput) -> Self {
        let length = |given: MaybeUndefined<Duration>| Change::from(given).map(|length| length.0);
        let settings = Settings {
            retry_policy: Change::from(input.retry_policy).map(Into::into),
            hold_max: length(input.hold_max),
            retention: length(input.retention),
            suspend_after: length(input.suspend_after),
            max_subscription_lifetime: length(input.max_subscription_lifetime),
            rules: Change::from(input.rules).map(Into::into),
            secret_visibility: Change::from(input.secret_visibility).map(Into::into),
            subscription_confirmation: Change::from(input.subscription_confirmation).map(Into::into),
        };
        Self { name: input.name.into(), external_id: input.external_id.into(), settings }
    }
}

/// Result of `workspaceUpdate`.
#[derive(SimpleObject)]
pub(crate) struct WorkspaceUpdatePayload {
    /// The workspace; null on failure.
    workspace: Option<Workspace>,
    /// Problems with the input. Empty on success.
    user_errors: Vec<WorkspaceUserError>,
}

#[derive(Default)]
pub(crate) struct WorkspaceUpdate;

#[Object]
impl WorkspaceUpdate {
    /// Change a workspace. Absent fields keep their value; null clears an optional field. Needs WORKSPACE_WRITE.
    async fn workspace_update(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "ID of the workspace.")] id: ID,
        #[graphql(desc = "The fields to change.")] input: WorkspaceUpdateInput,
    ) -> Option<Result<WorkspaceUpdatePayload>> {
        Some(
            async {
                payload(
                    update(ctx.app()?, ctx.caller()?, &id, input.into()).await,
                    |row| WorkspaceUpdatePayload { workspace: Some(Workspace(row)), user_errors: Vec::new() },
                    |user_errors| WorkspaceUpdatePayload { workspace: None, user_errors },
                )
            }
            .await,
        )
    }
}
