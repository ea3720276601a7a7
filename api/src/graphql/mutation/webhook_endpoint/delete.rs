//! `webhookEndpointDelete`

use async_graphql::{Context, ID, Object, Result, SimpleObject};

use crate::app::endpoint::delete;
use crate::graphql::context::CallContext as _;
use crate::graphql::mutation::payload;
use crate::graphql::node;
use crate::graphql::object::user_error::WebhookEndpointUserError;

/// Result of `webhookEndpointDelete`.
#[derive(SimpleObject)]
pub(crate) struct WebhookEndpointDeletePayload {
    /// ID of the deleted endpoint; null on failure.
    deleted_webhook_endpoint_id: Option<ID>,
    /// Problems with the input. Empty on success.
    user_errors: Vec<WebhookEndpointUserError>,
}

#[derive(Default)]
pub(crate) struct WebhookEndpointDelete;

#[Object]
impl WebhookEndpointDelete {
    /// Delete a webhook endpoint that no subscription uses. Refused while deliveries wait, unless they are discarded.
    /// Its deliveries stay readable. Needs WEBHOOK_SUBSCRIBE.
    async fn webhook_endpoint_delete(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "ID of the endpoint.")] id: ID,
        #[graphql(desc = "Cancel waiting deliveries.", default = false)] discard: bool,
    ) -> Option<Result<WebhookEndpointDeletePayload>> {
        Some(
            async {
                payload(
                    delete(ctx.app()?, ctx.caller()?, &id, discard).await,
                    |deleted| WebhookEndpointDeletePayload {
                        deleted_webhook_endpoint_id: Some(node::id(&deleted)),
                        user_errors: Vec::new(),
                    },
                    |user_errors| WebhookEndpointDeletePayload { deleted_webhook_endpoint_id: None, user_errors },
                )
            }
            .await,
        )
    }
}
