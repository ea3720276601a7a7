//! `webhookSubscriptionConfirm`

use async_graphql::{Context, Object, Result, SimpleObject};

use crate::app::subscription::confirm_by;
use crate::graphql::context::CallContext as _;
use crate::graphql::mutation::payload;
use crate::graphql::object::WebhookSubscription;
use crate::graphql::object::user_error::WebhookSubscriptionUserError;

/// Result of `webhookSubscriptionConfirm`.
#[derive(SimpleObject)]
pub(crate) struct WebhookSubscriptionConfirmPayload {
    /// The subscription; null on failure.
    webhook_subscription: Option<WebhookSubscription>,
    /// Problems with the input. Empty on success.
    user_errors: Vec<WebhookSubscriptionUserError>,
}

#[derive(Default)]
pub(crate) struct WebhookSubscriptionConfirm;

#[Object]
impl WebhookSubscriptionConfirm {
    /// Confirm a subscription with the token sent to its endpoint, as opening the link does. Every event whose publish
    /// starts after this answered is matched. Needs WEBHOOK_SUBSCRIBE.
    async fn webhook_subscription_confirm(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Token from the confirmation message.")] token: String,
    ) -> Option<Result<WebhookSubscriptionConfirmPayload>> {
        Some(
            async {
                payload(
                    confirm_by(ctx.app()?, ctx.caller()?, &token).await,
                    |row| WebhookSubscriptionConfirmPayload {
                        webhook_subscription: Some(row.into()),
                        user_errors: Vec::new(),
                    },
                    |user_errors| WebhookSubscriptionConfirmPayload { webhook_subscription: None, user_errors },
                )
            }
            .await,
        )
    }
}
