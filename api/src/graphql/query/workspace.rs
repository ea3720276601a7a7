//! Workspaces.

use async_graphql::{Context, Object, Result};

use crate::app;
use crate::graphql::context::CallContext as _;
use crate::graphql::input::WorkspaceRefInput;
use crate::graphql::object::Workspace;
use crate::graphql::page::{Listing, Ordering, PageArgs, WorkspaceConnection};

#[derive(Default)]
pub(crate) struct WorkspaceQuery;

#[Object]
impl WorkspaceQuery {
    /// A workspace by ID or by the operator's own identifier.
    async fn workspace(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "ref", desc = "Which workspace.")] named: WorkspaceRefInput,
    ) -> Option<Result<Workspace>> {
        async { Ok(app::workspace::find(ctx.app()?, ctx.caller()?, &named.into()).await?.map(Workspace)) }
            .await
            .transpose()
    }

    /// Workspaces the caller can see, oldest first.
    async fn workspaces(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Return the first _n_ entries (1-100, default 20 when `last` is absent).")] first: Option<i32>,
        #[graphql(desc = "Return entries after this cursor.")] after: Option<String>,
        #[graphql(desc = "Return the last _n_ entries (1-100).")] last: Option<i32>,
        #[graphql(desc = "Return entries before this cursor.")] before: Option<String>,
    ) -> Result<WorkspaceConnection> {
        let select = app::workspace::list(ctx.caller()?)?;
        let args = PageArgs { first, after, last, before, offset: None };
        let order = Ordering { sort: (), descending: false };
        Ok(Listing::new(select, args, order)?.read(ctx).await?.into())
    }
}
