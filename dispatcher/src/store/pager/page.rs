//! One page: what an endpoint sends next, as the rows say it.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use angarium_entity::delivery::{self, Status};
use angarium_entity::{DeliveryId, Timestamp, event};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult, Statement};

use super::Asker;
use crate::actor::hub::PageRead;
use crate::job::Job;
use crate::store::sql;

/// First attempts in publish order, and what is due by its time. Deliveries of subscriptions that are switched off
/// wait: others pass them.
static PAGE: LazyLock<String> = LazyLock::new(|| {
    named(
        "\
    SELECT page.*, octet_length(event.payload) AS payload_bytes FROM (\
    SELECT * FROM (SELECT * FROM delivery WHERE shard = $1 AND endpoint_id = $2 \
    AND status = 'PENDING' AND next_attempt_at IS NULL \
    AND (event_type = 'angarium.subscription.confirmation' OR subscription_id NOT IN (SELECT owner.id \
    FROM subscription_revision AS known JOIN subscription AS owner ON owner.id = known.subscription_id \
    WHERE known.endpoint_id = $2 AND (NOT owner.enabled OR (owner.confirmation <> 'NONE' AND owner.confirmed_at IS NULL)))) \
    ORDER BY seq LIMIT $4) AS line \
    UNION ALL \
    SELECT * FROM (SELECT * FROM delivery WHERE endpoint_id = $2 AND next_attempt_at <= $3 \
    AND (event_type = 'angarium.subscription.confirmation' OR subscription_id NOT IN (SELECT owner.id \
    FROM subscription_revision AS known JOIN subscription AS owner ON owner.id = known.subscription_id \
    WHERE known.endpoint_id = $2 AND (NOT owner.enabled OR (owner.confirmation <> 'NONE' AND owner.confirmed_at IS NULL)))) \
    ORDER BY next_attempt_at LIMIT $4) AS due) AS page \
    LEFT JOIN event ON event.id = page.event_id",
    )
});

/// The same with STRICT: what was tried or asked for again stands in the line, due or not.
static STRICT_PAGE: LazyLock<String> = LazyLock::new(|| {
    named(
        "\
    SELECT page.*, octet_length(event.payload) AS payload_bytes FROM (\
    SELECT * FROM (SELECT * FROM delivery WHERE shard = $1 AND endpoint_id = $2 \
    AND status = 'PENDING' AND next_attempt_at IS NULL \
    AND (event_type = 'angarium.subscription.confirmation' OR subscription_id NOT IN (SELECT owner.id \
    FROM subscription_revision AS known JOIN subscription AS owner ON owner.id = known.subscription_id \
    WHERE known.endpoint_id = $2 AND (NOT owner.enabled OR (owner.confirmation <> 'NONE' AND owner.confirmed_at IS NULL)))) \
    ORDER BY seq LIMIT $4) AS line \
    UNION ALL \
    SELECT * FROM (SELECT * FROM delivery WHERE endpoint_id = $2 AND status = 'RETRYING' \
    AND (event_type = 'angarium.subscription.confirmation' OR subscription_id NOT IN (SELECT owner.id \
    FROM subscription_revision AS known JOIN subscription AS owner ON owner.id = known.subscription_id \
    WHERE known.endpoint_id = $2 AND (NOT owner.enabled OR (owner.confirmation <> 'NONE' AND owner.confirmed_at IS NULL)))) \
    ORDER BY seq LIMIT $4) AS again \
    UNION ALL \
    SELECT * FROM (SELECT * FROM delivery WHERE endpoint_id = $2 AND status = 'PENDING' AND next_attempt_at <= $3 \
    AND (event_type = 'angarium.subscription.confirmation' OR subscription_id NOT IN (SELECT owner.id \
    FROM subscription_revision AS known JOIN subscription AS owner ON owner.id = known.subscription_id \
    WHERE known.endpoint_id = $2 AND (NOT owner.enabled OR (owner.confirmation <> 'NONE' AND owner.confirmed_at IS NULL)))) \
    ORDER BY next_attempt_at LIMIT $4) AS due) AS page \
    LEFT JOIN event ON event.id = page.event_id",
    )
});

/// With the columns of a delivery by name.
fn named(text: &str) -> String {
    text.replace("page.*", &sql::columns::<delivery::Entity>("page"))
}

const NEXT_DUE: &str = "\
    SELECT next_attempt_at FROM delivery WHERE endpoint_id = $1 AND next_attempt_at > $2 \
    ORDER BY next_attempt_at LIMIT 1";

/// What to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) asker: Asker,
    pub(super) shard: i32,
    /// Rows of each kind.
    pub(super) limit: usize,
    /// With the order STRICT.
    pub(super) strict: bool,
    /// Bytes of payload; a single larger one fits all the same.
    pub(super) bytes_max: i64,
}

