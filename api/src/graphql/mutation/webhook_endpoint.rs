//! Webhook endpoints.

pub(super) mod create;
pub(super) mod pause;
pub(super) mod resume;
