//! Statements whose input is a batch. The one place where SQLite and PostgreSQL differ.

use angarium_entity::change_log::{self, Change, Changes};
use angarium_entity::{DeliveryId, EndpointId, SubscriptionId, Timestamp, WorkspaceId, delivery, event};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, FromQueryResult, QueryResult, Statement, Value};
use serde::Serialize;
use uuid::Uuid;

/// A column of a batch and how it is read from the JSON.
#[derive(Clone, Copy)]
pub(crate) struct Field(&'static str, Kind);

#[derive(Clone, Copy)]
enum Kind {
    Uuid,
    Bytes,
    Text,
    Json,
    Int,
    Big,
    Bool,
}

/// A UUID, written as [`hex`].
pub(crate) const fn uuid(name: &'static str) -> Field {
    Field(name, Kind::Uuid)
}

/// Bytes, written as hex.
pub(crate) const fn bytes(name: &'static str) -> Field {
    Field(name, Kind::Bytes)
}

pub(crate) const fn text(name: &'static str) -> Field {
    Field(name, Kind::Text)
}

pub(crate) const fn json(name: &'static str) -> Field {
    Field(name, Kind::Json)
}

pub(crate) const fn int(name: &'static str) -> Field {
    Field(name, Kind::Int)
}

pub(crate) const fn big(name: &'static str) -> Field {
    Field(name, Kind::Big)
}

pub(crate) const fn bool(name: &'static str) -> Field {
    Field(name, Kind::Bool)
}

/// A UUID as a batch carries it.
pub(crate) fn hex(id: Uuid) -> String {
    id.simple().to_string()
}

/// Bytes as a batch carries them.
pub(crate) fn hex_bytes(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes every write");
        text
    })
}

/// A relation `(SELECT … )` whose rows are the members of the JSON array that is parameter `$1`.
pub(crate) fn rows(backend: DbBackend, fields: &[Field]) -> String {
    if backend == DbBackend::Postgres {
        let typed = |Field(name, kind): &Field| {
            let sql_type = match kind {
                Kind::Uuid => "uuid",
                Kind::Bytes | Kind::Text => "text",
                Kind::Json => "jsonb",
                Kind::Int => "integer",
                Kind::Big => "bigint",
                Kind::Bool => "boolean",
            };
            format!("\"{name}\" {sql_type}")
        };
        let selected = |Field(name, kind): &Field| match kind {
            Kind::Bytes => format!("decode(\"{name}\", 'hex') AS \"{name}\""),
            _ => format!("\"{name}\""),
        };
        return format!(
            "(SELECT {} FROM json_to_recordset($1::json) AS batch({}))",
            join(fields, selected),
            join(fields, typed)
        );
    }
    let selected = |Field(name, kind): &Field| match kind {
        Kind::Uuid | Kind::Bytes => format!("unhex(value->>'{name}') AS \"{name}\""),
        _ => format!("value->>'{name}' AS \"{name}\""),
    };
    format!("(SELECT {} FROM json_each($1))", join(fields, selected))
}

/// The names of the fields, quoted, with a comma between.
pub(crate) fn names(fields: &[Field]) -> String {
    join(fields, |Field(name, _)| format!("\"{name}\""))
}

fn join(fields: &[Field], write: impl Fn(&Field) -> String) -> String {
    fields.iter().map(write).collect::<Vec<_>>().join(", ")
}

/// A statement whose `$1` is `batch` as JSON, followed by `more` parameters from `$2` on.
pub(crate) fn statement(
    backend: DbBackend,
    sql: &str,
    batch: &impl Serialize,
    more: impl IntoIterator<Item = Value>,
) -> Statement {
    let batch = serde_json::to_string(batch).expect("a batch has only text and numbers");
    Statement::from_sql_and_values(backend, sql, std::iter::once(batch.into()).chain(more))
}

/// `SELECT * FROM <table> WHERE <column> IN (…)`, however many there are.
pub(crate) async fn find_by_uuids<M: FromQueryResult>(
    db: &impl ConnectionTrait,
    table: &str,
    column: &str,
    ids: impl IntoIterator<Item = Uuid>,
) -> Result<Vec<M>, DbErr> {
    #[derive(Serialize)]
    struct Row {
        id: String,
    }
    let batch: Vec<_> = ids.into_iter().map(|id| Row { id: hex(id) }).collect();
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let backend = db.get_database_backend();
    let source = rows(backend, &[uuid("id")]);
    let sql = format!("SELECT * FROM {table} WHERE {column} IN (SELECT id FROM {source} AS wanted)");
    let found = db.query_all_raw(statement(backend, &sql, &batch, [])).await?;
    found.iter().map(|row| M::from_query_result(row, "")).collect()
}

