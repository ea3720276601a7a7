//! The actors: shells around the machines. Only this module and `runtime` know actix.
//!
//! Nothing that a mailbox holds is the only copy of anything: hints may be lost, and facts can be read again from the
//! rows. A mailbox of actix bounds only `try_send`, and that loosely, so what is sent is bounded by the sender:
//! * a hub sends to its endpoints what it counts, and an endpoint to its hub at most a few messages for each request;
//! * the store sends answers, at most one for each question, and hints, which shrink to the names of the endpoints when
//!   a hub is behind ([`hubs::QUEUED_JOBS_MAX`]).

pub(crate) mod endpoint;
pub(crate) mod hub;
mod hubs;
mod shared;

pub(crate) use hubs::{HubPort, Hubs};
pub(crate) use shared::{JobMemory, Setup};
