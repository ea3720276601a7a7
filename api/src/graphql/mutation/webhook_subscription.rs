//! Webhook subscriptions.

pub(super) mod create;
