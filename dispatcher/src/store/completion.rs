//! The completion committer: many results, one transaction.
//!
//! Compare-and-set  a result counts only if its delivery still has as many attempts as when it was taken, and decides
//!                  the state only if the delivery is open and in the same round. Whatever else happened meanwhile (a
//!                  cancel, a retry by hand) stays; the attempt is recorded all the same. Of a delivery that was deleted
//!                  nothing is recorded, nor is its endpoint held.
//! Fence            nothing is written that was made by a node which others have taken for dead, whenever it comes: its
//!                  shards have other owners.
//! Patience         results are kept and tried again for as long as the database is away: they hold their slots, so
//!                  that soon nothing new starts.
//! Plain            most results move their delivery, and at most note how their endpoint is. On PostgreSQL a group of
//!                  such is one statement that commits itself; those that do not find their delivery as they left it are
//!                  looked at again with care.
//! Alone            if the database refuses a group, its halves are tried; what it refuses by itself is stored without
//!                  what came from the receiver, so that no answer can stop the others.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use angarium_entity::clock::SharedClock;
use angarium_entity::delivery::DeliveryState;
use angarium_entity::event_type::reserved::{Exhausted, Notice};
use angarium_entity::{Database, DeliveryId, EndpointId, Timestamp, attempt};
use sea_orm::DbErr;
use tokio::sync::mpsc;

use super::confirmation;
use super::database::is_connection_lost;
use super::logged::Logged;
use super::notice::Notices;
use super::sql;
use super::standing;
use crate::actor::Hubs;
use crate::metrics::{GroupOf, Metrics};
use crate::report::Report;
use crate::schedule::Schedule;

mod plain;
mod write;

use write::{apply, fence, insert_attempts, recorded_before};

/// Most results of a group.
const GROUP_MAX: usize = 512;
/// First and longest pause after the database failed.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A result that is durable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recorded {
    pub(crate) endpoint_id: EndpointId,
    pub(crate) delivery_id: DeliveryId,
    /// Whether the delivery is known to be final now.
    pub(crate) is_final: bool,
    /// When it is tried again, if this result decided that.
    pub(crate) next_attempt_at: Option<Timestamp>,
    /// Nothing of it was written, since its delivery is gone: what it asked of the endpoint counts for nothing.
    pub(crate) is_void: bool,
}

/// The part that commits.
pub(crate) struct Committer {
    db: Database,
    clock: SharedClock,
    hubs: Hubs,
    logged: Logged,
    notices: Notices,
    schedule: Schedule,
    metrics: Metrics,
}

#[expect(clippy::too_many_arguments, reason = "each is a part of its own; called once")]
/// Runs until every sender of `reports` is gone and all they sent is durable.
pub(crate) async fn run(
    db: Database,
    clock: SharedClock,
    hubs: Hubs,
    logged: Logged,
    notices: Notices,
    schedule: Schedule,
    metrics: Metrics,
    mut reports: mpsc::UnboundedReceiver<Report>,
) {
    let committer = Committer { db, clock, hubs, logged, notices, schedule, metrics };
    let mut group = Vec::with_capacity(GROUP_MAX);
    while reports.recv_many(&mut group, GROUP_MAX).await > 0 {
        committer.record(std::mem::take(&mut group)).await;
    }
}

