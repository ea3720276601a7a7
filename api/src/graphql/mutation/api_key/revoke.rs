//! `apiKeyRevoke`

use async_graphql::{Context, ID, Object, Result, SimpleObject};

use crate::app::api_key::revoke;
use crate::graphql::context::CallContext as _;
use crate::graphql::mutation::payload;
use crate::graphql::object::ApiKey;
use crate::graphql::object::user_error::WorkspaceUserError;

/// Result of `apiKeyRevoke`.
#[derive(SimpleObject)]
pub(crate) struct ApiKeyRevokePayload {
    /// The key; null on failure.
    api_key: Option<ApiKey>,
    /// Problems with the input. Empty on success.
    user_errors: Vec<WorkspaceUserError>,
}

#[derive(Default)]
pub(crate) struct ApiKeyRevoke;

#[Object]
impl ApiKeyRevoke {
    /// Revoke an API key: it stops at once, on other nodes within 5 seconds, and its streams are closed. Doing it again
    /// changes nothing. Needs WORKSPACE_WRITE.
    async fn api_key_revoke(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "ID of the key.")] id: ID,
    ) -> Option<Result<ApiKeyRevokePayload>> {
        Some(
            async {
                payload(
                    revoke(ctx.app()?, ctx.caller()?, &id).await,
                    |row| ApiKeyRevokePayload { api_key: Some(ApiKey(row)), user_errors: Vec::new() },
                    |user_errors| ApiKeyRevokePayload { api_key: None, user_errors },
                )
            }
            .await,
        )
    }
}
