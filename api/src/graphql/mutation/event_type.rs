//! Event types.

pub(super) mod archive;
pub(super) mod create;
pub(super) mod update;
