//! `webhookEndpointCreate`

use async_graphql::{Context, InputObject, Object, Result, SimpleObject};

use crate::app::endpoint::{Created, Draft, HeaderDraft, create};
use crate::graphql::context::CallContext as _;
use crate::graphql::mutation::payload;
use crate::graphql::object::WebhookEndpoint;
use crate::graphql::object::enums::{DeliveryOrdering, StrictExhaustion, WebhookBodyFormat, WebhookSignatureScheme};
use crate::graphql::object::user_error::WebhookEndpointUserError;
use crate::graphql::scalar::{Duration, Url};

/// A request header to send.
#[derive(Clone, Debug, InputObject)]
pub(crate) struct HttpHeaderInput {
    /// Header name; each at most once, and none that the server sets.
    name: String,
    /// Mask the value whenever it is read, for everyone, also where a receiver sends it back, and encrypt it at rest. A
    /// secret value that is kept stays secret.
    #[graphql(default = false)]
    secret: bool,
    /// Header value: visible ASCII characters, spaces and tabs. Null keeps the stored value of that name in an update.
    #[graphql(secret)]
    value: Option<String>,
}

impl From<HttpHeaderInput> for HeaderDraft {
    fn from(input: HttpHeaderInput) -> Self {
        Self { name: input.name, value: input.value, secret: input.secret }
    }
}

/// How to sign requests.
#[derive(Clone, Debug, InputObject)]
pub(crate) struct WebhookSigningInput {
    /// Signature scheme.
    #[graphql(default_with = "WebhookSignatureScheme::StandardWebhooks")]
    pub(crate) scheme: WebhookSignatureScheme,
    /// Secret to use, 12 to 256 bytes, generated when absent. STANDARD_WEBHOOKS takes `whsec_` and base64, or else the
    /// bytes as they are, and so do GITHUB, SHOPIFY and STRIPE with any prefix; ED25519 takes `whsk_` and the base64 of
    /// its 32-byte seed followed by the public key; TWO_SECRET needs one, and the server adds its own.
    #[graphql(secret)]
    pub(crate) secret: Option<String>,
}

/// A webhook endpoint to create.
#[derive(Clone, Debug, InputObject)]
pub(crate) struct WebhookEndpointCreateInput {
    /// Note for people, at most 4096 characters.
    description: Option<String>,
    /// What the request body looks like.
    #[graphql(default_with = "WebhookBodyFormat::Envelope")]
    body_format: WebhookBodyFormat,
    /// Extra request headers, at most 32 and 4 KiB together.
    #[graphql(default)]
    headers: Vec<HttpHeaderInput>,
    /// Largest number of requests in flight at once, 1-64, default 16; only with ordering NONE.
    max_in_flight: Option<i32>,
    /// Display name, 1-256 characters.
    name: Option<String>,
    /// What a STRICT endpoint does when the head of its line fails for good.
    #[graphql(default_with = "StrictExhaustion::Skip")]
    on_exhausted: StrictExhaustion,
    /// In which order deliveries go out.
    #[graphql(default_with = "DeliveryOrdering::Fifo")]
    ordering: DeliveryOrdering,
    /// Largest number of requests per second, 1-10000; no limit when absent. No second ever sees more.
    rate_limit_per_second: Option<i32>,
    /// Signing; absent uses STANDARD_WEBHOOKS with a generated secret.
    signing: Option<WebhookSigningInput>,
    /// Time allowed for one request, 1-60 seconds.
    #[graphql(default_with = "Duration(\"PT15S\".to_owned())")]
    timeout: Duration,
    /// Destination URL; https unless the server allows http.
    url: Url,
}

impl From<WebhookEndpointCreateInput> for Draft {
    fn from(input: WebhookEndpointCreateInput) -> Self {
        let (scheme, secret) = match input.signing {
            Some(signing) => (signing.scheme, signing.secret),
            None => (WebhookSignatureScheme::StandardWebhooks, None),
        };
        Self {
            name: input.name,
            description: input.description,
            url: input.url.0,
            headers: input.headers.into_iter().map(Into::into).collect(),
            body_format: input.body_format.into(),
            ordering: input.ordering.into(),
            max_in_flight: input.max_in_flight,
            on_exhausted: input.on_exhausted.into(),
            rate_limit: input.rate_limit_per_second,
            timeout: Some(input.timeout.0),
            scheme: scheme.into(),
            secret,
        }
    }
}

/// Result of `webhookEndpointCreate`.
#[derive(SimpleObject)]
pub(crate) struct WebhookEndpointCreatePayload {
    /// The signing secret, shown only this once (and to repeats with the idempotency key); null when unsigned.
    signing_secret: Option<String>,
    /// The endpoint; null on failure.
    webhook_endpoint: Option<WebhookEndpoint>,
    /// Problems with the input. Empty on success.
    user_errors: Vec<WebhookEndpointUserError>,
}

impl From<Created> for WebhookEndpointCreatePayload {
    fn from(created: Created) -> Self {
        Self {
            signing_secret: created.secret.map(|secret| secret.reveal().to_owned()),
            webhook_endpoint: Some(WebhookEndpoint(created.endpoint)),
            user_errors: Vec::new(),
        }
    }
}

#[derive(Default)]
pub(crate) struct WebhookEndpointCreate;

#[Object]
impl WebhookEndpointCreate {
    /// Create a webhook endpoint. The signing secret is returned only here. Needs WEBHOOK_SUBSCRIBE.
    async fn webhook_endpoint_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The endpoint to create.")] input: WebhookEndpointCreateInput,
        #[graphql(
            desc = "Makes the call safe to repeat for 24 hours, within the workspace; 1-256 characters. A repeat with the same input answers with the same object, and to the same API key with its signing secret; another input is refused as IDEMPOTENCY_MISMATCH. A refused call and a deleted object leave the key free."
        )]
        idempotency_key: Option<String>,
    ) -> Option<Result<WebhookEndpointCreatePayload>> {
        Some(
            async {
                payload(
                    create(ctx.app()?, ctx.caller()?, input.into(), idempotency_key).await,
                    WebhookEndpointCreatePayload::from,
                    |user_errors| WebhookEndpointCreatePayload {
                        signing_secret: None,
                        webhook_endpoint: None,
                        user_errors,
                    },
                )
            }
            .await,
        )
    }
}
