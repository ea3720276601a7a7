//! Webhook endpoints.

pub(super) mod backlog_discard;
pub(super) mod create;
pub(super) mod delete;
pub(super) mod pause;
pub(super) mod resume;
pub(super) mod secret_rotate;
pub(super) mod update;
