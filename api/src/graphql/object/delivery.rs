//! One event on its way to one endpoint.

use angarium_dispatcher::render;
use angarium_entity::api_key::Scope;
use angarium_entity::endpoint::BodyFormat;
use angarium_entity::json::StringList;
use angarium_entity::{attempt, delivery, endpoint, event, subscription};
use async_graphql::{Context, ID, Object, Result, SimpleObject};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};

use super::enums::{DeliveryStatus, DeliveryTrigger};
use super::{DeliveryAttempt, Event, WebhookEndpoint, WebhookSubscription};
use crate::app::delivery::{Around, HoldReason, held_by};
use crate::graphql::context::CallContext as _;
use crate::graphql::node;
use crate::graphql::page::{DeliveryAttemptConnection, Listing, Ordering, PageArgs};
use crate::graphql::scalar::{DateTime, EventTypeName, Uuid};

/// A row.
pub(crate) struct Delivery(pub(crate) delivery::Model);

impl From<delivery::Model> for Delivery {
    fn from(row: delivery::Model) -> Self {
        Self(row)
    }
}

/// What holds a delivery.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct DeliveryHold {
    /// Kind of hold.
    reason: HoldReason,
    /// When the hold ends by itself; null when it does not.
    until: Option<DateTime>,
}

/// One event on its way to one endpoint.
#[Object]
impl Delivery {
    /// Number of attempts made, probes of the circuit breaker among them.
    async fn attempt_count(&self) -> i32 {
        self.0.attempt_count
    }

    /// Attempts, oldest first. Needs DELIVERY_READ.
    async fn attempts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Return the first _n_ entries (1-100, default 20 when `last` is absent).")] first: Option<i32>,
        #[graphql(desc = "Return entries after this cursor.")] after: Option<String>,
        #[graphql(desc = "Return the last _n_ entries (1-100).")] last: Option<i32>,
        #[graphql(desc = "Return entries before this cursor.")] before: Option<String>,
    ) -> Result<DeliveryAttemptConnection> {
        ctx.require(Scope::DeliveryRead)?;
        let select = attempt::Entity::find().filter(attempt::Column::DeliveryId.eq(self.0.id));
        let args = PageArgs { first, after, last, before, offset: None };
        let listing = Listing::new(select, args, Ordering { sort: (), descending: false })?;
        let slice = ctx.loaders()?.attempt_page(listing.request.clone()).await?;
        Ok(listing.dress(slice).into())
    }

    /// When the delivery reached a final status.
    async fn completed_at(&self) -> Option<DateTime> {
        self.0.completed_at.map(Into::into)
    }

    /// When the delivery was created.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// The endpoint; null once deleted, and without WEBHOOK_READ.
    async fn endpoint(&self, ctx: &Context<'_>) -> Option<Result<WebhookEndpoint>> {
        async {
            ctx.require(Scope::WebhookRead)?;
            Ok(self.load_endpoint(ctx).await?.map(WebhookEndpoint))
        }
        .await
        .transpose()
    }

    /// The event; null once deleted, and without EVENT_READ.
    async fn event(&self, ctx: &Context<'_>) -> Option<Result<Event>> {
        async {
            ctx.require(Scope::EventRead)?;
            Ok(self.load_event(ctx).await?.map(Event))
        }
        .await
        .transpose()
    }

    /// Name of the event type, kept after the event is gone.
    async fn event_type_name(&self) -> EventTypeName {
        EventTypeName(self.0.event_type.clone())
    }

    /// Why and until when the delivery waits although it is due; null when nothing holds it.
    async fn held_by(&self, ctx: &Context<'_>) -> Option<Result<DeliveryHold>> {
        if !self.0.status.is_open() {
            return None;
        }
        async {
            let (endpoint, subscription) =
                futures_util::future::try_join(self.load_endpoint(ctx), self.load_subscription(ctx)).await?;
            let loaders = ctx.loaders()?;
            let (mut front, mut limited_until, mut probe_at, mut in_flight) = (None, None, None, false);
            if let Some(endpoint) = &endpoint {
                probe_at = loaders.health(endpoint.workspace_id, endpoint.id).await?.probe_at;
                in_flight = loaders.in_flight(endpoint.id, self.0.id).await?;
                if endpoint.ordering == endpoint::Ordering::Strict {
                    front = Some(loaders.front(endpoint.id, endpoint.shard).await?);
                }
                if endpoint.rate_limit_per_second.is_some() {
                    limited_until = loaders.limited_until(endpoint.id).await?;
                }
            }
            let (endpoint, subscription) = (endpoint.as_ref(), subscription.as_ref());
            let around = Around { endpoint, subscription, front, limited_until, probe_at, in_flight };
            let hold = held_by(&self.0, around, ctx.app()?.now());
            Ok(hold.map(|hold| DeliveryHold { reason: hold.reason, until: hold.until.map(Into::into) }))
        }
        .await
        .transpose()
    }

    /// Global ID.
    pub(crate) async fn id(&self) -> ID {
        node::id(&self.0.id)
    }

    /// Whether a request is running, as far as the asked node knows.
    async fn in_flight(&self, ctx: &Context<'_>) -> Result<bool> {
        Ok(self.0.status.is_open() && ctx.loaders()?.in_flight(self.0.endpoint_id, self.0.id).await?)
    }

    /// The latest attempt; null without DELIVERY_READ.
    async fn last_attempt(&self, ctx: &Context<'_>) -> Option<Result<DeliveryAttempt>> {
        async {
            ctx.require(Scope::DeliveryRead)?;
            Ok(self.load_last_attempt(ctx).await?.map(DeliveryAttempt::from))
        }
        .await
        .transpose()
    }

    /// When the latest attempt started.
    async fn last_attempt_at(&self) -> Option<DateTime> {
        self.0.last_attempt_at.map(Into::into)
    }

    /// Attempts allowed by the retry policy, counted from the last manual retry and without probes; null once the
    /// subscription is gone.
    async fn max_attempts(&self, ctx: &Context<'_>) -> Option<Result<i32>> {
        async {
            let Some(subscription) = self.load_subscription(ctx).await? else { return Ok(None) };
            let policy = match subscription.retry_policy {
                Some(own) => Some(own),
                None => {
                    ctx.loaders()?.workspace(self.0.workspace_id).await?.and_then(|workspace| workspace.retry_policy)
                }
            };
            Ok(Some(policy.unwrap_or_default().max_attempts().into()))
        }
        .await
        .transpose()
    }

    /// When the next attempt is due; null when none is.
    async fn next_attempt_at(&self) -> Option<DateTime> {
        self.0.next_attempt_at.map(Into::into)
    }

    /// The body, as text: of an open delivery what will be sent, of one that is final what was sent last. Null once the
    /// event, or what it would be sent by, is gone, and without EVENT_READ.
    async fn body(&self, ctx: &Context<'_>) -> Option<Result<String>> {
        async {
            ctx.require(Scope::EventRead)?;
            let (event, form) = futures_util::future::try_join(self.load_event(ctx), self.load_form(ctx)).await?;
            Ok(event.zip(form).map(|(event, (format, fields))| render::body(format, &event, fields.as_ref())))
        }
        .await
        .transpose()
    }

    /// HTTP status of the latest response.
    async fn response_status_code(&self) -> Option<i32> {
        self.0.response_status_code
    }

    /// Signature header of the latest attempt; null without DELIVERY_READ.
    async fn signature(&self, ctx: &Context<'_>) -> Option<Result<String>> {
        async {
            ctx.require(Scope::DeliveryRead)?;
            Ok(self.load_last_attempt(ctx).await?.and_then(|attempt| attempt.signature))
        }
        .await
        .transpose()
    }

    /// Where the delivery stands.
    async fn status(&self) -> DeliveryStatus {
        self.0.status.into()
    }

    /// Explanation of `status` for people, such as why the delivery is EXHAUSTED; null when there is nothing to explain.
    async fn status_reason(&self) -> Option<&str> {
        self.0.status_reason.as_deref()
    }

    /// The subscription; null once deleted, and without WEBHOOK_READ.
    async fn subscription(&self, ctx: &Context<'_>) -> Option<Result<WebhookSubscription>> {
        async {
            ctx.require(Scope::WebhookRead)?;
            Ok(self.load_subscription(ctx).await?.map(WebhookSubscription::from))
        }
        .await
        .transpose()
    }

    /// Why the delivery exists.
    async fn trigger(&self) -> DeliveryTrigger {
        self.0.trigger.into()
    }

    /// When the delivery last changed.
    async fn updated_at(&self) -> DateTime {
        self.0.updated_at.into()
    }

    /// The same identity as a plain UUID.
    async fn uuid(&self) -> Uuid {
        self.0.id.uuid().into()
    }
}

