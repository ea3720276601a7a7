//! `/metrics`, for Prometheus: on a listener of its own (`ANGARIUM_METRICS_LISTEN`), or to this machine only.
//!
//! What a proxy on this machine passes on also comes from this machine. Such a request is refused where it can be told,
//! by the headers that proxies add; a proxy that adds none must not pass `/metrics` on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, FORWARDED, HeaderName, VIA};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::Mutex;

use super::Server;
use crate::metrics::MEDIA_TYPE;

/// How long what was counted in the rows is told again.
const COUNTED_EVERY: Duration = Duration::from_secs(5);
/// Longest wait for the database; the rest is told without.
const COUNTING_TIME_MAX: Duration = Duration::from_secs(5);
/// Headers by which proxies say for whom they ask.
const OF_PROXIES: [HeaderName; 4] =
    [FORWARDED, VIA, HeaderName::from_static("x-forwarded-for"), HeaderName::from_static("x-real-ip")];

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

/// When the rows were last counted.
#[derive(Debug, Default)]
pub(super) struct Counted(Mutex<Option<Instant>>);

/// On a listener of their own: to whoever reaches it.
pub(super) async fn show(State(server): State<Arc<Server>>) -> Response {
    let mut last = server.counted.0.lock().await;
    let is_old = last.is_none_or(|last| last.elapsed() >= COUNTED_EVERY);
    match tokio::time::timeout(COUNTING_TIME_MAX, server.state.dispatcher.measure(is_old)).await {
        Ok(Ok(())) => *last = if is_old { Some(Instant::now()) } else { *last },
        Ok(Err(error)) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "failed to count what waits; metrics tell the last count"
            );
        }
        Err(_) => tracing::warn!("what waits was not counted in time; metrics tell the last count"),
    }
    drop(last);
    match server.metrics.text() {
        Ok(text) => ([(CONTENT_TYPE, MEDIA_TYPE), (CACHE_CONTROL, "no-store")], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "failed to write the metrics");
            (StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written; the log has the reason\n")
                .into_response()
        }
    }
}

/// Beside the API: to this machine.
pub(super) async fn show_to_this_machine(server: State<Arc<Server>>, request: Request) -> Response {
    let is_near = request.extensions().get::<Peer>().is_some_and(|Peer(from)| from.ip().to_canonical().is_loopback());
    let is_passed_on = OF_PROXIES.iter().any(|name| request.headers().contains_key(name));
    if is_near && !is_passed_on {
        return show(server).await;
    }
    let message =
        "metrics are shown to this machine only; ANGARIUM_METRICS_LISTEN gives them an address of their own\n";
    (StatusCode::FORBIDDEN, message).into_response()
}
