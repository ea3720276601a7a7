//! Spans on their way to the collector: gathered, written down and sent in the background.
//!
//! Bounds  [`WAITING_MAX`] spans wait; more are lost, since nothing that is delivered may wait for them. A batch has at
//!         most [`BATCH_MAX`], is sent after [`LINGER`] or when it is full, one at a time, and tried [`TRIES_MAX`] times.
//! Told    what was lost, in one line of the log a minute.
//! Stop    what waits is sent, within a time that the caller sets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use angarium_entity::id::new_uuid;
use angarium_entity::{Clock as _, SystemClock};
use bytes::Bytes;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, Span, SpanData, SpanLimits, SpanProcessor};
use prost::Message as _;
use reqwest::Client;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::{Collector, CollectorError, Config, Tracer};

/// Most spans that wait to be sent, some 20 MB.
const WAITING_MAX: usize = 16_384;
/// Most spans of one request.
const BATCH_MAX: usize = 512;
/// How long the first span of a batch waits for others.
const LINGER: Duration = Duration::from_secs(1);
/// How often a batch is sent that the collector could take in a moment.
const TRIES_MAX: u32 = 3;
/// The pause before the second try; it doubles.
const PAUSE: Duration = Duration::from_secs(1);
/// What was lost is told no more often.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Why there is no tracing.
#[derive(Debug, thiserror::Error)]
#[error("failed to start tracing")]
pub struct StartError(#[from] CollectorError);

/// What sends spans, if anything does. Dropping it lets it go on for as long as there are tracers.
#[derive(Debug)]
pub struct Exporting(Option<Running>);

#[derive(Debug)]
struct Running {
    provider: SdkTracerProvider,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Tracer {
    /// Starts to send what is recorded from now on, on the runtime that this is called on.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(config: Config) -> Result<(Self, Exporting), StartError> {
        let Config { collector, sample_ratio, sends_traceparent } = config;
        let Some(collector) = collector else { return Ok((Self { sdk: None, sends_traceparent }, Exporting(None))) };
        let client = Collector::client()?;
        let (sender, waiting) = mpsc::channel(WAITING_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        // Everything is said here, so that nothing is read from the variables that the library knows.
        let resource = Resource::builder_empty()
            .with_detector(Box::new(TelemetryResourceDetector))
            .with_attributes([
                KeyValue::new("service.name", "angarium"),
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("service.instance.id", new_uuid(SystemClock.now()).to_string()),
            ])
            .build();
        let attributes = ResourceAttributesWithSchema::from(&resource);
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(sample_ratio))))
            .with_span_limits(SpanLimits::default())
            .with_resource(resource)
            .with_span_processor(Queue { sender, lost: lost.clone() })
            .build();
        let scope = InstrumentationScope::builder("angarium").with_version(env!("CARGO_PKG_VERSION")).build();
        let sdk = Some(provider.tracer_with_scope(scope));
        let exporter = Exporter { collector, client, attributes, lost, told_at: None };
        let (stop, stopping) = watch::channel(false);
        let task = tokio::spawn(exporter.run(waiting, stopping));
        Ok((Self { sdk, sends_traceparent }, Exporting(Some(Running { provider, stop, task }))))
    }
}

impl Exporting {
    /// Records nothing more, and sends what waits for up to `within`.
    pub async fn stop(self, within: Duration) {
        let Some(Running { provider, stop, mut task }) = self.0 else { return };
        // Only fails when it was stopped before.
        let _ = provider.shutdown();
        let _ = stop.send(true);
        if timeout(within, &mut task).await.is_err() {
            tracing::warn!("the collector of traces took too long; what waited for it is lost");
            task.abort();
        }
    }
}

/// Takes spans as they end, on whichever thread. Never waits.
#[derive(Debug)]
struct Queue {
    sender: mpsc::Sender<SpanData>,
    lost: Arc<AtomicU64>,
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.sender.try_send(span).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Sends what comes out of the queue.
struct Exporter {
    collector: Collector,
    client: Client,
    attributes: ResourceAttributesWithSchema,
    lost: Arc<AtomicU64>,
    told_at: Option<Instant>,
}

impl Exporter {
    async fn run(mut self, mut waiting: mpsc::Receiver<SpanData>, mut stopping: watch::Receiver<bool>) {
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                count = waiting.recv_many(&mut batch, BATCH_MAX) => if count == 0 { break },
                () = stopped(&mut stopping), if !waiting.is_closed() => {
                    // What is there is still received.
                    waiting.close();
                    continue;
                }
            }
            gather(&mut batch, &mut waiting, &mut stopping).await;
            let failed = self.export(batch, &mut stopping).await.err();
            self.tell(failed.as_ref(), false);
        }
        self.tell(None, true);
    }

    /// Sends a batch, more than once where that may help.
    async fn export(&self, batch: Vec<SpanData>, stopping: &mut watch::Receiver<bool>) -> Result<(), CollectorError> {
        let count = batch.len();
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.attributes);
        let body = Bytes::from(ExportTraceServiceRequest { resource_spans }.encode_to_vec());
        let mut pause = PAUSE;
        for tries in 1.. {
            match self.collector.export(&self.client, body.clone()).await {
                Ok(refused) => {
                    self.lose(refused);
                    break;
                }
                Err(error) if error.is_passing() && tries < TRIES_MAX && !*stopping.borrow() => {
                    tokio::select! {
                        () = sleep(pause) => pause *= 2,
                        () = stopped(stopping) => {}
                    }
                }
                Err(error) => {
                    self.lose(count);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn lose(&self, count: usize) {
        self.lost.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Tells of what was lost, unless it has just told.
    fn tell(&mut self, error: Option<&CollectorError>, is_last: bool) {
        let is_silent = self.told_at.is_some_and(|at| at.elapsed() < TELL_EVERY);
        if self.lost.load(Ordering::Relaxed) == 0 || is_silent && !is_last {
            return;
        }
        let spans = self.lost.swap(0, Ordering::Relaxed);
        let error = error.map(|error| error as &(dyn std::error::Error + 'static));
        tracing::warn!(spans, error, "spans of traces are lost; deliveries are not touched by it");
        self.told_at = Some(Instant::now());
    }
}

/// Fills a batch with what comes within [`LINGER`].
async fn gather(
    batch: &mut Vec<SpanData>,
    waiting: &mut mpsc::Receiver<SpanData>,
    stopping: &mut watch::Receiver<bool>,
) {
    let lingered = sleep(LINGER);
    tokio::pin!(lingered);
    while batch.len() < BATCH_MAX {
        let room = BATCH_MAX - batch.len();
        tokio::select! {
            count = waiting.recv_many(batch, room) => if count == 0 { return },
            () = &mut lingered => return,
            () = stopped(stopping) => return,
        }
    }
}

/// Ready when it is time to stop.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    if stopping.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}
