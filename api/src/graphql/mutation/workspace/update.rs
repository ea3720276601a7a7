//! `workspaceUpdate`

use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, Result, SimpleObject};

use crate::app::Change;
use crate::app::workspace::{Patch, update};
use crate::graphql::context::CallContext as _;
use crate::graphql::input::RetryPolicyInput;
use crate::graphql::mutation::payload;
use crate::graphql::object::Workspace;
use crate::graphql::object::user_error::WorkspaceUserError;

/// Fields of a workspace to change.
#[derive(Clone, Debug, InputObject)]
pub(crate) struct WorkspaceUpdateInput {
    /// The operator's own identifier of this tenant, unique, at most 256 characters. Only administrators may change it.
    external_id: MaybeUndefined<String>,
    /// Display name, 1-256 characters; cannot be null.
    name: MaybeUndefined<String>,
    /// Retry policy of subscriptions that set none; null for the standard one.
    retry_policy: MaybeUndefined<RetryPolicyInput>,
}

impl From<WorkspaceUpdateInput> for Patch {
    fn from(input: WorkspaceUpdateInput) -> Self {
        Self {
            name: input.name.into(),
            external_id: input.external_id.into(),
            retry_policy: Change::from(input.retry_policy).map(Into::into),
        }
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
