//! What a publish stores: events, their deliveries, and what the log says of them.
//!
//! One statement  on PostgreSQL all of it is one statement, which commits itself ([`publish`]); elsewhere, and within a
//!                transaction, one for each table.

use std::collections::HashMap;

use angarium_entity::change_log::{Change, Changes};
use angarium_entity::{DeliveryId, Timestamp, WorkspaceId, delivery, event};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement};

use super::query::{Query, big, bool, bytes, int, json, json_text, text, time, uuid, word};

/// Whether changes are logged. Only [`tests/bench-log`](../../tests/bench-log) builds without, to tell what the log costs;
/// live streams hear nothing then.
pub(crate) const LOG: bool = !cfg!(feature = "without-change-log");

/// Changes to be logged, by the workspace that they are told to.
pub(crate) type Log = HashMap<WorkspaceId, Vec<Change>>;

/// What was read to decide where events go. They are stored only if it still is so.
#[derive(Debug)]
pub(crate) struct Expected {
    /// Each workspace with the version of its configuration.
    pub(crate) workspaces: Vec<(WorkspaceId, i64)>,
    /// The version of the catalogue.
    pub(crate) catalogue: i64,
}

/// Stores what a publish makes, and commits it, unless something is not as expected: then nothing is stored, and the answer
/// is none. Otherwise it is the version of the membership. Only on PostgreSQL.
///
/// # Errors
/// Those of the database. If the connection was lost, it may have happened all the same.
pub(crate) async fn publish(
    db: &impl ConnectionTrait,
    expected: &Expected,
    events: &[&event::Model],
    deliveries: &mut [delivery::Model],
    at: Timestamp,
    log: Log,
) -> Result<Option<i64>, DbErr> {
    let mut query = Query::on(db);
    let catalogue = query.value(expected.catalogue);
    let versions = query.rows([
        uuid("id", expected.workspaces.iter().map(|(id, _)| id.0)),
        big("version", expected.workspaces.iter().map(|(_, version)| *version)),
    ]);
    let events = event_rows(&mut query, events, ", seen");
    let mut parts = vec![
        format!(
            "seen AS (SELECT membership_version FROM installation WHERE catalogue_version = {catalogue} AND NOT EXISTS \
             (SELECT 1 FROM {versions} AS expected LEFT JOIN workspace ON workspace.id = expected.id \
             AND workspace.deleted_at IS NULL WHERE workspace.config_version IS DISTINCT FROM expected.version))"
        ),
        format!("event_row AS ({events})"),
    ];
    let mut answer = "SELECT NULL::uuid AS id, membership_version AS number FROM seen".to_owned();
    if !deliveries.is_empty() {
        let deliveries = delivery_rows(&mut query, deliveries, 0, ", seen");
        parts.push(format!("delivery_row AS ({deliveries} RETURNING id, seq)"));
        answer.push_str(" UNION ALL SELECT id, seq FROM delivery_row");
    }
    if !log.is_empty() {
        let log = log_rows(&mut query, at, &packed(log), ", seen");
        parts.push(format!("log_row AS ({log})"));
    }
    let text = format!("WITH {} {answer}", parts.join(", "));
    let (mut membership, mut places) = (None, HashMap::with_capacity(deliveries.len()));
    for row in db.query_all_raw(query.text(&text)).await? {
        let number: i64 = row.try_get("", "number")?;
        match row.try_get::<Option<DeliveryId>>("", "id")? {
            Some(id) => drop(places.insert(id, number)),
            None => membership = Some(number),
        }
    }
    if membership.is_some() {
        place(deliveries, &places)?;
    }
    Ok(membership)
}

/// Inserts events.
pub(crate) async fn insert_events(db: &impl ConnectionTrait, events: &[&event::Model]) -> Result<(), DbErr> {
    let mut query = Query::on(db);
    let text = event_rows(&mut query, events, "");
    db.execute_raw(query.text(&text)).await.map(drop)
}

/// Inserts new PENDING deliveries and gives them their places, in the order given.
pub(crate) async fn insert_deliveries(db: &impl ConnectionTrait, new: &mut [delivery::Model]) -> Result<(), DbErr> {
    let mut query = Query::on(db);
    let first = match db.get_database_backend() {
        DbBackend::Postgres => 0,
        _ => take_places(db, new.len()).await?,
    };
    let text = format!("{} RETURNING id, seq", delivery_rows(&mut query, new, first, ""));
    let mut places = HashMap::with_capacity(new.len());
    for row in db.query_all_raw(query.text(&text)).await? {
        places.insert(row.try_get::<DeliveryId>("", "id")?, row.try_get::<i64>("", "seq")?);
    }
    place(new, &places)
}

/// The statement of [`insert_deliveries`].
#[cfg(feature = "benching")]
pub(crate) fn inserting(backend: DbBackend, new: &[delivery::Model]) -> Statement {
    let mut query = Query::of(backend);
    let text = format!("{} RETURNING id, seq", delivery_rows(&mut query, new, 0, ""));
    query.text(&text)
}

/// Appends to the change log, one row for each workspace. Answers whom to tell once it is committed.
pub(crate) async fn append_changes<C: Into<Change>>(
    db: &impl ConnectionTrait,
    at: Timestamp,
    by_workspace: impl IntoIterator<Item = (WorkspaceId, Vec<C>)>,
) -> Result<Vec<WorkspaceId>, DbErr> {
    let rows = packed(by_workspace);
    if rows.is_empty() || !LOG {
        return Ok(Vec::new());
    }
    let mut query = Query::on(db);
    let text = log_rows(&mut query, at, &rows, "");
    db.execute_raw(query.text(&text)).await?;
    Ok(rows.into_iter().map(|(workspace, _)| workspace).collect())
}

