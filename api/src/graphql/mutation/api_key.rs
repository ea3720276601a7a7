//! API keys.

pub(super) mod create;
pub(super) mod revoke;
