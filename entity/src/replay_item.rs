//! What a replay is still going to send: its plan, made once and used up from the front. Rows come in the order of their
//! key, and so in publish order.

use sea_orm::entity::prelude::*;
use uuid::Uuid;

use crate::{EndpointId, EventId, ReplayId, SubscriptionId};

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "replay_item")]
pub struct Model {
    /// The replay.
    #[sea_orm(primary_key, auto_increment = false)]
    pub replay_id: ReplayId,
    /// The event to send again.
    #[sea_orm(primary_key, auto_increment = false)]
    pub event_id: EventId,
    /// The endpoint that a chosen delivery went to. Where [`Model::is_for_all`], the last one that was served; [`NONE`]
    /// to begin with.
    #[sea_orm(primary_key, auto_increment = false)]
    pub endpoint_id: EndpointId,
    /// The subscription of a chosen delivery; [`NONE`] where the event goes to whoever wants it.
    #[sea_orm(primary_key, auto_increment = false)]
    pub subscription_id: SubscriptionId,
}

/// No endpoint or subscription: a key has no nulls. Sorts before every other.
pub const NONE: Uuid = Uuid::nil();

impl Model {
    /// Whether the event goes to every endpoint that wants it, and not only to where it went.
    pub fn is_for_all(&self) -> bool {
        self.subscription_id.0 == NONE
    }
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
