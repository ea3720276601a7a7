//! What the dispatcher shows of itself, for Prometheus.
//!
//! Names   `angarium_<what>_<unit>`, with `_total` for what only grows; the words are those of the documentation.
//! Labels  words that are listed here and nothing else: no tenant, endpoint or event type, so that the number of series
//!         does not grow with use. Each series is there from the start, at zero, so that a rate can be taken of the first.
//! Source  naming: <https://prometheus.io/docs/practices/naming/>

use std::fmt;
use std::time::Duration;

use angarium_entity::delivery::Status;
use prometheus::core::Collector;
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::handle::NodeReport;
use crate::publish::{PublishError, Published};
use crate::report::Report;
use crate::store::backlog::Backlog;

const ACCEPTED: &str = "accepted";
const DUPLICATE: &str = "duplicate";
const REFUSED: &str = "refused";
const OVERLOADED: &str = "overloaded";
const FAILED: &str = "failed";
const SUCCEEDED: &str = "succeeded";

/// Seconds: from an answer of the next machine to the longest timeout of an endpoint.
const DURATIONS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0];
/// Seconds: from a millisecond, which is the aim, to an hour.
const LATENESSES: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0];
/// Rows: from nobody waiting to the largest group.
const GROUP_SIZES: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0];
/// Seconds of a transaction.
const COMMITS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Which committer wrote a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupOf {
    /// Events that were published together.
    Publishes,
    /// Results that came together.
    Results,
}

impl GroupOf {
    const ALL: [Self; 2] = [Self::Publishes, Self::Results];

    const fn label(self) -> &'static str {
        match self {
            Self::Publishes => "publishes",
            Self::Results => "results",
        }
    }
}

/// The metrics of one dispatcher. Cheap to clone; all clones count together.
#[derive(Clone)]
pub struct Metrics {
    publishes: IntCounterVec,
    attempts: IntCounterVec,
    attempt_duration: Histogram,
    attempt_lateness: Histogram,
    deliveries: IntCounterVec,
    group_size: HistogramVec,
    group_duration: HistogramVec,
    sweep_woken: IntCounter,
    schedule_rebuilds: IntCounter,
    shards: IntGauge,
    shards_owned: IntGauge,
    in_flight: IntGauge,
    endpoints_awake: IntGauge,
    job_bytes: IntGauge,
    backlog: IntGaugeVec,
    oldest_waiting: Gauge,
    open_circuits: IntGauge,
    stored_at: Gauge,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// Makes them and adds them to `registry`.
    ///
    /// # Errors
    /// When the registry has one of these names already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let add = Adder(registry);
        let metrics = Self {
            publishes: add.counters(
                "angarium_publishes_total",
                "Events that were handed in for publishing, by what became of them.",
                "outcome",
                &[ACCEPTED, DUPLICATE, REFUSED, OVERLOADED, FAILED],
            )?,
            attempts: add.counters(
                "angarium_attempts_total",
                "HTTP requests of deliveries whose results are durable, by outcome.",
                "outcome",
                &[SUCCEEDED, FAILED],
            )?,
            attempt_duration: add.histogram(
                "angarium_attempt_duration_seconds",
                "How long the requests of deliveries took, from the name look-up to the end of the answer.",
                &DURATIONS,
            )?,
            attempt_lateness: add.histogram(
                "angarium_attempt_lateness_seconds",
                "How much later than it could have a request started: since it was published or due. Waiting behind \
                 others of its endpoint counts, and so does a pause of the endpoint.",
                &LATENESSES,
            )?,
            deliveries: add.counters(
                "angarium_deliveries_total",
                "Deliveries that came to their end, and attempts that are to be repeated (retrying).",
                "outcome",
                &[SUCCEEDED, "retrying", FAILED, "exhausted", "canceled"],
            )?,
            group_size: add.histograms(
                "angarium_group_commit_rows",
                "How many events or results were committed in one transaction.",
                &GROUP_SIZES,
            )?,
            group_duration: add.histograms(
                "angarium_group_commit_duration_seconds",
                "How long such a transaction took.",
                &COMMITS,
            )?,
            sweep_woken: add.counter(
                "angarium_sweep_woken_endpoints_total",
                "Endpoints that a sweep of the rows found with something to send and not at work: after a start, and \
                 where a hint was lost.",
            )?,
            schedule_rebuilds: add.counter(
                "angarium_schedule_rebuilds_total",
                "How often the schedule of retries of a shard was made anew from the rows.",
            )?,
            shards: add.gauge("angarium_shards", "Shards that there are; some node is to own each.")?,
            shards_owned: add.gauge("angarium_shards_owned", "Shards whose endpoints this node serves.")?,
            in_flight: add.gauge("angarium_in_flight_requests", "Requests of deliveries that run on this node.")?,
            endpoints_awake: add.gauge("angarium_endpoints_awake", "Endpoints with an actor on this node.")?,
            job_bytes: add
                .gauge("angarium_job_memory_bytes", "Memory of the deliveries that wait in this node, roughly.")?,
            backlog: add.gauges(
                "angarium_backlog_deliveries",
                "Open deliveries in the database, counted up to 100000 for each state: in line, or scheduled for a \
                 time. The same on every node.",
                "state",
                &["in_line", "scheduled"],
            )?,
            oldest_waiting: add.float(
                "angarium_oldest_waiting_seconds",
                "How long the delivery has waited that could have gone out first, of the endpoints that are sent to. \
                 The same on every node.",
            )?,
            open_circuits: add.gauge(
                "angarium_open_circuits",
                "Endpoints that are left alone because they fail. The same on every node.",
            )?,
            stored_at: add.float(
                "angarium_backlog_timestamp_seconds",
                "When the backlog was counted, in Unix seconds; it stands still while the database does not answer.",
            )?,
        };
        Ok(metrics)
    }

    /// How the node stands among the others.
    pub(crate) fn set_node(&self, node: &NodeReport, shard_count: i32) {
        self.shards.set(shard_count.into());
        self.shards_owned.set(whole(node.shards));
        self.schedule_rebuilds.inc_by(node.schedule_rebuilds.saturating_sub(self.schedule_rebuilds.get()));
    }

    pub(crate) fn published<'a>(&self, outcomes: impl IntoIterator<Item = &'a Result<Published, PublishError>>) {
        for outcome in outcomes {
            let label = match outcome {
                Ok(Published { duplicate: false, .. }) => ACCEPTED,
                Ok(Published { duplicate: true, .. }) => DUPLICATE,
                // It is handed in again at once, and counted then.
                Err(PublishError::CatalogueChanged) => continue,
                Err(PublishError::IdempotencyMismatch | PublishError::EventGone | PublishError::UnknownWorkspace) => {
                    REFUSED
                }
                Err(PublishError::Overloaded { .. }) => OVERLOADED,
                Err(PublishError::Stopping | PublishError::Database(_)) => FAILED,
            };
            self.publishes.with_label_values(&[label]).inc();
        }
    }

    /// A result is durable; `decided` is whether it moved its delivery.
    pub(crate) fn recorded(&self, report: &Report, decided: bool) {
        let attempt = &report.attempt;
        if report.is_sent {
            let outcome = if attempt.error_code.is_none() { SUCCEEDED } else { FAILED };
            self.attempts.with_label_values(&[outcome]).inc();
            self.attempt_duration.observe(f64::from(attempt.duration_ms) / 1000.0);
            self.attempt_lateness.observe(attempt.started_at.since(report.job.ready_at).as_secs_f64());
        }
        if decided {
            self.ended(report.next.status(), 1);
        }
    }

    /// Deliveries have come to this status.
    pub(crate) fn ended(&self, status: Status, count: usize) {
        let outcome = match status {
            Status::Pending => return,
            Status::Retrying => "retrying",
            Status::Succeeded => SUCCEEDED,
            Status::Failed => FAILED,
            Status::Exhausted => "exhausted",
            Status::Canceled => "canceled",
        };
        self.deliveries.with_label_values(&[outcome]).inc_by(count as u64);
    }

    pub(crate) fn committed(&self, group: GroupOf, rows: usize, took: Duration) {
        self.group_size.with_label_values(&[group.label()]).observe(f64::from(u32::try_from(rows).unwrap_or(u32::MAX)));
        self.group_duration.with_label_values(&[group.label()]).observe(took.as_secs_f64());
    }

    pub(crate) fn woken_by_sweep(&self) {
        self.sweep_woken.inc();
    }

    pub(crate) fn set_work(&self, in_flight: usize, endpoints: usize, job_bytes: usize) {
        self.in_flight.set(whole(in_flight));
        self.endpoints_awake.set(whole(endpoints));
        self.job_bytes.set(whole(job_bytes));
    }

    pub(crate) fn set_backlog(&self, backlog: Backlog) {
        self.backlog.with_label_values(&["in_line"]).set(backlog.in_line);
        self.backlog.with_label_values(&["scheduled"]).set(backlog.scheduled);
        self.oldest_waiting.set(backlog.oldest_waiting.as_secs_f64());
        self.open_circuits.set(backlog.open_circuits);
        self.stored_at.set(Duration::from_millis(u64::try_from(backlog.at.millis()).unwrap_or_default()).as_secs_f64());
    }
}

