//! `eventTypeUpdate`

use async_graphql::{Context, InputObject, MaybeUndefined, Object, Result, SimpleObject};

use crate::app::Change;
use crate::app::event_type::{Patch, update};
use crate::graphql::context::CallContext as _;
use crate::graphql::mutation::payload;
use crate::graphql::object::EventType;
use crate::graphql::object::user_error::EventTypeUserError;
use crate::graphql::scalar::{EventTypeName, Json};

/// Fields of an event type to change.
#[derive(Clone, Debug, InputObject)]
pub(crate) struct EventTypeUpdateInput {
    /// What the event means, at most 4096 characters.
    description: MaybeUndefined<String>,
    /// An example payload, at most 256 KiB.
    sample_payload: MaybeUndefined<Json>,
    /// JSON Schema (2020-12) that the sample and every later payload must satisfy; see `EventTypeCreateInput`. It holds
    /// from the next publish on.
    schema: MaybeUndefined<Json>,
    /// The service that emits the event, at most 128 characters.
    service: MaybeUndefined<String>,
}

impl From<EventTypeUpdateInput> for Patch {
    fn from(input: EventTypeUpdateInput) -> Self {
        Self {
            service: input.service.into(),
            description: input.description.into(),
            sample_payload: Change::from(input.sample_payload).map(|json| json.0),
            schema: Change::from(input.schema).map(|json| json.0),
        }
    }
}

/// Result of `eventTypeUpdate`.
#[derive(SimpleObject)]
pub(crate) struct EventTypeUpdatePayload {
    /// The event type; null on failure.
    event_type: Option<EventType>,
    /// Problems with the input. Empty on success.
    user_errors: Vec<EventTypeUserError>,
}

#[derive(Default)]
pub(crate) struct EventTypeUpdate;

#[Object]
impl EventTypeUpdate {
    /// Change an event type. Absent fields keep their value; null clears an optional field. Needs EVENT_TYPE_WRITE.
    async fn event_type_update(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Name of the event type.")] name: EventTypeName,
        #[graphql(desc = "The fields to change.")] input: EventTypeUpdateInput,
    ) -> Option<Result<EventTypeUpdatePayload>> {
        Some(
            async {
                payload(
                    update(ctx.app()?, ctx.caller()?, &name.0, input.into()).await,
                    |row| EventTypeUpdatePayload { event_type: Some(EventType(row)), user_errors: Vec::new() },
                    |user_errors| EventTypeUpdatePayload { event_type: None, user_errors },
                )
            }
            .await,
        )
    }
}
