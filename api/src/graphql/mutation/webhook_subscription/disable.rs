//! `webhookSubscriptionsDisable`

use async_graphql::{Context, ID, Object, Result, SimpleObject};

use crate::app::subscription::switch;
use crate::graphql::context::CallContext as _;
use crate::graphql::mutation::payload;
use crate::graphql::object::WebhookSubscription;
use crate::graphql::object::user_error::WebhookSubscriptionUserError;

/// Result of `webhookSubscriptionsDisable`.
#[derive(SimpleObject)]
pub(crate) struct WebhookSubscriptionsDisablePayload {
    /// The subscriptions that were changed, in the order of the input.
    webhook_subscriptions: Vec<WebhookSubscription>,
    /// Problems with the input; nothing is changed then. Empty on success.
    user_errors: Vec<WebhookSubscriptionUserError>,
}

#[derive(Default)]
pub(crate) struct WebhookSubscriptionsDisable;

#[Object]
impl WebhookSubscriptionsDisable {
    /// Disable subscriptions: new events do not match, open deliveries wait. At most 100, all or none. Needs
    /// WEBHOOK_SUBSCRIBE.
    async fn webhook_subscriptions_disable(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "IDs of the subscriptions.")] ids: Vec<ID>,
    ) -> Option<Result<WebhookSubscriptionsDisablePayload>> {
        let ids: Vec<_> = ids.into_iter().map(|id| id.0).collect();
        Some(
            async {
                payload(
                    switch(ctx.app()?, ctx.caller()?, &ids, false).await,
                    |rows| WebhookSubscriptionsDisablePayload {
                        webhook_subscriptions: rows.into_iter().map(Into::into).collect(),
                        user_errors: Vec::new(),
                    },
                    |user_errors| WebhookSubscriptionsDisablePayload { webhook_subscriptions: Vec::new(), user_errors },
                )
            }
            .await,
        )
    }
}
