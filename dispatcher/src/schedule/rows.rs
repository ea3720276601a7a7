//! What a schedule is rebuilt from.

use angarium_entity::{DeliveryId, EndpointId, Timestamp};
use sea_orm::{ConnectionTrait, DbErr, QueryResult, Statement};

use super::{Entry, WINDOW};
use crate::store::sql;

/// The earliest of what waits for a time, one more than the window for each endpoint of these shards, so that who has more
/// is seen.
pub(super) async fn of_shards(db: &impl ConnectionTrait, shards: &[i32]) -> Result<Vec<(i32, Entry)>, DbErr> {
    let mut query = sql::Query::on(db);
    let most = query.value(i64::try_from(WINDOW + 1).unwrap_or(i64::MAX));
    let source = query.rows([sql::int("id", shards.iter().copied())]);
    let text = format!(
        "SELECT shard, endpoint_id, id, next_attempt_at FROM (\
         SELECT shard, endpoint_id, id, next_attempt_at, \
         row_number() OVER (PARTITION BY endpoint_id ORDER BY next_attempt_at) AS place FROM delivery \
         WHERE next_attempt_at IS NOT NULL AND shard IN (SELECT id FROM {source} AS wanted)) AS waiting \
         WHERE place <= {most}"
    );
    let rows = db.query_all_raw(query.text(&text)).await?;
    rows.iter().map(|row| Ok((row.try_get("", "shard")?, entry(row)?))).collect()
}

/// The earliest of what waits for a time at one endpoint, one more than the window.
pub(super) async fn of_endpoint(db: &impl ConnectionTrait, endpoint: EndpointId) -> Result<Vec<Entry>, DbErr> {
    let text = "SELECT endpoint_id, id, next_attempt_at FROM delivery \
        WHERE endpoint_id = $1 AND next_attempt_at IS NOT NULL ORDER BY next_attempt_at LIMIT $2";
    let most = i64::try_from(WINDOW + 1).unwrap_or(i64::MAX);
    let query = Statement::from_sql_and_values(db.get_database_backend(), text, [endpoint.into(), most.into()]);
    db.query_all_raw(query).await?.iter().map(entry).collect()
}

fn entry(row: &QueryResult) -> Result<Entry, DbErr> {
    let (endpoint, delivery): (EndpointId, DeliveryId) = (row.try_get("", "endpoint_id")?, row.try_get("", "id")?);
    Ok(Entry { endpoint, delivery, due: row.try_get::<Timestamp>("", "next_attempt_at")? })
}