/// Makes metrics in a registry, each series from the start.
struct Adder<'a>(&'a Registry);

impl Adder<'_> {
    fn add<C: Collector + Clone + 'static>(&self, made: C) -> Result<C, prometheus::Error> {
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.add(IntCounter::new(name, help)?)
    }

    fn counters(&self, name: &str, help: &str, label: &str, of: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        let made = self.add(IntCounterVec::new(Opts::new(name, help), &[label])?)?;
        for value in of {
            drop(made.with_label_values(&[*value]));
        }
        Ok(made)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.add(IntGauge::new(name, help)?)
    }

    fn gauges(&self, name: &str, help: &str, label: &str, of: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        let made = self.add(IntGaugeVec::new(Opts::new(name, help), &[label])?)?;
        for value in of {
            drop(made.with_label_values(&[*value]));
        }
        Ok(made)
    }

    fn float(&self, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
        self.add(Gauge::new(name, help)?)
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, prometheus::Error> {
        self.add(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?)
    }

    /// By committer.
    fn histograms(&self, name: &str, help: &str, buckets: &[f64]) -> Result<HistogramVec, prometheus::Error> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        let made = self.add(HistogramVec::new(options, &["of"])?)?;
        for group in GroupOf::ALL {
            drop(made.with_label_values(&[group.label()]));
        }
        Ok(made)
    }
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_is_there_from_the_start_and_none_comes_twice() {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).expect("the first of their names");
        assert!(Metrics::register(&registry).is_err());
        let count = || registry.gather().iter().map(|family| family.get_metric().len()).sum::<usize>();
        let before = count();
        metrics.ended(Status::Canceled, 3);
        metrics.published(&[Err(PublishError::Stopping), Err(PublishError::CatalogueChanged)]);
        metrics.committed(GroupOf::Results, 512, Duration::from_millis(3));
        assert_eq!(count(), before);
        assert_eq!(metrics.deliveries.with_label_values(&["canceled"]).get(), 3);
        assert_eq!(metrics.publishes.with_label_values(&[FAILED]).get(), 1);
    }
}
