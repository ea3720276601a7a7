//! `webhookSubscriptionUpdate`

use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, OneofObject, Result, SimpleObject};

use crate::app::Change;
use crate::app::subscription::{EndpointChange, Patch, update};
use crate::graphql::context::CallContext as _;
use crate::graphql::input::RetryPolicyInput;
use crate::graphql::mutation::payload;
use crate::graphql::mutation::webhook_endpoint::update::WebhookEndpointUpdateInput;
use crate::graphql::object::WebhookSubscription;
use crate::graphql::object::user_error::WebhookSubscriptionUserError;
use crate::graphql::scalar::{EventTypePattern, Json};

/// What becomes of the endpoint; give exactly one.
#[derive(Clone, Debug, OneofObject)]
pub(crate) enum WebhookSubscriptionEndpointUpdateInput {
    /// Deliver to this endpoint from now on; open deliveries stay with theirs.
    Id(ID),
    /// Change the present endpoint, in the same transaction.
    Update(Box<WebhookEndpointUpdateInput>),
}

/// Fields of a webhook subscription to change.
#[derive(Clone, Debug, InputObject)]
pub(crate) struct WebhookSubscriptionUpdateInput {
    /// Note for people, at most 4096 characters.
    description: MaybeUndefined<String>,
    /// Switch on or off; cannot be null.
    enabled: MaybeUndefined<bool>,
    /// Another endpoint, or changes to the present one; cannot be null.
    endpoint: MaybeUndefined<WebhookSubscriptionEndpointUpdateInput>,
    /// Names and patterns of event types, 1-100; replaces the list and cannot be null. Names must be in the catalogue.
    event_types: MaybeUndefined<Vec<EventTypePattern>>,
    /// CEL expression over `event` (`event.type`, `event.channels`, `event.payload`) that must hold for delivery, at most
    /// 2000 characters, such as `event.payload.total > 100 && "eu" in event.channels`. Null takes every event. Operators, literals of strings,
    /// numbers, lists and maps, `has`, `all`, `exists`, `exists_one`, `map`, `filter`, `size`, `contains`, `startsWith`,
    /// `endsWith`, `matches` (RE2), `int`, `uint`, `double`, `string` and `dyn`. What fails to evaluate, such as a missing
    /// field, does not match, nor does what takes more than 100,000 steps; see `webhookRequestPreview`.
    filter: MaybeUndefined<String>,
    /// Caller-defined key-value data: a JSON object of at most 4 KiB; replaces the value.
    metadata: MaybeUndefined<Json>,
    /// Display name, 1-256 characters.
    name: MaybeUndefined<String>,
    /// Who owns it, such as a user; at most 256 characters.
    owner_id: MaybeUndefined<String>,
    /// Top-level payload fields to send, 1-100 names of 1-256 characters; replaces the list; null sends all. A field that a payload has not is left
    /// out; a payload that is no object becomes `{}`. Order and digits stay as published.
    payload_fields: MaybeUndefined<Vec<String>>,
    /// Retry policy; null inherits from the workspace.
    retry_policy: MaybeUndefined<RetryPolicyInput>,
    /// Channels whose events match, at most 10 of at most 128 characters; replaces the list; null matches every event.
    channels: MaybeUndefined<Vec<String>>,
}

impl From<WebhookSubscriptionUpdateInput> for Patch {
    fn from(input: WebhookSubscriptionUpdateInput) -> Self {
        let endpoint = |endpoint| match endpoint {
            WebhookSubscriptionEndpointUpdateInput::Id(id) => EndpointChange::Id(id.0),
            WebhookSubscriptionEndpointUpdateInput::Update(input) => EndpointChange::Update(Box::new((*input).into())),
        };
        let texts = |patterns: Vec<EventTypePattern>| patterns.into_iter().map(|pattern| pattern.0).collect();
        Self {
            name: input.name.into(),
            description: input.description.into(),
            owner_id: input.owner_id.into(),
            enabled: input.enabled.into(),
            endpoint: Change::from(input.endpoint).map(endpoint),
            event_types: Change::from(input.event_types).map(texts),
            channels: input.channels.into(),
            filter: input.filter.into(),
            payload_fields: input.payload_fields.into(),
            metadata: Change::from(input.metadata).map(|json| json.0),
            retry_policy: Change::from(input.retry_policy).map(Into::into),
        }
    }
}

/// Result of `webhookSubscriptionUpdate`.
#[derive(SimpleObject)]
pub(crate) struct WebhookSubscriptionUpdatePayload {
    /// The signing secret, shown only this once; null unless the update asked for another.
    signing_secret: Option<String>,
    /// The subscription; null on failure.
    webhook_subscription: Option<WebhookSubscription>,
    /// Problems with the input. Empty on success.
    user_errors: Vec<WebhookSubscriptionUserError>,
}

#[derive(Default)]
pub(crate) struct WebhookSubscriptionUpdate;

#[Object(name = "WebhookSubscriptionUpdateMutation")]
impl WebhookSubscriptionUpdate {
    /// Change a webhook subscription. Absent fields keep their value; null clears an optional field. Every event whose
    /// publish starts after this answered is matched by the new settings. Needs WEBHOOK_SUBSCRIBE.
    async fn webhook_subscription_update(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "ID of the subscription.")] id: ID,
        #[graphql(desc = "The fields to change.")] input: WebhookSubscriptionUpdateInput,
        #[graphql(desc = "Fail with CONFLICT unless the current `version` equals this.")] expected_version: Option<i32>,
    ) -> Option<Result<WebhookSubscriptionUpdatePayload>> {
        Some(
            async {
                payload(
                    update(ctx.app()?, ctx.caller()?, &id, input.into(), expected_version).await,
                    |updated| WebhookSubscriptionUpdatePayload {
                        signing_secret: updated.secret.map(|secret| secret.reveal().to_owned()),
                        webhook_subscription: Some(updated.subscription.into()),
                        user_errors: Vec::new(),
                    },
                    |user_errors| WebhookSubscriptionUpdatePayload {
                        signing_secret: None,
                        webhook_subscription: None,
                        user_errors,
                    },
                )
            }
            .await,
        )
    }
}
