//! The rows behind the leases: PostgreSQL's statements, and SQLite's one.
//!
//! Instants are by the clock of the database. What a lease hangs on runs beside the API's connections, so that slow queries
//! which fill those do not cost it.

use std::time::Duration;

use angarium_entity::{Database, NodeId};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, QueryResult, Statement, Value};

use crate::store::sql;

/// Unix milliseconds of the database.
const NOW: &str = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";

/// Another node, or this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) id: NodeId,
    pub(super) draining: bool,
    /// How much of its lease is left; none when it has run out.
    pub(super) left: Option<Duration>,
}

/// Who is there.
#[derive(Clone, Debug)]
pub(super) struct Members {
    pub(super) peers: Vec<Peer>,
    /// Grows whenever somebody joins or leaves.
    pub(super) version: i64,
}

/// A shard that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) shard: i32,
    pub(super) epoch: i64,
    /// From one who had died, rather than from one who had given it away. Also what is the node's own without its knowing:
    /// the answer to its claim was lost, and with it from whom it was.
    pub(super) from_dead: bool,
}

/// Takes every shard for the only process there can be.
pub(super) async fn take_all(db: &Database, node: NodeId) -> Result<Vec<Taken>, DbErr> {
    let transaction = db.begin().await?;
    transaction.execute_raw(query(&transaction, "DELETE FROM node", [])).await?;
    let insert = "INSERT INTO node (id, started_at, lease_until, draining) VALUES ($1, $2, $2, false)";
    transaction.execute_raw(query(&transaction, insert, [node.into(), i64::MAX.into()])).await?;
    let take = "UPDATE shard SET owner_id = $1, epoch = epoch + 1 RETURNING id, epoch, false AS from_dead";
    let taken = transaction.query_all_raw(query(&transaction, take, [node.into()])).await?;
    let taken = taken.iter().map(read_taken).collect::<Result<_, _>>()?;
    transaction.commit().await?;
    Ok(taken)
}

/// Adds a node.
pub(super) async fn join(db: &Database, node: NodeId, ttl: Duration) -> Result<(), DbErr> {
    let transaction = db.begin().await?;
    let insert =
        format!("INSERT INTO node (id, started_at, lease_until, draining) VALUES ($1, {NOW}, {NOW} + $2, false)");
    transaction.execute_raw(query(&transaction, &insert, [node.into(), millis(ttl)])).await?;
    grow_membership(&transaction).await?;
    transaction.commit().await
}

/// Says that a node lives. False when it was buried.
pub(super) async fn renew(db: &Database, node: NodeId, ttl: Duration) -> Result<bool, DbErr> {
    let renew = format!("UPDATE node SET lease_until = {NOW} + $2 WHERE id = $1");
    let renewed = db.planned().execute_raw(query(db.planned(), &renew, [node.into(), millis(ttl)])).await?;
    Ok(renewed.rows_affected() == 1)
}

/// Who is there. Reads what is committed, past any replica.
pub(super) async fn members(db: &Database) -> Result<Members, DbErr> {
    let read = format!(
        "SELECT node.id, node.draining, node.lease_until - {NOW} AS left_ms, installation.membership_version \
         FROM installation LEFT JOIN node ON true ORDER BY node.id"
    );
    let rows = db.planned().query_all_raw(query(db.planned(), &read, [])).await?;
    let mut members = Members { peers: Vec::with_capacity(rows.len()), version: 0 };
    for row in rows {
        members.version = row.try_get("", "membership_version")?;
        let Some(id) = row.try_get::<Option<NodeId>>("", "id")? else { continue };
        let left: i64 = row.try_get("", "left_ms")?;
        let left = u64::try_from(left).ok().filter(|left| *left > 0).map(Duration::from_millis);
        members.peers.push(Peer { id, draining: row.try_get("", "draining")?, left });
    }
    Ok(members)
}

/// Deletes the nodes whose leases have run out. Answers how many.
pub(super) async fn bury(db: &Database) -> Result<i64, DbErr> {
    let bury = format!(
        "WITH buried AS (DELETE FROM node WHERE lease_until < {NOW} RETURNING id) \
         UPDATE installation SET membership_version = membership_version + 1 WHERE EXISTS (SELECT 1 FROM buried) \
         RETURNING (SELECT count(*) FROM buried) AS count"
    );
    let buried = db.planned().query_one_raw(query(db.planned(), &bury, [])).await?;
    buried.map_or(Ok(0), |row| row.try_get("", "count"))
}

