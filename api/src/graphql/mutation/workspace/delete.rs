//! `workspaceDelete`

use async_graphql::{Context, ID, Object, Result, SimpleObject};

use crate::app::workspace::delete;
use crate::graphql::context::CallContext as _;
use crate::graphql::mutation::payload;
use crate::graphql::node;
use crate::graphql::object::user_error::WorkspaceUserError;

/// Result of `workspaceDelete`.
#[derive(SimpleObject)]
pub(crate) struct WorkspaceDeletePayload {
    /// ID of the deleted workspace; null on failure.
    deleted_workspace_id: Option<ID>,
    /// Problems with the input. Empty on success.
    user_errors: Vec<WorkspaceUserError>,
}

#[derive(Default)]
pub(crate) struct WorkspaceDelete;

#[Object]
impl WorkspaceDelete {
    /// Delete a workspace with all that is in it. At once its keys and tokens are refused, its streams close, publishes to
    /// it are refused, nothing more is sent, and its external identifier is free; its rows go in the background. Requires
    /// an administrator key.
    async fn workspace_delete(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "ID of the workspace.")] id: ID,
    ) -> Option<Result<WorkspaceDeletePayload>> {
        Some(
            async {
                payload(
                    delete(ctx.app()?, ctx.caller()?, &id).await,
                    |id| WorkspaceDeletePayload { deleted_workspace_id: Some(node::id(&id)), user_errors: Vec::new() },
                    |user_errors| WorkspaceDeletePayload { deleted_workspace_id: None, user_errors },
                )
            }
            .await,
        )
    }
}
