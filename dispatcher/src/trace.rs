//! Spans of what happens to an event, for OpenTelemetry.
//!
//! ```text
//! POST /graphql ─→ publish ─→ commit          of one request, in the trace that its caller is in
//!                     ├─────→ hand-over       from when a delivery could go out to its first attempt, by whoever makes it
//!                     └─────→ POST, POST, …   each attempt, perhaps hours later and by another node
//! ```
//!
//! Kept    the context of the publish is stored with the event, and every attempt is a child of it. Such a trace is long;
//!         but it is one, and every tool shows it, where a link would have to be followed.
//! Off     without a collector a [`Span`] is an `Option` that is passed on: nothing is made, and no time is read. What the
//!         publisher's own `traceparent` says goes to the receivers unchanged: this server has no span of its own that
//!         could be the parent, and one that nobody has ever seen would leave a hole.
//! Never   a payload, a secret, a header or the path and query of a URL: those of an endpoint are often secrets.
//! Lost    spans that the collector does not take (see `trace::export`), and what had not been sent when the process died.
//!
//! Of the field's crates these are in use: `opentelemetry` and `opentelemetry_sdk` make spans and decide what is
//! sampled, `opentelemetry-proto` writes them down. Sending is ours: `opentelemetry-otlp` reads variables of its own
//! beside the settings, sends from a thread that blocks, and tells of every failure.
//!
//! Source  names of attributes: <https://opentelemetry.io/docs/specs/semconv/>, HTTP, GraphQL and messaging.

mod collector;
mod export;

use std::borrow::Cow;
use std::time::Duration;

use angarium_entity::attempt::ErrorCode;
use angarium_entity::{Timestamp, TraceContext, TraceParent, attempt, event};
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId,
    TraceState, Tracer as _,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::{SdkTracer, Span as SdkSpan};
use sea_orm::ActiveEnum as _;

use crate::job::Job;
use crate::publish::{NewEvent, PublishError, Published};
use crate::report::Report;
use crate::settings::Settings;

pub use collector::{Collector, CollectorError, HeadersError, UrlError};
pub use export::{Exporting, StartError};

/// Most characters of a text that comes from outside.
const TEXT_LEN_MAX: usize = 128;

/// What is traced, and where it goes.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where spans are sent; without it there are none.
    pub collector: Option<Collector>,
    /// The share of the traces that begin here, 0 to 1. One that began elsewhere is recorded if its beginning was.
    pub sample_ratio: f64,
    /// Whether requests to endpoints carry `traceparent`.
    pub sends_traceparent: bool,
}

/// Makes spans, or passes on where they would belong. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tracer {
    sdk: Option<SdkTracer>,
    sends_traceparent: bool,
}

/// Something that takes time. It ends when it is dropped.
#[derive(Debug)]
pub struct Span(Inner);

#[derive(Debug)]
enum Inner {
    On(Box<SdkSpan>),
    /// Nothing is recorded; what comes next belongs where this would.
    Off(Option<TraceContext>),
}

impl Tracer {
    /// One that records nothing.
    pub const fn off() -> Self {
        Self { sdk: None, sends_traceparent: true }
    }

    /// Whether anything is recorded.
    pub const fn is_on(&self) -> bool {
        self.sdk.is_some()
    }

    /// An HTTP request to `route`, whose caller is in the trace `from`.
    pub fn request(&self, method: &str, route: &'static str, from: Option<TraceContext>, request_id: &str) -> Span {
        let method = known_method(method);
        let name = || Cow::Owned(format!("{} {route}", if method == OTHER_METHOD { "HTTP" } else { method }));
        self.begin(name, SpanKind::Server, from, || {
            vec![
                KeyValue::new("http.request.method", method),
                KeyValue::new("http.route", route),
                KeyValue::new("url.path", route),
                KeyValue::new("url.scheme", "http"),
                KeyValue::new("angarium.request.id", request_id.to_owned()),
            ]
        })
    }

    /// An operation on a WebSocket. Nobody can say what trace it is in.
    pub fn operation(&self, request_id: &str) -> Span {
        self.begin(
            || Cow::Borrowed("GraphQL Operation"),
            SpanKind::Server,
            None,
            || {
                vec![
                    KeyValue::new("network.protocol.name", "websocket"),
                    KeyValue::new("angarium.request.id", request_id.to_owned()),
                ]
            },
        )
    }

    /// The publish of one event.
    pub fn publish(&self, within: Option<TraceContext>) -> Span {
        self.begin(
            || Cow::Borrowed("publish"),
            SpanKind::Producer,
            within,
            || {
                vec![
                    KeyValue::new("messaging.system", "angarium"),
                    KeyValue::new("messaging.operation.name", "publish"),
                    KeyValue::new("messaging.operation.type", "send"),
                ]
            },
        )
    }

