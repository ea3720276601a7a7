//! Mutations of access tokens.

pub(super) mod create;
