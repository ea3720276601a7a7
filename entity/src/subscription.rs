//! Rules that send events of some types, channels and content to one endpoint.

use std::time::Duration;

use sea_orm::entity::prelude::*;

use crate::json::StringList;
use crate::workspace::SubscriptionConfirmation;
use crate::{ApiKeyId, EndpointId, RetryPolicy, SubscriptionId, Timestamp, WorkspaceId};

pub mod cel;
pub mod event_filter;
pub mod payload_fields;

/// Most event types of a subscription.
pub const EVENT_TYPES_MAX: usize = 100;
/// Most channels of a subscription.
pub const CHANNELS_MAX: usize = 10;
/// Most bytes of `metadata`.
pub const METADATA_BYTES_MAX: usize = 4096;
/// Most characters of `owner_id`.
pub const OWNER_ID_LEN_MAX: usize = 256;

/// How long before the end of a subscription its owner is told.
pub const EXPIRING_BEFORE: Duration = Duration::from_hours(24);

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "subscription")]
pub struct Model {
    /// Key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: SubscriptionId,
    /// Its tenant.
    pub workspace_id: WorkspaceId,
    /// Where its events go.
    pub endpoint_id: EndpointId,
    /// Display name.
    pub name: Option<String>,
    /// Note for people.
    pub description: Option<String>,
    /// Who owns it, in the caller's words.
    pub owner_id: Option<String>,
    /// Names and patterns of event types.
    pub event_types: StringList,
    /// Channels whose events match; null matches every event.
    pub channels: Option<StringList>,
    /// Caller-defined data, as its text.
    pub metadata: Option<String>,
    /// Condition on the event in CEL, see [`cel`]; null takes every event of the types and channels.
    pub filter: Option<String>,
    /// Top-level payload fields to send; null sends all.
    pub payload_fields: Option<StringList>,
    /// When failed deliveries are tried again; null inherits from the workspace.
    pub retry_policy: Option<RetryPolicy>,
    /// The service of the event types.
    pub service: Option<String>,
    /// Switched on by its owner.
    pub enabled: bool,
    /// What waits because it is off has waited for it since then at the earliest; see `store/held.rs`.
    pub held_since: Option<Timestamp>,
    /// When it ends; null for never.
    pub expires_at: Option<Timestamp>,
    /// When the server has to look at it because of its end; see [`expiry_due_at`].
    pub expiry_due_at: Option<Timestamp>,
    /// When its end was told, and what waited of it began to be canceled; null before, and once it is renewed.
    pub expired_at: Option<Timestamp>,
    /// How its endpoint has to confirm it.
    pub confirmation: SubscriptionConfirmation,
    /// When its endpoint did; null as long as it has not, and where it need not.
    pub confirmed_at: Option<Timestamp>,
    /// Until when the token works that was sent last; null where there is none.
    pub confirmation_expires_at: Option<Timestamp>,
    /// Grows with every change.
    pub version: i32,
    /// The version at which what decides a request last changed; see [`crate::subscription_revision`].
    pub revision: i32,
    /// The key that made it.
    pub created_by: Option<ApiKeyId>,
    /// When it was made. Where several match one endpoint, the oldest decides.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When it was deleted; deliveries may still name it.
    pub deleted_at: Option<Timestamp>,
}

/// No relations: what belongs to a subscription is read by its ID, many at once.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// Whether its endpoint still has to confirm it: until then it matches nothing.
    pub fn is_pending(&self) -> bool {
        self.confirmation != SubscriptionConfirmation::None && self.confirmed_at.is_none()
    }

    /// Whether it has ended at `now`.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

/// When the server first has to look at a subscription that was given the end `expires_at` at `now`: [`EXPIRING_BEFORE`]
/// its end, to tell of it, or at its end if that is no further away.
pub fn expiry_due_at(expires_at: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    let end = expires_at?;
    let warning = end - EXPIRING_BEFORE;
    Some(if warning > now { warning } else { end })
}

impl Entity {
    /// The live subscriptions of a workspace: where a query on behalf of a caller starts.
    pub fn of(workspace: WorkspaceId) -> Select<Self> {
        Self::find().filter(Column::WorkspaceId.eq(workspace)).filter(Column::DeletedAt.is_null())
    }
}
