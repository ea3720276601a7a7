//! `workspaceCreate`

use async_graphql::{Context, InputObject, Object, Result, SimpleObject};

use crate::app::workspace::{Draft, create};
use crate::graphql::context::CallContext as _;
use crate::graphql::input::RetryPolicyInput;
use crate::graphql::mutation::payload;
use crate::graphql::object::Workspace;
use crate::graphql::object::user_error::WorkspaceUserError;

/// A workspace to create.
#[derive(Clone, Debug, InputObject)]
pub(crate) struct WorkspaceCreateInput {
    /// The operator's own identifier of this tenant, unique, at most 256 characters.
    external_id: Option<String>,
    /// Display name, 1-256 characters.
    name: String,
    /// Retry policy of subscriptions that set none; absent is the standard one.
    retry_policy: Option<RetryPolicyInput>,
}

impl From<WorkspaceCreateInput> for Draft {
    fn from(input: WorkspaceCreateInput) -> Self {
        Self { name: input.name, external_id: input.external_id, retry_policy: input.retry_policy.map(Into::into) }
    }
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
