//! What a group of publishes stores, and what its publishers are told.

use std::sync::Arc;

use angarium_entity::change_log::{DeliveryChange, EventChange};
use angarium_entity::delivery::{self, Status, Trigger};
use angarium_entity::{DeliveryId, EventId, Timestamp, TraceContext, WorkspaceId, event};
use sea_orm::{DatabaseTransaction, DbErr};

use super::DELIVERIES_MAX;
use super::queue::Outcome;
use crate::publish::{NewEvent, PublishError, Published};
use crate::store::idempotency::Claim;
use crate::store::match_table::Match;
use crate::store::sql;

/// The rows of a group, and an outcome for each of its events.
pub(super) struct Stored {
    pub(super) events: Vec<Arc<event::Model>>,
    pub(super) deliveries: Vec<delivery::Model>,
    pub(super) outcomes: Vec<Outcome>,
    /// Whose logs have a new row.
    pub(super) logged: Vec<WorkspaceId>,
}

impl Stored {
    /// For events that were checked by the `catalogue` as it is now, unless they say otherwise.
    pub(super) fn new(
        news: &[&NewEvent],
        ids: &[EventId],
        claims: Vec<Claim>,
        matches: Vec<Option<Vec<Match>>>,
        catalogue: Option<i64>,
        now: Timestamp,
    ) -> Self {
        let mut stored = Self {
            events: Vec::with_capacity(matches.len()),
            deliveries: Vec::new(),
            outcomes: Vec::with_capacity(matches.len()),
            logged: Vec::new(),
        };
        for (((new, id), claim), matches) in news.iter().zip(ids).zip(claims).zip(matches) {
            let outcome = match matches {
                None => Err(PublishError::UnknownWorkspace),
                Some(_) if catalogue != Some(new.catalogue_version) => Err(PublishError::CatalogueChanged),
                Some(matches) => stored.take(new, *id, claim, matches, now),
            };
            stored.outcomes.push(outcome);
        }
        stored
    }

    fn take(&mut self, new: &NewEvent, id: EventId, claim: Claim, matches: Vec<Match>, now: Timestamp) -> Outcome {
        match claim {
            Claim::Fresh => {}
            Claim::Repeats(event) => return Ok(Published { event, duplicate: true }),
            Claim::RepeatsInGroup(first) => {
                let first = self.outcomes.get(first).cloned().unwrap_or(Err(PublishError::IdempotencyMismatch));
                return first.map(|published| Published { duplicate: true, ..published });
            }
            Claim::Clashes => return Err(PublishError::IdempotencyMismatch),
            Claim::Gone => return Err(PublishError::EventGone),
        }
        let event = Arc::new(row(new, id, now));
        for wanted in matches {
            let due = new.deliver_at.filter(|at| *at > now);
            self.deliveries.push(delivery::Model { next_attempt_at: due, ..pending(&event, wanted, now) });
        }
        self.events.push(event.clone());
        Ok(Published { event, duplicate: false })
    }

    /// Writes the rows, and what the log says of them.
    pub(super) async fn write(&mut self, transaction: &DatabaseTransaction, now: Timestamp) -> Result<(), DbErr> {
        if self.events.is_empty() {
            return Ok(());
        }
        sql::insert_events(transaction, &self.events.iter().map(AsRef::as_ref).collect::<Vec<_>>()).await?;
        let mut unlogged = self.events.as_slice();
        for deliveries in self.deliveries.chunks_mut(DELIVERIES_MAX) {
            sql::insert_deliveries(transaction, deliveries).await?;
            let log = changes_of(std::mem::take(&mut unlogged).iter().map(AsRef::as_ref), deliveries);
            self.logged.extend(sql::append_changes(transaction, now, log).await?);
        }
        if !unlogged.is_empty() {
            let log = changes_of(unlogged.iter().map(AsRef::as_ref), &[]);
            self.logged.extend(sql::append_changes(transaction, now, log).await?);
        }
        Ok(())
    }
}

fn row(new: &NewEvent, id: EventId, now: Timestamp) -> event::Model {
    let (trace_parent, trace_state) = new.trace.clone().map(TraceContext::into_headers).unzip();
    event::Model {
        id,
        workspace_id: new.workspace_id,
        event_type: new.event_type.clone(),
        payload: new.payload.clone(),
        channels: new.channels.clone().into(),
        idempotency_key: new.idempotency_key.clone(),
        occurred_at: new.occurred_at.unwrap_or(now),
        test: false,
        created_at: now,
        sealed: None,
        trace_parent,
        trace_state: trace_state.flatten(),
    }
}

pub(in crate::store) fn pending(event: &event::Model, wanted: Match, now: Timestamp) -> delivery::Model {
    delivery::Model {
        id: DeliveryId::new(now),
        workspace_id: event.workspace_id,
        event_id: event.id,
        endpoint_id: wanted.endpoint_id,
        subscription_id: wanted.subscription_id,
        shard: wanted.shard,
        seq: 0,
        status: Status::Pending,
        status_reason: None,
        trigger: Trigger::Event,
        replay_id: None,
        event_type: event.event_type.clone(),
        attempt_count: 0,
        round: 1,
        round_attempts: 0,
        next_attempt_at: None,
        last_attempt_at: None,
        response_status_code: None,
        created_at: now,
        updated_at: now,
        completed_at: None,
    }
}

/// What the log says of new events, those that match nothing included, and of their deliveries.
pub(in crate::store) fn changes_of<'a>(
    events: impl Iterator<Item = &'a event::Model>,
    deliveries: &[delivery::Model],
) -> sql::Log {
    let mut by_workspace = sql::Log::new();
    if !sql::LOG {
        return by_workspace;
    }
    for row in events {
        by_workspace.entry(row.workspace_id).or_default().push(EventChange { event_id: row.id }.into());
    }
    for row in deliveries {
        let change = DeliveryChange {
            delivery_id: row.id,
            event_id: row.event_id,
            endpoint_id: row.endpoint_id,
            subscription_id: row.subscription_id,
            attempt_id: None,
            previous_status: None,
            status: row.status.name().to_owned(),
        };
        by_workspace.entry(row.workspace_id).or_default().push(change.into());
    }
    by_workspace
}
