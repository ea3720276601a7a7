//! Any object by its ID; the caller; the server.
#![expect(clippy::unused_async, reason = "a resolver is async, also when it has nothing to wait for")]

use async_graphql::{Context, ID, Object, Result};

use crate::app::AppError;
use crate::app::filter::LIST_MAX;
use crate::graphql::context::CallContext as _;
use crate::graphql::node::{self, Node};
use crate::graphql::object::{ServerInfo, Viewer};

#[derive(Default)]
pub(crate) struct RootQuery;

#[Object]
impl RootQuery {
    /// Fetch any object by its global ID.
    async fn node(&self, ctx: &Context<'_>, #[graphql(desc = "Global ID.")] id: ID) -> Option<Result<Node>> {
        node::find(ctx, &id).await.transpose()
    }

    /// Fetch several objects by global ID, in the given order; unknown IDs give null. At most 100.
    async fn nodes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global IDs.")] ids: Vec<ID>,
    ) -> Result<Vec<Option<Result<Node>>>> {
        ctx.caller()?;
        if ids.len() > LIST_MAX {
            return Err(AppError::BadInput(format!("`ids` takes at most {LIST_MAX} entries")).into());
        }
        let found = futures_util::future::join_all(ids.iter().map(|id| node::find(ctx, id))).await;
        Ok(found.into_iter().map(Result::transpose).collect())
    }

    /// The caller: its API key, workspace and permissions.
    async fn viewer(&self, ctx: &Context<'_>) -> Result<Viewer> {
        Ok(Viewer(ctx.caller()?.clone()))
    }

    /// Server version and the limits that apply to the caller. Needs no key.
    async fn server_info(&self, ctx: &Context<'_>) -> Result<ServerInfo> {
        Ok(ServerInfo(ctx.app()?.limits.clone()))
    }
}
