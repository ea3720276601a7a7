//! Credentials, without the credential.

use angarium_entity::api_key;
use async_graphql::{Context, ID, Object, Result};

use super::Workspace;
use super::enums::ApiScope;
use crate::graphql::context::CallContext as _;
use crate::graphql::node;
use crate::graphql::scalar::DateTime;

/// A row.
pub(crate) struct ApiKey(pub(crate) api_key::Model);

impl From<api_key::Model> for ApiKey {
    fn from(row: api_key::Model) -> Self {
        Self(row)
    }
}

/// A credential for this API, scoped to one workspace.
#[Object]
impl ApiKey {
    /// When the key was created.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// When the key stops working; null for never.
    async fn expires_at(&self) -> Option<DateTime> {
        self.0.expires_at.map(Into::into)
    }

    /// Global ID.
    pub(crate) async fn id(&self) -> ID {
        node::id(&self.0.id)
    }

    /// When the key was last used, to the minute.
    async fn last_used_at(&self) -> Option<DateTime> {
        self.0.last_used_at.map(Into::into)
    }

    /// Display name.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// First characters of the key, such as `sk_live_3fa1`.
    async fn prefix(&self) -> &str {
        &self.0.prefix
    }

    /// When the key was revoked; null while it works.
    async fn revoked_at(&self) -> Option<DateTime> {
        self.0.revoked_at.map(Into::into)
    }

    /// What the key may do.
    async fn scopes(&self) -> Vec<ApiScope> {
        self.0.scopes.iter().map(ApiScope::from).collect()
    }

    /// The workspace that the key acts on; null for an administrator's.
    async fn workspace(&self, ctx: &Context<'_>) -> Option<Result<Workspace>> {
        let id = self.0.workspace_id?;
        async { Ok(ctx.loaders()?.workspace(id).await?.map(Workspace)) }.await.transpose()
    }
}
