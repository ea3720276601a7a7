//! Workspaces.

pub(super) mod create;
