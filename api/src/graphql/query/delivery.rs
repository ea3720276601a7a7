//! Deliveries.
#![expect(clippy::too_many_arguments, reason = "the arguments of a connection are those of Relay")]

use angarium_entity::api_key::Scope;
use async_graphql::{Context, ID, Object, Result};

use crate::app;
use crate::graphql::context::CallContext as _;
use crate::graphql::input::{DeliveryOrder, DeliveryWhere};
use crate::graphql::node;
use crate::graphql::object::Delivery;
use crate::graphql::page::{DeliveryConnection, Listing, PageArgs};

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
}
