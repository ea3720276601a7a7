//! The plan of a replay: which events, and to which endpoints where deliveries are chosen.
//!
//! Steps   a step looks at [`WINDOW`] rows of an index, takes those that are meant in one statement, and moves on in the
//!         same transaction; so neither a broad filter nor a crash makes any statement long or anything be taken twice.
//! Bound   what was made after the replay was asked for does not belong to it, its own deliveries least of all.
//! Left out test events, which went to one subscription for a test, messages that ask an endpoint to confirm a
//!         subscription, whose link has been used or is over, and events that are gone.

use std::collections::HashSet;

use angarium_entity::delivery::{self, Trigger};
use angarium_entity::event_type::reserved::SUBSCRIPTION_CONFIRMATION;
use angarium_entity::{EventId, Timestamp, event, replay, replay_item};
use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict, Query, SelectStatement};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    QueryTrait as _, Select,
};
use uuid::Uuid;

use crate::replay::{Candidates, ITEMS_MAX, ReplayError};

/// Rows of an index that a step looks at.
const WINDOW: u64 = 5_000;
/// Steps of a count that somebody waits for.
const COUNT_STEPS_MAX: usize = 1_000;

/// A place in the order of making.
pub(super) type Key = (Timestamp, Uuid);

/// What is behind `after` and not behind `until`, for a step.
#[derive(Clone, Copy, Debug)]
struct Range {
    after: Option<Key>,
    /// The last that belongs to it; none for what was made before the replay.
    last: Option<Key>,
    before: Key,
}

impl Range {
    /// Written so that both databases search an index by time.
    fn on(self, at: impl ColumnTrait, id: impl ColumnTrait) -> Condition {
        let behind = |(time, key): Key| {
            Condition::all().add(at.gte(time)).add(Condition::any().add(at.gt(time)).add(id.gt(key)))
        };
        let up_to = |(time, key): Key| {
            Condition::all().add(at.lte(time)).add(Condition::any().add(at.lt(time)).add(id.lte(key)))
        };
        Condition::all().add_option(self.after.map(behind)).add_option(self.last.map(up_to)).add(up_to(self.before))
    }
}

/// Takes a step of the plan. Answers how many items it added, and where the next step begins; none when it was the last.
pub(super) async fn step(
    db: &impl ConnectionTrait,
    replay: &replay::Model,
    candidates: &Candidates,
) -> Result<(u64, Option<Key>), DbErr> {
    let after = replay.planned_at.zip(replay.planned_id);
    let range = Range { after, last: None, before: (replay.created_at, replay.id.0) };
    let last = end_of_window(db, candidates, range).await?;
    let mut rows = meant(candidates, Range { last, ..range });
    rows.clear_selects().expr(Expr::val(replay.id.0));
    match candidates {
        Candidates::Events { .. } => rows
            .expr(Expr::col((event::Entity, event::Column::Id)))
            .expr(Expr::val(replay_item::NONE))
            .expr(Expr::val(replay_item::NONE)),
        Candidates::Deliveries { .. } => rows
            .expr(Expr::col((delivery::Entity, delivery::Column::EventId)))
            .expr(Expr::col((delivery::Entity, delivery::Column::EndpointId)))
            .expr(Expr::col((delivery::Entity, delivery::Column::SubscriptionId))),
    };
    let key = [
        replay_item::Column::ReplayId,
        replay_item::Column::EventId,
        replay_item::Column::EndpointId,
        replay_item::Column::SubscriptionId,
    ];
    let mut insert = Query::insert();
    insert.into_table(replay_item::Entity).columns(key).on_conflict(OnConflict::columns(key).do_nothing().to_owned());
    insert.select_from(rows).map_err(|error| DbErr::Custom(error.to_string()))?;
    Ok((db.execute(&insert).await?.rows_affected(), last))
}

