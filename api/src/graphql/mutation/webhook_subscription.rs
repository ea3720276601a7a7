//! Webhook subscriptions.

pub(super) mod confirm;
pub(super) mod confirmation_resend;
pub(super) mod create;
pub(super) mod delete;
pub(super) mod disable;
pub(super) mod enable;
pub(super) mod renew;
pub(super) mod test_event;
pub(super) mod update;
