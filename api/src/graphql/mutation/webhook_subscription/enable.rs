//! `webhookSubscriptionsEnable`

use async_graphql::{Context, ID, Object, Result, SimpleObject};

use crate::app::subscription::switch;
use crate::graphql::context::CallContext as _;
use crate::graphql::mutation::payload;
use crate::graphql::object::WebhookSubscription;
use crate::graphql::object::user_error::WebhookSubscriptionUserError;

/// Result of `webhookSubscriptionsEnable`.
#[derive(SimpleObject)]
pub(crate) struct WebhookSubscriptionsEnablePayload {
    /// The subscriptions that were changed, in the order of the input.
    webhook_subscriptions: Vec<WebhookSubscription>,
    /// Problems with the input; nothing is changed then. Empty on success.
    user_errors: Vec<WebhookSubscriptionUserError>,
}

#[derive(Default)]
pub(crate) struct WebhookSubscriptionsEnable;

#[Object]
impl WebhookSubscriptionsEnable {
    /// Enable subscriptions; what waited goes out in order. At most 100, all or none. Needs WEBHOOK_SUBSCRIBE.
    async fn webhook_subscriptions_enable(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "IDs of the subscriptions.")] ids: Vec<ID>,
    ) -> Option<Result<WebhookSubscriptionsEnablePayload>> {
        let ids: Vec<_> = ids.into_iter().map(|id| id.0).collect();
        Some(
            async {
                payload(
                    switch(ctx.app()?, ctx.caller()?, &ids, true).await,
                    |rows| WebhookSubscriptionsEnablePayload {
                        webhook_subscriptions: rows.into_iter().map(Into::into).collect(),
                        user_errors: Vec::new(),
                    },
                    |user_errors| WebhookSubscriptionsEnablePayload { webhook_subscriptions: Vec::new(), user_errors },
                )
            }
            .await,
        )
    }
}
