//! `/confirm/{token}`: the link of a confirmation message. Whoever has it has been sent it, so no key is asked for.
//!
//! GET confirms: the link is for machines and people alike, and all that either can do with it is to open it. HEAD only
//! tells what GET would do.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, VARY};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::accept::Accept;
use super::{RequestId, Server};
use crate::app::reach::Reach;
use crate::app::subscription::{ConfirmError, confirm, look};

/// What its path starts with; the rest is a secret.
pub(super) const PREFIX: &str = "/confirm/";

const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'";
const ROBOTS: HeaderName = HeaderName::from_static("x-robots-tag");

/// Confirms.
pub(super) async fn open(
    State(server): State<Arc<Server>>,
    Extension(request_id): Extension<RequestId>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Response {
    let answer = confirm(&server.state, Reach::All, &token).await;
    let id = answer.as_ref().ok().map(|row| row.id.to_string());
    respond(answer.map(drop), id.as_deref(), &headers, &request_id)
}

/// Says what would happen.
pub(super) async fn peek(
    State(server): State<Arc<Server>>,
    Extension(request_id): Extension<RequestId>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Response {
    respond(look(&server.state, &token).await, None, &headers, &request_id)
}

fn respond(
    answer: Result<(), ConfirmError>,
    subscription: Option<&str>,
    headers: &HeaderMap,
    request_id: &RequestId,
) -> Response {
    let (status, title, text, data) = match answer {
        Ok(()) => {
            let text = "The subscription is confirmed. Events are sent from now on.".to_owned();
            (
                StatusCode::OK,
                "Confirmed",
                text,
                json!({ "status": "CONFIRMED", "webhookSubscription": { "id": subscription } }),
            )
        }
        Err(error) => refusal(&error, request_id),
    };
    let is_page = Accept::of(headers).prefers_html();
    let (content_type, body) = if is_page {
        ("text/html; charset=utf-8", page(title, &text))
    } else {
        ("application/json; charset=utf-8", format!("{data}\n"))
    };
    let headers = [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (ROBOTS, "noindex, nofollow"),
        (VARY, "accept"),
    ];
    (status, headers, body).into_response()
}

fn refusal(error: &ConfirmError, request_id: &RequestId) -> (StatusCode, &'static str, String, Value) {
    let (status, title) = match error {
        ConfirmError::Unknown => (StatusCode::NOT_FOUND, "Unknown link"),
        ConfirmError::Replaced | ConfirmError::Expired => (StatusCode::GONE, "This link works no more"),
        ConfirmError::AlreadyConfirmed => (StatusCode::CONFLICT, "Already confirmed"),
        ConfirmError::App(_) => (StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong"),
    };
    let Some((_, code)) = error.code() else {
        tracing::error!(
            request_id = request_id.0,
            error = error as &dyn std::error::Error,
            "failed to confirm a subscription"
        );
        let text = format!("The server failed. Open the link again, or tell the sender this number: {}", request_id.0);
        let data = json!({ "error": { "message": "the server failed", "requestId": request_id.0 } });
        return (status, title, text, data);
    };
    let data = json!({ "error": { "code": code, "message": error.to_string() } });
    (status, title, error.to_string(), data)
}

/// A page. Neither text holds anything that came with the request.
fn page(title: &str, text: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>body {{ font: 1.1rem/1.6 system-ui, sans-serif; max-width: 32rem; margin: 20vh auto; padding: 0 1.5rem; \
         color-scheme: light dark }}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n<p>{text}</p>\n</main>\n</body>\n</html>\n"
    )
}