/// The owner and epoch of every shard.
pub(super) async fn shards(db: &Database) -> Result<Vec<(i32, Option<NodeId>, i64)>, DbErr> {
    let rows = db
        .planned()
        .query_all_raw(query(db.planned(), "SELECT id, owner_id, epoch FROM shard ORDER BY id", []))
        .await?;
    rows.iter()
        .map(|row| Ok((row.try_get("", "id")?, row.try_get("", "owner_id")?, row.try_get("", "epoch")?)))
        .collect()
}

/// Takes those of `wanted` that are nobody's, a buried node's, or the node's own without its knowing.
pub(super) async fn claim(db: &Database, node: NodeId, wanted: &[i32]) -> Result<Vec<Taken>, DbErr> {
    let mut query = sql::Query::on(db.planned());
    let (node, source) = (query.value(node), query.rows([sql::int("id", wanted.iter().copied())]));
    let claim = format!(
        "WITH free AS (SELECT id, owner_id FROM shard WHERE id IN (SELECT id FROM {source} AS wanted) \
         AND (owner_id IS NULL OR owner_id = {node} OR owner_id NOT IN (SELECT id FROM node)) ORDER BY id FOR UPDATE) \
         UPDATE shard SET owner_id = {node}, epoch = shard.epoch + 1 FROM free WHERE shard.id = free.id \
         RETURNING shard.id, shard.epoch, free.owner_id IS NOT NULL AS from_dead"
    );
    let rows = db.planned().query_all_raw(query.text(&claim)).await?;
    rows.iter().map(read_taken).collect()
}

/// Gives shards away that are the node's at these epochs. One that comes late, after the node has taken them again, does
/// nothing.
pub(super) async fn release(db: &Database, node: NodeId, shards: &[(i32, i64)]) -> Result<(), DbErr> {
    let mut query = sql::Query::on(db.planned());
    let node = query.value(node);
    let columns = [
        sql::int("id", shards.iter().map(|(number, _)| *number)),
        sql::big("epoch", shards.iter().map(|(_, epoch)| *epoch)),
    ];
    let source = query.rows(columns);
    let release = format!(
        "UPDATE shard SET owner_id = NULL FROM {source} AS given \
         WHERE shard.owner_id = {node} AND shard.id = given.id AND shard.epoch = given.epoch"
    );
    db.planned().execute_raw(query.text(&release)).await.map(drop)
}

/// Says that a node wants no more shards.
pub(super) async fn drain(db: &Database, node: NodeId) -> Result<(), DbErr> {
    let drain = query(db.planned(), "UPDATE node SET draining = true WHERE id = $1", [node.into()]);
    db.planned().execute_raw(drain).await.map(drop)
}

/// Takes a node out, and gives away whatever it has except `kept`, which stay those of a node that is gone.
pub(super) async fn leave(db: &Database, node: NodeId, kept: &[i32]) -> Result<(), DbErr> {
    let transaction = db.begin().await?;
    let mut releasing = sql::Query::on(&transaction);
    let (owner, source) = (releasing.value(node), releasing.rows([sql::int("id", kept.iter().copied())]));
    let release = format!(
        "UPDATE shard SET owner_id = NULL WHERE owner_id = {owner} AND id NOT IN (SELECT id FROM {source} AS kept)"
    );
    transaction.execute_raw(releasing.text(&release)).await?;
    transaction.execute_raw(query(&transaction, "DELETE FROM node WHERE id = $1", [node.into()])).await?;
    grow_membership(&transaction).await?;
    transaction.commit().await
}

async fn grow_membership(transaction: &DatabaseTransaction) -> Result<(), DbErr> {
    let grow = "UPDATE installation SET membership_version = membership_version + 1";
    transaction.execute_raw(query(transaction, grow, [])).await.map(drop)
}

fn read_taken(row: &QueryResult) -> Result<Taken, DbErr> {
    Ok(Taken {
        shard: row.try_get("", "id")?,
        epoch: row.try_get("", "epoch")?,
        from_dead: row.try_get("", "from_dead")?,
    })
}

fn millis(duration: Duration) -> Value {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).into()
}

fn query(db: &impl ConnectionTrait, text: &str, values: impl IntoIterator<Item = Value>) -> Statement {
    Statement::from_sql_and_values(db.get_database_backend(), text, values)
}
