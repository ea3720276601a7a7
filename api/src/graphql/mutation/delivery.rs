//! Deliveries.

pub(super) mod cancel;
pub(super) mod retry;