/// Which subscriptions send, or ever sent, to these endpoints, each pair once.
pub(crate) async fn subscriptions_at(
    db: &impl ConnectionTrait,
    endpoints: impl IntoIterator<Item = Uuid>,
) -> Result<Vec<(EndpointId, SubscriptionId)>, DbErr> {
    #[derive(Serialize)]
    struct Row {
        id: String,
    }
    let batch: Vec<_> = endpoints.into_iter().map(|id| Row { id: hex(id) }).collect();
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let backend = db.get_database_backend();
    let source = rows(backend, &[uuid("id")]);
    let text = format!(
        "SELECT DISTINCT endpoint_id, subscription_id FROM subscription_revision \
         WHERE endpoint_id IN (SELECT id FROM {source} AS wanted)"
    );
    let found = db.query_all_raw(statement(backend, &text, &batch, [])).await?;
    found.iter().map(|row| Ok((row.try_get("", "endpoint_id")?, row.try_get("", "subscription_id")?))).collect()
}

/// Inserts events.
pub(crate) async fn insert_events(db: &impl ConnectionTrait, events: &[&event::Model]) -> Result<(), DbErr> {
    #[derive(Serialize)]
    struct Row<'a> {
        id: String,
        workspace_id: String,
        event_type: &'a str,
        payload: &'a str,
        channels: &'a [String],
        idempotency_key: Option<&'a str>,
        occurred_at: i64,
        test: bool,
        created_at: i64,
        #[serde(skip_serializing_if = "Option::is_none")]
        sealed: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        trace_parent: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        trace_state: Option<&'a str>,
    }
    const FIELDS: [Field; 12] = [
        uuid("id"),
        uuid("workspace_id"),
        text("event_type"),
        text("payload"),
        json("channels"),
        text("idempotency_key"),
        big("occurred_at"),
        bool("test"),
        big("created_at"),
        bytes("sealed"),
        text("trace_parent"),
        text("trace_state"),
    ];
    let batch: Vec<_> = events
        .iter()
        .map(|event| Row {
            id: hex(event.id.0),
            workspace_id: hex(event.workspace_id.0),
            event_type: &event.event_type,
            payload: &event.payload,
            channels: &event.channels.0,
            idempotency_key: event.idempotency_key.as_deref(),
            occurred_at: event.occurred_at.millis(),
            test: event.test,
            created_at: event.created_at.millis(),
            sealed: event.sealed.as_deref().map(hex_bytes),
            trace_parent: event.trace_parent.as_deref(),
            trace_state: event.trace_state.as_deref(),
        })
        .collect();
    let backend = db.get_database_backend();
    let names = names(&FIELDS);
    let sql = format!("INSERT INTO event ({names}) SELECT {names} FROM {} AS new", rows(backend, &FIELDS));
    db.execute_raw(statement(backend, &sql, &batch, [])).await.map(drop)
}

