//! Event types.

pub(super) mod create;
