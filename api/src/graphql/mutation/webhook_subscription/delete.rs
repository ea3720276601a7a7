//! `webhookSubscriptionDelete`

use async_graphql::{Context, ID, Object, Result, SimpleObject};

use crate::app::subscription::delete;
use crate::graphql::context::CallContext as _;
use crate::graphql::mutation::payload;
use crate::graphql::node;
use crate::graphql::object::user_error::WebhookSubscriptionUserError;

/// Result of `webhookSubscriptionDelete`.
#[derive(SimpleObject)]
pub(crate) struct WebhookSubscriptionDeletePayload {
    /// ID of the deleted subscription; null on failure.
    deleted_webhook_subscription_id: Option<ID>,
    /// Problems with the input. Empty on success.
    user_errors: Vec<WebhookSubscriptionUserError>,
}

#[derive(Default)]
pub(crate) struct WebhookSubscriptionDelete;

#[Object]
impl WebhookSubscriptionDelete {
    /// Delete a webhook subscription. Its open deliveries are canceled; all stay readable. An endpoint made inline goes
    /// with its last subscription. Needs WEBHOOK_SUBSCRIBE.
    async fn webhook_subscription_delete(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "ID of the subscription.")] id: ID,
        #[graphql(desc = "Keep an endpoint that was made inline.", default = false)] keep_endpoint: bool,
    ) -> Option<Result<WebhookSubscriptionDeletePayload>> {
        Some(
            async {
                payload(
                    delete(ctx.app()?, ctx.caller()?, &id, keep_endpoint).await,
                    |deleted| WebhookSubscriptionDeletePayload {
                        deleted_webhook_subscription_id: Some(node::id(&deleted)),
                        user_errors: Vec::new(),
                    },
                    |user_errors| WebhookSubscriptionDeletePayload {
                        deleted_webhook_subscription_id: None,
                        user_errors,
                    },
                )
            }
            .await,
        )
    }
}
