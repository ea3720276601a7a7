//! HTTP destinations.
#![expect(clippy::too_many_arguments, reason = "the arguments of a connection are those of Relay")]

use angarium_entity::api_key::Scope;
use angarium_entity::endpoint;
use angarium_entity::workspace::SecretVisibility;
use async_graphql::{Context, ID, Object, Result};

use super::enums::{DeliveryOrdering, StrictExhaustion, WebhookBodyFormat, WebhookEndpointStatus};
use super::{HttpHeader, WebhookEndpointHealth, WebhookSigning, Workspace};
use crate::app::{AppError, delivery};
use crate::graphql::context::CallContext as _;
use crate::graphql::input::{DeliveryOrder, DeliveryWhere, WebhookSubscriptionOrder, WebhookSubscriptionWhere};
use crate::graphql::node;
use crate::graphql::page::{DeliveryConnection, Listing, PageArgs, WebhookSubscriptionConnection};
use crate::graphql::scalar::{DateTime, Duration, Url, Uuid};

/// A row.
pub(crate) struct WebhookEndpoint(pub(crate) endpoint::Model);

impl From<endpoint::Model> for WebhookEndpoint {
    fn from(row: endpoint::Model) -> Self {
        Self(row)
    }
}

/// An HTTP destination with its own signing secret.
#[Object]
impl WebhookEndpoint {
    /// When the endpoint was created.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// Deliveries to the endpoint, newest first; null without DELIVERY_READ.
    async fn deliveries(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Return the first _n_ entries (1-100, default 20 when `last` is absent).")] first: Option<i32>,
        #[graphql(desc = "Return entries after this cursor.")] after: Option<String>,
        #[graphql(desc = "Return the last _n_ entries (1-100).")] last: Option<i32>,
        #[graphql(desc = "Return entries before this cursor.")] before: Option<String>,
        #[graphql(
            desc = "Skip this many entries (0-10000), for page-number interfaces. Cannot be combined with `after`, `last` or `before`."
        )]
        offset: Option<i32>,
        #[graphql(name = "where", desc = "Keep only deliveries that match every given condition.")] filter: Option<
            DeliveryWhere,
        >,
        #[graphql(desc = "Order of the result.", default_with = "Some(DeliveryOrder::default())")] order_by: Option<
            DeliveryOrder,
        >,
    ) -> Option<Result<DeliveryConnection>> {
        let args = PageArgs { first, after, last, before, offset };
        Some(self.delivery_page(ctx, filter.unwrap_or_default(), args, order_by).await)
    }

    /// Note for people.
    async fn description(&self) -> Option<&str> {
        self.0.description.as_deref()
    }

    /// Extra request headers, in the order in which they are sent. Values of headers marked secret are masked.
    async fn headers(&self) -> Vec<HttpHeader> {
        self.0.headers.masked().into_iter().map(Into::into).collect()
    }

    /// Deliveries not yet in a final status; stops at 10,000.
    async fn backlog(&self, ctx: &Context<'_>) -> Result<i32> {
        let backlog = ctx.loaders()?.backlog(self.0.id, self.0.shard).await?;
        Ok(i32::try_from(backlog.count).unwrap_or(i32::MAX))
    }

    /// What the request body looks like.
    async fn body_format(&self) -> WebhookBodyFormat {
        self.0.body_format.into()
    }

    /// Recent health.
    async fn health(&self, ctx: &Context<'_>) -> Result<WebhookEndpointHealth> {
        let health = ctx.loaders()?.health(self.0.workspace_id, self.0.id).await?;
        Ok(WebhookEndpointHealth::new(health, ctx.app()?.now()))
    }

    /// Global ID.
    pub(crate) async fn id(&self) -> ID {
        node::id(&self.0.id)
    }

    /// Largest number of requests in flight at once; 1 unless `ordering` is NONE.
    async fn max_in_flight(&self) -> i32 {
        self.0.max_in_flight
    }

    /// Display name.
    async fn name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }

    /// When the oldest unfinished delivery was created; null without a backlog.
    async fn oldest_pending_at(&self, ctx: &Context<'_>) -> Option<Result<DateTime>> {
        async { Ok(ctx.loaders()?.backlog(self.0.id, self.0.shard).await?.oldest.map(DateTime::from)) }
            .await
            .transpose()
    }

    /// What a STRICT endpoint does when the head of its line fails for good.
    async fn on_exhausted(&self) -> StrictExhaustion {
        self.0.on_exhausted.into()
    }

    /// In which order deliveries go out.
    async fn ordering(&self) -> DeliveryOrdering {
        self.0.ordering.into()
    }

    /// Largest number of requests per second, first attempts and retries; null for no limit.
    async fn rate_limit_per_second(&self) -> Option<i32> {
        self.0.rate_limit_per_second
    }

    /// How requests are signed. Never contains the secret.
    async fn signing(&self, ctx: &Context<'_>) -> Result<WebhookSigning> {
        let secrets = ctx.loaders()?.secrets(self.0.id).await?;
        Ok(WebhookSigning::new(self.0.signature_scheme, &secrets, ctx.app()?.now()))
    }

    /// The signing secret, the newest during a rotation; null unless the workspace lets secrets be read and the caller has
    /// WEBHOOK_SECRET_READ, and when unsigned.
    async fn signing_secret(&self, ctx: &Context<'_>) -> Option<Result<String>> {
        self.readable_secret(ctx).await.transpose()
    }

    /// Whether deliveries go out.
    async fn status(&self) -> WebhookEndpointStatus {
        self.0.status.into()
    }

    /// Explanation of `status` for people.
    async fn status_reason(&self) -> Option<&str> {
        self.0.status_reason.as_deref()
    }

    /// Subscriptions that deliver here. Needs WEBHOOK_READ.
    async fn subscriptions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Return the first _n_ entries (1-100, default 20 when `last` is absent).")] first: Option<i32>,
        #[graphql(desc = "Return entries after this cursor.")] after: Option<String>,
        #[graphql(desc = "Return the last _n_ entries (1-100).")] last: Option<i32>,
        #[graphql(desc = "Return entries before this cursor.")] before: Option<String>,
        #[graphql(name = "where", desc = "Keep only subscriptions that match every given condition.")] filter: Option<
            WebhookSubscriptionWhere,
        >,
        #[graphql(desc = "Order of the result.", default_with = "Some(WebhookSubscriptionOrder::default())")]
        order_by: Option<WebhookSubscriptionOrder>,
    ) -> Result<WebhookSubscriptionConnection> {
        ctx.require(Scope::WebhookRead)?;
        let filter = filter.unwrap_or_default().parse()?;
        let select = filter.select(ctx.app()?, self.0.workspace_id)?;
        let select = crate::app::subscription::of_endpoint(select, self.0.id);
        let args = PageArgs { first, after, last, before, offset: None };
        let listing = Listing::new(select, args, WebhookSubscriptionOrder::or_default(order_by))?;
        let slice = ctx.loaders()?.subscription_page(listing.request.clone()).await?;
        Ok(listing.dress(slice).into())
    }

    /// Time allowed for one request.
    async fn timeout(&self) -> Duration {
        std::time::Duration::from_millis(u64::try_from(self.0.timeout_ms).unwrap_or(0)).into()
    }

    /// When the endpoint was last changed.
    async fn updated_at(&self) -> DateTime {
        self.0.updated_at.into()
    }

    /// Destination URL.
    async fn url(&self) -> Url {
        Url(self.0.url.clone())
    }

    /// The same identity as a plain UUID.
    async fn uuid(&self) -> Uuid {
        self.0.id.uuid().into()
    }

    /// Increases with every change of the settings.
    async fn version(&self) -> i32 {
        self.0.version
    }

    /// The workspace of the endpoint.
    async fn workspace(&self, ctx: &Context<'_>) -> Result<Workspace> {
        let found = ctx.loaders()?.workspace(self.0.workspace_id).await?;
        let missing = || AppError::Inconsistent(format!("{} has no workspace", self.0.id));
        Ok(Workspace(found.ok_or_else(missing)?))
    }
}

