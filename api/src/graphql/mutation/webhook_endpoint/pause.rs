//! `webhookEndpointPause`

use async_graphql::{Context, ID, Object, Result, SimpleObject};

use crate::app::endpoint::pause;
use crate::graphql::context::CallContext as _;
use crate::graphql::mutation::payload;
use crate::graphql::object::WebhookEndpoint;
use crate::graphql::object::user_error::WebhookEndpointUserError;

/// Result of `webhookEndpointPause`.
#[derive(SimpleObject)]
pub(crate) struct WebhookEndpointPausePayload {
    /// The endpoint; null on failure.
    webhook_endpoint: Option<WebhookEndpoint>,
    /// Problems with the input. Empty on success.
    user_errors: Vec<WebhookEndpointUserError>,
}

#[derive(Default)]
pub(crate) struct WebhookEndpointPause;

#[Object]
impl WebhookEndpointPause {
    /// Hold deliveries to an endpoint; they wait, and go out in order on resume. Needs WEBHOOK_SUBSCRIBE.
    async fn webhook_endpoint_pause(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "ID of the endpoint.")] id: ID,
        #[graphql(desc = "Shown as `statusReason`; at most 1024 characters.")] reason: Option<String>,
    ) -> Option<Result<WebhookEndpointPausePayload>> {
        Some(
            async {
                payload(
                    pause(ctx.app()?, ctx.caller()?, &id, reason).await,
                    |row| WebhookEndpointPausePayload {
                        webhook_endpoint: Some(WebhookEndpoint(row)),
                        user_errors: Vec::new(),
                    },
                    |user_errors| WebhookEndpointPausePayload { webhook_endpoint: None, user_errors },
                )
            }
            .await,
        )
    }
}
