//! What becomes of deliveries, live.
//!
//! Source  the change log as it is committed, by broadcast. A stream that does not keep up loses broadcasts and then
//!         reads the log itself; it never loses a change.
//! Once    numbers of the log are drawn before they are committed, so a smaller one may appear later. A stream
//!         therefore remembers the rows it has told rather than the last of them.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use angarium_entity::api_key::Scope;
use angarium_entity::change_log::{self, DeliveryChange};
use angarium_entity::delivery::{self, Status};
use angarium_entity::{DeliveryId, Timestamp, WorkspaceId};
use futures_util::Stream;
use futures_util::stream::unfold;
use sea_orm::{
    ActiveEnum as _, ColumnTrait as _, DbErr, EntityTrait as _, QueryFilter, QueryOrder as _, QuerySelect as _,
};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use super::Filter;
use crate::app::AppError;
use crate::{AppState, Caller};

/// Rows of the log that are remembered as told: far more than can be under way at once.
const SEEN_MAX: u64 = 1_024;
/// Rows of the log that are taken together.
const ROWS_MAX: usize = 64;
/// Rows that are read from the log at once after a gap.
const LOG_PAGE: u64 = 200;
/// Deliveries that are read in one statement.
const LOAD_MAX: usize = 500;

/// A change of a delivery.
#[derive(Clone, Debug)]
pub struct Update {
    /// Its place in the log.
    pub seq: i64,
    /// Its place in the row of the log.
    pub index: usize,
    /// When it was written.
    pub at: Timestamp,
    /// Status before; none when the delivery was made.
    pub previous_status: Option<Status>,
    /// The delivery as it is now, which may be later than the change.
    pub delivery: delivery::Model,
}

