//! Which pages of other origins may read our answers. No cookies are involved, so this protects nobody's session; it
//! keeps a key that was typed into one page from being used by another.
//!
//! Source  the CORS protocol: <https://fetch.spec.whatwg.org/#http-cors-protocol>

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HeaderValue, ORIGIN, VARY,
};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::Server;

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST");
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "accept, angarium-workspace, authorization, content-type, traceparent, tracestate, x-api-key",
);
const RESPONSE_HEADERS: HeaderValue = HeaderValue::from_static("retry-after, www-authenticate, x-request-id");
/// Seconds for which a browser remembers a preflight's answer.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// Answers preflights, and marks other answers as readable by the page that asked.
pub(super) async fn answer(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    let allowed = server.origins.check(request.headers()).filter(|(_, allowed)| *allowed);
    let origin = allowed.map(|(origin, _)| origin.clone());
    let is_preflight =
        request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);

    let mut response = if is_preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from(ORIGIN));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, RESPONSE_HEADERS);
        if is_preflight {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
            headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        }
    }
    response
}
