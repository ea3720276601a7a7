//! Deliveries.

pub(super) mod retry;
