//! Decisions without I/O: no async, no actix, no clock. `step(now, input) → outputs`, tested by the million steps.

pub(crate) mod breaker;
pub(crate) mod endpoint;
pub(crate) mod governor;
pub(crate) mod rate;
pub(crate) mod wheel;
