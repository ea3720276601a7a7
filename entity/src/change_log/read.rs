//! Reading on from a place. Each reading is one statement, so that its rows and its snapshot belong together.

use sea_orm::entity::prelude::*;
use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult, Statement};

use super::{Changes, Place};
use crate::{Timestamp, WorkspaceId};

/// The rows that a place does not cover, in the order in which they are told.
#[derive(Clone, Debug)]
pub struct Untold {
    /// The first of them.
    pub rows: Vec<Row>,
    /// What this reading saw: the place to be at once all rows are told.
    pub seen: Place,
    /// Whether there are no more.
    pub is_all: bool,
}

/// A row with the transaction that wrote it.
#[derive(Clone, Debug)]
pub struct Row {
    /// The transaction.
    pub xid: i64,
    /// Number of the row.
    pub seq: i64,
    /// When it was written.
    pub at: Timestamp,
    /// What changed.
    pub changes: Changes,
}

#[derive(FromQueryResult)]
struct Found {
    snapshot: String,
    xid: Option<i64>,
    seq: Option<i64>,
    at: Option<Timestamp>,
    changes: Option<Changes>,
}

/// The place that covers whatever is committed.
///
/// # Errors
/// Those of the database.
pub async fn now(db: &impl ConnectionTrait) -> Result<Place, DbErr> {
    let backend = db.get_database_backend();
    let text = match backend {
        DbBackend::Postgres => "SELECT pg_current_snapshot()::text AS snapshot".to_owned(),
        _ => format!("SELECT snapshot FROM ({SQLITE_SNAPSHOT})"),
    };
    let row = db.query_one_raw(Statement::from_string(backend, text)).await?;
    let row = row.ok_or_else(|| DbErr::RecordNotFound("the snapshot".to_owned()))?;
    parse(&row.try_get::<String>("", "snapshot")?)
}

/// At most `limit` rows (two or more) of a workspace that `place` does not cover.
///
/// # Errors
/// Those of the database.
pub async fn untold(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    place: &Place,
    limit: u64,
) -> Result<Untold, DbErr> {
    let (midway_xid, midway_seq) = place.midway.map_or((-1, -1), |midway| (midway.xid, midway.seq));
    let mut values: Vec<Value> =
        vec![workspace.into(), place.end.into(), midway_xid.into(), midway_seq.into(), limit.into()];
    let backend = db.get_database_backend();
    let text = if backend == DbBackend::Postgres {
        values.push(place.open.clone().into());
        POSTGRES_UNTOLD.to_owned()
    } else {
        format!(
            "SELECT snapshot, seq AS xid, seq, at, changes FROM ({SQLITE_SNAPSHOT}) AS now LEFT JOIN \
             (SELECT * FROM change_log WHERE workspace_id = $1 AND seq >= $2 AND NOT (seq = $3 AND seq < $4) \
             ORDER BY seq LIMIT $5) AS untold ON true ORDER BY seq"
        )
    };
    let found = Found::find_by_statement(Statement::from_sql_and_values(backend, text, values)).all(db).await?;
    let seen = found.first().ok_or_else(|| DbErr::RecordNotFound("the snapshot".to_owned()))?;
    let seen = parse(&seen.snapshot)?;
    let row = |found: Found| {
        Some(Row { xid: found.xid?, seq: found.seq?, at: found.at?, changes: found.changes.unwrap_or_default() })
    };
    let rows: Vec<Row> = found.into_iter().filter_map(row).collect();
    let is_all = u64::try_from(rows.len()).unwrap_or(u64::MAX) < limit;
    Ok(Untold { rows, seen, is_all })
}

/// The numbers that SQLite has given out, in the words of a snapshot of PostgreSQL.
const SQLITE_SNAPSHOT: &str = "SELECT (coalesce(max(seq), 0) + 1) || ':' || (coalesce(max(seq), 0) + 1) || ':' AS snapshot \
    FROM sqlite_sequence WHERE name = 'change_log'";

/// Two ranges of one index: what began later, and what was open.
const POSTGRES_UNTOLD: &str = "SELECT pg_current_snapshot()::text AS snapshot, xid, seq, at, changes \
    FROM (SELECT 1 AS one) AS now LEFT JOIN (SELECT * FROM ( \
    (SELECT * FROM change_log WHERE workspace_id = $1 AND xid >= $2 AND NOT (xid = $3 AND seq < $4) \
    ORDER BY xid, seq LIMIT $5) UNION ALL \
    (SELECT * FROM change_log WHERE workspace_id = $1 AND xid = ANY($6) AND NOT (xid = $3 AND seq < $4) \
    ORDER BY xid <> $3, xid, seq LIMIT $5)) AS either ORDER BY xid <> $3, xid, seq LIMIT $5) AS untold \
    ON true ORDER BY xid <> $3, xid, seq";

fn parse(snapshot: &str) -> Result<Place, DbErr> {
    Place::parse(snapshot).ok_or_else(|| DbErr::Custom(format!("the snapshot {snapshot:?} cannot be read")))
}
