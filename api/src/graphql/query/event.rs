//! Events.
#![expect(clippy::too_many_arguments, reason = "the arguments of a connection are those of Relay")]

use angarium_entity::api_key::Scope;
use async_graphql::{Context, ID, Object, Result};

use crate::app;
use crate::graphql::context::CallContext as _;
use crate::graphql::input::{EventOrder, EventWhere};
use crate::graphql::node;
use crate::graphql::object::Event;
use crate::graphql::page::{EventConnection, Listing, PageArgs};

#[derive(Default)]
pub(crate) struct EventQuery;

#[Object]
impl EventQuery {
    /// An event by ID. Needs EVENT_READ.
    async fn event(&self, ctx: &Context<'_>, #[graphql(desc = "ID of the event.")] id: ID) -> Option<Result<Event>> {
        async {
            let (state, caller) = (ctx.app()?, ctx.caller()?);
            let Some(id) = node::parse(&id) else { return Ok(None) };
            Ok(app::event::find(state, caller, id).await?.map(Event))
        }
        .await
        .transpose()
    }

    /// Events of the workspace, newest first. Needs EVENT_READ.
    async fn events(
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
        #[graphql(name = "where", desc = "Keep only events that match every given condition.")] filter: Option<
            EventWhere,
        >,
        #[graphql(desc = "Order of the result.", default_with = "Some(EventOrder::default())")] order_by: Option<
            EventOrder,
        >,
    ) -> Result<EventConnection> {
        ctx.require(Scope::EventRead)?;
        let filter = filter.unwrap_or_default().parse()?;
        let state = ctx.app()?;
        let select = filter.bounded(state.db.backend(), ctx.workspace_id()?, state.now())?;
        let args = PageArgs { first, after, last, before, offset };
        let listing = Listing::new(select, args, EventOrder::or_default(order_by))?;
        Ok(listing.in_parts(filter.parts()).read(ctx).await?.into())
    }
}