impl Delivery {
    /// What the body is made by.
    async fn load_form(&self, ctx: &Context<'_>) -> Result<Option<(BodyFormat, Option<StringList>)>> {
        if !self.0.status.is_open()
            && let Some(attempt) = self.load_last_attempt(ctx).await?
        {
            let loaders = ctx.loaders()?;
            let (of_endpoint, of_subscription) = futures_util::future::try_join(
                loaders.revision(self.0.endpoint_id, attempt.endpoint_version),
                loaders.subscription_revision(self.0.subscription_id, attempt.subscription_version),
            )
            .await?;
            let form = of_endpoint.zip(of_subscription);
            return Ok(form.map(|(endpoint, subscription)| (endpoint.body_format, subscription.payload_fields)));
        }
        let form = futures_util::future::try_join(self.load_endpoint(ctx), self.load_subscription(ctx)).await?;
        Ok(form.0.zip(form.1).map(|(endpoint, subscription)| (endpoint.body_format, subscription.payload_fields)))
    }

    async fn load_endpoint(&self, ctx: &Context<'_>) -> Result<Option<endpoint::Model>> {
        Ok(ctx.loaders()?.endpoint(self.0.workspace_id, self.0.endpoint_id).await?)
    }

    async fn load_event(&self, ctx: &Context<'_>) -> Result<Option<event::Model>> {
        Ok(ctx.loaders()?.event(self.0.workspace_id, self.0.event_id).await?)
    }

    async fn load_subscription(&self, ctx: &Context<'_>) -> Result<Option<subscription::Model>> {
        Ok(ctx.loaders()?.subscription(self.0.workspace_id, self.0.subscription_id).await?)
    }

    async fn load_last_attempt(&self, ctx: &Context<'_>) -> Result<Option<attempt::Model>> {
        if self.0.attempt_count == 0 {
            return Ok(None);
        }
        Ok(ctx.loaders()?.last_attempt(self.0.id).await?)
    }
}
