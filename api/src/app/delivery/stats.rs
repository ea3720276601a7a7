//! Counts and latencies of what became final.
//!
//! Index   ends are indexed by endpoint alone: those of a workspace are those of its endpoints, the deleted included, and
//!         those of a subscription are found at every endpoint that it ever had.
//! Bound   at most [`COUNTED_MAX`] deliveries are counted, from that index; a range with
//!         more is refused. Durations are those of the attempts of the [`SAMPLED_MAX`] that became final last: up to so
//!         many the percentiles are exact.

use std::time::Duration;

use angarium_entity::api_key::Scope;
use angarium_entity::delivery::{Column, Entity, Status};
use angarium_entity::{
    DeliveryId, EndpointId, SubscriptionId, Timestamp, WorkspaceId, attempt, endpoint, subscription_revision,
};
use sea_orm::sea_query::{Alias, Expr, ExprTrait as _, Query, SelectStatement};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, EntityTrait as _, FromQueryResult, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, QueryTrait as _, Select,
};

use crate::app::AppError;
use crate::{AppState, Caller};

/// Most deliveries that are counted.
const COUNTED_MAX: u64 = 1_000_000;
/// Most deliveries whose attempts are looked at, and most attempts.
const SAMPLED_MAX: u64 = 10_000;
const ATTEMPTS_MAX: u64 = 20_000;
/// Longest range.
const RANGE_MAX: Duration = Duration::from_hours(31 * 24);
/// Shortest interval, and most of them.
const INTERVAL_MIN: Duration = Duration::from_mins(1);
const BUCKETS_MAX: i64 = 1000;
/// The final statuses, in the order in which they are told.
const FINAL: [Status; 4] = [Status::Canceled, Status::Exhausted, Status::Failed, Status::Succeeded];

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// Only those to this endpoint. Outer none is any, an inner one is nobody's.
    pub endpoint: Option<Option<EndpointId>>,
    /// Only those of this subscription.
    pub subscription: Option<Option<SubscriptionId>>,
    /// Became final at or after.
    pub from: Timestamp,
    /// Became final before.
    pub to: Timestamp,
    /// Width of a bucket; none for no buckets.
    pub interval: Option<Duration>,
}

/// What became final.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// How many of each final status.
    pub by_status: Vec<(Status, i64)>,
    /// By interval.
    pub buckets: Vec<Bucket>,
    /// Median and 95th percentile of the durations of attempts; none without any.
    pub percentiles: Option<(i32, i32)>,
}

/// What became final in one interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its beginning.
    pub start: Timestamp,
    /// Failed and exhausted.
    pub failed: i64,
    /// Succeeded.
    pub succeeded: i64,
    /// All, the canceled included.
    pub total: i64,
}

impl Stats {
    /// All of them.
    pub fn total(&self) -> i64 {
        self.by_status.iter().map(|(_, count)| count).sum()
    }

    /// How many succeeded.
    pub fn succeeded(&self) -> i64 {
        self.by_status.iter().filter(|(status, _)| *status == Status::Succeeded).map(|(_, count)| count).sum()
    }
}

#[derive(FromQueryResult)]
struct Counted {
    status: Status,
    bucket: i64,
    count: i64,
}

/// Counts.
///
/// # Errors
/// [`AppError::BadInput`] for a range or an interval out of bounds, [`AppError::FilterTooBroad`] for a range that holds
/// too much.
pub async fn stats(state: &AppState, caller: &Caller, question: &Question) -> Result<Stats, AppError> {
    caller.require(Scope::DeliveryRead)?;
    let width = question.check()?;
    let select = question.select(caller.workspace_id()?);
    let counted = count(state, &select, question.from, width).await?;
    if counted.iter().map(|row| row.count).sum::<i64>() > i64::try_from(COUNTED_MAX).unwrap_or(i64::MAX) {
        return Err(AppError::FilterTooBroad(format!(
            "more than {COUNTED_MAX} deliveries became final in this range; ask for a shorter one, or for one endpoint or subscription"
        )));
    }
    let of = |status| counted.iter().filter(|row| row.status == status).map(|row| row.count).sum();
    let by_status = FINAL.into_iter().map(|status| (status, of(status))).collect();
    let buckets = question.interval.map(|_| buckets(question, width, &counted)).unwrap_or_default();
    let percentiles = percentiles(state, select).await?;
    Ok(Stats { by_status, buckets, percentiles })
}

