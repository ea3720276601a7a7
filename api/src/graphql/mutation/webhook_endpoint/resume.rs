//! `webhookEndpointResume`

use async_graphql::{Context, ID, Object, Result, SimpleObject};

use crate::app::endpoint::resume;
use crate::graphql::context::CallContext as _;
use crate::graphql::mutation::payload;
use crate::graphql::object::WebhookEndpoint;
use crate::graphql::object::user_error::WebhookEndpointUserError;

/// Result of `webhookEndpointResume`.
#[derive(SimpleObject)]
pub(crate) struct WebhookEndpointResumePayload {
    /// The endpoint; null on failure.
    webhook_endpoint: Option<WebhookEndpoint>,
    /// Problems with the input. Empty on success.
    user_errors: Vec<WebhookEndpointUserError>,
}

#[derive(Default)]
pub(crate) struct WebhookEndpointResume;

#[Object]
impl WebhookEndpointResume {
    /// Deliver to a paused or suspended endpoint again. Needs WEBHOOK_SUBSCRIBE.
    async fn webhook_endpoint_resume(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "ID of the endpoint.")] id: ID,
    ) -> Option<Result<WebhookEndpointResumePayload>> {
        Some(
            async {
                payload(
                    resume(ctx.app()?, ctx.caller()?, &id).await,
                    |row| WebhookEndpointResumePayload {
                        webhook_endpoint: Some(WebhookEndpoint(row)),
                        user_errors: Vec::new(),
                    },
                    |user_errors| WebhookEndpointResumePayload { webhook_endpoint: None, user_errors },
                )
            }
            .await,
        )
    }
}
