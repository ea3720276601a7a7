//! `/dev/inbox`: a receiver that verifies and shows what arrived, so that a newcomer needs none of their own.
//!
//! `POST /dev/inbox/<name>`  takes a delivery; answers 204, or the status of `?status=503`
//! `GET /dev/inbox`          shows the latest; `/dev/inbox.json` the same for programs

mod page;
mod verify;

pub(crate) use verify::Signed;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use angarium_entity::Timestamp;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, OriginalUri, Query, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue};
use axum::http::{StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};

use crate::http::Server;

/// Requests that are remembered.
const KEPT_MAX: usize = 200;
/// Largest body that is taken: the largest payload and its envelope.
const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Of a body so much is kept to be shown.
const SHOWN_BYTES_MAX: usize = 64 * 1024;
/// Longest value of a header that is kept to be shown.
const HEADER_BYTES_MAX: usize = 1_024;

/// What arrived lately, the newest first.
#[derive(Debug, Default)]
pub struct Inbox {
    received: Mutex<VecDeque<Arc<Received>>>,
}

/// A request that arrived.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Received {
    #[serde(rename = "receivedAt")]
    at: String,
    pub(crate) path: String,
    pub(crate) webhook_id: Option<String>,
    timestamp: Option<String>,
    pub(crate) event_type: Option<String>,
    /// Whether a secret signed it: that of an endpoint with this URL.
    pub(crate) verified: bool,
    pub(crate) status: u16,
    body: String,
    headers: Vec<(String, String)>,
}

impl Inbox {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Keeps it, and forgets the oldest if there are too many.
    pub(crate) fn put(&self, received: Received) {
        let mut kept = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        kept.truncate(KEPT_MAX - 1);
        kept.push_front(Arc::new(received));
    }

    /// The newest first.
    pub(crate) fn list(&self) -> Vec<Arc<Received>> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// The routes of the inbox.
pub(crate) fn routes(server: &Arc<Server>) -> Router<Arc<Server>> {
    // What arrived is shown to nobody who came by somebody else's name.
    let shown = Router::new()
        .route("/dev/inbox", get(show))
        .route("/dev/inbox.json", get(list))
        .layer(from_fn_with_state(server.clone(), own_host_only));
    Router::new().route("/dev/inbox/{name}", post(receive)).layer(cap_body()).merge(shown)
}

/// No receiver of deliveries needs to take more.
pub(crate) fn cap_body() -> DefaultBodyLimit {
    DefaultBodyLimit::max(BODY_BYTES_MAX)
}

async fn own_host_only(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    if server.origins.is_own_host(request.headers()) {
        return next.run(request).await;
    }
    (StatusCode::MISDIRECTED_REQUEST, "open the inbox under the address that `angarium dev` printed\n").into_response()
}

/// What the sender is to be answered: `?status=503`.
#[derive(Debug, Deserialize)]
pub(crate) struct Wish {
    status: Option<u16>,
}

impl Wish {
    /// The status, or what is wrong with it.
    pub(crate) fn status(&self) -> Result<StatusCode, &'static str> {
        let status = StatusCode::from_u16(self.status.unwrap_or(StatusCode::NO_CONTENT.as_u16()));
        status.ok().filter(|status| status.as_u16() >= 200).ok_or("`status` is a number from 200 to 999\n")
    }
}

async fn receive(
    State(server): State<Arc<Server>>,
    OriginalUri(uri): OriginalUri,
    Query(wish): Query<Wish>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let status = match wish.status() {
        Ok(status) => status,
        Err(wrong) => return (StatusCode::BAD_REQUEST, wrong).into_response(),
    };
    let Some(inbox) = &server.inbox else { return StatusCode::NOT_FOUND.into_response() };
    let verified = verify::is_signed(&server.state, &headers, &uri, &body).await;
    let verified = verified.unwrap_or_else(|error| {
        tracing::warn!(error = &error as &dyn std::error::Error, "failed to verify a delivery to the inbox");
        false
    });
    inbox.put(Received::new(server.state.now(), &uri, &headers, &body, verified, status));
    status.into_response()
}

impl Received {
    pub(crate) fn new(
        now: Timestamp,
        uri: &Uri,
        headers: &HeaderMap,
        body: &[u8],
        verified: bool,
        status: StatusCode,
    ) -> Self {
        let text = |value: &HeaderValue| cut(&String::from_utf8_lossy(value.as_bytes()), HEADER_BYTES_MAX);
        let header = |name: &str| headers.get(name).map(text);
        Self {
            at: now.to_string(),
            path: uri.path_and_query().map_or_else(|| uri.path().to_owned(), ToString::to_string),
            webhook_id: header("webhook-id"),
            timestamp: header("webhook-timestamp"),
            event_type: header("webhook-event-type"),
            verified,
            status: status.as_u16(),
            body: cut(&String::from_utf8_lossy(body), SHOWN_BYTES_MAX),
            headers: headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        }
    }
}

fn cut(text: &str, bytes_max: usize) -> String {
    text[..text.floor_char_boundary(bytes_max)].to_owned()
}

async fn list(State(server): State<Arc<Server>>) -> Response {
    server.inbox.as_ref().map_or_else(|| StatusCode::NOT_FOUND.into_response(), show_as_json)
}

async fn show(State(server): State<Arc<Server>>) -> Response {
    let advice = "Run the example in the <a href=\"/playground/\">playground</a>.";
    server.inbox.as_ref().map_or_else(|| StatusCode::NOT_FOUND.into_response(), |inbox| show_as_page(inbox, advice))
}

/// What is kept, for programs.
pub(crate) fn show_as_json(inbox: &Inbox) -> Response {
    let kept = inbox.list();
    let kept: Vec<&Received> = kept.iter().map(AsRef::as_ref).collect();
    match serde_json::to_string(&kept) {
        Ok(text) => ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// What is kept, for people. While that is nothing, `advice` says in HTML what to do about it.
pub(crate) fn show_as_page(inbox: &Inbox, advice: &str) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
    ];
    (headers, page::render(&inbox.list(), advice)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_kept_newest_first_and_cut_to_size() {
        let inbox = Inbox::new();
        let uri = Uri::from_static("/dev/inbox/in?x=1");
        for number in 0..KEPT_MAX + 5 {
            let body = format!("{number} {}", "ü".repeat(SHOWN_BYTES_MAX));
            let now = Timestamp::from_millis(0);
            inbox.put(Received::new(now, &uri, &HeaderMap::new(), body.as_bytes(), false, StatusCode::OK));
        }
        let kept = inbox.list();
        assert_eq!(kept.len(), KEPT_MAX);
        assert!(kept[0].body.starts_with("204 ") && kept[0].body.len() <= SHOWN_BYTES_MAX);
        assert_eq!(kept[0].path, "/dev/inbox/in?x=1");
    }
}
