//! What becomes of deliveries.
//!
//! Once    changes of one delivery that are loaded together are told as one, in its latest state.
//! Deleted the entry holds what filters ask for, so that the end of a delivery is told to whoever would have been told of
//!         its last state; what changed before is told to nobody any more.
//! Order   a snapshot sends the PENDING before the RETRYING, each by age: the order of the index. A delivery that
//!         changes meanwhile may be missing or come twice in it; its change is told behind it.

use std::collections::HashMap;

use angarium_entity::api_key::Scope;
use angarium_entity::change_log::{Change, DeletedDelivery, DeliveryChange};
use angarium_entity::delivery::{self, Column, Entity, Status};
use angarium_entity::{DeliveryId, Timestamp, WorkspaceId};
use sea_orm::{
    ActiveEnum as _, ColumnTrait as _, Condition, DbErr, QueryFilter as _, QueryOrder as _, QuerySelect as _,
};

use super::{Entry, Progress, Subject};
use crate::AppState;
use crate::app::AppError;
use crate::app::delivery::{Filter, Sort};
use crate::app::filter::TimeRange;

/// The statuses of a snapshot, in its order.
const OPEN: [Status; 2] = [Status::Pending, Status::Retrying];

/// The deliveries that match a filter; its statuses are compared with the one before and the one after a change.
#[derive(Clone, Debug, Default)]
pub struct Deliveries(pub Filter);

/// A delivery that was made, changed or deleted, or is part of a snapshot.
#[derive(Clone, Debug)]
pub struct DeliveryUpdate {
    /// Status before; none when it was made, and where several changes are told as one.
    pub previous_status: Option<Status>,
    /// What it is now, which may be later than the change.
    pub delivery: Present,
}

/// A delivery as it is now.
#[derive(Clone, Debug)]
pub enum Present {
    /// Its row.
    Row(Box<delivery::Model>),
    /// It was deleted.
    Deleted(DeliveryId),
}

impl Subject for Deliveries {
    type Item = DeliveryUpdate;

    const SCOPE: Scope = Scope::DeliveryRead;
    const CODE: u8 = 1;

    fn check(&self) -> Result<(), AppError> {
        self.0.check_patterns()
    }

    async fn load(
        &self,
        state: &AppState,
        workspace: WorkspaceId,
        entries: &[Entry],
    ) -> Result<Vec<(usize, DeliveryUpdate)>, DbErr> {
        let changes = || entries.iter().enumerate().filter_map(|(index, entry)| Some((index, of_delivery(entry)?)));
        let found = load(state, workspace, &self.0, changes().map(|(_, change)| change.delivery_id)).await?;
        let mut together: HashMap<DeliveryId, Vec<(usize, &DeliveryChange)>> = HashMap::new();
        for (index, change) in changes() {
            together.entry(change.delivery_id).or_default().push((index, change));
        }
        let mut updates: Vec<(usize, DeliveryUpdate)> = together
            .into_iter()
            .filter_map(|(id, changes)| {
                let delivery = found.get(&id)?;
                let is_meant = |change| {
                    let (before, after) = statuses(change, delivery.status);
                    self.0.matches_change(delivery, before, after)
                };
                // At the last that is meant, so that whoever resumes in front of it finds it again.
                let (index, _) = changes.iter().rfind(|(_, change)| is_meant(change))?;
                let previous_status = match changes[..] {
                    [(_, only)] => statuses(only, delivery.status).0,
                    _ => None,
                };
                let delivery = Present::Row(Box::new(delivery.clone()));
                Some((*index, DeliveryUpdate { previous_status, delivery }))
            })
            .collect();
        updates.extend(deleted(entries).filter_map(|(index, change)| {
            let last = change.row(workspace)?;
            let is_meant = self.0.matches_change(&last, Some(last.status), last.status);
            let delivery = Present::Deleted(last.id);
            is_meant.then_some((index, DeliveryUpdate { previous_status: Some(last.status), delivery }))
        }));
        updates.sort_unstable_by_key(|(index, _)| *index);
        Ok(updates)
    }

