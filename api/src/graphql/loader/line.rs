//! What goes before a delivery: the front of a STRICT line, the rate limit, and the health of the endpoint.

use std::collections::{HashMap, HashSet};

use angarium_entity::delivery::{Column, Entity};
use angarium_entity::{EndpointId, Timestamp, WorkspaceId, endpoint_health, subscription};
use sea_orm::sea_query::{Expr, Query, SelectStatement};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait, Select};

use super::{Loaded, Loaders};
use crate::app::delivery::Front;
use crate::app::list;

impl Loaders {
    /// Where the line of a STRICT endpoint begins, which is in `shard`.
    pub(crate) async fn front(&self, endpoint: EndpointId, shard: i32) -> Loaded<Front> {
        self.fronts
            .ask((endpoint, shard), |endpoints| async move {
                let statements: Vec<_> =
                    endpoints.iter().flat_map(|(endpoint, shard)| parts(*endpoint, *shard)).collect();
                let numbers = list::numbers(self.state.db.read(), &statements).await?;
                let front = |parts: &[Option<i64>]| match *parts {
                    [begun, again, fresh] => Front { begun, again, fresh },
                    _ => Front::default(),
                };
                Ok(numbers.chunks(3).map(front).collect())
            })
            .await
    }

    /// How an endpoint has been doing lately.
    pub(crate) async fn health(&self, workspace: WorkspaceId, endpoint: EndpointId) -> Loaded<endpoint_health::Model> {
        self.healths
            .ask((workspace, endpoint), |keys| async move {
                let ids: HashSet<_> = keys.iter().map(|(_, endpoint)| *endpoint).collect();
                let rows = endpoint_health::Entity::find()
                    .filter(endpoint_health::Column::EndpointId.is_in(ids))
                    .all(self.state.db.read())
                    .await?;
                let found: HashMap<_, _> = rows.into_iter().map(|row| (row.endpoint_id, row)).collect();
                let health = |(workspace, endpoint)| {
                    let row = found.get(&endpoint).copied();
                    row.unwrap_or_else(|| endpoint_health::Model::unknown(endpoint, workspace))
                };
                Ok(keys.into_iter().map(health).collect())
            })
            .await
    }

    /// Until when an endpoint waits for its rate limit, as far as this node knows.
    pub(crate) async fn limited_until(&self, endpoint: EndpointId) -> Loaded<Option<Timestamp>> {
        self.limits
            .ask(endpoint, |endpoints| async move { Ok(self.state.dispatcher.limited_until(&endpoints).await) })
            .await
    }
}

/// Three places; each is the first entry of a partial index.
fn parts(endpoint: EndpointId, shard: i32) -> [SelectStatement; 3] {
    let of_endpoint = || {
        let disabled = subscription::Entity::find()
            .select_only()
            .column(subscription::Column::Id)
            .filter(subscription::Column::EndpointId.eq(endpoint))
            .filter(subscription::Column::Enabled.eq(false));
        Entity::find()
            .filter(Column::EndpointId.eq(endpoint))
            .filter(Column::SubscriptionId.not_in_subquery(disabled.into_query()))
    };
    let again = || of_endpoint().filter(Expr::cust(r#""delivery"."status" = 'RETRYING'"#));
    let fresh = of_endpoint()
        .filter(Column::Shard.eq(shard))
        .filter(Expr::cust(r#""delivery"."status" = 'PENDING'"#))
        .filter(Column::NextAttemptAt.is_null());
    [first_place(again().filter(Column::RoundAttempts.gt(0))), first_place(again()), first_place(fresh)]
}

fn first_place(select: Select<Entity>) -> SelectStatement {
    let first = select.select_only().column(Column::Seq).order_by_asc(Column::Seq).limit(1).into_query();
    Query::select().expr_as(Expr::cust("seq"), "value").from_subquery(first, "first").take()
}