/// Reads it, and tells which deliveries of it have lost their event.
pub(super) async fn read(
    db: &impl ConnectionTrait,
    wanted: Wanted,
    now: Timestamp,
) -> Result<(PageRead, Vec<DeliveryId>), DbErr> {
    let Wanted { asker, shard, limit, strict, bytes_max } = wanted;
    let endpoint = asker.endpoint;
    let query = |text: &str, values: Vec<sea_orm::Value>| {
        Statement::from_sql_and_values(db.get_database_backend(), text, values)
    };
    let rows_max = i64::try_from(limit).unwrap_or(i64::MAX);
    let values = vec![shard.into(), endpoint.into(), now.into(), rows_max.into()];
    let found = db.query_all_raw(query(if strict { &STRICT_PAGE } else { &PAGE }, values)).await?;
    let next_due = match db.query_one_raw(query(NEXT_DUE, vec![endpoint.into(), now.into()])).await? {
        Some(row) => row.try_get("", "next_attempt_at")?,
        None => None,
    };

    let (mut sized, mut orphans): (Vec<Sized>, Vec<DeliveryId>) = (Vec::with_capacity(found.len()), Vec::new());
    for row in &found {
        let delivery = delivery::Model::from_query_result(row, "")?;
        match row.try_get::<Option<i32>>("", "payload_bytes")? {
            Some(bytes) => sized.push((delivery, i64::from(bytes))),
            None => orphans.push(delivery.id),
        }
    }
    let (rows, full) = Fronts::new(sized, strict).take(limit, bytes_max);

    let mut events: Vec<_> = rows.iter().map(|row| row.event_id.0).collect();
    events.sort_unstable();
    events.dedup();
    let events = sql::find_by_uuids::<event::Entity>(db, event::Column::Id, events).await?;
    let events: HashMap<_, _> = events.into_iter().map(|event| (event.id, Arc::new(event))).collect();
    let jobs = rows.iter().filter_map(|row| Some(Job::new(row, events.get(&row.event_id)?.clone()))).collect();
    Ok((PageRead { asker, jobs, full, next_due }, orphans))
}

/// A row and the bytes of its payload.
type Sized = (delivery::Model, i64);

/// The fronts that were read: each is whole up to its last row.
struct Fronts {
    line: Vec<Sized>,
    /// With STRICT, what stands in the line again.
    again: Vec<Sized>,
    due: Vec<Sized>,
}

impl Fronts {
    fn new(rows: Vec<Sized>, strict: bool) -> Self {
        let (timed, mut line): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(row, _)| row.next_attempt_at.is_some());
        let (mut again, mut due): (Vec<_>, Vec<_>) =
            timed.into_iter().partition(|(row, _)| strict && row.status == Status::Retrying);
        line.sort_unstable_by_key(|(row, _)| row.seq);
        again.sort_unstable_by_key(|(row, _)| row.seq);
        due.sort_unstable_by_key(|(row, _)| row.next_attempt_at);
        Self { line, again, due }
    }

    /// What fits into `bytes_max`, at least one: the line in its order and the due by their time, taken in turn by who
    /// has been ready longest, so that neither starves the other. And whether there may be more.
    fn take(self, limit: usize, bytes_max: i64) -> (Vec<delivery::Model>, bool) {
        let Self { mut line, mut again, due } = self;
        let found = line.len() + again.len() + due.len();
        let mut full = [&line, &again, &due].iter().any(|front| front.len() >= limit);
        // Where one of two fronts ends, the other must end too: between its later rows some may be missing.
        let end = |front: &[Sized]| if front.len() >= limit { front.last().map(|(row, _)| row.seq) } else { None };
        let (line_end, again_end) = (end(&line), end(&again));
        line.retain(|(row, _)| again_end.is_none_or(|end| row.seq < end));
        again.retain(|(row, _)| row.is_begun() || line_end.is_none_or(|end| row.seq < end));
        line.append(&mut again);
        line.sort_by_key(|(row, _)| (!row.is_begun(), row.seq));

        let (mut line, mut due) = (line.into_iter().peekable(), due.into_iter().peekable());
        let (mut taken, mut bytes) = (Vec::new(), 0);
        loop {
            let is_line_first = match (line.peek(), due.peek()) {
                (Some((head, _)), Some((first, _))) => {
                    head.status == Status::Retrying || Some(head.created_at) < first.next_attempt_at
                }
                (head, _) => head.is_some(),
            };
            let Some((row, size)) = (if is_line_first { line.next() } else { due.next() }) else { break };
            bytes += size;
            if bytes > bytes_max && !taken.is_empty() {
                break;
            }
            taken.push(row);
        }
        full |= taken.len() < found;
        (taken, full)
    }
}
