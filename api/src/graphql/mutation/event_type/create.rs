//! `eventTypeCreate`

use async_graphql::{Context, InputObject, Object, Result, SimpleObject};

use crate::app::event_type::{Draft, create};
use crate::graphql::context::CallContext as _;
use crate::graphql::mutation::payload;
use crate::graphql::object::EventType;
use crate::graphql::object::user_error::EventTypeUserError;
use crate::graphql::scalar::{EventTypeName, Json};

/// An event type to create.
#[derive(Clone, Debug, InputObject)]
pub(crate) struct EventTypeCreateInput {
    /// What the event means, at most 4096 characters.
    description: Option<String>,
    /// Unique name, without wildcards.
    name: EventTypeName,
    /// An example payload, at most 256 KiB.
    sample_payload: Option<Json>,
    /// JSON Schema (2020-12) that the sample and every published payload must satisfy, at most 64 KiB and 1000 schemas
    /// in all. References lead to its own parts only, patterns must run in linear time (no look-around, no
    /// back-references), and `format` is not checked.
    schema: Option<Json>,
    /// The service that emits the event, at most 128 characters.
    service: Option<String>,
}

impl From<EventTypeCreateInput> for Draft {
    fn from(input: EventTypeCreateInput) -> Self {
        Self {
            name: input.name.0,
            service: input.service,
            description: input.description,
            sample_payload: input.sample_payload.map(|json| json.0),
            schema: input.schema.map(|json| json.0),
        }
    }
}

/// Result of `eventTypeCreate`.
#[derive(SimpleObject)]
pub(crate) struct EventTypeCreatePayload {
    /// The event type; null on failure.
    event_type: Option<EventType>,
    /// Problems with the input. Empty on success.
    user_errors: Vec<EventTypeUserError>,
}

#[derive(Default)]
pub(crate) struct EventTypeCreate;

#[Object]
impl EventTypeCreate {
    /// Add an event type to the catalogue. Needs EVENT_TYPE_WRITE.
    async fn event_type_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The event type to create.")] input: EventTypeCreateInput,
    ) -> Option<Result<EventTypeCreatePayload>> {
        Some(
            async {
                payload(
                    create(ctx.app()?, ctx.caller()?, input.into()).await,
                    |row| EventTypeCreatePayload { event_type: Some(EventType(row)), user_errors: Vec::new() },
                    |user_errors| EventTypeCreatePayload { event_type: None, user_errors },
                )
            }
            .await,
        )
    }
}
