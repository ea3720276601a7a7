//! The subscription root.

use angarium_entity::ReplayId;
use angarium_entity::api_key::Scope;
use async_graphql::{Context, ID, Result, Subscription};
use futures_util::{Stream, StreamExt as _};

use super::context::CallContext as _;
use super::input::{DeliveryWhere, EventWhere, WebhookEndpointWhere, WebhookSubscriptionWhere};
use super::node;
use crate::app::delivery::updates::{Attempts, Deliveries, Endpoints, Events, Replays, Start, Subscriptions, stream};

mod live;

pub(crate) use live::{
    DeliveryAttemptUpdate, DeliveryUpdate, EventUpdate, LiveUpdate, ReplayUpdate, WebhookEndpointUpdate,
    WebhookSubscriptionUpdate,
};

/// The subscription root: live streams over graphql-transport-ws or text/event-stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subscription;

/// The subscription root: live streams over graphql-transport-ws or text/event-stream.
#[Subscription]
impl Subscription {
    /// Finished delivery attempts. Needs DELIVERY_READ.
    async fn delivery_attempt_completed(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            name = "where",
            desc = "Keep only attempts of deliveries that match every given condition; `status` matches the status before or after the attempt."
        )]
        filter: Option<DeliveryWhere>,
        #[graphql(desc = "Resume after this `cursor`; without it the stream starts now.")] after: Option<String>,
    ) -> Result<impl Stream<Item = Result<DeliveryAttemptUpdate>> + use<>> {
        let subject = Attempts(filter.unwrap_or_default().parse()?);
        let stream = stream(ctx.app()?, ctx.caller()?, subject, Start { after, snapshot: false }).await?;
        Ok(stream.map(|message| Ok(DeliveryAttemptUpdate(message?))))
    }

    /// Status changes of deliveries. Needs DELIVERY_READ.
    async fn delivery_updated(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            name = "where",
            desc = "Keep only deliveries that match every given condition; `status` matches the status before or after the change."
        )]
        filter: Option<DeliveryWhere>,
        #[graphql(desc = "Resume after this `cursor`; without it the stream starts now.")] after: Option<String>,
        #[graphql(
            desc = "Send the current state of matching non-terminal deliveries first. With `after` nothing is sent again; a snapshot that was interrupted goes on.",
            default
        )]
        snapshot: bool,
    ) -> Result<impl Stream<Item = Result<DeliveryUpdate>> + use<>> {
        let subject = Deliveries(filter.unwrap_or_default().parse()?);
        let stream = stream(ctx.app()?, ctx.caller()?, subject, Start { after, snapshot }).await?;
        Ok(stream.map(|message| Ok(DeliveryUpdate(message?))))
    }

    /// Newly published events. Needs EVENT_READ.
    async fn event_published(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "where", desc = "Keep only events that match every given condition.")] filter: Option<
            EventWhere,
        >,
        #[graphql(desc = "Resume after this `cursor`; without it the stream starts now.")] after: Option<String>,
    ) -> Result<impl Stream<Item = Result<EventUpdate>> + use<>> {
        let subject = Events(filter.unwrap_or_default().parse()?);
        let stream = stream(ctx.app()?, ctx.caller()?, subject, Start { after, snapshot: false }).await?;
        Ok(stream.map(|message| Ok(EventUpdate(message?))))
    }

    /// Progress of a replay. The stream ends behind the end of the replay. Needs DELIVERY_READ; for a replay that does
    /// not exist the error has the code NOT_FOUND.
    async fn replay_progressed(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "ID of the replay.")] id: ID,
        #[graphql(desc = "Resume after this `cursor`; without it the present state comes first.")] after: Option<
            String,
        >,
    ) -> Result<impl Stream<Item = Result<ReplayUpdate>> + use<>> {
        ctx.require(Scope::DeliveryRead)?;
        // What is no ID of a replay is nobody's.
        let subject = Replays(node::parse(&id).unwrap_or(ReplayId(uuid::Uuid::nil())));
        let snapshot = after.is_none();
        let stream = stream(ctx.app()?, ctx.caller()?, subject, Start { after, snapshot }).await?;
        Ok(stream.map(|message| Ok(ReplayUpdate(message?))))
    }

    /// Changes of endpoints: settings, status, health and deletion. Needs WEBHOOK_READ.
    async fn webhook_endpoint_updated(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            name = "where",
            desc = "Keep only endpoints that match every given condition; a deleted one as it was in the end, but without `channel`."
        )]
        filter: Option<WebhookEndpointWhere>,
        #[graphql(desc = "Resume after this `cursor`; without it the stream starts now.")] after: Option<String>,
        #[graphql(
            desc = "Send the current state of matching endpoints first. With `after` nothing is sent again; a snapshot that was interrupted goes on.",
            default
        )]
        snapshot: bool,
    ) -> Result<impl Stream<Item = Result<WebhookEndpointUpdate>> + use<>> {
        let subject = Endpoints(filter.unwrap_or_default().parse()?);
        let stream = stream(ctx.app()?, ctx.caller()?, subject, Start { after, snapshot }).await?;
        Ok(stream.map(|message| Ok(WebhookEndpointUpdate(message?))))
    }

    /// Changes of webhook subscriptions, including status, expiry and deletion. Needs WEBHOOK_READ.
    async fn webhook_subscription_updated(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            name = "where",
            desc = "Keep only subscriptions that match every given condition after the change; a deleted one as it was in the end."
        )]
        filter: Option<WebhookSubscriptionWhere>,
        #[graphql(desc = "Resume after this `cursor`; without it the stream starts now.")] after: Option<String>,
        #[graphql(
            desc = "Send the current state of matching subscriptions first. With `after` nothing is sent again; a snapshot that was interrupted goes on.",
            default
        )]
        snapshot: bool,
    ) -> Result<impl Stream<Item = Result<WebhookSubscriptionUpdate>> + use<>> {
        let subject = Subscriptions(filter.unwrap_or_default().parse()?);
        let stream = stream(ctx.app()?, ctx.caller()?, subject, Start { after, snapshot }).await?;
        Ok(stream.map(|message| Ok(WebhookSubscriptionUpdate(message?))))
    }
}
