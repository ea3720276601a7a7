//! `apiKeyCreate`

use async_graphql::{Context, InputObject, Object, Result, SimpleObject};

use crate::app::api_key::{Draft, create};
use crate::graphql::context::CallContext as _;
use crate::graphql::input::WorkspaceRefInput;
use crate::graphql::mutation::payload;
use crate::graphql::object::ApiKey;
use crate::graphql::object::enums::ApiScope;
use crate::graphql::object::user_error::WorkspaceUserError;
use crate::graphql::scalar::DateTime;

/// An API key to create.
#[derive(Clone, Debug, InputObject)]
pub(crate) struct ApiKeyCreateInput {
    /// When the key stops working, in the future; absent for never.
    expires_at: Option<DateTime>,
    /// Display name, 1-256 characters.
    name: String,
    /// What the key may do: at least one scope, and none that the caller lacks. ADMIN and EVENT_TYPE_WRITE are given
    /// by administrators only; a key with ADMIN belongs to no workspace.
    scopes: Vec<ApiScope>,
    /// Workspace of the key; defaults to that of the caller. Only administrators may name another.
    workspace: Option<WorkspaceRefInput>,
}

impl From<ApiKeyCreateInput> for Draft {
    fn from(input: ApiKeyCreateInput) -> Self {
        Self {
            name: input.name,
            scopes: input.scopes.into_iter().map(Into::into).collect(),
            expires_at: input.expires_at.map(|at| at.0),
            workspace: input.workspace.map(Into::into),
        }
    }
}

/// Result of `apiKeyCreate`.
#[derive(SimpleObject)]
pub(crate) struct ApiKeyCreatePayload {
    /// The key; null on failure.
    api_key: Option<ApiKey>,
    /// The key itself (`sk_live_` and 64 hex digits), shown only this once; null on failure.
    key: Option<String>,
    /// Problems with the input. Empty on success.
    user_errors: Vec<WorkspaceUserError>,
}

#[derive(Default)]
pub(crate) struct ApiKeyCreate;

#[Object]
impl ApiKeyCreate {
    /// Create an API key. The key is returned only here. Needs WORKSPACE_WRITE.
    async fn api_key_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The key to create.")] input: ApiKeyCreateInput,
    ) -> Option<Result<ApiKeyCreatePayload>> {
        Some(
            async {
                payload(
                    create(ctx.app()?, ctx.caller()?, input.into()).await,
                    |(row, secret)| ApiKeyCreatePayload {
                        api_key: Some(ApiKey(row)),
                        key: Some(secret.reveal().to_owned()),
                        user_errors: Vec::new(),
                    },
                    |user_errors| ApiKeyCreatePayload { api_key: None, key: None, user_errors },
                )
            }
            .await,
        )
    }
}
