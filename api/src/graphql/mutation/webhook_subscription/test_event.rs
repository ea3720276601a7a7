//! `webhookSubscriptionTest`

use async_graphql::{Context, ID, Object, Result, SimpleObject};

use crate::app::subscription::send_test;
use crate::graphql::context::CallContext as _;
use crate::graphql::mutation::payload;
use crate::graphql::object::user_error::WebhookSubscriptionUserError;
use crate::graphql::object::{Delivery, Event};
use crate::graphql::scalar::{EventTypeName, Json};

/// Result of `webhookSubscriptionTest`.
#[derive(SimpleObject)]
pub(crate) struct WebhookSubscriptionTestPayload {
    /// The delivery to follow; null on failure.
    delivery: Option<Delivery>,
    /// The test event; null on failure.
    event: Option<Event>,
    /// Problems with the input. Empty on success.
    user_errors: Vec<WebhookSubscriptionUserError>,
}

#[derive(Default)]
pub(crate) struct WebhookSubscriptionTest;

#[Object]
impl WebhookSubscriptionTest {
    /// Send a test event to a subscription, and only to it: past its event types, channels and filter, past the deliveries that
    /// wait, also while it is disabled or its endpoint held, and once, without retries; but not before it is confirmed,
    /// where it has to be. The types of `angarium.*` are tried out with their samples only. Needs WEBHOOK_SUBSCRIBE.
    async fn webhook_subscription_test(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "ID of the subscription.")] id: ID,
        #[graphql(
            desc = "Event type to send; needed when the subscription has only patterns, or else the first that it names."
        )]
        event_type: Option<EventTypeName>,
        #[graphql(
            desc = "Payload to send, at most 256 KiB, by the schema of its event type; defaults to the sample payload of the event type, or else `{}`."
        )]
        payload: Option<Json>,
    ) -> Option<Result<WebhookSubscriptionTestPayload>> {
        let (event_type, text) = (event_type.map(|name| name.0), payload.map(|json| json.0));
        Some(
            async {
                self::payload(
                    send_test(ctx.app()?, ctx.caller()?, &id, event_type, text, ctx.trace()).await,
                    |(event, delivery)| WebhookSubscriptionTestPayload {
                        delivery: Some(Delivery(delivery)),
                        event: Some(Event(event)),
                        user_errors: Vec::new(),
                    },
                    |user_errors| WebhookSubscriptionTestPayload { delivery: None, event: None, user_errors },
                )
            }
            .await,
        )
    }
}