/// The changes of deliveries from now on that match `filter`, in the caller's workspace.
///
/// # Errors
/// [`AppError`]; a stream that fails later says so and ends.
pub async fn updates(
    state: &AppState,
    caller: &Caller,
    filter: Filter,
) -> Result<impl Stream<Item = Result<Update, AppError>> + use<>, AppError> {
    caller.require(Scope::DeliveryRead)?;
    let workspace = caller.workspace_id()?;
    filter.check_patterns()?;
    let changes = state.dispatcher.changes();
    let told = Told::up_to_now(state, workspace).await?;
    let watch = Watch { state: state.clone(), workspace, filter, changes, told, ready: VecDeque::new() };
    Ok(unfold(Some(watch), |watch| async {
        let mut watch = watch?;
        match watch.next().await {
            Ok(Some(update)) => Some((Ok(update), Some(watch))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    }))
}

struct Watch {
    state: AppState,
    workspace: WorkspaceId,
    filter: Filter,
    changes: Receiver<Arc<change_log::Model>>,
    told: Told,
    ready: VecDeque<Update>,
}

impl Watch {
    /// The next change; none when the dispatcher has stopped.
    async fn next(&mut self) -> Result<Option<Update>, AppError> {
        loop {
            if let Some(update) = self.ready.pop_front() {
                return Ok(Some(update));
            }
            let Some(rows) = self.arrived().await? else { return Ok(None) };
            self.ready = self.load(&rows).await?.into();
        }
    }

    /// Rows of this workspace that were not told yet; waits for at least one broadcast.
    async fn arrived(&mut self) -> Result<Option<Vec<Arc<change_log::Model>>>, AppError> {
        let mut rows = Vec::new();
        match self.changes.recv().await {
            Ok(row) => self.take(row, &mut rows),
            Err(RecvError::Lagged(_)) => return Ok(Some(self.read_log().await?)),
            Err(RecvError::Closed) => return Ok(None),
        }
        while rows.len() < ROWS_MAX {
            match self.changes.try_recv() {
                Ok(row) => self.take(row, &mut rows),
                // Told by the next `recv` again.
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                Err(TryRecvError::Lagged(_)) => {
                    rows.extend(self.read_log().await?);
                    break;
                }
            }
        }
        Ok(Some(rows))
    }

    fn take(&mut self, row: Arc<change_log::Model>, rows: &mut Vec<Arc<change_log::Model>>) {
        if row.workspace_id == self.workspace && self.told.add(row.seq) {
            rows.push(row);
        }
    }

    /// What the log holds and was not told.
    async fn read_log(&mut self) -> Result<Vec<Arc<change_log::Model>>, DbErr> {
        let (mut missed, mut after) = (Vec::new(), self.told.floor);
        loop {
            let page = change_log::Entity::find()
                .filter(change_log::Column::WorkspaceId.eq(self.workspace))
                .filter(change_log::Column::Seq.gt(after))
                .order_by_asc(change_log::Column::Seq)
                .limit(LOG_PAGE)
                .all(self.state.db.read())
                .await?;
            let Some(last) = page.last() else { return Ok(missed) };
            after = last.seq;
            missed.extend(page.into_iter().filter(|row| self.told.add(row.seq)).map(Arc::new));
        }
    }

    /// The changes that are asked for, with their deliveries as they are now.
    async fn load(&self, rows: &[Arc<change_log::Model>]) -> Result<Vec<Update>, DbErr> {
        let mut ids: Vec<DeliveryId> =
            rows.iter().flat_map(|row| row.changes.0.iter().map(|change| change.delivery_id)).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut deliveries = HashMap::with_capacity(ids.len());
        for ids in ids.chunks(LOAD_MAX) {
            let found = delivery::Entity::of(self.workspace)
                .filter(delivery::Column::Id.is_in(ids.iter().copied()))
                .all(self.state.db.read())
                .await?;
            deliveries.extend(found.into_iter().map(|delivery| (delivery.id, delivery)));
        }
        let changes = rows.iter().flat_map(|row| row.changes.0.iter().enumerate().map(move |change| (row, change)));
        Ok(changes
            .filter_map(|(row, (index, change))| {
                let delivery = deliveries.get(&change.delivery_id)?;
                let (before, after) = statuses(change, delivery.status);
                self.filter.matches_change(delivery, before, after).then(|| Update {
                    seq: row.seq,
                    index,
                    at: row.at,
                    previous_status: before,
                    delivery: delivery.clone(),
                })
            })
            .collect())
    }
}

/// The statuses before and after a change. A word that this version does not know counts as the status of today.
fn statuses(change: &DeliveryChange, today: Status) -> (Option<Status>, Status) {
    let read = |word: &String| Status::try_from_value(word).ok();
    (change.previous_status.as_ref().and_then(read), read(&change.status).unwrap_or(today))
}

/// The rows of the log that a stream has told, or that are older than it.
#[derive(Debug)]
struct Told {
    /// Every row up to this one counts as told.
    floor: i64,
    /// Those above it that were.
    seen: BTreeSet<i64>,
}

impl Told {
    async fn up_to_now(state: &AppState, workspace: WorkspaceId) -> Result<Self, DbErr> {
        let latest: Vec<i64> = change_log::Entity::find()
            .select_only()
            .column(change_log::Column::Seq)
            .filter(change_log::Column::WorkspaceId.eq(workspace))
            .order_by_desc(change_log::Column::Seq)
            .limit(SEEN_MAX)
            .into_tuple()
            .all(state.db.read())
            .await?;
        let mut told = Self { floor: 0, seen: BTreeSet::new() };
        for seq in latest.into_iter().rev() {
            told.add(seq);
        }
        Ok(told)
    }

    /// Whether `seq` is new; from now on it is not.
    fn add(&mut self, seq: i64) -> bool {
        let is_new = seq > self.floor && self.seen.insert(seq);
        if u64::try_from(self.seen.len()).unwrap_or(u64::MAX) >= SEEN_MAX
            && let Some(oldest) = self.seen.pop_first()
        {
            self.floor = oldest;
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_told_once_even_if_a_smaller_number_comes_later() {
        let mut told = Told { floor: 10, seen: BTreeSet::new() };
        assert!(!told.add(10));
        assert!(told.add(12) && told.add(11));
        assert!(!told.add(11) && !told.add(12));
    }

    #[test]
    fn memory_is_bounded_by_forgetting_the_oldest() {
        let mut told = Told { floor: 0, seen: BTreeSet::new() };
        for seq in 1..=5_000 {
            assert!(told.add(seq));
        }
        assert!(told.seen.len() < 1_024 && told.floor > 3_900);
        assert!(!told.add(1) && !told.add(5_000));
    }
}
