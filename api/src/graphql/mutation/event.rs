//! Events.

pub(super) mod cancel;
pub(super) mod delete;
pub(super) mod publish;
pub(super) mod publish_batch;