/// How many events a finished plan holds.
pub(super) async fn events_of(db: &impl ConnectionTrait, replay: &replay::Model) -> Result<i32, DbErr> {
    let mut events = replay_item::Entity::find().filter(replay_item::Column::ReplayId.eq(replay.id)).into_query();
    events.clear_selects().distinct().column(replay_item::Column::EventId);
    let count = Query::select().expr_as(Expr::cust("COUNT(*)"), "value").from_subquery(events, "events").take();
    let count: i64 = match db.query_one(&count).await? {
        Some(row) => row.try_get("", "value")?,
        None => 0,
    };
    Ok(i32::try_from(count).unwrap_or(i32::MAX))
}

/// How many events a replay would match; nothing is stored.
pub(super) async fn count(
    db: &impl ConnectionTrait,
    replay: &replay::Model,
    candidates: &Candidates,
) -> Result<u64, ReplayError> {
    let mut range = Range { after: None, last: None, before: (replay.created_at, replay.id.0) };
    let (mut found, mut pairs): (HashSet<EventId>, u64) = (HashSet::new(), 0);
    for _ in 0..COUNT_STEPS_MAX {
        range.last = end_of_window(db, candidates, range).await?;
        let mut rows = meant(candidates, range);
        rows.clear_selects().distinct();
        match candidates {
            Candidates::Events { .. } => rows.expr_as(Expr::col((event::Entity, event::Column::Id)), "event_id"),
            Candidates::Deliveries { .. } => rows
                .expr_as(Expr::col((delivery::Entity, delivery::Column::EventId)), "event_id")
                .column((delivery::Entity, delivery::Column::EndpointId)),
        };
        for row in db.query_all(&rows).await? {
            found.insert(row.try_get("", "event_id")?);
            pairs += 1;
        }
        if pairs > ITEMS_MAX {
            return Err(ReplayError::TooBroad);
        }
        range.after = range.last;
        if range.after.is_none() {
            return Ok(found.len() as u64);
        }
    }
    Err(ReplayError::TooBroad)
}

async fn end_of_window(db: &impl ConnectionTrait, candidates: &Candidates, range: Range) -> Result<Option<Key>, DbErr> {
    match candidates {
        Candidates::Events { by_index, .. } => {
            end_of(db, by_index, event::Column::CreatedAt, event::Column::Id, range).await
        }
        Candidates::Deliveries { by_index, .. } => {
            end_of(db, by_index, delivery::Column::CreatedAt, delivery::Column::Id, range).await
        }
    }
}

async fn end_of<E: EntityTrait>(
    db: &impl ConnectionTrait,
    by_index: &Select<E>,
    at: E::Column,
    id: E::Column,
    range: Range,
) -> Result<Option<Key>, DbErr> {
    by_index
        .clone()
        .filter(range.on(at, id))
        .select_only()
        .column(at)
        .column(id)
        .order_by_asc(at)
        .order_by_asc(id)
        .offset(WINDOW - 1)
        .limit(1)
        .into_tuple()
        .one(db)
        .await
}

/// What is meant within a range.
fn meant(candidates: &Candidates, range: Range) -> SelectStatement {
    match candidates {
        Candidates::Events { meant, .. } => {
            use event::Column;
            let chosen =
                meant.clone().filter(Column::Test.eq(false)).filter(Column::EventType.ne(SUBSCRIPTION_CONFIRMATION));
            chosen.filter(range.on(Column::CreatedAt, Column::Id)).into_query()
        }
        Candidates::Deliveries { meant, .. } => {
            use delivery::Column;
            let is_there = Query::select()
                .expr(Expr::cust("1"))
                .from(event::Entity)
                .and_where(Expr::col((event::Entity, event::Column::Id)).equals((delivery::Entity, Column::EventId)))
                .take();
            let chosen = meant
                .clone()
                .filter(Column::Trigger.ne(Trigger::Test))
                .filter(Column::EventType.ne(SUBSCRIPTION_CONFIRMATION));
            chosen.filter(range.on(Column::CreatedAt, Column::Id)).filter(Expr::exists(is_there)).into_query()
        }
    }
}
