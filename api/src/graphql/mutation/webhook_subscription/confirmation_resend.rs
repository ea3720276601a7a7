//! `webhookSubscriptionConfirmationResend`

use async_graphql::{Context, ID, Object, Result, SimpleObject};

use crate::app::subscription::resend;
use crate::graphql::context::CallContext as _;
use crate::graphql::mutation::payload;
use crate::graphql::object::WebhookSubscription;
use crate::graphql::object::user_error::WebhookSubscriptionUserError;

/// Result of `webhookSubscriptionConfirmationResend`.
#[derive(SimpleObject)]
pub(crate) struct WebhookSubscriptionConfirmationResendPayload {
    /// The subscription; null on failure.
    webhook_subscription: Option<WebhookSubscription>,
    /// Problems with the input. Empty on success.
    user_errors: Vec<WebhookSubscriptionUserError>,
}

#[derive(Default)]
pub(crate) struct WebhookSubscriptionConfirmationResend;

#[Object]
impl WebhookSubscriptionConfirmationResend {
    /// Send the confirmation message again, with another token: the old one works no more. At most once a minute, and
    /// until ten messages were sent within 24 hours, the first and those after a change of the URL included; beyond that
    /// LIMIT_REACHED says when to ask again. Needs WEBHOOK_SUBSCRIBE.
    async fn webhook_subscription_confirmation_resend(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "ID of the subscription.")] id: ID,
    ) -> Option<Result<WebhookSubscriptionConfirmationResendPayload>> {
        Some(
            async {
                payload(
                    resend(ctx.app()?, ctx.caller()?, &id).await,
                    |row| WebhookSubscriptionConfirmationResendPayload {
                        webhook_subscription: Some(row.into()),
                        user_errors: Vec::new(),
                    },
                    |user_errors| WebhookSubscriptionConfirmationResendPayload {
                        webhook_subscription: None,
                        user_errors,
                    },
                )
            }
            .await,
        )
    }
}
