//! What changed, in the order in which it became visible; feeds the live streams.
//!
//! Shape   one row for each workspace that a group commit touched, holding all of its changes packed as JSON. A row
//!         for each group would make every stream read the changes of every tenant; a row for each change would cost
//!         a delivery as much as its own row.
//! Order   `seq` comes from the database. On PostgreSQL numbers are drawn before they are committed, so a reader must
//!         not take the largest number it has seen for a promise that all smaller ones are visible. What it may rely
//!         on is in [`place`]. PostgreSQL fills in one more column, `xid`, the transaction that wrote the row.
//! Kept    rows are never changed. Whatever removes old ones leaves each for [`KEPT`] and an hour more, since a row
//!         says when its transaction began and not when it was committed.

use std::time::Duration;

use sea_orm::FromJsonQueryResult;
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{AttemptId, DeliveryId, EndpointId, EventId, ReplayId, SubscriptionId, Timestamp, WorkspaceId};

mod deleted;
pub mod place;
mod read;
mod write;

pub use deleted::DeletedDelivery;
pub use place::Place;
pub use read::{Row, Untold, now, untold};
pub use write::append;

/// How long a place in the log can be returned to.
pub const KEPT: Duration = Duration::from_hours(24);

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "change_log")]
pub struct Model {
    /// Place in the log.
    #[sea_orm(primary_key)]
    pub seq: i64,
    /// The tenant that it is about.
    pub workspace_id: WorkspaceId,
    /// When it was written.
    pub at: Timestamp,
    /// What changed.
    pub changes: Changes,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The packed changes of one row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, FromJsonQueryResult)]
#[serde(transparent)]
pub struct Changes(pub Vec<Change>);

/// One thing that changed. Told apart by their fields, so that no entry carries a word for its kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Change {
    /// A delivery was made or moved, or an attempt of it ended.
    Delivery(DeliveryChange),
    /// An event was published, whether it matched anything or not.
    Event(EventChange),
    /// A subscription was made, changed or deleted.
    Subscription(SubscriptionChange),
    /// An endpoint was made, changed or deleted.
    Endpoint(EndpointChange),
    /// A delivery was deleted.
    DeletedDelivery(DeletedDelivery),
    /// A replay went on or ended.
    Replay(ReplayChange),
    /// Written by a later version.
    Unknown(serde_json::Value),
}

impl From<DeliveryChange> for Change {
    fn from(change: DeliveryChange) -> Self {
        Self::Delivery(change)
    }
}

impl From<EventChange> for Change {
    fn from(change: EventChange) -> Self {
        Self::Event(change)
    }
}

impl From<SubscriptionChange> for Change {
    fn from(change: SubscriptionChange) -> Self {
        Self::Subscription(change)
    }
}

impl From<EndpointChange> for Change {
    fn from(change: EndpointChange) -> Self {
        Self::Endpoint(change)
    }
}

impl From<ReplayChange> for Change {
    fn from(change: ReplayChange) -> Self {
        Self::Replay(change)
    }
}

impl From<DeletedDelivery> for Change {
    fn from(change: DeletedDelivery) -> Self {
        Self::DeletedDelivery(change)
    }
}

/// An event that was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventChange {
    /// The event.
    #[serde(rename = "v")]
    pub event_id: EventId,
}

/// A subscription that was made, changed or deleted, or has come to its end. What it is now is read from its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionChange {
    /// The subscription.
    #[serde(rename = "s")]
    pub subscription_id: SubscriptionId,
}

/// An endpoint that was made, changed or deleted. What it is now is read from its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointChange {
    /// The endpoint.
    #[serde(rename = "e")]
    pub endpoint_id: EndpointId,
    /// Whether its status or the reason for it changed, and so the status of every subscription that delivers to it.
    /// Those are looked up by whoever reads this, and have no entries of their own.
    #[serde(rename = "t", default, skip_serializing_if = "std::ops::Not::not")]
    pub is_status: bool,
}

impl EndpointChange {
    /// Made, deleted, or other settings.
    pub fn of(endpoint_id: EndpointId) -> Self {
        Self { endpoint_id, is_status: false }
    }

    /// Another status, or another reason for it.
    pub fn of_status(endpoint_id: EndpointId) -> Self {
        Self { endpoint_id, is_status: true }
    }
}

/// A replay that went on or ended. What it is now is read from its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayChange {
    /// The replay.
    #[serde(rename = "r")]
    pub replay_id: ReplayId,
}

/// A delivery that was made or changed its status. Field names are short because they are stored a billion times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryChange {
    /// The delivery.
    #[serde(rename = "d")]
    pub delivery_id: DeliveryId,
    /// Its event.
    #[serde(rename = "v")]
    pub event_id: EventId,
    /// Its endpoint.
    #[serde(rename = "e")]
    pub endpoint_id: EndpointId,
    /// Its subscription.
    #[serde(rename = "s")]
    pub subscription_id: SubscriptionId,
    /// The attempt that ended, if that was the change.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub attempt_id: Option<AttemptId>,
    /// Status before, by its stored name; null when it was made.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub previous_status: Option<String>,
    /// Status after, by its stored name.
    #[serde(rename = "n")]
    pub status: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn entries_of_each_age_and_kind_are_read() {
        let now = Timestamp::from_millis(1);
        let event_id = EventId::new(now);
        let old = DeliveryChange {
            delivery_id: DeliveryId::new(now),
            event_id,
            endpoint_id: EndpointId::new(now),
            subscription_id: SubscriptionId::new(now),
            attempt_id: None,
            previous_status: None,
            status: "PENDING".to_owned(),
        };
        let later = json!({ "v": event_id.to_string(), "z": 1 });
        let (subscription_id, endpoint_id) = (old.subscription_id, old.endpoint_id);
        let packed = json!([
            old,
            { "v": event_id.to_string() },
            { "s": subscription_id.to_string() },
            { "e": endpoint_id.to_string() },
            { "e": endpoint_id.to_string(), "t": true },
            later
        ]);
        let read: Changes = serde_json::from_value(packed.clone()).expect("entries of any shape are read");
        let known: [Change; 5] = [
            old.into(),
            EventChange { event_id }.into(),
            SubscriptionChange { subscription_id }.into(),
            EndpointChange::of(endpoint_id).into(),
            EndpointChange::of_status(endpoint_id).into(),
        ];
        assert_eq!(read.0[..5], known);
        assert_eq!(read.0[5..], [Change::Unknown(later)]);
        assert_eq!(serde_json::to_value(&read).expect("they are written"), packed);
    }
}
