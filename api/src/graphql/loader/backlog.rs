//! What waits for an endpoint.
//!
//! A waiting delivery is either in the line or waits for its time; each kind has a partial index, and so both are
//! counted without reading what is done.

use angarium_entity::delivery::{Column, Entity};
use angarium_entity::{EndpointId, Timestamp};
use sea_orm::sea_query::{Expr, Query, SelectStatement};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait, Select};

use super::{Loaded, Loaders};
use crate::app::list::{self, COUNT_MAX};

/// What waits for an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backlog {
    /// Deliveries, at most [`COUNT_MAX`].
    pub(crate) count: u64,
    /// When the oldest of them was made.
    pub(crate) oldest: Option<Timestamp>,
}

impl Loaders {
    /// The backlog of an endpoint, which is in `shard`.
    pub(crate) async fn backlog(&self, endpoint: EndpointId, shard: i32) -> Loaded<Backlog> {
        self.backlogs
            .ask((endpoint, shard), |endpoints| async move {
                let statements: Vec<_> =
                    endpoints.iter().flat_map(|(endpoint, shard)| parts(*endpoint, *shard)).collect();
                let numbers = list::numbers(self.state.db.read(), &statements).await?;
                Ok(numbers.chunks(4).map(Backlog::from_parts).collect())
            })
            .await
    }
}

impl Backlog {
    fn from_parts(parts: &[Option<i64>]) -> Self {
        let [in_line, waiting, oldest_in_line, oldest_waiting] = parts else { return Self::default() };
        let count = in_line.unwrap_or(0).saturating_add(waiting.unwrap_or(0));
        let oldest = [oldest_in_line, oldest_waiting].into_iter().filter_map(|oldest| *oldest).min();
        Self { count: u64::try_from(count).unwrap_or(0).min(COUNT_MAX), oldest: oldest.map(Timestamp::from_millis) }
    }
}

/// Four numbers: how many are in the line, how many wait for their time, and the age of the oldest of each.
fn parts(endpoint: EndpointId, shard: i32) -> [SelectStatement; 4] {
    let line = Entity::find()
        .filter(Column::Shard.eq(shard))
        .filter(Column::EndpointId.eq(endpoint))
        .filter(Expr::cust(r#""delivery"."status" = 'PENDING'"#))
        .filter(Column::NextAttemptAt.is_null());
    let waiting = Entity::find().filter(Column::EndpointId.eq(endpoint)).filter(Column::NextAttemptAt.is_not_null());
    [
        list::counting(line.clone()),
        list::counting(waiting.clone()),
        first_created(line, Column::Seq),
        first_created(waiting, Column::CreatedAt),
    ]
}

fn first_created(select: Select<Entity>, order: Column) -> SelectStatement {
    let first = select.select_only().column(Column::CreatedAt).order_by_asc(order).limit(1).into_query();
    Query::select().expr_as(Expr::cust("created_at"), "value").from_subquery(first, "oldest").take()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_are_added_and_the_oldest_of_both_counts() {
        let backlog = Backlog::from_parts(&[Some(2), Some(3), Some(70), Some(60)]);
        assert_eq!(backlog, Backlog { count: 5, oldest: Some(Timestamp::from_millis(60)) });
        assert_eq!(Backlog::from_parts(&[Some(0), Some(0), None, None]), Backlog::default());
        assert_eq!(Backlog::from_parts(&[Some(10_000), Some(10_000), None, None]).count, 10_000);
    }
}
