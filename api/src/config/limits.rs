//! What the API allows.

use std::num::NonZeroU32;
use std::time::Duration;

use super::reader::Reader;
use super::setting;
use super::variables::Variables;

/// Bounds of requests, of which `serverInfo` shows most, and of what a workspace may hold.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Deepest accepted query. GraphiQL's introspection needs 15.
    pub depth_max: usize,
    /// Largest accepted complexity: scalars cost nothing, objects 1, connections their page size.
    pub complexity_max: usize,
    /// Most aliases in a document.
    pub aliases_max: usize,
    /// Most directives on a field.
    pub directives_max: usize,
    /// Most events in one batch.
    pub batch_max: usize,
    /// Largest accepted request body, in bytes.
    pub body_bytes_max: usize,
    /// Longest execution of a query or mutation.
    pub timeout: Duration,
    /// Whether `http://` endpoints are accepted: [`setting::ALLOW_HTTP`].
    pub allow_http: bool,
    /// Most operations a second of one API key and its access tokens, on each node: [`setting::REQUESTS_PER_SECOND`].
    pub requests_per_second: Option<NonZeroU32>,
    /// Most API keys of a workspace that work: [`setting::API_KEYS_MAX`].
    pub api_keys_max: usize,
    /// Most endpoints of a workspace: [`setting::ENDPOINTS_MAX`].
    pub endpoints_max: usize,
    /// Most subscriptions of a workspace: [`setting::SUBSCRIPTIONS_MAX`].
    pub subscriptions_max: usize,
}

impl Limits {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let requests_per_second = reader.number(&setting::REQUESTS_PER_SECOND);
        Self {
            depth_max: 16,
            complexity_max: 10_000,
            aliases_max: 50,
            directives_max: 10,
            batch_max: 500,
            body_bytes_max: 4 * 1024 * 1024,
            timeout: Duration::from_secs(15),
            allow_http: false,
            requests_per_second: requests_per_second.and_then(NonZeroU32::new),
            api_keys_max: reader.number(&setting::API_KEYS_MAX).unwrap_or_default(),
            endpoints_max: reader.number(&setting::ENDPOINTS_MAX).unwrap_or_default(),
            subscriptions_max: reader.number(&setting::SUBSCRIPTIONS_MAX).unwrap_or_default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::read(&mut Reader::new(Variables::default()))
    }
}