impl WebhookEndpoint {
    async fn readable_secret(&self, ctx: &Context<'_>) -> Result<Option<String>> {
        if ctx.require(Scope::WebhookSecretRead).is_err() {
            return Ok(None);
        }
        let workspace = ctx.loaders()?.workspace(self.0.workspace_id).await?;
        if workspace.is_none_or(|workspace| workspace.secret_visibility != SecretVisibility::Readable) {
            return Ok(None);
        }
        let secrets = ctx.loaders()?.secrets(self.0.id).await?;
        let Some(current) = secrets.iter().rfind(|secret| secret.expires_at.is_none()) else { return Ok(None) };
        let opened = current.open(&ctx.app()?.sealer);
        let lost = |error| AppError::Inconsistent(format!("the secret of {} does not open: {error}", self.0.id));
        Ok(Some(opened.map_err(lost)?.reveal().to_owned()))
    }

    async fn delivery_page(
        &self,
        ctx: &Context<'_>,
        filter: DeliveryWhere,
        args: PageArgs,
        order: Option<DeliveryOrder>,
    ) -> Result<DeliveryConnection> {
        ctx.require(Scope::DeliveryRead)?;
        let filter = filter.parse()?.within(delivery::Parent::Endpoint(self.0.id));
        let order = DeliveryOrder::or_default(order);
        let state = ctx.app()?;
        let select = filter.select(state.db.backend(), self.0.workspace_id, order.sort, state.now())?;
        let listing = Listing::new(select, args, order)?;
        let slice = ctx.loaders()?.delivery_page(listing.request.clone()).await?;
        Ok(listing.dress(slice).into())
    }
}
