//! `deliveryDelete`

use async_graphql::{Context, ID, Object, Result, SimpleObject};

use crate::app::delivery::delete;
use crate::graphql::context::CallContext as _;
use crate::graphql::mutation::payload;
use crate::graphql::node;
use crate::graphql::object::user_error::DeliveryUserError;

/// Result of `deliveryDelete`.
#[derive(SimpleObject)]
pub(crate) struct DeliveryDeletePayload {
    /// ID of the deleted delivery; null on failure.
    deleted_delivery_id: Option<ID>,
    /// Problems with the input. Empty on success.
    user_errors: Vec<DeliveryUserError>,
}

#[derive(Default)]
pub(crate) struct DeliveryDelete;

#[Object]
impl DeliveryDelete {
    /// Delete a delivery record with its attempts, whatever its status. An open one is not sent any more; a request that
    /// is in flight ends and is not recorded. Needs DELIVERY_WRITE.
    async fn delivery_delete(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "ID of the delivery.")] id: ID,
    ) -> Option<Result<DeliveryDeletePayload>> {
        Some(
            async {
                payload(
                    delete(ctx.app()?, ctx.caller()?, &id).await,
                    |id| DeliveryDeletePayload { deleted_delivery_id: Some(node::id(&id)), user_errors: Vec::new() },
                    |user_errors| DeliveryDeletePayload { deleted_delivery_id: None, user_errors },
                )
            }
            .await,
        )
    }
}
