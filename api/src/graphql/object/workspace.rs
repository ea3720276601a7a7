//! Tenants.

use angarium_entity::workspace;
use async_graphql::{Context, ID, Object, Result};

use super::RetryPolicy;
use crate::app;
use crate::graphql::context::CallContext as _;
use crate::graphql::node;
use crate::graphql::page::{ApiKeyConnection, Listing, Ordering, PageArgs};
use crate::graphql::scalar::{DateTime, Uuid};

/// A row.
pub(crate) struct Workspace(pub(crate) workspace::Model);

impl From<workspace::Model> for Workspace {
    fn from(row: workspace::Model) -> Self {
        Self(row)
    }
}

/// A tenant: everything below belongs to exactly one workspace.
#[Object]
impl Workspace {
    /// The operator's own identifier of this tenant, unique.
    async fn external_id(&self) -> Option<&str> {
        self.0.external_id.as_deref()
    }

    /// API keys of the workspace, newest first. Needs WORKSPACE_READ.
    async fn api_keys(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Return the first _n_ entries (1-100, default 20 when `last` is absent).")] first: Option<i32>,
        #[graphql(desc = "Return entries after this cursor.")] after: Option<String>,
        #[graphql(desc = "Return the last _n_ entries (1-100).")] last: Option<i32>,
        #[graphql(desc = "Return entries before this cursor.")] before: Option<String>,
    ) -> Result<ApiKeyConnection> {
        let select = app::api_key::list(ctx.caller()?, self.0.id)?;
        let args = PageArgs { first, after, last, before, offset: None };
        let listing = Listing::new(select, args, Ordering { sort: (), descending: true })?;
        let slice = ctx.loaders()?.api_key_page(listing.request.clone()).await?;
        Ok(listing.dress(slice).into())
    }

    /// When the workspace was created.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// Global ID.
    pub(crate) async fn id(&self) -> ID {
        node::id(&self.0.id)
    }

    /// Display name.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Retry policy of subscriptions that set none.
    async fn retry_policy(&self) -> RetryPolicy {
        RetryPolicy(self.0.retry_policy.clone().unwrap_or_default())
    }

    /// When the workspace was last changed.
    async fn updated_at(&self) -> DateTime {
        self.0.updated_at.into()
    }

    /// The same identity as a plain UUID.
    async fn uuid(&self) -> Uuid {
        self.0.id.uuid().into()
    }
}