impl Question {
    /// The width of a bucket in milliseconds; without an interval all is one.
    fn check(&self) -> Result<i64, AppError> {
        let refused = |message: &str| Err(AppError::BadInput(message.to_owned()));
        if self.to <= self.from {
            return refused("`to` is not after `from`");
        }
        let length = self.to.since(self.from);
        if length > RANGE_MAX {
            return refused("`to` is more than 31 days after `from`");
        }
        let millis = |length: Duration| i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
        let Some(interval) = self.interval else { return Ok(millis(length)) };
        if interval < INTERVAL_MIN {
            return refused("`interval` is shorter than a minute");
        }
        if count_of_buckets(millis(length), millis(interval)) > BUCKETS_MAX {
            return refused("`interval` divides the range into more than 1000 buckets; take a longer one");
        }
        Ok(millis(interval))
    }

    fn select(&self, workspace: WorkspaceId) -> Select<Entity> {
        // The index holds only what is final.
        let mut select = Entity::of(workspace)
            .filter(Column::CompletedAt.is_not_null())
            .filter(Column::CompletedAt.gte(self.from))
            .filter(Column::CompletedAt.lt(self.to));
        if let Some(endpoint) = self.endpoint {
            select = select.filter(Column::EndpointId.is_in(endpoint));
        }
        if let Some(subscription) = self.subscription {
            select = select.filter(Column::SubscriptionId.is_in(subscription));
        }
        if self.endpoint.is_none() {
            select = select.filter(Column::EndpointId.in_subquery(self.endpoints(workspace)));
        }
        select
    }

    /// Every endpoint that can have some of them.
    fn endpoints(&self, workspace: WorkspaceId) -> SelectStatement {
        let mut endpoints = Query::select();
        match self.subscription {
            Some(subscription) => endpoints
                .distinct()
                .column(subscription_revision::Column::EndpointId)
                .from(subscription_revision::Entity)
                .and_where(subscription_revision::Column::SubscriptionId.is_in(subscription)),
            None => endpoints
                .column(endpoint::Column::Id)
                .from(endpoint::Entity)
                .and_where(endpoint::Column::WorkspaceId.eq(workspace)),
        };
        endpoints
    }
}

fn count_of_buckets(length: i64, width: i64) -> i64 {
    length / width + i64::from(length % width > 0)
}

async fn count(
    state: &AppState,
    select: &Select<Entity>,
    from: Timestamp,
    width: i64,
) -> Result<Vec<Counted>, AppError> {
    let since = Expr::col((Entity, Column::CompletedAt)).sub(from.millis());
    let mut ends = select.clone().into_query();
    ends.clear_selects().column((Entity, Column::Status)).expr_as(since.div(width), "bucket").limit(COUNTED_MAX + 1);
    let counting = Query::select()
        .columns([Alias::new("status"), Alias::new("bucket")])
        .expr_as(Expr::cust("COUNT(*)"), "count")
        .from_subquery(ends, "ended")
        .group_by_columns([Alias::new("status"), Alias::new("bucket")])
        .take();
    let rows = state.db.read().query_all(&counting).await?;
    Ok(rows.iter().map(|row| Counted::from_query_result(row, "")).collect::<Result<_, _>>()?)
}

fn buckets(question: &Question, width: i64, counted: &[Counted]) -> Vec<Bucket> {
    let (from, length) = (question.from.millis(), question.to.millis() - question.from.millis());
    let mut buckets: Vec<Bucket> = (0..count_of_buckets(length, width))
        .map(|bucket| Timestamp::from_millis(from + bucket * width))
        .map(|start| Bucket { start, failed: 0, succeeded: 0, total: 0 })
        .collect();
    for row in counted {
        let Some(bucket) = usize::try_from(row.bucket).ok().and_then(|place| buckets.get_mut(place)) else { continue };
        bucket.total += row.count;
        match row.status {
            Status::Succeeded => bucket.succeeded += row.count,
            Status::Failed | Status::Exhausted => bucket.failed += row.count,
            Status::Canceled | Status::Pending | Status::Retrying => {}
        }
    }
    buckets
}

