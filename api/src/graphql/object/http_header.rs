//! Headers of requests and responses.

use angarium_entity::endpoint::{Header, Headers};
use async_graphql::SimpleObject;

/// A header of a request or response.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct HttpHeader {
    /// Header name, in lower case.
    name: String,
    /// Header value.
    value: String,
}

impl From<(String, String)> for HttpHeader {
    fn from((name, value): (String, String)) -> Self {
        Self { name, value }
    }
}

impl HttpHeader {
    /// Those of a row, in order.
    pub(crate) fn list(headers: &Headers) -> Vec<Self> {
        headers.0.iter().cloned().map(|Header { name, value }| Self { name, value }).collect()
    }
}
