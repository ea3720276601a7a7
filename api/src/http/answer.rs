//! Answers: what status and shape they have.
//!
//! The published audits ask for 400 where a document is refused, and under `application/json` for 200; the draft of
//! August 2026 has 422 and 294 instead. [`status_for`] is the one place to change when the audits follow.

use std::time::Duration;

use async_graphql::{ErrorExtensionValues, Response as Executed, ServerError, Value};
use async_graphql_axum::GraphQLResponse;
use axum::http::StatusCode;
use axum::http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use super::RequestId;
use super::accept::Media;
use crate::authenticate::AuthenticateError;

/// Most errors in one answer.
const ERRORS_MAX: usize = 10;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It was executed, perhaps with errors in places.
    Executed,
    /// The document does not parse, is not valid, or its variables do not fit.
    Document,
    /// The request is not one of GraphQL.
    Malformed,
    /// No such credential.
    Unauthenticated,
    /// The credential does not reach there.
    Forbidden,
    /// Another method is needed.
    Method,
    /// No acceptable media type.
    NotAcceptable,
    /// The body did not arrive in time.
    Slow,
    /// The body is too large.
    TooLarge,
    /// The body is not JSON by its own account.
    UnsupportedMedia,
    /// The key asks for more than it may.
    Throttled,
    /// Our own fault.
    Internal,
    /// We could not do it in time, or cannot now.
    Unavailable,
}

