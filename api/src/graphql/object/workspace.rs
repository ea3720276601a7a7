//! Tenants.

use angarium_entity::workspace;
use async_graphql::{Context, ID, Object, Result};

use super::enums::{SecretVisibility, SubscriptionConfirmation};
use super::{RetryPolicy, WorkspaceRules};
use crate::app;
use crate::graphql::context::CallContext as _;
use crate::graphql::node;
use crate::graphql::page::{ApiKeyConnection, Listing, Ordering, PageArgs};
use crate::graphql::scalar::{DateTime, Duration, Uuid};

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

    /// How long a held delivery waits before it becomes EXHAUSTED.
    async fn hold_max(&self) -> Duration {
        length(self.0.hold_max_ms)
    }

    /// Global ID.
    pub(crate) async fn id(&self) -> ID {
        node::id(&self.0.id)
    }

    /// Default and longest lifetime of a subscription; null when subscriptions need not expire.
    async fn max_subscription_lifetime(&self) -> Option<Duration> {
        self.0.max_subscription_lifetime_ms.map(length)
    }

    /// Display name.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// How long events and deliveries are kept; open deliveries are always kept.
    async fn retention(&self) -> Duration {
        length(self.0.retention_ms)
    }

    /// Retry policy of subscriptions that set none.
    async fn retry_policy(&self) -> RetryPolicy {
        RetryPolicy(self.0.retry_policy.clone().unwrap_or_default())
    }

    /// Limits on what subscriptions may ask for.
    async fn rules(&self) -> WorkspaceRules {
        WorkspaceRules(self.0.rules.clone())
    }

    /// Whether signing secrets can be read after creation.
    async fn secret_visibility(&self) -> SecretVisibility {
        self.0.secret_visibility.into()
    }

    /// Whether new subscriptions must be confirmed by their endpoint.
    async fn subscription_confirmation(&self) -> SubscriptionConfirmation {
        self.0.subscription_confirmation.into()
    }

    /// How long an endpoint may fail without one success before it is suspended.
    async fn suspend_after(&self) -> Duration {
        length(self.0.suspend_after_ms)
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

fn length(millis: i64) -> Duration {
    std::time::Duration::from_millis(u64::try_from(millis).unwrap_or(0)).into()
}
