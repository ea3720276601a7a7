//! `webhookSubscriptionRenew`

use async_graphql::{Context, ID, Object, Result, SimpleObject};

use crate::app::subscription::renew;
use crate::graphql::context::CallContext as _;
use crate::graphql::mutation::payload;
use crate::graphql::object::WebhookSubscription;
use crate::graphql::object::user_error::WebhookSubscriptionUserError;
use crate::graphql::scalar::Duration;

/// Result of `webhookSubscriptionRenew`.
#[derive(SimpleObject)]
pub(crate) struct WebhookSubscriptionRenewPayload {
    /// The subscription; null on failure.
    webhook_subscription: Option<WebhookSubscription>,
    /// Problems with the input. Empty on success.
    user_errors: Vec<WebhookSubscriptionUserError>,
}

#[derive(Default)]
pub(crate) struct WebhookSubscriptionRenew;

#[Object]
impl WebhookSubscriptionRenew {
    /// Set the expiry of a subscription anew. One that has expired matches events again. Needs WEBHOOK_SUBSCRIBE.
    async fn webhook_subscription_renew(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "ID of the subscription.")] id: ID,
        #[graphql(
            desc = "Lifetime counted from now, 1 minute to 10 years (`P3650D`); defaults to, and is at most, the workspace maximum. Must be given where there is none."
        )]
        expires_in: Option<Duration>,
    ) -> Option<Result<WebhookSubscriptionRenewPayload>> {
        Some(
            async {
                let expires_in = expires_in.as_ref().map(|lifetime| lifetime.0.as_str());
                payload(
                    renew(ctx.app()?, ctx.caller()?, &id, expires_in).await,
                    |row| WebhookSubscriptionRenewPayload {
                        webhook_subscription: Some(row.into()),
                        user_errors: Vec::new(),
                    },
                    |user_errors| WebhookSubscriptionRenewPayload { webhook_subscription: None, user_errors },
                )
            }
            .await,
        )
    }
}
