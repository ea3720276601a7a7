//! What is served before there is a server: that it lives, and what it is waiting for.

use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::IntoResponse as _;
use axum::routing::get;

use super::health;

/// What a listener serves now. Cheap to clone; all clones serve the same.
#[derive(Clone, Debug)]
pub(crate) struct Served(Arc<RwLock<Router>>);

impl Served {
    /// Until there is a server: only health, with `reason` why it is not ready.
    pub(crate) fn starting(reason: &'static str) -> Self {
        Self(Arc::new(RwLock::new(starting(reason))))
    }

    /// Not yet, for another reason.
    pub(crate) fn explain(&self, reason: &'static str) {
        self.replace(starting(reason));
    }

    /// From the next request on.
    pub(crate) fn replace(&self, router: Router) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = router;
    }

    pub(super) fn router(&self) -> Router {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn starting(reason: &'static str) -> Router {
    let refuse = async move || {
        let text = format!("the server is starting: {reason}\n");
        (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")], text).into_response()
    };
    Router::new()
        .route("/health/live", get(health::live))
        .route("/health/ready", get(async move || health::unready(&[reason])))
        .fallback(refuse)
}
