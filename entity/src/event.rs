//! What happened, as published. Immutable.

use sea_orm::entity::prelude::*;

use crate::json::StringList;
use crate::{EventId, Timestamp, TraceContext, TraceParent, WorkspaceId};

/// Most bytes of a payload: 256 KiB.
pub const PAYLOAD_BYTES_MAX: usize = 256 * 1024;
/// Most channels of an event.
pub const CHANNELS_MAX: usize = 5;
/// Most characters of a channel.
pub const CHANNEL_LEN_MAX: usize = 128;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "event")]
pub struct Model {
    /// Key; also the `webhook-id` of every request about it.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: EventId,
    /// Its tenant.
    pub workspace_id: WorkspaceId,
    /// Name of its type.
    pub event_type: String,
    /// The payload as its text.
    pub payload: String,
    /// Channels that it belongs to.
    pub channels: StringList,
    /// The producer's key that makes publishing idempotent.
    pub idempotency_key: Option<String>,
    /// When it happened, says the producer.
    pub occurred_at: Timestamp,
    /// Sent as a test, to one subscription only.
    pub test: bool,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// What is sent in the place of the payload, where that must not be read; see [`crate::confirmation`].
    pub sealed: Option<Vec<u8>>,
    /// The span that its attempts are children of, as a `traceparent`; null when neither the publisher nor this server
    /// traces. See [`crate::trace_context`].
    pub trace_parent: Option<String>,
    /// The `tracestate` that goes with it.
    pub trace_state: Option<String>,
}

impl Model {
    /// Where its publish stands in a trace.
    pub fn trace(&self) -> Option<TraceContext> {
        let parent = TraceParent::parse(self.trace_parent.as_deref()?)?;
        Some(TraceContext { parent, state: self.trace_state.clone() })
    }
}

/// No relations: deliveries of an event are read by its ID, many at once.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The events of a workspace: where a query on behalf of a caller starts.
    pub fn of(workspace: WorkspaceId) -> Select<Self> {
        Self::find().filter(Column::WorkspaceId.eq(workspace))
    }
}