/// The durations of attempts, of one delivery after the other, those that became final last first.
async fn percentiles(state: &AppState, select: Select<Entity>) -> Result<Option<(i32, i32)>, AppError> {
    let latest = select.select_only().column(Column::Id).order_by_desc(Column::CompletedAt).limit(SAMPLED_MAX);
    let ids: Vec<DeliveryId> = latest.into_tuple().all(state.db.read()).await?;
    let mut durations: Vec<i32> = Vec::new();
    for ids in ids.chunks(1000) {
        let left = ATTEMPTS_MAX.saturating_sub(durations.len() as u64);
        let select = attempt::Entity::find()
            .select_only()
            .column(attempt::Column::DurationMs)
            .filter(attempt::Column::DeliveryId.is_in(ids.iter().copied()))
            .limit(left);
        durations.extend(select.into_tuple::<i32>().all(state.db.read()).await?);
        if durations.len() as u64 >= ATTEMPTS_MAX {
            break;
        }
    }
    durations.sort_unstable();
    Ok(rank(&durations, 50).zip(rank(&durations, 95)))
}

/// The smallest value that at least so many percent do not exceed.
fn rank(sorted: &[i32], percent: usize) -> Option<i32> {
    let place = (sorted.len() * percent).div_ceil(100);
    sorted.get(place.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(length: Duration, interval: Option<Duration>) -> Question {
        let from = Timestamp::from_millis(1_700_000_000_123);
        Question { endpoint: None, subscription: None, from, to: from + length, interval }
    }

    #[test]
    fn a_range_is_at_most_31_days_and_divided_into_at_most_a_thousand_buckets() {
        let (minute, day) = (Duration::from_mins(1), Duration::from_hours(24));
        let is_taken = |length, interval| question(length, interval).check().is_ok();
        assert!(is_taken(31 * day, None) && !is_taken(31 * day + Duration::from_millis(1), None));
        assert!(!is_taken(Duration::ZERO, None));
        assert!(is_taken(1000 * minute, Some(minute)) && !is_taken(1001 * minute, Some(minute)));
        assert!(!is_taken(1000 * minute + Duration::from_millis(1), Some(minute)));
        assert!(!is_taken(day, Some(minute.saturating_sub(Duration::from_millis(1)))));
    }

    #[test]
    fn buckets_begin_with_the_range_and_the_last_may_be_short() {
        let question = question(Duration::from_mins(5), Some(Duration::from_mins(2)));
        let row = |status, bucket, count| Counted { status, bucket, count };
        let counted = [row(Status::Succeeded, 0, 3), row(Status::Exhausted, 2, 1), row(Status::Canceled, 2, 5)];
        let buckets = buckets(&question, 120_000, &counted);
        let starts: Vec<i64> = buckets.iter().map(|one| one.start.millis() - question.from.millis()).collect();
        assert_eq!(starts, [0, 120_000, 240_000]);
        let numbers: Vec<_> = buckets.iter().map(|one| (one.failed, one.succeeded, one.total)).collect();
        assert_eq!(numbers, [(0, 3, 3), (0, 0, 0), (1, 0, 6)]);
    }

    #[test]
    fn a_percentile_is_the_nearest_rank() {
        let numbers: Vec<i32> = (1..=100).collect();
        assert_eq!((rank(&numbers, 50), rank(&numbers, 95)), (Some(50), Some(95)));
        assert_eq!((rank(&[7], 50), rank(&[7], 95), rank(&[], 50)), (Some(7), Some(7), None));
        assert_eq!((rank(&[1, 2, 3], 50), rank(&[1, 2, 3], 95)), (Some(2), Some(3)));
    }
}