/// Inserts new PENDING deliveries and gives them their places, in the order given.
pub(crate) async fn insert_deliveries(db: &impl ConnectionTrait, new: &mut [delivery::Model]) -> Result<(), DbErr> {
    #[derive(Serialize)]
    struct Row<'a> {
        place: i64,
        id: String,
        workspace_id: String,
        event_id: String,
        endpoint_id: String,
        subscription_id: String,
        shard: i32,
        trigger: &'a str,
        replay_id: Option<String>,
        event_type: &'a str,
        next_attempt_at: Option<i64>,
        created_at: i64,
    }
    const FIELDS: [Field; 12] = [
        big("place"),
        uuid("id"),
        uuid("workspace_id"),
        uuid("event_id"),
        uuid("endpoint_id"),
        uuid("subscription_id"),
        int("shard"),
        text("trigger"),
        uuid("replay_id"),
        text("event_type"),
        big("next_attempt_at"),
        big("created_at"),
    ];
    let backend = db.get_database_backend();
    let first = match backend {
        DbBackend::Postgres => 0,
        _ => take_places(db, new.len()).await?,
    };
    let triggers: Vec<String> = new.iter().map(|row| sea_orm::ActiveEnum::to_value(&row.trigger)).collect();
    let batch: Vec<_> = new
        .iter()
        .zip(&triggers)
        .zip(first..)
        .map(|((row, trigger), place)| Row {
            place,
            id: hex(row.id.0),
            workspace_id: hex(row.workspace_id.0),
            event_id: hex(row.event_id.0),
            endpoint_id: hex(row.endpoint_id.0),
            subscription_id: hex(row.subscription_id.0),
            shard: row.shard,
            trigger,
            replay_id: row.replay_id.map(|id| hex(id.0)),
            event_type: &row.event_type,
            next_attempt_at: row.next_attempt_at.map(Timestamp::millis),
            created_at: row.created_at.millis(),
        })
        .collect();
    // The sequence is drawn row by row behind the ORDER BY, so places follow the order of the batch.
    let (seq, source) = match backend {
        DbBackend::Postgres => {
            ("nextval('delivery_seq')", format!("{} AS unordered ORDER BY place", rows(backend, &FIELDS)))
        }
        _ => ("place", format!("{} AS unordered ORDER BY place", rows(backend, &FIELDS))),
    };
    let sql = format!(
        "INSERT INTO delivery (id, workspace_id, event_id, endpoint_id, subscription_id, shard, \"trigger\", replay_id, event_type, \
         next_attempt_at, created_at, updated_at, seq, status, attempt_count, round, round_attempts) \
         SELECT id, workspace_id, event_id, endpoint_id, subscription_id, shard, \"trigger\", replay_id, event_type, \
         next_attempt_at, created_at, created_at, {seq}, 'PENDING', 0, 1, 0 FROM (SELECT * FROM {source}) AS new RETURNING id, seq"
    );
    let placed = db.query_all_raw(statement(backend, &sql, &batch, [])).await?;
    let mut places = std::collections::HashMap::with_capacity(placed.len());
    for row in placed {
        places.insert(row.try_get::<DeliveryId>("", "id")?, row.try_get::<i64>("", "seq")?);
    }
    for row in new {
        row.seq = *places.get(&row.id).ok_or_else(|| DbErr::RecordNotInserted)?;
    }
    Ok(())
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

fn one(row: Option<QueryResult>) -> Result<QueryResult, DbErr> {
    row.ok_or_else(|| DbErr::RecordNotFound("the sequence of deliveries has no row".to_owned()))
}

/// Whether changes are logged. Only [`tests/bench-log`](../../tests/bench-log) builds without, to tell what the log costs;
/// live streams hear nothing then.
pub(crate) const LOG: bool = !cfg!(feature = "without-change-log");

/// Appends to the change log, one row for each workspace, and answers the rows with their places.
pub(crate) async fn append_changes<C: Into<Change>>(
    db: &impl ConnectionTrait,
    at: Timestamp,
    by_workspace: impl IntoIterator<Item = (WorkspaceId, Vec<C>)>,
) -> Result<Vec<change_log::Model>, DbErr> {
    #[derive(Serialize)]
    struct Row<'a> {
        workspace_id: String,
        at: i64,
        changes: &'a Changes,
    }
    const FIELDS: [Field; 3] = [uuid("workspace_id"), big("at"), json("changes")];
    let mut appended: Vec<_> = by_workspace
        .into_iter()
        .map(|(workspace_id, changes)| {
            let changes = Changes(changes.into_iter().map(Into::into).collect());
            change_log::Model { seq: 0, workspace_id, at, changes }
        })
        .collect();
    if appended.is_empty() {
        return Ok(appended);
    }
    if !LOG {
        return Ok(Vec::new());
    }
    let batch: Vec<_> = appended
        .iter()
        .map(|row| Row { workspace_id: hex(row.workspace_id.0), at: row.at.millis(), changes: &row.changes })
        .collect();
    let backend = db.get_database_backend();
    let names = names(&FIELDS);
    let source = rows(backend, &FIELDS);
    let sql =
        format!("INSERT INTO change_log ({names}) SELECT {names} FROM {source} AS new RETURNING workspace_id, seq");
    for row in db.query_all_raw(statement(backend, &sql, &batch, [])).await? {
        let workspace_id: WorkspaceId = row.try_get("", "workspace_id")?;
        let seq = row.try_get("", "seq")?;
        appended.iter_mut().filter(|row| row.workspace_id == workspace_id).for_each(|row| row.seq = seq);
    }
    Ok(appended)
}