    /// From the acceptance of each event to its commit; empty when nothing is recorded.
    pub(crate) fn commits(&self, events: &[NewEvent]) -> Vec<Span> {
        if !self.is_on() {
            return Vec::new();
        }
        let commit = |event: &NewEvent| {
            self.begin(
                || Cow::Borrowed("commit"),
                SpanKind::Internal,
                event.trace.clone(),
                || vec![KeyValue::new("angarium.workspace.id", event.workspace_id.to_string())],
            )
        };
        events.iter().map(commit).collect()
    }

    /// One attempt, which starts at `now`. Before the first the hand-over is told of, which has come to its end.
    pub(crate) fn attempt(&self, job: &Job, settings: &Settings, now: Timestamp) -> Span {
        if job.attempt_count == 0 {
            self.handed_over(job, now.since(job.ready_at));
        }
        self.begin(
            || Cow::Borrowed("POST"),
            SpanKind::Client,
            job.event.trace(),
            || {
                let url = &settings.url;
                let mut attributes = vec![
                    KeyValue::new("http.request.method", "POST"),
                    KeyValue::new("server.address", url.host_str().unwrap_or_default().to_owned()),
                    KeyValue::new("url.scheme", url.scheme().to_owned()),
                    KeyValue::new("angarium.workspace.id", settings.workspace_id.to_string()),
                    KeyValue::new("angarium.event.id", job.event.id.to_string()),
                    KeyValue::new("angarium.delivery.id", job.delivery_id.to_string()),
                    KeyValue::new("angarium.endpoint.id", job.endpoint_id.to_string()),
                    KeyValue::new("angarium.subscription.id", job.subscription_id.to_string()),
                    KeyValue::new("angarium.attempt.number", i64::from(job.attempt_count + 1)),
                    KeyValue::new("angarium.attempt.trigger", job.trigger().to_value()),
                ];
                attributes
                    .extend(url.port_or_known_default().map(|port| KeyValue::new("server.port", i64::from(port))));
                attributes
            },
        )
    }

    /// From the commit, or the time that a delivery waited for, through hint, queue and line, on this node or from another.
    fn handed_over(&self, job: &Job, took: Duration) {
        let (Some(sdk), Some(publish)) = (&self.sdk, job.event.trace()) else { return };
        // By the clock of spans, which a test does not move.
        let begun = opentelemetry::time::now().checked_sub(took);
        let mut builder = SpanBuilder::from_name("hand-over").with_kind(SpanKind::Internal);
        builder.start_time = begun;
        let context = Context::new().with_remote_span_context(into_sdk(publish, true));
        let mut span = sdk.build_with_context(builder, &context);
        if span.is_recording() {
            span.set_attributes([
                KeyValue::new("angarium.event.id", job.event.id.to_string()),
                KeyValue::new("angarium.delivery.id", job.delivery_id.to_string()),
                KeyValue::new("angarium.endpoint.id", job.endpoint_id.to_string()),
            ]);
        }
    }

    /// What the receiver is told of the attempt that is `span`.
    pub(crate) fn told(&self, span: &Span) -> Option<TraceContext> {
        if self.sends_traceparent { span.context() } else { None }
    }

    fn begin(
        &self,
        name: impl FnOnce() -> Cow<'static, str>,
        kind: SpanKind,
        parent: Option<TraceContext>,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> Span {
        let Some(sdk) = &self.sdk else { return Span(Inner::Off(parent)) };
        // Only what the span is made within is asked for: no context of the thread is ever set.
        let context = match parent {
            Some(parent) => {
                // The row that an attempt is made from is as good as a header.
                let is_remote = matches!(kind, SpanKind::Server | SpanKind::Client);
                Context::new().with_remote_span_context(into_sdk(parent, is_remote))
            }
            None => Context::new(),
        };
        let mut span = sdk.build_with_context(SpanBuilder::from_name(name()).with_kind(kind), &context);
        if span.is_recording() {
            span.set_attributes(attributes());
        }
        Span(Inner::On(Box::new(span)))
    }
}

impl Span {
    /// One that records nothing, of something within `context`.
    pub const fn off(context: Option<TraceContext>) -> Self {
        Self(Inner::Off(context))
    }

    /// What is handed on to whatever is a part of this.
    pub fn context(&self) -> Option<TraceContext> {
        match &self.0 {
            Inner::Off(context) => context.clone(),
            Inner::On(span) => Some(span.span_context()).filter(|context| context.is_valid()).map(from_sdk),
        }
    }

