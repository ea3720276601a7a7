//! `eventPublish`

use angarium_dispatcher::Published;
use async_graphql::{Context, InputObject, Object, Result, SimpleObject};

use crate::app::event::{Draft, publish};
use crate::graphql::context::CallContext as _;
use crate::graphql::input::WorkspaceRefInput;
use crate::graphql::mutation::payload;
use crate::graphql::object::Event;
use crate::graphql::object::user_error::EventUserError;
use crate::graphql::scalar::{DateTime, EventTypeName, Json};

/// An event to publish.
#[derive(Clone, Debug, InputObject)]
pub(crate) struct EventPublishInput {
    /// Deliver no earlier than this instant, at most 30 days ahead; defaults to at once, and so does the past.
    /// Subscriptions are matched at publish.
    deliver_at: Option<DateTime>,
    /// Kind of the event; it must be in the catalogue.
    event_type: EventTypeName,
    /// Makes publishing idempotent for 48 hours, within the workspace; at most 256 characters.
    idempotency_key: Option<String>,
    /// When the event happened; defaults to now.
    occurred_at: Option<DateTime>,
    /// Payload, at most 256 KiB. It must satisfy the schema of its event type, if that has one. Key order and every digit of a number are kept.
    payload: Json,
    /// Channels the event belongs to, at most 5 of at most 128 characters.
    #[graphql(default)]
    channels: Vec<String>,
    /// Workspace of the event; defaults to that of the caller. Only administrators may name another.
    workspace: Option<WorkspaceRefInput>,
}

impl From<EventPublishInput> for Draft {
    fn from(input: EventPublishInput) -> Self {
        Self {
            event_type: input.event_type.0,
            payload: input.payload.0,
            channels: input.channels,
            deliver_at: input.deliver_at.map(|at| at.0),
            occurred_at: input.occurred_at.map(|at| at.0),
            idempotency_key: input.idempotency_key,
            workspace: input.workspace.map(Into::into),
            trace: None,
        }
    }
}

/// Result of `eventPublish`.
#[derive(SimpleObject)]
pub(crate) struct EventPublishPayload {
    /// Whether the idempotency key was seen before; `event` is then the earlier event.
    duplicate: bool,
    /// The event; null on failure.
    event: Option<Event>,
    /// Problems with the input. Empty on success.
    user_errors: Vec<EventUserError>,
}

impl From<Published> for EventPublishPayload {
    fn from(published: Published) -> Self {
        let event = std::sync::Arc::unwrap_or_clone(published.event);
        Self { duplicate: published.duplicate, event: Some(Event(event)), user_errors: Vec::new() }
    }
}

impl EventPublishPayload {
    /// An event that was not taken.
    pub(crate) fn refused(user_errors: Vec<EventUserError>) -> Self {
        Self { duplicate: false, event: None, user_errors }
    }
}

#[derive(Default)]
pub(crate) struct EventPublish;

#[Object]
impl EventPublish {
    /// Publish an event to every matching subscription. When this answers, the event and its deliveries are stored.
    /// Needs EVENT_PUBLISH.
    async fn event_publish(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The event to publish.")] input: EventPublishInput,
    ) -> Option<Result<EventPublishPayload>> {
        Some(
            async {
                let draft = Draft { trace: ctx.trace(), ..input.into() };
                payload(
                    publish(ctx.app()?, ctx.caller()?, draft).await,
                    EventPublishPayload::from,
                    EventPublishPayload::refused,
                )
            }
            .await,
        )
    }
}