pub(super) const fn status_for(media: Media, kind: Kind) -> StatusCode {
    match (kind, media) {
        (Kind::Executed, _) | (Kind::Document, Media::Json) => StatusCode::OK,
        (Kind::Document, Media::GraphqlResponse) | (Kind::Malformed, _) => StatusCode::BAD_REQUEST,
        (Kind::Unauthenticated, _) => StatusCode::UNAUTHORIZED,
        (Kind::Forbidden, _) => StatusCode::FORBIDDEN,
        (Kind::Method, _) => StatusCode::METHOD_NOT_ALLOWED,
        (Kind::NotAcceptable, _) => StatusCode::NOT_ACCEPTABLE,
        (Kind::Slow, _) => StatusCode::REQUEST_TIMEOUT,
        (Kind::TooLarge, _) => StatusCode::PAYLOAD_TOO_LARGE,
        (Kind::UnsupportedMedia, _) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        (Kind::Throttled, _) => StatusCode::TOO_MANY_REQUESTS,
        (Kind::Internal, _) => StatusCode::INTERNAL_SERVER_ERROR,
        (Kind::Unavailable, _) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// A request that was not executed: errors and no `data`.
#[derive(Debug, Serialize)]
pub(super) struct Refusal {
    #[serde(skip)]
    pub(super) kind: Kind,
    pub(super) errors: Vec<ServerError>,
    /// Methods that would do, for [`Kind::Method`].
    #[serde(skip)]
    allow: &'static str,
    /// When to come again, for [`Kind::Throttled`].
    #[serde(skip)]
    retry_after: Option<Duration>,
}

impl Refusal {
    pub(super) fn new(kind: Kind, code: &'static str, message: impl Into<String>) -> Self {
        let mut error = ServerError::new(message, None);
        set_code(&mut error, code);
        Self { kind, errors: vec![error], allow: "", retry_after: None }
    }

    /// A document that is refused for `error`, which has no code of its own.
    pub(super) fn document(mut error: ServerError, code: &'static str) -> Self {
        set_code(&mut error, code);
        Self { kind: Kind::Document, errors: vec![error], allow: "", retry_after: None }
    }

    /// Not by this method, but by those of `allow`.
    pub(super) fn method(allow: &'static str, message: &str) -> Self {
        Self { allow, ..Self::new(Kind::Method, "BAD_USER_INPUT", message) }
    }

    /// The key has asked for too many operations; there is one again after `wait`.
    pub(super) fn throttled(wait: Duration) -> Self {
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
        let message = format!("the key asks for more operations than it may; try again in {millis} ms");
        let mut refusal = Self::new(Kind::Throttled, "THROTTLED", message);
        for error in &mut refusal.errors {
            extensions(error).set("retryAfterMs", millis);
        }
        Self { retry_after: Some(wait), ..refusal }
    }

    /// Our fault; the log knows more under this ID.
    pub(super) fn internal(request_id: &RequestId) -> Self {
        let mut refusal = Self::new(Kind::Internal, "INTERNAL_SERVER_ERROR", "the server failed; its log says why");
        for error in &mut refusal.errors {
            extensions(error).set("requestId", request_id.0.as_str());
        }
        refusal
    }

    /// Why nobody is let in.
    pub(super) fn unauthenticated(error: &AuthenticateError, request_id: &RequestId) -> Self {
        let (kind, code) = match error {
            AuthenticateError::Credentials(_) | AuthenticateError::Refused => {
                (Kind::Unauthenticated, "UNAUTHENTICATED")
            }
            AuthenticateError::OtherWorkspace => (Kind::Forbidden, "FORBIDDEN"),
            AuthenticateError::UnknownWorkspace(_) => (Kind::Malformed, "NOT_FOUND"),
            AuthenticateError::Database(error) => {
                let is_away = angarium_dispatcher::is_connection_lost(error);
                let error = error as &dyn std::error::Error;
                tracing::error!(request_id = request_id.0, error, "failed to look a key up");
                if is_away {
                    let message =
                        "the database does not answer, and the key cannot be looked up; try again in a moment";
                    return Self::new(Kind::Unavailable, "UNAVAILABLE", message);
                }
                return Self::internal(request_id);
            }
        };
        Self::new(kind, code, error.to_string())
    }

    pub(super) fn into_response(self, media: Media) -> Response {
        let mut response = (status_for(media, self.kind), json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, media.content_type());
        if self.kind == Kind::Unauthenticated {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(r#"Bearer realm="angarium""#));
        }
        if let Some(wait) = self.retry_after {
            // In whole seconds, and never too early.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if !self.allow.is_empty() {
            headers.insert(ALLOW, HeaderValue::from_static(self.allow));
        }
        response
    }
}

/// What execution gave: a refusal if nothing was executed, or else data, with the errors of the places that failed.
///
/// Parsing, validation, limits and variables fail without a path; a resolver's error has one.
pub(super) fn judge(mut executed: Executed) -> Result<Executed, Refusal> {
    executed.errors.truncate(ERRORS_MAX);
    if executed.data != Value::Null || executed.errors.is_empty() || executed.errors.iter().any(|e| !e.path.is_empty())
    {
        return Ok(executed);
    }
    let mut errors = executed.errors;
    for error in &mut errors {
        if error.extensions.as_ref().is_none_or(|extensions| extensions.get("code").is_none()) {
            set_code(error, "GRAPHQL_VALIDATION_FAILED");
        }
    }
    Err(Refusal { kind: Kind::Document, errors, allow: "", retry_after: None })
}

/// The answer to an executed request.
pub(super) fn executed(executed: Executed, media: Media) -> Response {
    let mut response = GraphQLResponse::from(executed).into_response();
    response.headers_mut().insert(CONTENT_TYPE, media.content_type());
    *response.status_mut() = status_for(media, Kind::Executed);
    response
}

/// `value` as JSON text.
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("answers hold texts as keys, and nothing that fails to serialize")
}

fn set_code(error: &mut ServerError, code: &'static str) {
    extensions(error).set("code", code);
}

fn extensions(error: &mut ServerError) -> &mut ErrorExtensionValues {
    error.extensions.get_or_insert_default()
}

#[cfg(test)]
mod tests {
    use async_graphql::PathSegment;

    use super::*;

    #[test]
    fn an_error_without_a_path_and_data_is_a_refusal() {
        let refused = judge(Executed::from_errors(vec![ServerError::new("no such field", None)])).expect_err("refused");
        assert_eq!(refused.kind, Kind::Document);
        assert_eq!(
            json(&refused),
            r#"{"errors":[{"message":"no such field","extensions":{"code":"GRAPHQL_VALIDATION_FAILED"}}]}"#
        );

        let mut failed = ServerError::new("no row", None);
        failed.path = vec![PathSegment::Field("event".to_owned())];
        assert!(judge(Executed::from_errors(vec![failed])).is_ok());
        assert!(judge(Executed::new(Value::Boolean(true))).is_ok());
    }

    #[test]
    fn an_answer_has_few_errors() {
        let errors = (0..100).map(|number| ServerError::new(number.to_string(), None)).collect();
        assert_eq!(judge(Executed::from_errors(errors)).expect_err("refused").errors.len(), ERRORS_MAX);
    }

    #[test]
    fn old_clients_get_their_errors_with_status_200() {
        assert_eq!(status_for(Media::Json, Kind::Document), StatusCode::OK);
        assert_eq!(status_for(Media::GraphqlResponse, Kind::Document), StatusCode::BAD_REQUEST);
        assert_eq!(status_for(Media::Json, Kind::Malformed), StatusCode::BAD_REQUEST);
    }
}