impl Committer {
    /// Commits a group, whatever it takes.
    async fn record(&self, group: Vec<Report>) {
        let mut groups = vec![group];
        let (mut pause, mut is_doubtful) = (PAUSE_MIN, false);
        while let Some(mut group) = groups.pop() {
            let error = match self.commit(&mut group, is_doubtful).await {
                Ok(()) => {
                    pause = PAUSE_MIN;
                    continue;
                }
                Err(error) => error,
            };
            if is_connection_lost(&error) {
                tracing::error!(%error, results = group.len(), "results are not durable yet; trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
                is_doubtful = true;
                groups.push(group);
            } else if group.len() > 1 {
                let second = group.split_off(group.len() / 2);
                groups.extend([second, group]);
            } else if let Some(report) = group.pop() {
                groups.extend(self.without_answer(report, &error).map(|report| vec![report]));
            }
        }
    }

    /// A result that the database refuses, without what came from the receiver; none if it was without already. Then
    /// it is given up: its delivery stays open, and a sweep sends it again.
    fn without_answer(&self, report: Report, error: &DbErr) -> Option<Report> {
        let (endpoint_id, delivery_id) = (report.job.endpoint_id, report.job.delivery_id);
        tracing::error!(%error, endpoint = %endpoint_id, delivery = %delivery_id, "the database refuses a result");
        if report.attempt.response_headers.is_none() && report.attempt.error_message.is_none() {
            self.hubs.recorded([Recorded {
                endpoint_id,
                delivery_id,
                is_final: false,
                next_attempt_at: None,
                is_void: false,
            }]);
            return None;
        }
        let attempt = attempt::Model {
            error_message: None,
            response_headers: None,
            response_body: None,
            response_body_truncated: true,
            ..report.attempt
        };
        Some(Report { attempt, ..report })
    }

    /// Commits a group. When that fails, what is left in it was not, as far as is known; some of it may be there already when
    /// it comes again after the connection was lost.
    async fn commit(&self, group: &mut Vec<Report>, is_doubtful: bool) -> Result<(), DbErr> {
        if let Some(node) = plain::node(&self.db, group) {
            let (now, started) = (self.clock.now(), Instant::now());
            let moved = plain::commit(&self.db, node, group, now).await?;
            let plain: Vec<Report> =
                group.extract_if(.., |report| moved.contains_key(&report.job.delivery_id)).collect();
            let workspaces: BTreeSet<_> = plain.iter().map(|report| report.attempt.workspace_id).collect();
            self.tell(&plain, &moved, started);
            self.logged.tell(workspaces);
            if group.is_empty() {
                return Ok(());
            }
        }
        self.commit_with_care(group, is_doubtful).await
    }

    async fn commit_with_care(&self, group: &[Report], is_doubtful: bool) -> Result<(), DbErr> {
        let (now, started) = (self.clock.now(), Instant::now());
        let transaction = self.db.begin().await?;
        let fenced = fence(&transaction, group).await?;
        let standing_group: Vec<&Report> = group.iter().filter(|report| !fenced.contains(&report.node)).collect();
        let mut applied = apply(&transaction, &standing_group, now).await?;
        let counted: Vec<&Report> =
            standing_group.into_iter().filter(|report| applied.contains_key(&report.job.delivery_id)).collect();
        let sent: Vec<&Report> = counted.iter().copied().filter(|report| report.is_sent).collect();
        insert_attempts(&transaction, &sent).await?;
        let mut changes = changes_of(&counted, &applied);
        let mut notices = given_up(&counted, &applied, now);
        let held = standing::apply(&transaction, &counted, &applied, now, &mut changes, &mut notices).await?;
        let confirming: Vec<&Report> = counted
            .iter()
            .copied()
            .filter(|report| report.confirms && applied.get(&report.job.delivery_id).is_some_and(|it| it.decided))
            .collect();
        let confirmed = confirmation::confirm(&transaction, &confirming, now, &mut changes).await?;
        let changes = sql::append_changes(&transaction, now, changes).await?;
        let raised = self.notices.raise(&transaction, notices, now).await?;
        if is_doubtful {
            // What was committed the first time, though nobody heard of it.
            let missing = group.iter().filter(|report| !applied.contains_key(&report.job.delivery_id));
            let before = recorded_before(&transaction, missing).await?;
            applied.extend(before);
        }
        transaction.commit().await?;
        self.tell(group, &applied, started);
        for endpoint in held.into_iter().chain(confirmed) {
            self.hubs.reload(endpoint);
        }
        self.logged.tell(changes);
        self.notices.tell(raised);
        Ok(())
    }

    /// Tells the hubs, the schedule and the metrics of a group that is durable.
    fn tell(&self, group: &[Report], applied: &HashMap<DeliveryId, Applied>, started: Instant) {
        self.metrics.committed(GroupOf::Results, group.len(), started.elapsed());
        let recorded = group.iter().map(|report| {
            let applied = applied.get(&report.job.delivery_id);
            Recorded {
                endpoint_id: report.job.endpoint_id,
                delivery_id: report.job.delivery_id,
                is_final: applied.is_some_and(Applied::is_final),
                next_attempt_at: applied.and_then(|applied| applied.next_attempt_at),
                is_void: applied.is_none(),
            }
        });
        self.hubs.recorded(recorded);
        for report in group {
            let Some(applied) = applied.get(&report.job.delivery_id) else { continue };
            self.metrics.recorded(report, applied.decided);
            if applied.next_attempt_at.is_some() || report.job.timed {
                self.schedule.note(report.job.endpoint_id, report.job.delivery_id, applied.next_attempt_at);
            }
        }
    }
}

/// What became of a result that counted.
#[derive(Clone, Debug)]
pub(super) struct Applied {
    /// Whether it decided the state.
    pub(super) decided: bool,
    /// The status of the delivery afterwards.
    status: String,
    /// When the delivery is due now, whoever decided that.
    next_attempt_at: Option<Timestamp>,
}

impl Applied {
    fn is_final(&self) -> bool {
        !matches!(self.status.as_str(), "PENDING" | "RETRYING")
    }
}

/// What is to be told of deliveries that these results have ended for good. Nobody waits for a test.
fn given_up(counted: &[&Report], applied: &HashMap<DeliveryId, Applied>, now: Timestamp) -> Vec<Notice> {
    let exhausted = |report: &&&Report| {
        matches!(report.next, DeliveryState::Exhausted { .. })
            && !report.job.event.test
            && applied.get(&report.job.delivery_id).is_some_and(|applied| applied.decided)
    };
    let notice = |report: &&Report| {
        let (job, event) = (&report.job, &report.job.event);
        let exhausted = Exhausted {
            workspace_id: report.attempt.workspace_id,
            delivery_id: job.delivery_id,
            event: (event.id, &event.event_type),
            endpoint_id: job.endpoint_id,
            subscription_id: job.subscription_id,
            attempt_count: report.attempt.number,
            reason: report.reason.as_deref(),
        };
        Notice::delivery_exhausted(&exhausted, now)
    };
    counted.iter().filter(exhausted).filter_map(notice).collect()
}

/// An attempt that decided nothing is logged as well: it has ended, and the delivery counts it.
fn changes_of(counted: &[&Report], applied: &HashMap<DeliveryId, Applied>) -> sql::Log {
    let mut by_workspace = sql::Log::new();
    if !sql::LOG {
        return by_workspace;
    }
    for report in counted {
        let Some(applied) = applied.get(&report.job.delivery_id) else { continue };
        let mut change = report.change();
        if !applied.decided {
            change.previous_status = Some(applied.status.clone());
            change.status.clone_from(&applied.status);
        }
        by_workspace.entry(report.attempt.workspace_id).or_default().push(change.into());
    }
    by_workspace
}
