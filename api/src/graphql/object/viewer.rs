//! The caller.

use async_graphql::Object;

use super::enums::ApiScope;
use super::{ApiKey, Workspace};
use crate::Caller;

/// The caller of this operation.
pub(crate) struct Viewer(pub(crate) Caller);

/// The authenticated caller.
#[Object]
impl Viewer {
    /// The API key of this request; null for the bootstrap administrator.
    async fn api_key(&self) -> Option<ApiKey> {
        self.0.key.clone().map(ApiKey)
    }

    /// Permissions of the caller.
    async fn scopes(&self) -> Vec<ApiScope> {
        self.0.scopes.iter().map(ApiScope::from).collect()
    }

    /// Workspace that all queries and mutations act on; null for an unscoped administrator.
    async fn workspace(&self) -> Option<Workspace> {
        self.0.workspace.clone().map(Workspace)
    }
}
