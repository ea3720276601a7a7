//! Replays.

use async_graphql::{Context, Object, Result};

use crate::app;
use crate::graphql::context::CallContext as _;
use crate::graphql::page::{Listing, Ordering, PageArgs, ReplayConnection};

#[derive(Default)]
pub(crate) struct ReplayQuery;

#[Object]
impl ReplayQuery {
    /// Replays of the workspace, newest first. Needs DELIVERY_READ.
    async fn replays(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Return the first _n_ entries (1-100, default 20 when `last` is absent).")] first: Option<i32>,
        #[graphql(desc = "Return entries after this cursor.")] after: Option<String>,
        #[graphql(desc = "Return the last _n_ entries (1-100).")] last: Option<i32>,
        #[graphql(desc = "Return entries before this cursor.")] before: Option<String>,
    ) -> Result<ReplayConnection> {
        let select = app::replay::list(ctx.caller()?)?;
        let args = PageArgs { first, after, last, before, offset: None };
        let order = Ordering { sort: (), descending: true };
        Ok(Listing::new(select, args, order)?.read(ctx).await?.into())
    }
}
