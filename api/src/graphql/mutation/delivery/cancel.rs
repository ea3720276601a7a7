//! `deliveryCancel`

use async_graphql::{Context, ID, Object, Result, SimpleObject};

use crate::app::delivery::cancel;
use crate::graphql::context::CallContext as _;
use crate::graphql::mutation::payload;
use crate::graphql::object::Delivery;
use crate::graphql::object::user_error::DeliveryUserError;

/// Result of `deliveryCancel`.
#[derive(SimpleObject)]
pub(crate) struct DeliveryCancelPayload {
    /// The delivery; null on failure.
    delivery: Option<Delivery>,
    /// Problems with the input. Empty on success.
    user_errors: Vec<DeliveryUserError>,
}

#[derive(Default)]
pub(crate) struct DeliveryCancel;

#[Object]
impl DeliveryCancel {
    /// Stop a pending or retrying delivery. A request that is in flight is recorded when it ends, and the delivery stays
    /// CANCELED. Needs DELIVERY_WRITE.
    async fn delivery_cancel(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "ID of the delivery.")] id: ID,
    ) -> Option<Result<DeliveryCancelPayload>> {
        Some(
            async {
                payload(
                    cancel(ctx.app()?, ctx.caller()?, &id).await,
                    |row| DeliveryCancelPayload { delivery: Some(Delivery(row)), user_errors: Vec::new() },
                    |user_errors| DeliveryCancelPayload { delivery: None, user_errors },
                )
            }
            .await,
        )
    }
}
