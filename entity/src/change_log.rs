//! What changed, in the order in which it became visible; feeds the live streams.
//!
//! Shape   one row for each workspace that a group commit touched, holding all of its changes packed as JSON. A row
//!         for each group would make every stream read the changes of every tenant; a row for each change would cost
//!         a delivery as much as its own row.
//! Order   `seq` comes from the database. On PostgreSQL numbers are drawn before they are committed, so a reader must
//!         not take the largest number it has seen for a promise that all smaller ones are visible.

use sea_orm::FromJsonQueryResult;
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{AttemptId, DeliveryId, EndpointId, EventId, SubscriptionId, Timestamp, WorkspaceId};

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
pub struct Changes(pub Vec<DeliveryChange>);

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
