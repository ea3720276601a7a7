//! Reading the table of a workspace.
//!
//! Only the columns that matching needs, in one statement: a workspace may have a hundred thousand subscriptions, and
//! their whole rows, with those of their endpoints, once took several times the memory of the table.

use std::collections::HashMap;
use std::sync::Arc;

use angarium_entity::json::StringList;
use angarium_entity::subscription::event_filter::EventFilter;
use angarium_entity::workspace::SubscriptionConfirmation;
use angarium_entity::{EndpointId, SubscriptionId, Timestamp, WorkspaceId, endpoint, subscription};
use sea_orm::entity::prelude::*;
use sea_orm::{
    Condition as Where, ConnectionTrait, DbErr, FromQueryResult, JoinType, QueryOrder as _, QuerySelect as _,
};

use super::{Entry, MatchTable};
use crate::store::sieve::Condition;

/// What matching needs of a subscription and its endpoint.
#[derive(FromQueryResult)]
struct Row {
    id: SubscriptionId,
    endpoint_id: EndpointId,
    shard: i32,
    event_types: StringList,
    channels: Option<StringList>,
    filter: Option<String>,
    expires_at: Option<Timestamp>,
}

/// The table at `version`. Filters that `former` has stay read.
pub(super) async fn load(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    version: i64,
    former: Option<&MatchTable>,
) -> Result<MatchTable, DbErr> {
    let conditions = former.into_iter().flat_map(|table| &table.entries).filter_map(|entry| entry.condition.as_ref());
    let mut conditions: HashMap<u128, Arc<Condition>> =
        conditions.map(|condition| (condition.key(), condition.clone())).collect();
    let mut condition = |text: &String| {
        conditions.entry(Condition::key_of(text)).or_insert_with(|| Arc::new(Condition::new(text))).clone()
    };
    let entries = rows(db, workspace).await?.into_iter().map(|row| Entry {
        subscription_id: row.id,
        endpoint_id: row.endpoint_id,
        shard: row.shard,
        expires_at: row.expires_at,
        filter: EventFilter::new(&row.event_types, row.channels),
        condition: row.filter.as_ref().map(&mut condition),
    });
    Ok(MatchTable::new(version, entries.collect()))
}

/// Those that can match, the oldest first.
async fn rows(db: &impl ConnectionTrait, workspace: WorkspaceId) -> Result<Vec<Row>, DbErr> {
    use subscription::Column;

    let to_endpoint =
        subscription::Entity::belongs_to(endpoint::Entity).from(Column::EndpointId).to(endpoint::Column::Id);
    // As `subscription::Model::is_pending` says.
    let is_confirmed = Where::any()
        .add(Column::Confirmation.eq(SubscriptionConfirmation::None))
        .add(Column::ConfirmedAt.is_not_null());
    subscription::Entity::of(workspace)
        .select_only()
        .columns([
            Column::Id,
            Column::EndpointId,
            Column::EventTypes,
            Column::Channels,
            Column::Filter,
            Column::ExpiresAt,
        ])
        .column(endpoint::Column::Shard)
        .join(JoinType::InnerJoin, to_endpoint.into())
        .filter(Column::Enabled.eq(true))
        .filter(is_confirmed)
        .filter(endpoint::Column::DeletedAt.is_null())
        .order_by_asc(Column::CreatedAt)
        .order_by_asc(Column::Id)
        .into_model()
        .all(db)
        .await
}
