//! The caller.

use async_graphql::{Context, Object, Result};

use super::enums::ApiScope;
use super::{ApiKey, Workspace};
use crate::Caller;
use crate::graphql::context::CallContext as _;

/// The caller of this operation.
pub(crate) struct Viewer(pub(crate) Caller);

/// The authenticated caller.
#[Object]
impl Viewer {
    /// The API key of this request; null for the bootstrap administrator, and under an access token, whose page has no
    /// business with the key that made it.
    async fn api_key(&self) -> Option<ApiKey> {
        self.0.key.clone().filter(|_| !self.0.by_token).map(ApiKey)
    }

    /// Permissions of the caller.
    async fn scopes(&self) -> Vec<ApiScope> {
        self.0.scopes.iter().map(ApiScope::from).collect()
    }

    /// Workspace that all queries and mutations act on; null for an unscoped administrator.
    async fn workspace(&self, ctx: &Context<'_>) -> Option<Result<Workspace>> {
        let id = self.0.workspace.as_ref()?.id;
        async { Ok(ctx.loaders()?.workspace(id).await?.map(Workspace)) }.await.transpose()
    }
}
