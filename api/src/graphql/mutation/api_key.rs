//! API keys.

pub(super) mod create;
