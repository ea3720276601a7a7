//! Past events being sent again.

use angarium_entity::replay;
use async_graphql::{ID, Object};

use super::enums::ReplayStatus;
use crate::graphql::node;
use crate::graphql::scalar::DateTime;

/// A row.
#[derive(Clone)]
pub(crate) struct Replay(pub(crate) replay::Model);

impl From<replay::Model> for Replay {
    fn from(row: replay::Model) -> Self {
        Self(row)
    }
}

/// Past events being sent again, in their publish order, with their old `webhook-id`, to the subscriptions as they are
/// now. An endpoint gets an event once per replay, at the end of its line. Test events, messages that ask for a
/// confirmation, and events that are gone, are left out; other events of `angarium.*` are sent again like any, to those
/// subscribed by name.
#[Object]
impl Replay {
    /// When the replay ended.
    async fn completed_at(&self) -> Option<DateTime> {
        self.0.completed_at.map(Into::into)
    }

    /// When the replay was created.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// Deliveries created so far.
    async fn created_count(&self) -> i32 {
        self.0.created_count
    }

    /// Why the replay failed; null unless FAILED.
    async fn failure_reason(&self) -> Option<&str> {
        self.0.failure_reason.as_deref()
    }

    /// Global ID.
    pub(crate) async fn id(&self) -> ID {
        node::id(&self.0.id)
    }

    /// Events that match; null until counted.
    async fn matched_count(&self) -> Option<i32> {
        self.0.matched_count
    }

    /// Deliveries created per second at most; null for no limit.
    async fn rate_per_second(&self) -> Option<i32> {
        self.0.rate_per_second
    }

    /// Where the replay stands.
    async fn status(&self) -> ReplayStatus {
        self.0.status.into()
    }
}
