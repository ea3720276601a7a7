//! What a node shows of itself, for Prometheus: that of the dispatcher ([`angarium_dispatcher::metrics`], which has the
//! rules for names and labels) and that of the API.

use std::fmt;
use std::time::Duration;

use async_graphql::parser::types::OperationType;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TEXT_FORMAT, TextEncoder,
};

/// The media type of [`Metrics::text`].
pub(crate) const MEDIA_TYPE: &str = TEXT_FORMAT;
/// Seconds: from an answer of memory to the longest execution.
const DURATIONS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0];

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With data alone.
    Well,
    /// With errors among the data.
    Erroneous,
    /// Without having been executed to its end.
    Refused,
}

impl Ended {
    const ALL: [Self; 3] = [Self::Well, Self::Erroneous, Self::Refused];

    const fn label(self) -> &'static str {
        match self {
            Self::Well => "ok",
            Self::Erroneous => "errors",
            Self::Refused => "refused",
        }
    }
}

/// Classes of statuses.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
const KINDS: [OperationType; 3] = [OperationType::Query, OperationType::Mutation, OperationType::Subscription];

const fn kind(ty: OperationType) -> &'static str {
    match ty {
        OperationType::Query => "query",
        OperationType::Mutation => "mutation",
        OperationType::Subscription => "subscription",
    }
}

/// The metrics of one server. Cheap to clone; all clones count together.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    of_dispatcher: angarium_dispatcher::Metrics,
    operations: IntCounterVec,
    durations: HistogramVec,
    streams: IntGauge,
    sockets: IntGauge,
    requests: IntCounterVec,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// All of them, at zero.
    ///
    /// # Errors
    /// When two have the same name.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let of_dispatcher = angarium_dispatcher::Metrics::register(&registry)?;
        let counters = |name: &str, help: &str, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
        let metrics = Self {
            of_dispatcher,
            operations: counters(
                "angarium_graphql_operations_total",
                "GraphQL operations that have ended, by kind and how they ended: ok, with errors, or refused.",
                &["kind", "outcome"],
            )?,
            durations: HistogramVec::new(
                HistogramOpts::new(
                    "angarium_graphql_operation_duration_seconds",
                    "How long queries and mutations took.",
                )
                .buckets(DURATIONS.to_vec()),
                &["kind"],
            )?,
            streams: IntGauge::new("angarium_live_streams", "GraphQL subscriptions that are open on this node.")?,
            sockets: IntGauge::new("angarium_websocket_connections", "WebSockets that are open on this node.")?,
            requests: counters(
                "angarium_http_requests_total",
                "HTTP requests that were answered, by route and class of the status.",
                &["route", "status"],
            )?,
            registry,
        };
        let registry = &metrics.registry;
        registry.register(Box::new(metrics.operations.clone()))?;
        registry.register(Box::new(metrics.durations.clone()))?;
        registry.register(Box::new(metrics.streams.clone()))?;
        registry.register(Box::new(metrics.sockets.clone()))?;
        registry.register(Box::new(metrics.requests.clone()))?;
        let build =
            IntGaugeVec::new(Opts::new("angarium_build_info", "The version of this node; always 1."), &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        registry.register(Box::new(build))?;
        for ty in KINDS {
            for ended in Ended::ALL {
                drop(metrics.operations.with_label_values(&[kind(ty), ended.label()]));
            }
        }
        for class in CLASSES {
            drop(metrics.requests.with_label_values(&["/graphql", class]));
        }
        for ty in [OperationType::Query, OperationType::Mutation] {
            drop(metrics.durations.with_label_values(&[kind(ty)]));
        }
        Ok(metrics)
    }

    /// Those that the dispatcher counts.
    pub fn of_dispatcher(&self) -> angarium_dispatcher::Metrics {
        self.of_dispatcher.clone()
    }

    /// All of them as Prometheus reads them.
    ///
    /// # Errors
    /// When a metric cannot be written, which would be a fault of ours.
    pub(crate) fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    pub(crate) fn executed(&self, ty: OperationType, ended: Ended, took: Duration) {
        self.operations.with_label_values(&[kind(ty), ended.label()]).inc();
        self.durations.with_label_values(&[kind(ty)]).observe(took.as_secs_f64());
    }

    /// A live stream opens; it is open until the answer is dropped, and ended well unless that says otherwise.
    pub(crate) fn stream(&self) -> Stream {
        self.streams.inc();
        Stream { metrics: self.clone(), ended: Ended::Well }
    }

    /// A WebSocket opens; it is open until the answer is dropped.
    pub(crate) fn socket(&self) -> Socket {
        self.sockets.inc();
        Socket(self.clone())
    }

    /// `route` is the pattern of a path; none where nothing is served.
    pub(crate) fn answered(&self, route: Option<&str>, status: u16) {
        let class = CLASSES[usize::from(status / 100).clamp(1, CLASSES.len()) - 1];
        self.requests.with_label_values(&[route.unwrap_or("none"), class]).inc();
    }
}

/// A live stream that is open.
#[derive(Debug)]
pub(crate) struct Stream {
    metrics: Metrics,
    pub(crate) ended: Ended,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.metrics.streams.dec();
        let labels = [kind(OperationType::Subscription), self.ended.label()];
        self.metrics.operations.with_label_values(&labels).inc();
    }
}

/// A WebSocket that is open.
#[derive(Debug)]
pub(crate) struct Socket(Metrics);

impl Drop for Socket {
    fn drop(&mut self) {
        self.0.sockets.dec();
    }
}
