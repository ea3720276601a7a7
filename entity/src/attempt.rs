//! One HTTP request of a delivery. A row exists once the request ended, and is never changed.

use sea_orm::entity::prelude::*;

use crate::endpoint::Headers;
use crate::{AttemptId, DeliveryId, Timestamp, WorkspaceId};

/// Most bytes kept of a failure's response body.
pub const FAILURE_BODY_BYTES_MAX: usize = 16 * 1024;
/// Most bytes kept of a success's response body.
pub const SUCCESS_BODY_BYTES_MAX: usize = 1024;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "attempt")]
pub struct Model {
    /// Key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: AttemptId,
    /// Its tenant.
    pub workspace_id: WorkspaceId,
    /// What it is an attempt of.
    pub delivery_id: DeliveryId,
    /// 1 for the first.
    pub number: i32,
    /// Why it was made.
    pub trigger: Trigger,
    /// When it started; its second is the `webhook-timestamp`.
    pub started_at: Timestamp,
    /// When it ended.
    pub completed_at: Timestamp,
    /// Milliseconds from start to end, by a clock that never jumps.
    pub duration_ms: i32,
    /// Signature header as sent; null when unsigned.
    pub signature: Option<String>,
    /// `traceparent` as sent; null when there was none. The `tracestate` is the event's.
    pub trace_parent: Option<String>,
    /// Version of the endpoint that made the request; see [`crate::endpoint_revision`].
    pub endpoint_version: i32,
    /// Revision of the subscription that decided the body; see [`crate::subscription_revision`].
    pub subscription_version: i32,
    /// What went wrong; null on success.
    pub error_code: Option<ErrorCode>,
    /// The same in words.
    pub error_message: Option<String>,
    /// HTTP status; null when no response came.
    pub response_status_code: Option<i32>,
    /// Response headers, as far as kept.
    pub response_headers: Option<Headers>,
    /// Response body as text, as far as kept.
    pub response_body: Option<String>,
    /// Whether the body was longer.
    pub response_body_truncated: bool,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Why an attempt was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Trigger {
    /// The first one.
    Initial,
    /// Somebody asked for it.
    Manual,
    /// The circuit breaker asked whether the endpoint is back.
    Probe,
    /// The retry policy.
    Retry,
}

/// What went wrong in an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(24))", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    /// The answer did not echo the challenge of a confirmation message.
    Challenge,
    /// The connection could not be made or broke.
    Connection,
    /// The host name could not be resolved.
    Dns,
    /// The address is not allowed.
    ForbiddenAddress,
    /// A status other than 2xx.
    HttpStatus,
    /// Not valid HTTP.
    Protocol,
    /// The outbound proxy failed.
    Proxy,
    /// A redirect, which is not followed.
    Redirect,
    /// No response within the timeout.
    Timeout,
    /// The TLS handshake or certificate failed.
    Tls,
}
