//! Webhook subscriptions.
#![expect(clippy::too_many_arguments, reason = "the arguments of a connection are those of Relay")]

use angarium_entity::api_key::Scope;
use async_graphql::{Context, ID, Object, Result};

use crate::app;
use crate::graphql::context::CallContext as _;
use crate::graphql::input::{WebhookSubscriptionOrder, WebhookSubscriptionWhere};
use crate::graphql::node;
use crate::graphql::object::WebhookSubscription;
use crate::graphql::page::{Listing, PageArgs, WebhookSubscriptionConnection};

#[derive(Default)]
pub(crate) struct WebhookSubscriptionQuery;

#[Object]
impl WebhookSubscriptionQuery {
    /// A webhook subscription by ID. Needs WEBHOOK_READ.
    async fn webhook_subscription(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "ID of the subscription.")] id: ID,
    ) -> Option<Result<WebhookSubscription>> {
        async {
            let (state, caller) = (ctx.app()?, ctx.caller()?);
            let Some(id) = node::parse(&id) else { return Ok(None) };
            Ok(app::subscription::find(state, caller, id).await?.map(WebhookSubscription::from))
        }
        .await
        .transpose()
    }

    /// Webhook subscriptions of the workspace. Needs WEBHOOK_READ.
    async fn webhook_subscriptions(
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
        #[graphql(name = "where", desc = "Keep only subscriptions that match every given condition.")] filter: Option<
            WebhookSubscriptionWhere,
        >,
        #[graphql(desc = "Order of the result.", default_with = "Some(WebhookSubscriptionOrder::default())")]
        order_by: Option<WebhookSubscriptionOrder>,
    ) -> Result<WebhookSubscriptionConnection> {
        ctx.require(Scope::WebhookRead)?;
        let filter = filter.unwrap_or_default().parse()?;
        let (order, workspace) = (WebhookSubscriptionOrder::or_default(order_by), ctx.workspace_id()?);
        filter.refuse_too_broad(ctx.app()?, workspace, order.sort).await?;
        let select = filter.select(ctx.app()?, workspace)?;
        let args = PageArgs { first, after, last, before, offset };
        Ok(Listing::new(select, args, order)?.read(ctx).await?.into())
    }
}
