//! `eventCancel`

use angarium_entity::api_key::Scope;
use angarium_entity::event;
use async_graphql::{ComplexObject, Context, ID, Object, Result, SimpleObject};

use crate::app::event::cancel;
use crate::graphql::context::CallContext as _;
use crate::graphql::mutation::payload;
use crate::graphql::object::Event;
use crate::graphql::object::user_error::EventUserError;

/// Result of `eventCancel`.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(crate) struct EventCancelPayload {
    /// How many deliveries were canceled; null on failure.
    canceled_count: Option<i32>,
    #[graphql(skip)]
    row: Option<event::Model>,
    /// Problems with the input. Empty on success.
    user_errors: Vec<EventUserError>,
}

#[ComplexObject]
impl EventCancelPayload {
    /// The event; null on failure, and without EVENT_READ.
    async fn event(&self, ctx: &Context<'_>) -> Option<Result<Event>> {
        let row = self.row.clone()?;
        Some(ctx.require(Scope::EventRead).map(|()| Event(row)).map_err(Into::into))
    }
}

#[derive(Default)]
pub(crate) struct EventCancel;

#[Object]
impl EventCancel {
    /// Cancel the open deliveries of an event, in steps; this goes on to the end although nobody waits for the answer.
    /// Needs DELIVERY_WRITE.
    async fn event_cancel(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "ID of the event.")] id: ID,
    ) -> Option<Result<EventCancelPayload>> {
        Some(
            async {
                payload(
                    cancel(ctx.app()?, ctx.caller()?, &id).await,
                    |(row, count)| EventCancelPayload {
                        canceled_count: Some(i32::try_from(count).unwrap_or(i32::MAX)),
                        row: Some(row),
                        user_errors: Vec::new(),
                    },
                    |user_errors| EventCancelPayload { canceled_count: None, row: None, user_errors },
                )
            }
            .await,
        )
    }
}