    /// The request asks for an operation of this kind and name.
    pub fn asks(&mut self, kind: &'static str, name: Option<&str>) {
        self.record(|span| {
            span.set_attribute(KeyValue::new("graphql.operation.type", kind));
            if let Some(name) = name {
                let name = name.chars().take(TEXT_LEN_MAX).collect::<String>();
                span.set_attribute(KeyValue::new("graphql.operation.name", name));
            }
        });
    }

    /// The request was answered.
    pub fn answered(&mut self, status: u16) {
        self.record(|span| {
            span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
            if status >= 500 {
                fail(span, status.to_string());
            }
        });
    }

    /// The event is published, or was before.
    pub fn published(&mut self, event: &event::Model, duplicate: bool) {
        self.record(|span| {
            let bytes = i64::try_from(event.payload.len()).unwrap_or(i64::MAX);
            span.set_attributes([
                KeyValue::new("messaging.destination.name", event.event_type.clone()),
                KeyValue::new("messaging.message.id", event.id.to_string()),
                KeyValue::new("messaging.message.body.size", bytes),
                KeyValue::new("angarium.workspace.id", event.workspace_id.to_string()),
                KeyValue::new("angarium.event.id", event.id.to_string()),
                KeyValue::new("angarium.event.duplicate", duplicate),
            ]);
        });
    }

    /// It came to nothing, for this reason.
    pub fn failed(&mut self, reason: impl FnOnce() -> Cow<'static, str>) {
        self.record(|span| fail(span, reason()));
    }

    pub(crate) fn committed(&mut self, outcome: &Result<Published, PublishError>) {
        self.record(|span| match outcome {
            Ok(published) => span.set_attribute(KeyValue::new("angarium.event.id", published.event.id.to_string())),
            Err(error) => fail(span, name_of(error)),
        });
    }

    /// The attempt has ended.
    pub(crate) fn ended(&mut self, report: &Report) {
        self.record(|span| {
            let Report { job, attempt, next, .. } = report;
            span.set_attribute(KeyValue::new("angarium.delivery.status", next.status().name()));
            let late = attempt.started_at.millis().saturating_sub(job.ready_at.millis()).max(0);
            span.set_attribute(KeyValue::new("angarium.attempt.lateness_ms", late));
            if let Some(status) = attempt.response_status_code {
                span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
            }
            if let Some(error) = error_type(attempt) {
                fail(span, error);
            }
        });
    }

    fn record(&mut self, what: impl FnOnce(&mut SdkSpan)) {
        if let Inner::On(span) = &mut self.0
            && span.is_recording()
        {
            what(span);
        }
    }
}

fn fail(span: &mut SdkSpan, error: impl Into<Value>) {
    span.set_attribute(KeyValue::new("error.type", error));
    // The words of an error could hold what was sent or answered.
    span.set_status(Status::error(""));
}

/// A status is told as its number, by convention, and everything else by the word that the API has for it.
fn error_type(attempt: &attempt::Model) -> Option<String> {
    match (attempt.error_code?, attempt.response_status_code) {
        (ErrorCode::HttpStatus | ErrorCode::Redirect, Some(status)) => Some(status.to_string()),
        (code, _) => Some(code.to_value()),
    }
}

const fn name_of(error: &PublishError) -> &'static str {
    match error {
        PublishError::IdempotencyMismatch => "IDEMPOTENCY_MISMATCH",
        PublishError::EventGone => "EVENT_GONE",
        PublishError::CatalogueChanged => "CATALOGUE_CHANGED",
        PublishError::UnknownWorkspace => "NOT_FOUND",
        PublishError::Overloaded { .. } => "OVERLOADED",
        PublishError::Stopping => "UNAVAILABLE",
        PublishError::Database(_) => "DATABASE",
    }
}

const OTHER_METHOD: &str = "_OTHER";

/// A method is any text; those that are not known share a word, by convention.
fn known_method(method: &str) -> &'static str {
    const METHODS: [&str; 9] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];
    METHODS.into_iter().find(|known| *known == method).unwrap_or(OTHER_METHOD)
}

fn into_sdk(TraceContext { parent, state }: TraceContext, is_remote: bool) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(parent.trace_id),
        SpanId::from_bytes(parent.span_id),
        TraceFlags::new(parent.flags),
        is_remote,
        // What is malformed is left out, as the standard says.
        state.and_then(|state| state.parse().ok()).unwrap_or(TraceState::NONE),
    )
}

fn from_sdk(context: &SpanContext) -> TraceContext {
    let parent = TraceParent {
        trace_id: context.trace_id().to_bytes(),
        span_id: context.span_id().to_bytes(),
        flags: context.trace_flags().to_u8(),
    };
    TraceContext { parent, state: Some(context.trace_state().header()).filter(|state| !state.is_empty()) }
}
