//! Kinds of event.

use angarium_entity::event_type;
use async_graphql::{ID, Object};

use crate::graphql::node;
use crate::graphql::scalar::{DateTime, EventTypeName, Json};

/// A row.
pub(crate) struct EventType(pub(crate) event_type::Model);

impl From<event_type::Model> for EventType {
    fn from(row: event_type::Model) -> Self {
        Self(row)
    }
}

/// A kind of event.
#[Object]
impl EventType {
    /// When the event type was archived; null while it can be subscribed to.
    async fn archived_at(&self) -> Option<DateTime> {
        self.0.archived_at.map(Into::into)
    }

    /// When the event type was created.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// What the event means.
    async fn description(&self) -> Option<&str> {
        self.0.description.as_deref()
    }

    /// Global ID.
    pub(crate) async fn id(&self) -> ID {
        node::id(&self.0.id)
    }

    /// Unique name, such as `sms.outbound`.
    async fn name(&self) -> EventTypeName {
        EventTypeName(self.0.name.clone())
    }

    /// An example payload.
    async fn sample_payload(&self) -> Option<Json> {
        self.0.sample_payload.clone().map(Json)
    }

    /// JSON Schema (2020-12) that published payloads must satisfy, as it was given. `format` says what a text is and is
    /// not checked.
    async fn schema(&self) -> Option<Json> {
        self.0.schema.clone().map(Json)
    }

    /// The service that emits the event, such as `channels`.
    async fn service(&self) -> Option<&str> {
        self.0.service.as_deref()
    }

    /// When the event type was last changed.
    async fn updated_at(&self) -> DateTime {
        self.0.updated_at.into()
    }
}
