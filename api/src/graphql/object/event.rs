//! What happened.

use angarium_entity::api_key::Scope;
use angarium_entity::event;
use async_graphql::{Context, ID, Object, Result};

use super::EventType;
use crate::app::AppError;
use crate::app::delivery::{Parent, Sort};
use crate::graphql::context::CallContext as _;
use crate::graphql::input::DeliveryWhere;
use crate::graphql::node;
use crate::graphql::page::{DeliveryConnection, Listing, Ordering, PageArgs};
use crate::graphql::scalar::{DateTime, Json, Uuid};

/// A row.
pub(crate) struct Event(pub(crate) event::Model);

impl From<event::Model> for Event {
    fn from(row: event::Model) -> Self {
        Self(row)
    }
}

/// Something that happened, as published by a producer.
#[Object]
impl Event {
    /// When the event was accepted.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// Deliveries of the event, oldest first; null without DELIVERY_READ.
    async fn deliveries(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Return the first _n_ entries (1-100, default 20 when `last` is absent).")] first: Option<i32>,
        #[graphql(desc = "Return entries after this cursor.")] after: Option<String>,
        #[graphql(desc = "Return the last _n_ entries (1-100).")] last: Option<i32>,
        #[graphql(desc = "Return entries before this cursor.")] before: Option<String>,
        #[graphql(name = "where", desc = "Keep only deliveries that match every given condition.")] filter: Option<
            DeliveryWhere,
        >,
    ) -> Option<Result<DeliveryConnection>> {
        let args = PageArgs { first, after, last, before, offset: None };
        Some(self.delivery_page(ctx, filter.unwrap_or_default(), args).await)
    }

    /// Kind of the event.
    async fn event_type(&self, ctx: &Context<'_>) -> Result<EventType> {
        let name = self.0.event_type.clone();
        let found = ctx.loaders()?.event_type(name).await?;
        let missing = || AppError::Inconsistent(format!("{} has a type that is not in the catalogue", self.0.id));
        Ok(EventType(found.ok_or_else(missing)?))
    }

    /// Global ID; also sent as the `webhook-id` header.
    pub(crate) async fn id(&self) -> ID {
        node::id(&self.0.id)
    }

    /// Producer-chosen key that makes publishing idempotent.
    async fn idempotency_key(&self) -> Option<&str> {
        self.0.idempotency_key.as_deref()
    }

    /// When the event happened, according to the producer.
    async fn occurred_at(&self) -> DateTime {
        self.0.occurred_at.into()
    }

    /// The payload as published: key order and every digit are kept. What would confirm a subscription is masked
    /// (`***`), here and wherever a body is shown: only the endpoint is sent it.
    async fn payload(&self) -> Option<Json> {
        Some(Json(self.0.payload.clone()))
    }

    /// Size of the payload in bytes.
    async fn payload_bytes(&self) -> i32 {
        i32::try_from(self.0.payload.len()).unwrap_or(i32::MAX)
    }

    /// Channels the event belongs to, at most 5; empty for none.
    async fn channels(&self) -> &[String] {
        &self.0.channels.0
    }

    /// Whether the event was sent as a test.
    async fn test(&self) -> bool {
        self.0.test
    }

    /// The same identity as a plain UUID.
    async fn uuid(&self) -> Uuid {
        self.0.id.uuid().into()
    }
}

impl Event {
    async fn delivery_page(
        &self,
        ctx: &Context<'_>,
        filter: DeliveryWhere,
        args: PageArgs,
    ) -> Result<DeliveryConnection> {
        ctx.require(Scope::DeliveryRead)?;
        let filter = filter.parse()?.within(Parent::Event(self.0.id));
        let state = ctx.app()?;
        let select = filter.select(state.db.backend(), self.0.workspace_id, Sort::CreatedAt, state.now())?;
        let listing = Listing::new(select, args, Ordering { sort: Sort::CreatedAt, descending: false })?;
        let slice = ctx.loaders()?.delivery_page(listing.request.clone()).await?;
        Ok(listing.dress(slice).into())
    }
}
