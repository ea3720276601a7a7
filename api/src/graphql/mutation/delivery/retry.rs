//! `deliveryRetry`

use async_graphql::{Context, ID, Object, Result, SimpleObject};

use crate::app::delivery::retry;
use crate::graphql::context::CallContext as _;
use crate::graphql::mutation::payload;
use crate::graphql::object::Delivery;
use crate::graphql::object::user_error::DeliveryUserError;

/// Result of `deliveryRetry`.
#[derive(SimpleObject)]
pub(crate) struct DeliveryRetryPayload {
    /// The delivery; null on failure.
    delivery: Option<Delivery>,
    /// Problems with the input. Empty on success.
    user_errors: Vec<DeliveryUserError>,
}

#[derive(Default)]
pub(crate) struct DeliveryRetry;

#[Object]
impl DeliveryRetry {
    /// Retry a delivery now, from a final status or RETRYING, with a fresh round of its retry policy. Needs
    /// DELIVERY_WRITE.
    async fn delivery_retry(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "ID of the delivery.")] id: ID,
    ) -> Option<Result<DeliveryRetryPayload>> {
        Some(
            async {
                payload(
                    retry(ctx.app()?, ctx.caller()?, &id).await,
                    |row| DeliveryRetryPayload { delivery: Some(Delivery(row)), user_errors: Vec::new() },
                    |user_errors| DeliveryRetryPayload { delivery: None, user_errors },
                )
            }
            .await,
        )
    }
}
