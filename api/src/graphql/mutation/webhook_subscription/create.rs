//! `webhookSubscriptionCreate`

use async_graphql::{Context, ID, InputObject, Object, OneofObject, Result, SimpleObject};

use crate::app::subscription::{Created, Draft, EndpointDraft, create};
use crate::graphql::context::CallContext as _;
use crate::graphql::input::RetryPolicyInput;
use crate::graphql::mutation::payload;
use crate::graphql::mutation::webhook_endpoint::create::WebhookEndpointCreateInput;
use crate::graphql::object::WebhookSubscription;
use crate::graphql::object::user_error::WebhookSubscriptionUserError;
use crate::graphql::scalar::{Duration, EventTypePattern, Json, Url};

/// Where to deliver; give exactly one.
#[derive(Clone, Debug, OneofObject)]
pub(crate) enum WebhookEndpointRefInput {
    /// Create an endpoint together with the subscription.
    Create(Box<WebhookEndpointCreateInput>),
    /// Use this endpoint.
    Id(ID),
    /// Create an endpoint for this URL with default settings.
    Url(Url),
}

/// A webhook subscription to create.
#[derive(Clone, Debug, InputObject)]
pub(crate) struct WebhookSubscriptionCreateInput {
    /// Note for people, at most 4096 characters.
    description: Option<String>,
    /// Start switched on.
    #[graphql(default = true)]
    enabled: bool,
    /// Where deliveries go.
    endpoint: WebhookEndpointRefInput,
    /// Names and patterns of event types, 1-100. Names must be in the catalogue.
    event_types: Vec<EventTypePattern>,
    /// CEL expression over `event` (`event.type`, `event.channels`, `event.payload`) that must hold for delivery, at most
    /// 2000 characters, such as `event.payload.total > 100 && "eu" in event.channels`. Absent takes every event. Operators, literals of strings,
    /// numbers, lists and maps, `has`, `all`, `exists`, `exists_one`, `map`, `filter`, `size`, `contains`, `startsWith`,
    /// `endsWith`, `matches` (RE2), `int`, `uint`, `double`, `string` and `dyn`. What fails to evaluate, such as a missing
    /// field, does not match, nor does what takes more than 100,000 steps; see `webhookRequestPreview`.
    filter: Option<String>,
    /// Lifetime counted from now, 1 minute to 10 years (`P3650D`); at most the workspace maximum, which is also the
    /// default. Absent for no end where there is no maximum.
    expires_in: Option<Duration>,
    /// Caller-defined key-value data: a JSON object of at most 4 KiB.
    metadata: Option<Json>,
    /// Display name, 1-256 characters.
    name: Option<String>,
    /// Who owns it, such as a user; at most 256 characters.
    owner_id: Option<String>,
    /// Top-level payload fields to send, 1-100 names of 1-256 characters; absent sends all. A field that a payload has not is left
    /// out; a payload that is no object becomes `{}`. Order and digits stay as published.
    payload_fields: Option<Vec<String>>,
    /// Retry policy; absent inherits from the workspace.
    retry_policy: Option<RetryPolicyInput>,
    /// The service of the event types, at most 128 characters; refused when a type belongs to another.
    service: Option<String>,
    /// Channels whose events match, at most 10 of at most 128 characters; absent matches every event.
    channels: Option<Vec<String>>,
}

impl From<WebhookSubscriptionCreateInput> for Draft {
    fn from(input: WebhookSubscriptionCreateInput) -> Self {
        Self {
            name: input.name,
            description: input.description,
            owner_id: input.owner_id,
            endpoint: match input.endpoint {
                WebhookEndpointRefInput::Create(endpoint) => EndpointDraft::Create(Box::new((*endpoint).into())),
                WebhookEndpointRefInput::Id(id) => EndpointDraft::Id(id.0),
                WebhookEndpointRefInput::Url(url) => EndpointDraft::Url(url.0),
            },
            event_types: input.event_types.into_iter().map(|pattern| pattern.0).collect(),
            channels: input.channels,
            filter: input.filter,
            payload_fields: input.payload_fields,
            metadata: input.metadata.map(|json| json.0),
            retry_policy: input.retry_policy.map(Into::into),
            service: input.service,
            enabled: input.enabled,
            expires_in: input.expires_in.map(|lifetime| lifetime.0),
        }
    }
}

/// Result of `webhookSubscriptionCreate`.
#[derive(SimpleObject)]
pub(crate) struct WebhookSubscriptionCreatePayload {
    /// The signing secret, shown only this once (and to repeats with the idempotency key); null when unsigned or when an
    /// existing endpoint is used.
    signing_secret: Option<String>,
    /// The subscription; null on failure.
    webhook_subscription: Option<WebhookSubscription>,
    /// Problems with the input. Empty on success.
    user_errors: Vec<WebhookSubscriptionUserError>,
}

impl From<Created> for WebhookSubscriptionCreatePayload {
    fn from(created: Created) -> Self {
        Self {
            signing_secret: created.secret.map(|secret| secret.reveal().to_owned()),
            webhook_subscription: Some(WebhookSubscription { row: created.subscription, made_with: created.endpoint }),
            user_errors: Vec::new(),
        }
    }
}

#[derive(Default)]
pub(crate) struct WebhookSubscriptionCreate;

#[Object]
impl WebhookSubscriptionCreate {
    /// Create a webhook subscription. The signing secret is returned only here. Every event whose publish starts after
    /// this answered is matched. Needs WEBHOOK_SUBSCRIBE.
    async fn webhook_subscription_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The subscription to create.")] input: WebhookSubscriptionCreateInput,
        #[graphql(
            desc = "Makes the call safe to repeat for 24 hours, within the workspace; 1-256 characters. A repeat with the same input answers with the same object, and to the same API key with its signing secret; another input is refused as IDEMPOTENCY_MISMATCH. A refused call and a deleted object leave the key free."
        )]
        idempotency_key: Option<String>,
    ) -> Option<Result<WebhookSubscriptionCreatePayload>> {
        Some(
            async {
                payload(
                    create(ctx.app()?, ctx.caller()?, input.into(), idempotency_key).await,
                    WebhookSubscriptionCreatePayload::from,
                    |user_errors| WebhookSubscriptionCreatePayload {
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
