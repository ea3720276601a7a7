//! `replayCancel`

use async_graphql::{Context, ID, Object, Result, SimpleObject};

use crate::app::replay::cancel;
use crate::graphql::context::CallContext as _;
use crate::graphql::mutation::payload;
use crate::graphql::object::Replay;
use crate::graphql::object::user_error::DeliveryUserError;

/// Result of `replayCancel`.
#[derive(SimpleObject)]
pub(crate) struct ReplayCancelPayload {
    /// The replay; null on failure.
    replay: Option<Replay>,
    /// Problems with the input. Empty on success.
    user_errors: Vec<DeliveryUserError>,
}

#[derive(Default)]
pub(crate) struct ReplayCancel;

#[Object]
impl ReplayCancel {
    /// Stop a running replay. It creates no more deliveries; those that it has created go on. Needs DELIVERY_WRITE.
    async fn replay_cancel(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "ID of the replay.")] id: ID,
    ) -> Option<Result<ReplayCancelPayload>> {
        Some(
            async {
                payload(
                    cancel(ctx.app()?, ctx.caller()?, &id).await,
                    |row| ReplayCancelPayload { replay: Some(Replay(row)), user_errors: Vec::new() },
                    |user_errors| ReplayCancelPayload { replay: None, user_errors },
                )
            }
            .await,
        )
    }
}
