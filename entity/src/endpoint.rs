//! HTTP destinations. One actor each.

use std::time::Duration;

use sea_orm::FromJsonQueryResult;
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{ApiKeyId, EndpointId, Timestamp, WorkspaceId};

pub mod header;
mod request_header;
pub mod url;

pub use request_header::{MASK, RequestHeader, RequestHeaders, StoredHeader};

/// Default time for one request.
pub const TIMEOUT: Duration = Duration::from_secs(15);
/// Shortest and longest time for one request.
pub const TIMEOUT_RANGE: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(1);
/// Most requests in flight at once, with [`Ordering::None`].
pub const IN_FLIGHT_MAX: u16 = 64;
/// Largest limit of requests per second.
pub const RATE_LIMIT_MAX: i32 = 10_000;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "endpoint")]
pub struct Model {
    /// Key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: EndpointId,
    /// Its tenant.
    pub workspace_id: WorkspaceId,
    /// Where it hashes to; see [`crate::shard`].
    pub shard: i32,
    /// Display name.
    pub name: Option<String>,
    /// Note for people.
    pub description: Option<String>,
    /// Destination.
    pub url: String,
    /// Extra request headers, secret values sealed.
    pub headers: RequestHeaders,
    /// What a request body looks like.
    pub body_format: BodyFormat,
    /// In which order deliveries go out.
    pub ordering: Ordering,
    /// What a STRICT line does when its head fails for good.
    pub on_exhausted: StrictExhaustion,
    /// Most requests in flight at once; 1 unless `ordering` is NONE.
    pub max_in_flight: i32,
    /// Most requests per second; null for no limit.
    pub rate_limit_per_second: Option<i32>,
    /// Time allowed for one request.
    pub timeout_ms: i32,
    /// How requests are signed.
    pub signature_scheme: SignatureScheme,
    /// Made with a subscription, and so deleted with its last one.
    pub inline: bool,
    /// Whether deliveries go out.
    pub status: Status,
    /// Why, in words.
    pub status_reason: Option<String>,
    /// What waits because it is not ACTIVE has waited for it since then at the earliest; see `store/held.rs`.
    pub held_since: Option<Timestamp>,
    /// Deliveries wait until then because the receiver asked (`Retry-After`).
    pub held_until: Option<Timestamp>,
    /// Grows with every change; see [`crate::endpoint_revision`].
    pub version: i32,
    /// The key that made it.
    pub created_by: Option<ApiKeyId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When it was deleted; deliveries may still name it.
    pub deleted_at: Option<Timestamp>,
}

/// No relations: what belongs to an endpoint is read by its ID, many at once.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The live endpoints of a workspace: where a query on behalf of a caller starts.
    pub fn of(workspace: WorkspaceId) -> Select<Self> {
        Self::find().filter(Column::WorkspaceId.eq(workspace)).filter(Column::DeletedAt.is_null())
    }
}

/// A response header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// In lower case.
    pub name: String,
    /// As it came.
    pub value: String,
}

/// Response headers, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, FromJsonQueryResult)]
#[serde(transparent)]
pub struct Headers(pub Vec<Header>);

/// What a request body looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum BodyFormat {
    /// CloudEvents 1.0 in structured JSON.
    #[sea_orm(string_value = "CLOUDEVENTS")]
    CloudEvents,
    /// `{"type", "timestamp", "data"}`.
    Envelope,
    /// The payload as published.
    Raw,
}

/// In which order deliveries go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Ordering {
    /// First attempts in publish order, one at a time; a failed delivery is retried later.
    Fifo,
    /// No order; up to `max_in_flight` at once.
    None,
    /// Publish order kept to the end: the next starts only when the one before is final.
    Strict,
}

/// What a STRICT line does when its head fails for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StrictExhaustion {
    /// The endpoint is paused until its owner decides.
    Pause,
    /// The next one is sent.
    Skip,
}

/// How requests are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(24))", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SignatureScheme {
    /// Standard Webhooks `v1a`.
    #[sea_orm(string_value = "ED25519")]
    Ed25519,
    /// GitHub's.
    Github,
    /// Not signed.
    None,
    /// Shopify's.
    Shopify,
    /// Standard Webhooks `v1`.
    StandardWebhooks,
    /// Stripe's.
    Stripe,
    /// Standard Webhooks `v1`, keyed with a secret of the caller and one of the server.
    TwoSecret,
}

/// Whether deliveries go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Delivering.
    Active,
    /// Held by its owner.
    Paused,
    /// Held by the server.
    Suspended,
}
