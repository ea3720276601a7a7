//! The API over HTTP/1.1: what is served where.
//!
//! `/graphql`          GraphQL over HTTP, `text/event-stream` and `graphql-transport-ws`; a browser is shown the playground
//! `/schema.graphql`   the schema
//! `/confirm/{token}`  the link that confirms a subscription
//! `/health/{live,ready}`
//! `/metrics`          for Prometheus: to this machine, or on a listener of its own beside `/health`
//! `/playground/`      GraphiQL
//! `/dev/inbox`        in `dev` only: a receiver that shows what arrived
//!
//! Every answer carries `x-request-id`. A panic is answered like any error of ours: masked, under that ID.

mod accept;
mod answer;
mod confirm;
pub(crate) mod connections;
mod cors;
mod event_stream;
mod graphql;
mod health;
mod metrics;
mod operation;
mod origins;
mod playground;
mod run;
mod schema;
mod starting;
mod stopping;
mod throttle;
mod trace;
mod websocket;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use angarium_entity::id::new_uuid;
use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::http::header::{HeaderName, HeaderValue, LOCATION, X_CONTENT_TYPE_OPTIONS};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use futures_util::FutureExt as _;
use tokio::sync::Semaphore;

pub(crate) use origins::Origins;
pub(crate) use playground::{Playground, unbuilt_sources};
pub(crate) use starting::Served;
pub(crate) use stopping::Stopping;

use crate::AppState;
use crate::authenticate::Authenticator;
use crate::dev::Inbox;
use crate::graphql::Schema;
use crate::metrics::Metrics;
use answer::Refusal;
use operation::Documents;
use throttle::Throttle;

/// Most sockets at once.
const SOCKETS_MAX: usize = 10_000;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What every handler needs.
pub(crate) struct Server {
    pub(crate) state: AppState,
    pub(crate) schema: Schema,
    pub(crate) authenticator: Authenticator,
    pub(crate) origins: Origins,
    pub(crate) stopping: Stopping,
    pub(crate) playground: Playground,
    pub(crate) inbox: Option<Inbox>,
    pub(crate) metrics: Metrics,
    documents: Documents,
    counted: metrics::Counted,
    sockets: Arc<Semaphore>,
    throttle: Throttle,
}

impl Server {
    pub(crate) fn new(
        state: AppState,
        origins: Origins,
        stopping: Stopping,
        playground: Playground,
        inbox: Option<Inbox>,
        metrics: Metrics,
    ) -> Self {
        Self {
            schema: crate::graphql::schema(&state.limits),
            authenticator: Authenticator::new(state.clone()),
            throttle: Throttle::new(state.limits.requests_per_second),
            state,
            origins,
            stopping,
            playground,
            inbox,
            metrics,
            documents: Documents::default(),
            counted: metrics::Counted::default(),
            sockets: Arc::new(Semaphore::new(SOCKETS_MAX)),
        }
    }
}

/// The ID of a request; the answer carries it, and so does every line that is logged about it.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) String);

impl RequestId {
    fn fresh(server: &Server) -> Self {
        Self(new_uuid(server.state.now()).to_string())
    }
}

/// What is served beside the API to those who watch it.
pub(crate) fn observed(server: Arc<Server>) -> Router {
    Router::new()
        .route("/metrics", get(metrics::show))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .fallback(async || (StatusCode::NOT_FOUND, "nothing is here; the metrics are at /metrics\n"))
        .layer(from_fn(secure))
        .with_state(server)
}

/// Everything that is served; `/metrics` only where it has no listener of its own.
pub(crate) fn router(server: Arc<Server>, with_metrics: bool) -> Router {
    let mut router = Router::new()
        .route("/", get(async || to_playground()))
        .route("/graphql", any(graphql::handle))
        .route("/schema.graphql", get(schema::show))
        .route("/confirm/{token}", get(confirm::open).head(confirm::peek))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/playground", get(async || to_playground()))
        .route("/playground/", get(playground::index))
        .route("/playground/{*path}", get(playground::file));
    if with_metrics {
        router = router.route("/metrics", get(metrics::show_to_this_machine));
    }
    if server.inbox.is_some() {
        router = router.merge(crate::dev::routes(&server));
    }
    router
        .fallback(async || (StatusCode::NOT_FOUND, "nothing is here; the API is at /graphql\n"))
        .layer(from_fn_with_state(server.clone(), cors::answer))
        .layer(from_fn_with_state(server.clone(), identify))
        .layer(from_fn(secure))
        .with_state(server)
}

fn to_playground() -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, "/playground/")]).into_response()
}

/// A path as the log may have it.
fn shown(path: &str) -> String {
    if path.starts_with(confirm::PREFIX) { format!("{}***", confirm::PREFIX) } else { path.to_owned() }
}

/// Gives the request an ID and sees to it that it is answered.
async fn identify(
    State(server): State<Arc<Server>>,
    route: Option<MatchedPath>,
    mut request: Request,
    next: Next,
) -> Response {
    let request_id = RequestId::fresh(&server);
    let (method, path) = (request.method().clone(), shown(request.uri().path()));
    let started = Instant::now();
    request.extensions_mut().insert(request_id.clone());
    let mut response = AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(|_| {
        // The panic hook has logged where and why.
        tracing::error!(request_id = request_id.0, %method, path, "a request panicked");
        Refusal::internal(&request_id).into_response(accept::Media::default())
    });
    let took_ms = started.elapsed().as_millis();
    let status = response.status().as_u16();
    server.metrics.answered(route.as_ref().map(MatchedPath::as_str), status);
    tracing::debug!(request_id = request_id.0, %method, path, status, took_ms, "answered");
    if let Ok(value) = HeaderValue::from_str(&request_id.0) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// No answer is what its bytes look like, only what it says it is.
async fn secure(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
const _: fn() = || {
    fn assert_send<T: Send + Sync>() {}
    assert_send::<Server>();
};
