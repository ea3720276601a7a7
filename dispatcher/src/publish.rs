//! What is published, and what becomes of it.

use std::sync::Arc;
use std::time::Duration;

use angarium_entity::{EndpointId, SubscriptionId, Timestamp, TraceContext, WorkspaceId, event};

/// An event to publish, checked by the caller: its type exists and its payload is within the limit.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Its tenant.
    pub workspace_id: WorkspaceId,
    /// Name of its type.
    pub event_type: String,
    /// The payload as its JSON text.
    pub payload: String,
    /// Channels that it belongs to.
    pub channels: Vec<String>,
    /// The version of the catalogue that the payload was checked by.
    pub catalogue_version: i64,
    /// When it happened; defaults to now.
    pub occurred_at: Option<Timestamp>,
    /// Makes the publish safe to repeat.
    pub idempotency_key: Option<String>,
    /// Deliver no earlier than this; what is past is at once.
    pub deliver_at: Option<Timestamp>,
    /// What its attempts are a part of.
    pub trace: Option<TraceContext>,
}

/// A test event to one subscription: past filter, line and pause, once. Checked by the caller like [`NewEvent`].
#[derive(Clone, Debug)]
pub struct NewTest {
    /// Its tenant.
    pub workspace_id: WorkspaceId,
    /// The subscription that is tested.
    pub subscription_id: SubscriptionId,
    /// Its endpoint.
    pub endpoint_id: EndpointId,
    /// Name of its type.
    pub event_type: String,
    /// The payload as its JSON text.
    pub payload: String,
    /// What its attempt is a part of.
    pub trace: Option<TraceContext>,
}

/// A committed event: it and its deliveries are stored.
#[derive(Clone, Debug)]
pub struct Published {
    /// The event; the first one, if the key was seen before.
    pub event: Arc<event::Model>,
    /// Whether the idempotency key was seen before, with the same content.
    pub duplicate: bool,
}

/// Why an event was not published. Nothing of it is stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PublishError {
    /// The key was used with another type, payload or channels.
    #[error("the idempotency key was used with another event")]
    IdempotencyMismatch,
    /// The key was used with this event, which was deleted since.
    #[error("the idempotency key was used with an event that was deleted since")]
    EventGone,
    /// The catalogue has changed since the payload was checked; check it again.
    #[error("the catalogue has changed")]
    CatalogueChanged,
    /// There is no such workspace.
    #[error("the workspace does not exist")]
    UnknownWorkspace,
    /// More events wait to be committed than may.
    #[error("too many events wait to be committed; try again in {} ms", retry_after.as_millis())]
    Overloaded {
        /// When to try again.
        retry_after: Duration,
    },
    /// The dispatcher is stopping.
    #[error("the server is stopping")]
    Stopping,
    /// The database did not take it, or did not say whether it did.
    #[error("the database did not confirm the event")]
    Database(#[source] Arc<sea_orm::DbErr>),
}