/// Takes one place at the end of publish order.
pub(crate) async fn take_place(db: &impl ConnectionTrait) -> Result<i64, DbErr> {
    match db.get_database_backend() {
        DbBackend::Postgres => {
            let next = Statement::from_string(DbBackend::Postgres, "SELECT nextval('delivery_seq') AS value");
            one(db.query_one_raw(next).await?)?.try_get("", "value")
        }
        _ => take_places(db, 1).await,
    }
}

/// Takes `count` places of SQLite's sequence and answers the first. The one writer makes them visible in order.
async fn take_places(db: &impl ConnectionTrait, count: usize) -> Result<i64, DbErr> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let take = Statement::from_sql_and_values(
        db.get_database_backend(),
        "UPDATE delivery_seq SET value = value + $1 RETURNING value",
        [count.into()],
    );
    let last: i64 = one(db.query_one_raw(take).await?)?.try_get("", "value")?;
    Ok(last - count + 1)
}

fn one(row: Option<QueryResult>) -> Result<QueryResult, DbErr> {
    row.ok_or_else(|| DbErr::RecordNotFound("the sequence of deliveries has no row".to_owned()))
}

fn place(new: &mut [delivery::Model], places: &HashMap<DeliveryId, i64>) -> Result<(), DbErr> {
    new.iter_mut().try_for_each(|row| {
        row.seq = *places.get(&row.id).ok_or(DbErr::RecordNotInserted)?;
        Ok(())
    })
}

/// The text that inserts events; `beside` is joined to them.
fn event_rows(query: &mut Query, events: &[&event::Model], beside: &str) -> String {
    let columns = [
        uuid("id", events.iter().map(|event| event.id.0)),
        uuid("workspace_id", events.iter().map(|event| event.workspace_id.0)),
        text("event_type", events.iter().map(|event| event.event_type.as_str())),
        text("payload", events.iter().map(|event| event.payload.as_str())),
        json("channels", events.iter().map(|event| &event.channels)),
        text("idempotency_key", events.iter().map(|event| event.idempotency_key.as_deref())),
        time("occurred_at", events.iter().map(|event| event.occurred_at)),
        bool("test", events.iter().map(|event| event.test)),
        time("created_at", events.iter().map(|event| event.created_at)),
        bytes("sealed", events.iter().map(|event| event.sealed.as_deref())),
        text("trace_parent", events.iter().map(|event| event.trace_parent.as_deref())),
        text("trace_state", events.iter().map(|event| event.trace_state.as_deref())),
    ];
    let names = "id, workspace_id, event_type, payload, channels, idempotency_key, occurred_at, test, created_at, sealed, \
                 trace_parent, trace_state";
    let rows = query.rows(columns);
    format!("INSERT INTO event ({names}) SELECT {names} FROM {rows} AS new{beside}")
}

/// The text that inserts deliveries, in the order given. PostgreSQL's sequence is drawn row by row behind the ORDER BY, so
/// places follow the order of the batch; SQLite's are counted from `first`.
fn delivery_rows(query: &mut Query, new: &[delivery::Model], first: i64, beside: &str) -> String {
    let rows = query.rows([
        big("place", new.iter().zip(first..).map(|(_, place)| place)),
        uuid("id", new.iter().map(|row| row.id.0)),
        uuid("workspace_id", new.iter().map(|row| row.workspace_id.0)),
        uuid("event_id", new.iter().map(|row| row.event_id.0)),
        uuid("endpoint_id", new.iter().map(|row| row.endpoint_id.0)),
        uuid("subscription_id", new.iter().map(|row| row.subscription_id.0)),
        int("shard", new.iter().map(|row| row.shard)),
        word("trigger", new.iter().map(|row| row.trigger)),
        uuid("replay_id", new.iter().map(|row| row.replay_id.map(|id| id.0))),
        text("event_type", new.iter().map(|row| row.event_type.as_str())),
        time("next_attempt_at", new.iter().map(|row| row.next_attempt_at)),
        time("created_at", new.iter().map(|row| row.created_at)),
    ]);
    let seq = if query.is_postgres() { "nextval('delivery_seq')" } else { "place" };
    format!(
        "INSERT INTO delivery (id, workspace_id, event_id, endpoint_id, subscription_id, shard, \"trigger\", replay_id, event_type, \
         next_attempt_at, created_at, updated_at, seq, status, attempt_count, round, round_attempts) \
         SELECT id, workspace_id, event_id, endpoint_id, subscription_id, shard, \"trigger\", replay_id, event_type, \
         next_attempt_at, created_at, created_at, {seq}, 'PENDING', 0, 1, 0 \
         FROM (SELECT * FROM {rows} AS unordered{beside} ORDER BY place) AS new"
    )
}

fn packed<C: Into<Change>>(
    by_workspace: impl IntoIterator<Item = (WorkspaceId, Vec<C>)>,
) -> Vec<(WorkspaceId, Changes)> {
    let pack = |changes: Vec<C>| Changes(changes.into_iter().map(Into::into).collect());
    by_workspace.into_iter().map(|(workspace, changes)| (workspace, pack(changes))).collect()
}

/// The text that appends to the log.
fn log_rows(query: &mut Query, at: Timestamp, rows: &[(WorkspaceId, Changes)], beside: &str) -> String {
    let at = query.value(at.millis());
    let rows = query.rows([
        uuid("workspace_id", rows.iter().map(|(workspace, _)| workspace.0)),
        json_text("changes", rows.iter().map(|(_, changes)| changes)),
    ]);
    format!(
        "INSERT INTO change_log (workspace_id, at, changes) SELECT workspace_id, {at}, changes FROM {rows} AS new{beside}"
    )
}
