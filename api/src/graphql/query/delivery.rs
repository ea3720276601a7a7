//! Deliveries.
#![expect(clippy::too_many_arguments, reason = "the arguments of a connection are those of Relay")]

use angarium_entity::api_key::Scope;
use async_graphql::{Context, ID, Object, Result};

use crate::app::{self, AppError, duration};
use crate::graphql::context::CallContext as _;
use crate::graphql::input::{DeliveryOrder, DeliveryWhere};
use crate::graphql::node;
use crate::graphql::object::{Delivery, DeliveryStats};
use crate::graphql::page::{DeliveryConnection, Listing, PageArgs};
use crate::graphql::scalar::{DateTime, Duration};

#[derive(Default)]
pub(crate) struct DeliveryQuery;

#[Object]
impl DeliveryQuery {
    /// A delivery by ID. Needs DELIVERY_READ.
    async fn delivery(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "ID of the delivery.")] id: ID,
    ) -> Option<Result<Delivery>> {
        async {
            let (state, caller) = (ctx.app()?, ctx.caller()?);
            let Some(id) = node::parse(&id) else { return Ok(None) };
            Ok(app::delivery::find(state, caller, id).await?.map(Delivery))
        }
        .await
        .transpose()
    }

    /// Deliveries of the workspace, newest first. Needs DELIVERY_READ.
    async fn deliveries(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Return the first _n_ entries (1-100, default 20 when `last` is absent).")] first: Option<i32>,
        #[graphql(desc = "Return entries after this cursor.")] after: Option<String>,
        #[graphql(desc = "Return the last _n_ entries (1-100).")] last: Option<i32>,
        #[graphql(desc = "Return entries before this cursor.")] before: Option<String>,
        #[graphql(
            desc = "Skip this many entries (0-10000), for page-number interfaces. Cannot be combined with `after`, `last` or `before`."
        )]
        offset: Option<i32>,
        #[graphql(name = "where", desc = "Keep only deliveries that match every given condition.")] filter: Option<
            DeliveryWhere,
        >,
        #[graphql(desc = "Order of the result.", default_with = "Some(DeliveryOrder::default())")] order_by: Option<
            DeliveryOrder,
        >,
    ) -> Result<DeliveryConnection> {
        ctx.require(Scope::DeliveryRead)?;
        let order = DeliveryOrder::or_default(order_by);
        let filter = filter.unwrap_or_default().parse()?;
        let state = ctx.app()?;
        let select = filter.select(state.db.backend(), ctx.workspace_id()?, order.sort, state.now())?;
        let args = PageArgs { first, after, last, before, offset };
        Ok(Listing::new(select, args, order)?.in_parts(filter.parts()).read(ctx).await?.into())
    }

    /// Counts and latencies of deliveries over a time range. Needs DELIVERY_READ. A range in which more than 1,000,000
    /// became final is refused with FILTER_TOO_BROAD.
    async fn delivery_stats(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Restrict to this endpoint.")] endpoint_id: Option<ID>,
        #[graphql(desc = "Restrict to this subscription.")] subscription_id: Option<ID>,
        #[graphql(desc = "Start of the range (inclusive), counted by when deliveries became final.")] from: DateTime,
        #[graphql(desc = "End of the range (exclusive), at most 31 days later.")] to: DateTime,
        #[graphql(desc = "Width of each bucket, at least a minute; at most 1000 buckets.")] interval: Option<Duration>,
    ) -> Result<DeliveryStats> {
        let read = |interval: Duration| {
            duration::parse(&interval.0).map_err(|error| AppError::BadInput(format!("`interval` {error}")))
        };
        let question = app::delivery::Question {
            endpoint: endpoint_id.as_ref().map(node::parse),
            subscription: subscription_id.as_ref().map(node::parse),
            from: from.in_filter()?,
            to: to.in_filter()?,
            interval: interval.map(read).transpose()?,
        };
        Ok(app::delivery::stats(ctx.app()?, ctx.caller()?, &question).await?.into())
    }
}
