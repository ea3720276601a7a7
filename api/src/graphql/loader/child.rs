//! Edges that lead to many objects, and what is asked of each delivery.

use angarium_entity::{DeliveryId, EndpointId, api_key, attempt, delivery, subscription};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use super::{Loaded, Loaders};
use crate::app::list::{self, Request, Slice, Window};

impl Loaders {
    /// A page of deliveries of one parent.
    pub(crate) async fn delivery_page(&self, request: Request<delivery::Entity>) -> Loaded<Slice<delivery::Model>> {
        self.page(&self.delivery_pages, request).await
    }

    /// A page of the attempts of a delivery.
    pub(crate) async fn attempt_page(&self, request: Request<attempt::Entity>) -> Loaded<Slice<attempt::Model>> {
        self.page(&self.attempt_pages, request).await
    }

    /// A page of the subscriptions of an endpoint.
    pub(crate) async fn subscription_page(
        &self,
        request: Request<subscription::Entity>,
    ) -> Loaded<Slice<subscription::Model>> {
        self.page(&self.subscription_pages, request).await
    }

    /// A page of the keys of a workspace.
    pub(crate) async fn api_key_page(&self, request: Request<api_key::Entity>) -> Loaded<Slice<api_key::Model>> {
        self.page(&self.api_key_pages, request).await
    }

    /// The latest attempt of a delivery.
    pub(crate) async fn last_attempt(&self, delivery: DeliveryId) -> Loaded<Option<attempt::Model>> {
        self.last_attempts
            .ask(delivery, |deliveries| async move {
                let latest = |delivery| Request {
                    select: attempt::Entity::find().filter(attempt::Column::DeliveryId.eq(delivery)),
                    parts: Vec::new(),
                    window: Window::first(1, (), true),
                };
                let requests: Vec<_> = deliveries.into_iter().map(latest).collect();
                let found = list::slices(self.state.db.read(), &requests).await?;
                Ok(found.into_iter().map(|slice| slice.rows.into_iter().next()).collect())
            })
            .await
    }

    /// Whether a request of a delivery is running.
    pub(crate) async fn in_flight(&self, endpoint: EndpointId, delivery: DeliveryId) -> Loaded<bool> {
        self.in_flight
            .ask((endpoint, delivery), |keys| async move { Ok(self.state.dispatcher.in_flight(&keys).await) })
            .await
    }
}
