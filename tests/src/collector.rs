//! A collector of traces: takes OTLP over HTTP and keeps it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{Span, status};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A span as it was sent, and by which process.
#[derive(Clone, Debug)]
pub struct Exported(Span, String);

impl Exported {
    /// What it is called.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Which side of what it is.
    pub fn kind(&self) -> SpanKind {
        self.0.kind()
    }

    /// Its ID, in 16 digits.
    pub fn id(&self) -> String {
        hex(&self.0.span_id)
    }

    /// The trace that it is in, in 32 digits.
    pub fn trace(&self) -> String {
        hex(&self.0.trace_id)
    }

    /// ID of its parent; empty for none.
    pub fn parent(&self) -> String {
        hex(&self.0.parent_span_id)
    }

    /// What goes to whatever is a part of it, where it is recorded.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace(), self.id())
    }

    /// The process that it is of.
    pub fn instance(&self) -> &str {
        &self.1
    }

    /// How long it took.
    pub fn took(&self) -> Duration {
        Duration::from_nanos(self.0.end_time_unix_nano.saturating_sub(self.0.start_time_unix_nano))
    }

    /// The `tracestate`.
    pub fn state(&self) -> &str {
        &self.0.trace_state
    }

    /// Whether it ended badly.
    pub fn failed(&self) -> bool {
        self.0.status.as_ref().is_some_and(|status| status.code() == status::StatusCode::Error)
    }

    /// An attribute as text; empty when it is not there.
    pub fn attribute(&self, name: &str) -> String {
        value(&self.0.attributes, name)
    }
}

fn value(attributes: &[KeyValue], name: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == name);
    match found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(answer)) => answer.to_string(),
        other => other.map(|other| format!("{other:?}")).unwrap_or_default(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[derive(Debug)]
struct Shared {
    status: u16,
    requests: Mutex<Vec<(HeaderMap, Bytes)>>,
}

/// A running collector.
#[derive(Debug)]
pub struct Collector {
    endpoint: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

impl Collector {
    /// Starts one on a free port.
    pub async fn start() -> Self {
        Self::answering(200).await
    }

    /// One that answers everything with this status.
    pub async fn answering(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared { status, requests: Mutex::default() });
        let router = Router::new().route("/v1/traces", axum::routing::post(take)).with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("the collector serves") });
        Self { endpoint, shared, server }
    }

    /// Where it is, as a server is told.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Headers and bodies that came.
    pub fn requests(&self) -> Vec<(HeaderMap, Bytes)> {
        self.shared.requests.lock().expect("no test panics here").clone()
    }

    /// The spans that came.
    ///
    /// # Panics
    /// When something came that is not OTLP, or not of Angarium.
    pub fn spans(&self) -> Vec<Exported> {
        let mut spans = Vec::new();
        for (headers, body) in self.requests() {
            assert_eq!(headers["content-type"], "application/x-protobuf");
            let request = ExportTraceServiceRequest::decode(body).expect("it is OTLP");
            for resource in request.resource_spans {
                let attributes = resource.resource.expect("it says whose spans they are").attributes;
                assert!(attributes.iter().any(|attribute| attribute.key == "service.name"), "{attributes:?}");
                let instance = value(&attributes, "service.instance.id");
                let of_scopes = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
                spans.extend(of_scopes.map(|span| Exported(span, instance.clone())));
            }
        }
        spans
    }

    /// Those with this name and this attribute, in the order of their beginning.
    pub fn spans_with(&self, name: &str, attribute: &str, value: &str) -> Vec<Exported> {
        let is_meant = |span: &Exported| span.name() == name && span.attribute(attribute) == value;
        let mut spans: Vec<_> = self.spans().into_iter().filter(is_meant).collect();
        spans.sort_by_key(|span| span.0.start_time_unix_nano);
        spans
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    shared.requests.lock().expect("no test panics here").push((headers, body));
    StatusCode::from_u16(shared.status).expect("a status").into_response()
}
