//! The tables of Angarium, and the pure rules of what is stored in them.
//!
//! Cast    a [`workspace`] owns [`api_key`]s, [`endpoint`]s, [`subscription`]s and [`event`]s; an event becomes one
//!         [`delivery`] for each matching endpoint, and each HTTP request of a delivery is an [`attempt`].
//!         [`event_type`] is the catalogue, shared by every workspace; [`change_log`] feeds the live streams;
//!         [`shard`] and [`node`] say who delivers what.
//! Rules   everything that can be decided without the network is here and takes time and chance as arguments:
//!         [`retry_policy`], [`subscription::event_filter`], [`subscription::cel`], [`delivery::state`], [`endpoint::url`].
//! Absent  GraphQL, HTTP, actix, Redis; and the history of the schema, which is the `migration` crate's.
//!
//! Conventions of every table
//! * Keys are UUIDv7, typed by [`id`]. Nothing public shows a bare row number.
//! * Instants are [`Timestamp`]: whole Unix milliseconds in a `BIGINT`. SQLite has no time type that sorts and
//!   compares reliably, the API shows milliseconds, and one form on both databases means one form of every query.
//! * Lengths of time end in `_ms`.
//! * States are stored by the same words that GraphQL, logs and metrics use.
//! * Payloads are kept as the text that was published, so that key order and every digit survive.

pub mod access_token;
pub mod api_key;
pub mod attempt;
pub mod change_log;
pub mod clock;
pub mod confirmation;
pub mod creation_key;
pub mod database;
pub mod delivery;
pub mod endpoint;
pub mod endpoint_health;
pub mod endpoint_revision;
pub mod event;
pub mod event_deletion;
pub mod event_type;
pub mod id;
pub mod idempotency_key;
pub mod installation;
pub mod json;
pub mod json_schema;
pub mod node;
pub mod replay;
pub mod replay_item;
pub mod retry_policy;
pub mod sealer;
pub mod shard;
pub mod signing_secret;
pub mod subscription;
pub mod subscription_revision;
pub mod timestamp;
pub mod trace_context;
pub mod workspace;

pub use clock::{Clock, SystemClock};
pub use database::Database;
pub use id::{
    ApiKeyId, AttemptId, DeliveryId, EndpointId, EventId, EventTypeId, NodeId, ReplayId, SubscriptionId, WorkspaceId,
};
pub use retry_policy::RetryPolicy;
pub use timestamp::Timestamp;
pub use trace_context::{TraceContext, TraceParent};