    async fn existing(
        &self,
        state: &AppState,
        workspace: WorkspaceId,
        progress: &Progress,
        limit: usize,
    ) -> Result<Vec<(Progress, Timestamp, DeliveryUpdate)>, AppError> {
        let mut existing = Vec::new();
        let mut progress = progress.clone();
        while let Some(status) = OPEN.get(usize::from(progress.step)) {
            let wanted = self.0.status.as_ref().is_none_or(|wanted| wanted.contains(status));
            let left = if wanted { limit - existing.len() } else { 0 };
            let rows = self.page(state, workspace, *status, progress.last, left).await?;
            let is_last = rows.len() < left || !wanted;
            for row in rows {
                progress.last = Some((row.created_at, row.id.uuid()));
                // What matches nothing but what an index knows is checked here.
                if self.0.matches_change(&row, None, row.status) {
                    let at = row.updated_at;
                    let delivery = Present::Row(Box::new(row));
                    existing.push((progress.clone(), at, DeliveryUpdate { previous_status: None, delivery }));
                }
            }
            if existing.len() >= limit {
                break;
            }
            if is_last {
                progress = Progress { step: progress.step + 1, last: None };
            }
        }
        Ok(existing)
    }
}

impl Deliveries {
    /// The next open deliveries that can match. Conditions that no index answers are left to the caller.
    async fn page(
        &self,
        state: &AppState,
        workspace: WorkspaceId,
        status: Status,
        after: Option<(Timestamp, uuid::Uuid)>,
        limit: usize,
    ) -> Result<Vec<delivery::Model>, AppError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let by_index = Filter {
            status: Some(vec![status]),
            response_status_codes: None,
            triggers: None,
            event_types: None,
            channel: None,
            last_attempt_at: TimeRange::default(),
            next_attempt_at: TimeRange::default(),
            ..self.0.clone()
        };
        let backend = state.db.backend();
        let select = by_index.select(backend, workspace, Sort::CreatedAt, state.now())?;
        let mut select = select.filter(Condition::all().add_option(self.0.of_channel(backend)));
        if let Some((at, id)) = after {
            let id = DeliveryId(id);
            let same_time = Condition::all().add(Column::CreatedAt.eq(at)).add(Column::Id.gt(id));
            select = select.filter(Condition::any().add(Column::CreatedAt.gt(at)).add(same_time));
        }
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        let select = select.order_by_asc(Column::CreatedAt).order_by_asc(Column::Id).limit(limit);
        Ok(select.all(state.db.read()).await?)
    }
}

/// The change of a delivery that an entry tells of.
pub(super) fn of_delivery(entry: &Entry) -> Option<&DeliveryChange> {
    match &entry.change {
        Change::Delivery(change) => Some(change),
        _ => None,
    }
}

/// What was deleted, each with its place in `entries`.
fn deleted(entries: &[Entry]) -> impl Iterator<Item = (usize, &DeletedDelivery)> {
    entries.iter().enumerate().filter_map(|(index, entry)| match &entry.change {
        Change::DeletedDelivery(change) => Some((index, change)),
        _ => None,
    })
}

/// Deliveries of a workspace by their IDs, if they belong to the channel of the filter.
pub(super) async fn load(
    state: &AppState,
    workspace: WorkspaceId,
    filter: &Filter,
    ids: impl Iterator<Item = DeliveryId>,
) -> Result<HashMap<DeliveryId, delivery::Model>, DbErr> {
    let mut ids: Vec<DeliveryId> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let of_channel = Condition::all().add_option(filter.of_channel(state.db.backend()));
    let select = Entity::of(workspace).filter(Column::Id.is_in(ids)).filter(of_channel);
    let found = select.all(state.db.read()).await?;
    Ok(found.into_iter().map(|delivery| (delivery.id, delivery)).collect())
}

/// The statuses before and after a change. A word that this version does not know counts as the status of today.
pub(super) fn statuses(change: &DeliveryChange, today: Status) -> (Option<Status>, Status) {
    let read = |word: &String| Status::try_from_value(word).ok();
    (change.previous_status.as_ref().and_then(read), read(&change.status).unwrap_or(today))
}
