//! Statements of our own. The one place where SQLite and PostgreSQL differ.

use angarium_entity::{EndpointId, SubscriptionId};
use sea_orm::{ConnectionTrait, DbErr, EntityTrait, FromQueryResult as _, IdenStatic as _, Iterable as _};
use uuid::Uuid;

mod insert;
mod query;

#[cfg(feature = "benching")]
pub(crate) use insert::inserting;
pub(crate) use insert::{Expected, LOG, Log, append_changes, insert_deliveries, insert_events, publish, take_place};
pub(crate) use query::{Column, Query, big, bool, bytes, int, json, json_text, text, time, uuid, word};

/// The columns of a table by name, each with `of` before it. PostgreSQL refuses to run a statement again that was prepared
/// with `*`, once the next version has added a column.
pub(crate) fn columns<E: EntityTrait>(of: &str) -> String {
    E::Column::iter().map(|column| format!("{of}.\"{}\"", column.as_str())).collect::<Vec<_>>().join(", ")
}

/// The rows of a table whose `column` is one of `ids`, however many there are.
pub(crate) async fn find_by_uuids<E: EntityTrait>(
    db: &impl ConnectionTrait,
    column: E::Column,
    ids: impl IntoIterator<Item = Uuid>,
) -> Result<Vec<E::Model>, DbErr> {
    let ids: Vec<_> = ids.into_iter().collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = Query::on(db);
    let wanted = query.rows([uuid("id", ids)]);
    let (columns, table, column) = (columns::<E>("found"), E::default(), column.as_str());
    let text = format!(
        "SELECT {columns} FROM {} AS found WHERE found.{column} IN (SELECT id FROM {wanted} AS wanted)",
        table.table_name()
    );
    db.query_all_raw(query.text(&text)).await?.iter().map(|row| E::Model::from_query_result(row, "")).collect()
}

/// Which subscriptions send, or ever sent, to these endpoints, each pair once.
pub(crate) async fn subscriptions_at(
    db: &impl ConnectionTrait,
    endpoints: impl IntoIterator<Item = Uuid>,
) -> Result<Vec<(EndpointId, SubscriptionId)>, DbErr> {
    let endpoints: Vec<_> = endpoints.into_iter().collect();
    if endpoints.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = Query::on(db);
    let wanted = query.rows([uuid("id", endpoints)]);
    let text = format!(
        "SELECT DISTINCT endpoint_id, subscription_id FROM subscription_revision \
         WHERE endpoint_id IN (SELECT id FROM {wanted} AS wanted)"
    );
    let found = db.query_all_raw(query.text(&text)).await?;
    found.iter().map(|row| Ok((row.try_get("", "endpoint_id")?, row.try_get("", "subscription_id")?))).collect()
}
