//! What the API allows.

use std::num::NonZeroU32;
use std::time::Duration;

use super::reader::{Reader, number};

/// Largest limit that is one.
const REQUESTS_PER_SECOND_MAX: u32 = 100_000;
/// Largest value of each limit of a workspace.
const IN_WORKSPACE_MAX: usize = 10_000_000;

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
    /// Whether `http://` endpoints are accepted.
    pub allow_http: bool,
    /// Most operations a second of one API key and its access tokens, on each node; one second's worth may come at once.
    ///
    /// `ANGARIUM_REQUESTS_PER_SECOND`, a number from 1 to 100,000. Default no limit.
    pub requests_per_second: Option<NonZeroU32>,
    /// Most API keys of a workspace that work.
    ///
    /// `ANGARIUM_API_KEYS_MAX`, default 1,000, from 1 to 10,000,000.
    pub api_keys_max: usize,
    /// Most endpoints of a workspace.
    ///
    /// `ANGARIUM_ENDPOINTS_MAX`, default 200,000, from 1 to 10,000,000.
    pub endpoints_max: usize,
    /// Most subscriptions of a workspace.
    ///
    /// `ANGARIUM_SUBSCRIPTIONS_MAX`, default 200,000, from 1 to 10,000,000.
    pub subscriptions_max: usize,
}

impl Limits {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let requests_per_second = reader.read("ANGARIUM_REQUESTS_PER_SECOND", number(1..=REQUESTS_PER_SECOND_MAX));
        let default = Self::default();
        let mut most = |name, otherwise| reader.read(name, number(1..=IN_WORKSPACE_MAX)).unwrap_or(otherwise);
        Self {
            requests_per_second: requests_per_second.and_then(NonZeroU32::new),
            api_keys_max: most("ANGARIUM_API_KEYS_MAX", default.api_keys_max),
            endpoints_max: most("ANGARIUM_ENDPOINTS_MAX", default.endpoints_max),
            subscriptions_max: most("ANGARIUM_SUBSCRIPTIONS_MAX", default.subscriptions_max),
            ..default
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth_max: 16,
            complexity_max: 10_000,
            aliases_max: 50,
            directives_max: 10,
            batch_max: 500,
            body_bytes_max: 4 * 1024 * 1024,
            timeout: Duration::from_secs(15),
            allow_http: false,
            requests_per_second: None,
            api_keys_max: 1_000,
            endpoints_max: 200_000,
            subscriptions_max: 200_000,
        }
    }
}
