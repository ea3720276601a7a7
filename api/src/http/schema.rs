//! The schema as text, for code generators.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};

/// What `angarium schema` prints.
pub(super) async fn show() -> Response {
    let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8"), (CACHE_CONTROL, "no-cache")];
    (headers, crate::graphql::sdl()).into_response()
}
