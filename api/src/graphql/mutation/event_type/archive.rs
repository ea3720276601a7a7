//! `eventTypeArchive`

use async_graphql::{Context, Object, Result, SimpleObject};

use crate::app::event_type::archive;
use crate::graphql::context::CallContext as _;
use crate::graphql::mutation::payload;
use crate::graphql::object::EventType;
use crate::graphql::object::user_error::EventTypeUserError;
use crate::graphql::scalar::EventTypeName;

/// Result of `eventTypeArchive`.
#[derive(SimpleObject)]
pub(crate) struct EventTypeArchivePayload {
    /// The event type; null on failure.
    event_type: Option<EventType>,
    /// Problems with the input. Empty on success.
    user_errors: Vec<EventTypeUserError>,
}

#[derive(Default)]
pub(crate) struct EventTypeArchive;

#[Object]
impl EventTypeArchive {
    /// Archive an event type, or bring it back: it can still be published and existing subscriptions keep it, new ones
    /// cannot use it. Needs EVENT_TYPE_WRITE.
    async fn event_type_archive(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Name of the event type.")] name: EventTypeName,
        #[graphql(desc = "False brings it back.", default = true)] archived: bool,
    ) -> Option<Result<EventTypeArchivePayload>> {
        Some(
            async {
                payload(
                    archive(ctx.app()?, ctx.caller()?, &name.0, archived).await,
                    |row| EventTypeArchivePayload { event_type: Some(EventType(row)), user_errors: Vec::new() },
                    |user_errors| EventTypeArchivePayload { event_type: None, user_errors },
                )
            }
            .await,
        )
    }
}
