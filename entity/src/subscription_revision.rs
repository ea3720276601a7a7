//! What of a subscription decides the request of a delivery, and where it sent to, each time that changed. Only ever added
//! to, so that the request of an old attempt can be shown byte for byte without being stored twice, and so that the
//! deliveries which a subscription left behind at an endpoint are still known to be its.

use sea_orm::entity::prelude::*;

use crate::json::StringList;
use crate::{EndpointId, SubscriptionId, Timestamp};

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "subscription_revision")]
pub struct Model {
    /// The subscription.
    #[sea_orm(primary_key, auto_increment = false)]
    pub subscription_id: SubscriptionId,
    /// Its version when this changed; see [`crate::subscription::Model::revision`].
    #[sea_orm(primary_key, auto_increment = false)]
    pub version: i32,
    /// Where its events went.
    pub endpoint_id: EndpointId,
    /// Top-level payload fields to send; null sends all.
    pub payload_fields: Option<StringList>,
    /// Since when.
    pub created_at: Timestamp,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl From<&crate::subscription::Model> for Model {
    fn from(subscription: &crate::subscription::Model) -> Self {
        Self {
            subscription_id: subscription.id,
            version: subscription.revision,
            endpoint_id: subscription.endpoint_id,
            payload_fields: subscription.payload_fields.clone(),
            created_at: subscription.updated_at,
        }
    }
}

impl Model {
    /// Whether a subscription needs a new revision.
    pub fn is_outdated_by(&self, subscription: &crate::subscription::Model) -> bool {
        (self.endpoint_id, &self.payload_fields) != (subscription.endpoint_id, &subscription.payload_fields)
    }
}
