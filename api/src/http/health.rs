//! Whether the process lives, and whether it should be sent requests.
//!
//! Live    as long as it answers: who restarts it for anything else would make an outage of the database worse.
//! Ready   when it can serve requests. Not while it starts and brings its schema up to date ([`super::starting`]), not
//!         while it leaves, not while the database is away; the reasons are in the answer.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use super::Server;
use super::answer::json;

/// Longest wait for the database's answer.
const PING_TIME_MAX: Duration = Duration::from_secs(2);

/// Answers as long as there is anybody to answer.
pub(super) async fn live() -> Response {
    answer(StatusCode::OK, &[], &[])
}

/// Answers 200 when requests can be served, and otherwise 503 with the reasons. `warnings` are what goes less well than it
/// should and is no reason to send requests elsewhere.
pub(super) async fn ready(State(server): State<Arc<Server>>) -> Response {
    let mut reasons = Vec::new();
    if server.stopping.is_announced() {
        reasons.push("the server is stopping");
    }
    match tokio::time::timeout(PING_TIME_MAX, server.state.db.read().ping()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "the database does not answer");
            reasons.push("the database does not answer");
        }
        Err(_) => reasons.push("the database does not answer in time"),
    }
    let node = server.state.dispatcher.node();
    let mut warnings = Vec::new();
    if node.redis == Some(false) {
        warnings.push("Redis does not answer; deliveries go on by the rows of the database");
    }
    if !node.may_send {
        warnings.push("this node could not renew its lease and sends nothing until it can");
    }
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer(status, &reasons, &warnings)
}

/// Requests should go elsewhere.
pub(super) fn unready(reasons: &[&'static str]) -> Response {
    answer(StatusCode::SERVICE_UNAVAILABLE, reasons, &[])
}

#[derive(Serialize)]
struct Health<'a> {
    status: &'static str,
    reasons: &'a [&'static str],
    warnings: &'a [&'static str],
}

fn answer(status: StatusCode, reasons: &[&'static str], warnings: &[&'static str]) -> Response {
    let word = if status.is_success() { "ok" } else { "unavailable" };
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
    (status, headers, json(&Health { status: word, reasons, warnings })).into_response()
}
