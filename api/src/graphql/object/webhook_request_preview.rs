//! A request that was not sent.
#![expect(clippy::unused_async, reason = "a resolver is async, also when it has nothing to wait for")]

use async_graphql::{Object, Result};

use super::attempt::WebhookRequest;
use crate::app::subscription::Preview;

/// What would be sent.
pub(crate) struct WebhookRequestPreview(pub(crate) Preview);

/// A rendered request that was not sent.
#[Object]
impl WebhookRequestPreview {
    /// What the filter failed on, such as a missing field (which counts as no match); null when it ran.
    async fn filter_error(&self) -> Option<String> {
        self.0.verdict.as_ref().err().map(ToString::to_string)
    }

    /// Whether the filter accepts the payload; true where there is none.
    async fn matches_filter(&self) -> bool {
        self.0.verdict == Ok(true)
    }

    /// The request.
    async fn request(&self) -> Result<WebhookRequest> {
        Ok(self.0.clone().into())
    }
}
