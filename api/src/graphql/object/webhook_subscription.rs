//! Rules that send events to an endpoint.
#![expect(clippy::too_many_arguments, reason = "the arguments of a connection are those of Relay")]

use angarium_entity::api_key::Scope;
use angarium_entity::{endpoint, subscription};
use async_graphql::{Context, ID, Object, Result};

use super::{ApiKey, RetryPolicy, WebhookEndpoint, Workspace};
use crate::app::subscription::{Status, explain};
use crate::app::{AppError, delivery};
use crate::graphql::context::CallContext as _;
use crate::graphql::input::{DeliveryOrder, DeliveryWhere};
use crate::graphql::node;
use crate::graphql::page::{DeliveryConnection, Listing, PageArgs};
use crate::graphql::scalar::{DateTime, EventTypePattern, Json, Uuid};

/// A row, and the endpoint if it was made with it: who may make one may see it.
pub(crate) struct WebhookSubscription {
    pub(crate) row: subscription::Model,
    pub(crate) made_with: Option<endpoint::Model>,
}

impl From<subscription::Model> for WebhookSubscription {
    fn from(row: subscription::Model) -> Self {
        Self { row, made_with: None }
    }
}

/// A rule that sends events of some types to an endpoint.
#[Object]
impl WebhookSubscription {
    /// When the endpoint confirmed the subscription; null while it has not, and where the workspace wanted none.
    async fn confirmed_at(&self) -> Option<DateTime> {
        self.row.confirmed_at.map(Into::into)
    }

    /// When the subscription was created.
    async fn created_at(&self) -> DateTime {
        self.row.created_at.into()
    }

    /// The key that created the subscription; null once that key is gone, and without WORKSPACE_READ.
    async fn created_by(&self, ctx: &Context<'_>) -> Option<Result<ApiKey>> {
        let id = self.row.created_by?;
        async {
            ctx.require(Scope::WorkspaceRead)?;
            Ok(ctx.loaders()?.api_key(self.row.workspace_id, id).await?.map(ApiKey))
        }
        .await
        .transpose()
    }

    /// The operator's or customer's own identifier of who owns it, such as a user.
    async fn owner_id(&self) -> Option<&str> {
        self.row.owner_id.as_deref()
    }

    /// Deliveries of the subscription, newest first; null without DELIVERY_READ.
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
        self.row.description.as_deref()
    }

    /// Whether the subscription was switched on by its owner. See `status` for whether it delivers.
    async fn enabled(&self) -> bool {
        self.row.enabled
    }

    /// Where deliveries go. Needs WEBHOOK_READ, except for what this operation made.
    async fn endpoint(&self, ctx: &Context<'_>) -> Result<WebhookEndpoint> {
        if self.made_with.is_none() {
            ctx.require(Scope::WebhookRead)?;
        }
        Ok(WebhookEndpoint(self.load_endpoint(ctx).await?))
    }

    /// Names and patterns of subscribed event types.
    async fn event_types(&self) -> Vec<EventTypePattern> {
        self.row.event_types.0.iter().cloned().map(EventTypePattern).collect()
    }

    /// When the subscription expires; null for never.
    async fn expires_at(&self) -> Option<DateTime> {
        self.row.expires_at.map(Into::into)
    }

    /// CEL expression over `event` (`event.type`, `event.channels`, `event.payload`) that must hold for delivery.
    async fn filter(&self) -> Option<&str> {
        self.row.filter.as_deref()
    }

    /// Global ID.
    pub(crate) async fn id(&self) -> ID {
        node::id(&self.row.id)
    }

    /// Caller-defined key-value data.
    async fn metadata(&self) -> Option<Json> {
        self.row.metadata.clone().map(Json)
    }

    /// Display name.
    async fn name(&self) -> Option<&str> {
        self.row.name.as_deref()
    }

    /// Top-level payload fields to send; null sends all.
    async fn payload_fields(&self) -> Option<&[String]> {
        self.row.payload_fields.as_ref().map(|fields| fields.0.as_slice())
    }

    /// Retry policy; inherited from the workspace when not set.
    async fn retry_policy(&self, ctx: &Context<'_>) -> Result<RetryPolicy> {
        let policy = match &self.row.retry_policy {
            Some(own) => Some(own.clone()),
            None => self.load_workspace(ctx).await?.retry_policy,
        };
        Ok(RetryPolicy(policy.unwrap_or_default()))
    }

    /// Channels (an edition, a project, a customer) whose events match; null matches every event.
    async fn channels(&self) -> Option<&[String]> {
        self.row.channels.as_ref().map(|channels| channels.0.as_slice())
    }

    /// The service of the event types, as given when the subscription was created.
    async fn service(&self) -> Option<&str> {
        self.row.service.as_deref()
    }

    /// Whether and why the subscription delivers or not.
    async fn status(&self, ctx: &Context<'_>) -> Result<Status> {
        Ok(Status::of(&self.row, &self.load_endpoint(ctx).await?, ctx.app()?.now()))
    }

    /// Explanation of `status` for people; null when it delivers.
    async fn status_reason(&self, ctx: &Context<'_>) -> Option<Result<String>> {
        async {
            let endpoint = self.load_endpoint(ctx).await?;
            let status = Status::of(&self.row, &endpoint, ctx.app()?.now());
            Ok(explain(status, &self.row, &endpoint))
        }
        .await
        .transpose()
    }

    /// When the subscription was last changed.
    async fn updated_at(&self) -> DateTime {
        self.row.updated_at.into()
    }

    /// The same identity as a plain UUID.
    async fn uuid(&self) -> Uuid {
        self.row.id.uuid().into()
    }

    /// Increases with every change.
    async fn version(&self) -> i32 {
        self.row.version
    }

    /// The workspace of the subscription.
    async fn workspace(&self, ctx: &Context<'_>) -> Result<Workspace> {
        Ok(Workspace(self.load_workspace(ctx).await?))
    }
}

impl WebhookSubscription {
    async fn load_endpoint(&self, ctx: &Context<'_>) -> Result<endpoint::Model> {
        if let Some(endpoint) = &self.made_with {
            return Ok(endpoint.clone());
        }
        let found = ctx.loaders()?.endpoint(self.row.workspace_id, self.row.endpoint_id).await?;
        let missing = || AppError::Inconsistent(format!("{} has no endpoint", self.row.id));
        Ok(found.ok_or_else(missing)?)
    }

    async fn load_workspace(&self, ctx: &Context<'_>) -> Result<angarium_entity::workspace::Model> {
        let found = ctx.loaders()?.workspace(self.row.workspace_id).await?;
        let missing = || AppError::Inconsistent(format!("{} has no workspace", self.row.id));
        Ok(found.ok_or_else(missing)?)
    }

    async fn delivery_page(
        &self,
        ctx: &Context<'_>,
        filter: DeliveryWhere,
        args: PageArgs,
        order: Option<DeliveryOrder>,
    ) -> Result<DeliveryConnection> {
        ctx.require(Scope::DeliveryRead)?;
        let filter = filter.parse()?.within(delivery::Parent::Subscription(self.row.id));
        let order = DeliveryOrder::or_default(order);
        let state = ctx.app()?;
        let select = filter.select(state.db.backend(), self.row.workspace_id, order.sort, state.now())?;
        let listing = Listing::new(select, args, order)?;
        let slice = ctx.loaders()?.delivery_page(listing.request.clone()).await?;
        Ok(listing.dress(slice).into())
    }
}
