//! Replays.

pub(super) mod cancel;
pub(super) mod create;
