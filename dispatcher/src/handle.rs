//! All that the API sees of the dispatcher.

use std::sync::Arc;

use angarium_entity::{DeliveryId, EndpointId, WorkspaceId, change_log, delivery};
use sea_orm::DbErr;
use tokio::sync::broadcast;

use crate::{NewEvent, PublishError, Published};

/// A cheap handle on a running dispatcher.
#[derive(Clone, Debug)]
pub struct DispatcherHandle {}

/// Why a delivery was not retried by hand.
#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    /// No such delivery in the workspace.
    #[error("the delivery does not exist")]
    NotFound,
    /// Pending or in flight.
    #[error("the delivery is {0}; it can be retried once it is RETRYING or final, and not while a request is running")]
    NotRetryable(&'static str),
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] DbErr),
}

impl DispatcherHandle {
    /// Publishes one event. When this answers, the event and its deliveries are committed.
    pub async fn publish(&self, event: NewEvent) -> Result<Published, PublishError> {
        let _ = event;
        unimplemented!()
    }

    /// Publishes events that were given together; those that are taken are committed in one transaction and keep their order.
    pub async fn publish_batch(&self, events: Vec<NewEvent>) -> Vec<Result<Published, PublishError>> {
        let _ = events;
        unimplemented!()
    }

    /// Tries a delivery again now, with a fresh round of its policy.
    pub async fn retry(&self, workspace: WorkspaceId, id: DeliveryId) -> Result<delivery::Model, RetryError> {
        let _ = (workspace, id);
        unimplemented!()
    }

    /// Tells the actor of an endpoint that its settings, or those of its subscriptions, have changed (after the commit).
    pub fn endpoint_changed(&self, endpoint: EndpointId) {
        let _ = endpoint;
    }

    /// Whether each delivery has a request running on this node, in the order of the question.
    pub async fn in_flight(&self, deliveries: &[(EndpointId, DeliveryId)]) -> Vec<bool> {
        vec![false; deliveries.len()]
    }

    /// Rows of the change log as they are committed. A receiver that lags reads the log instead.
    pub fn changes(&self) -> broadcast::Receiver<Arc<change_log::Model>> {
        unimplemented!()
    }

    /// Whether endpoints at this URL may be connected to, as far as the URL itself tells.
    pub fn check_url(&self, url: &url::Url) -> Result<(), crate::ForbiddenAddress> {
        let _ = url;
        Ok(())
    }
}
