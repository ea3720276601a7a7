//! Reads the deliveries that skip the line, when another node has made them for an endpoint of this one.

use std::collections::HashMap;
use std::sync::Arc;

use angarium_entity::delivery::{self, Status};
use angarium_entity::{Database, DeliveryId, event};
use sea_orm::{ConnectionTrait as _, DbErr, Statement};
use tokio::sync::mpsc;

use super::sql;
use crate::actor::Hubs;
use crate::cluster::Ownership;
use crate::job::Job;

/// Deliveries that are read together.
const BATCH_MAX: usize = 100;

/// Test events that wait. Somebody who was to be told of one may not have been.
const WAITING: &str = "SELECT id, endpoint_id FROM delivery \
    WHERE trigger = 'TEST' AND status = 'PENDING' AND next_attempt_at IS NULL ORDER BY created_at LIMIT 1000";

/// Sends those that wait for endpoints of this node. An actor that knows of one already sends it once.
pub(crate) async fn sweep(db: &Database, hubs: &Hubs, ownership: &Ownership) -> Result<(), DbErr> {
    let query = Statement::from_string(db.backend(), WAITING);
    let mut waiting = Vec::new();
    for row in db.read().query_all_raw(query).await? {
        if ownership.holds(row.try_get("", "endpoint_id")?) {
            waiting.push(row.try_get::<DeliveryId>("", "id")?);
        }
    }
    if waiting.is_empty() {
        return Ok(());
    }
    hubs.find_express(read(db, &waiting)).await
}

/// Reads until nobody is left who could ask.
pub(crate) async fn run(db: Database, hubs: Hubs, mut asked: mpsc::UnboundedReceiver<DeliveryId>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while asked.recv_many(&mut batch, BATCH_MAX).await > 0 {
        if let Err(error) = hubs.find_express(read(&db, &batch)).await {
            tracing::warn!(%error, "what skips its line could not be read; it goes with its line");
        }
        batch.clear();
    }
}

async fn read(db: &Database, ids: &[DeliveryId]) -> Result<Vec<Job>, DbErr> {
    let db = db.read();
    let mut rows = sql::find_by_uuids::<delivery::Entity>(db, delivery::Column::Id, ids.iter().map(|id| id.0)).await?;
    rows.retain(|row| row.status == Status::Pending);
    let events =
        sql::find_by_uuids::<event::Entity>(db, event::Column::Id, rows.iter().map(|row| row.event_id.0)).await?;
    let events: HashMap<_, _> = events.into_iter().map(|event| (event.id, Arc::new(event))).collect();
    Ok(rows.iter().filter_map(|row| Some(Job::new(row, events.get(&row.event_id)?.clone()))).collect())
}
