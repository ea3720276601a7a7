//! What the API allows.

use std::time::Duration;

/// Bounds of requests; `serverInfo` shows them.
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
        }
    }
}
