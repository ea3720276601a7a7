//! Events.

pub(super) mod cancel;
pub(super) mod publish;
pub(super) mod publish_batch;
