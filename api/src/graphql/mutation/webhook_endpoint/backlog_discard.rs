//! `webhookEndpointBacklogDiscard`

use async_graphql::{Context, ID, Object, Result, SimpleObject};

use crate::app::endpoint::discard;
use crate::graphql::context::CallContext as _;
use crate::graphql::mutation::payload;
use crate::graphql::object::WebhookEndpoint;
use crate::graphql::object::user_error::WebhookEndpointUserError;
use crate::graphql::scalar::DateTime;

/// Result of `webhookEndpointBacklogDiscard`.
#[derive(SimpleObject)]
pub(crate) struct WebhookEndpointBacklogDiscardPayload {
    /// How many deliveries were canceled; null on failure.
    discarded_count: Option<i32>,
    /// The endpoint; null on failure.
    webhook_endpoint: Option<WebhookEndpoint>,
    /// Problems with the input. Empty on success.
    user_errors: Vec<WebhookEndpointUserError>,
}

#[derive(Default)]
pub(crate) struct WebhookEndpointBacklogDiscard;

#[Object]
impl WebhookEndpointBacklogDiscard {
    /// Cancel waiting deliveries of an endpoint, in steps; this goes on to the end although nobody waits for the
    /// answer. Needs WEBHOOK_SUBSCRIBE.
    async fn webhook_endpoint_backlog_discard(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "ID of the endpoint.")] id: ID,
        #[graphql(desc = "Only deliveries created before this instant; absent means all.")] before: Option<DateTime>,
    ) -> Option<Result<WebhookEndpointBacklogDiscardPayload>> {
        Some(
            async {
                let before = before.as_ref().map(|before| before.0.as_str());
                payload(
                    discard(ctx.app()?, ctx.caller()?, &id, before).await,
                    |(row, count)| WebhookEndpointBacklogDiscardPayload {
                        discarded_count: Some(i32::try_from(count).unwrap_or(i32::MAX)),
                        webhook_endpoint: Some(WebhookEndpoint(row)),
                        user_errors: Vec::new(),
                    },
                    |user_errors| WebhookEndpointBacklogDiscardPayload {
                        discarded_count: None,
                        webhook_endpoint: None,
                        user_errors,
                    },
                )
            }
            .await,
        )
    }
}
