//! Events.

pub(super) mod publish;
pub(super) mod publish_batch;
