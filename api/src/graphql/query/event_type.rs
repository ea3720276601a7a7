//! The catalogue.
#![expect(clippy::too_many_arguments, reason = "the arguments of a connection are those of Relay")]

use async_graphql::{Context, Object, Result};

use crate::app;
use crate::graphql::context::CallContext as _;
use crate::graphql::input::EventTypeWhere;
use crate::graphql::object::EventType;
use crate::graphql::page::{EventTypeConnection, Listing, Ordering, PageArgs};
use crate::graphql::scalar::EventTypeName;

#[derive(Default)]
pub(crate) struct EventTypeQuery;

#[Object]
impl EventTypeQuery {
    /// An event type by name.
    async fn event_type(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Name of the event type, such as `asset.processing.completed`.")] name: EventTypeName,
    ) -> Option<Result<EventType>> {
        async {
            ctx.caller()?;
            Ok(app::event_type::find(ctx.app()?, &name.0).await?.map(EventType))
        }
        .await
        .transpose()
    }

    /// The catalogue of event types, by name. It is the same for every workspace.
    async fn event_types(
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
        #[graphql(name = "where", desc = "Keep only event types that match every given condition.")] filter: Option<
            EventTypeWhere,
        >,
    ) -> Result<EventTypeConnection> {
        ctx.caller()?;
        let (filter, state) = (filter.unwrap_or_default().parse()?, ctx.app()?);
        filter.refuse_too_broad(state).await?;
        let select = filter.select(state.db.backend())?;
        let args = PageArgs { first, after, last, before, offset };
        Ok(Listing::new(select, args, Ordering { sort: (), descending: false })?.read(ctx).await?.into())
    }
}
