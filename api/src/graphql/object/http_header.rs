//! Headers of requests and responses.

use angarium_entity::endpoint::{Header, Headers, RequestHeader};
use async_graphql::SimpleObject;

/// A header of a request or response.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct HttpHeader {
    /// Header name, in lower case.
    name: String,
    /// Whether the value is masked.
    secret: bool,
    /// Header value, or a mask.
    value: String,
}

/// As it is: mask what nobody may see before, with [`RequestHeaders::masked`].
///
/// [`RequestHeaders::masked`]: angarium_entity::endpoint::RequestHeaders::masked
impl From<RequestHeader> for HttpHeader {
    fn from(header: RequestHeader) -> Self {
        Self { name: header.name, secret: header.secret, value: header.value }
    }
}

impl HttpHeader {
    /// Those of a response, in order.
    pub(crate) fn list(headers: &Headers) -> Vec<Self> {
        headers.0.iter().cloned().map(|Header { name, value }| Self { name, secret: false, value }).collect()
    }
}
