//! The query root.

use async_graphql::MergedObject;

mod delivery;
mod event;
mod event_type;
mod replay;
mod root;
mod webhook_endpoint;
mod webhook_request_preview;
mod webhook_subscription;
mod workspace;

/// The query root: read-only, side-effect free.
#[derive(MergedObject, Default)]
pub struct Query(
    root::RootQuery,
    workspace::WorkspaceQuery,
    webhook_subscription::WebhookSubscriptionQuery,
    webhook_request_preview::WebhookRequestPreviewQuery,
    webhook_endpoint::WebhookEndpointQuery,
    event_type::EventTypeQuery,
    event::EventQuery,
    delivery::DeliveryQuery,
    replay::ReplayQuery,
);
