//! `accessTokenCreate`

use async_graphql::{Context, InputObject, Object, Result, SimpleObject};

use crate::app::access_token::{Draft, create};
use crate::graphql::context::CallContext as _;
use crate::graphql::input::WorkspaceRefInput;
use crate::graphql::mutation::payload;
use crate::graphql::object::enums::ApiScope;
use crate::graphql::object::user_error::WorkspaceUserError;
use crate::graphql::scalar::{DateTime, Duration};

/// A short-lived token to create.
#[derive(Clone, Debug, InputObject)]
pub(crate) struct AccessTokenCreateInput {
    /// Lifetime, 1 minute to 24 hours.
    #[graphql(default_with = "Duration(\"PT1H\".to_owned())")]
    expires_in: Duration,
    /// What the token may do: at least one scope, and none that the caller lacks.
    scopes: Vec<ApiScope>,
    /// Workspace of the token; defaults to that of the caller. Only administrators may name another.
    workspace: Option<WorkspaceRefInput>,
}

impl From<AccessTokenCreateInput> for Draft {
    fn from(input: AccessTokenCreateInput) -> Self {
        Self {
            scopes: input.scopes.into_iter().map(Into::into).collect(),
            expires_in: input.expires_in.0,
            workspace: input.workspace.map(Into::into),
        }
    }
}

/// Result of `accessTokenCreate`.
#[derive(SimpleObject)]
pub(crate) struct AccessTokenCreatePayload {
    /// When the token stops working, never later than the key that made it; null on failure.
    expires_at: Option<DateTime>,
    /// The token, to be sent as `Authorization: Bearer …`; shown only this once; null on failure.
    token: Option<String>,
    /// Problems with the input. Empty on success.
    user_errors: Vec<WorkspaceUserError>,
}

#[derive(Default)]
pub(crate) struct AccessTokenCreate;

#[Object]
impl AccessTokenCreate {
    /// Create a short-lived token for a browser or a customer's page. Needs a key whose scopes include the asked ones;
    /// a token makes neither keys nor tokens. Revoking the key ends its tokens, and closes their streams.
    async fn access_token_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The token to create.")] input: AccessTokenCreateInput,
    ) -> Option<Result<AccessTokenCreatePayload>> {
        Some(
            async {
                payload(
                    create(ctx.app()?, ctx.caller()?, input.into()).await,
                    |(token, expires_at)| AccessTokenCreatePayload {
                        expires_at: Some(expires_at.into()),
                        token: Some(token),
                        user_errors: Vec::new(),
                    },
                    |user_errors| AccessTokenCreatePayload { expires_at: None, token: None, user_errors },
                )
            }
            .await,
        )
    }
}
