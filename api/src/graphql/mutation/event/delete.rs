//! `eventDelete`

use async_graphql::{Context, ID, Object, Result, SimpleObject};

use crate::app::event::delete;
use crate::graphql::context::CallContext as _;
use crate::graphql::mutation::payload;
use crate::graphql::node;
use crate::graphql::object::user_error::EventUserError;

/// Result of `eventDelete`.
#[derive(SimpleObject)]
pub(crate) struct EventDeletePayload {
    /// ID of the deleted event; null on failure.
    deleted_event_id: Option<ID>,
    /// Problems with the input. Empty on success.
    user_errors: Vec<EventUserError>,
}

#[derive(Default)]
pub(crate) struct EventDelete;

#[Object]
impl EventDelete {
    /// Delete an event with its payload and deliveries. The event is gone at once and nothing of it is sent any more; a
    /// request that is in flight ends and is not recorded. Where there are more than 500 deliveries, their records
    /// follow in the background. For 48 hours after its publish its idempotency key is answered with EVENT_GONE. Needs
    /// EVENT_PUBLISH.
    async fn event_delete(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "ID of the event.")] id: ID,
    ) -> Option<Result<EventDeletePayload>> {
        Some(
            async {
                payload(
                    delete(ctx.app()?, ctx.caller()?, &id).await,
                    |id| EventDeletePayload { deleted_event_id: Some(node::id(&id)), user_errors: Vec::new() },
                    |user_errors| EventDeletePayload { deleted_event_id: None, user_errors },
                )
            }
            .await,
        )
    }
}
