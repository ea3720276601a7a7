//! The mutation root. A mutation's input, payload and resolver share a file.

use async_graphql::{MergedObject, Result};

use crate::app::{Problem, Refusal};

mod access_token;
mod api_key;
mod delivery;
mod event;
mod event_type;
mod replay;
mod webhook_endpoint;
mod webhook_subscription;
mod workspace;

/// The mutation root. Every field is nullable: null means the request failed for a reason given in the top-level
/// `errors`.
#[derive(MergedObject, Default)]
pub struct Mutation(
    workspace::create::WorkspaceCreate,
    workspace::update::WorkspaceUpdate,
    access_token::create::AccessTokenCreate,
    workspace::delete::WorkspaceDelete,
    api_key::create::ApiKeyCreate,
    api_key::revoke::ApiKeyRevoke,
    event_type::create::EventTypeCreate,
    event_type::update::EventTypeUpdate,
    event_type::archive::EventTypeArchive,
    webhook_endpoint::create::WebhookEndpointCreate,
    webhook_endpoint::update::WebhookEndpointUpdate,
    webhook_endpoint::delete::WebhookEndpointDelete,
    webhook_endpoint::secret_rotate::WebhookEndpointSecretRotate,
    webhook_endpoint::backlog_discard::WebhookEndpointBacklogDiscard,
    webhook_endpoint::pause::WebhookEndpointPause,
    webhook_endpoint::resume::WebhookEndpointResume,
    webhook_subscription::create::WebhookSubscriptionCreate,
    webhook_subscription::update::WebhookSubscriptionUpdate,
    webhook_subscription::delete::WebhookSubscriptionDelete,
    webhook_subscription::enable::WebhookSubscriptionsEnable,
    webhook_subscription::disable::WebhookSubscriptionsDisable,
    webhook_subscription::renew::WebhookSubscriptionRenew,
    webhook_subscription::confirm::WebhookSubscriptionConfirm,
    webhook_subscription::confirmation_resend::WebhookSubscriptionConfirmationResend,
    webhook_subscription::test_event::WebhookSubscriptionTest,
    event::publish::EventPublish,
    event::publish_batch::EventPublishBatch,
    event::cancel::EventCancel,
    event::delete::EventDelete,
    delivery::retry::DeliveryRetry,
    delivery::cancel::DeliveryCancel,
    delivery::delete::DeliveryDelete,
    replay::create::ReplayCreate,
    replay::cancel::ReplayCancel,
);

/// Makes a payload of what a use case answered: of its result, or of what a person can put right.
fn payload<T, C, E: From<Problem<C>>, P>(
    answer: Result<T, Refusal<C>>,
    done: impl FnOnce(T) -> P,
    refused: impl FnOnce(Vec<E>) -> P,
) -> Result<P> {
    match answer {
        Ok(result) => Ok(done(result)),
        Err(Refusal::Problems(problems)) => Ok(refused(problems.into_iter().map(E::from).collect())),
        Err(Refusal::Error(error)) => Err(error.into()),
    }
}
