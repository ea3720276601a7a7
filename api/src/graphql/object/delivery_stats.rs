//! What became final.

use async_graphql::SimpleObject;

use super::enums::DeliveryStatus;
use crate::app::delivery::{Bucket, Stats};
use crate::graphql::scalar::DateTime;

/// Counts and latencies of deliveries.
#[derive(SimpleObject)]
pub(crate) struct DeliveryStats {
    /// Values per interval, beginning with `from`; the last may be shorter. Empty when no interval was asked for.
    buckets: Vec<DeliveryStatsBucket>,
    /// Counts per final status, each of them.
    by_status: Vec<DeliveryStatusCount>,
    /// Median attempt duration in milliseconds, of the deliveries that are counted; where they are more than 10,000, of
    /// the 10,000 that became final last. At most 20,000 attempts are looked at. Null without any.
    p50_duration_ms: Option<f64>,
    /// 95th percentile of attempt duration in milliseconds, of the same attempts.
    p95_duration_ms: Option<f64>,
    /// Share of finished deliveries that succeeded, 0-1; null without any.
    success_rate: Option<f64>,
    /// Deliveries that became final in the range.
    total: f64,
}

/// Deliveries that became final in one interval.
#[derive(SimpleObject)]
pub(crate) struct DeliveryStatsBucket {
    /// Failed and exhausted deliveries.
    failed: f64,
    /// Start of the interval.
    start: DateTime,
    /// Succeeded deliveries.
    succeeded: f64,
    /// All deliveries.
    total: f64,
}

/// Number of deliveries with a status.
#[derive(SimpleObject)]
pub(crate) struct DeliveryStatusCount {
    /// How many.
    count: f64,
    /// The status.
    status: DeliveryStatus,
}

impl From<Stats> for DeliveryStats {
    fn from(stats: Stats) -> Self {
        let total = number(stats.total());
        let by_status = stats.by_status.iter();
        Self {
            success_rate: (total > 0.0).then(|| number(stats.succeeded()) / total),
            p50_duration_ms: stats.percentiles.map(|(median, _)| median.into()),
            p95_duration_ms: stats.percentiles.map(|(_, high)| high.into()),
            total,
            by_status: by_status
                .map(|(status, count)| DeliveryStatusCount { count: number(*count), status: (*status).into() })
                .collect(),
            buckets: stats.buckets.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Bucket> for DeliveryStatsBucket {
    fn from(bucket: Bucket) -> Self {
        Self {
            failed: number(bucket.failed),
            start: bucket.start.into(),
            succeeded: number(bucket.succeeded),
            total: number(bucket.total),
        }
    }
}

/// Counts end far below what a float holds exactly.
fn number(count: i64) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}
