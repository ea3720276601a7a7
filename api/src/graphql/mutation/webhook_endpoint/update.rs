//! `webhookEndpointUpdate`

use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, Result, SimpleObject};

use super::create::{HttpHeaderInput, WebhookSigningInput};
use crate::app::Change;
use crate::app::endpoint::{Patch, SigningDraft, update};
use crate::graphql::context::CallContext as _;
use crate::graphql::mutation::payload;
use crate::graphql::object::WebhookEndpoint;
use crate::graphql::object::enums::{DeliveryOrdering, StrictExhaustion, WebhookBodyFormat};
use crate::graphql::object::user_error::WebhookEndpointUserError;
use crate::graphql::scalar::{Duration, Url};

/// Fields of a webhook endpoint to change.
#[derive(Clone, Debug, InputObject)]
pub(crate) struct WebhookEndpointUpdateInput {
    /// Note for people, at most 4096 characters.
    description: MaybeUndefined<String>,
    /// What the request body looks like; null for ENVELOPE.
    body_format: MaybeUndefined<WebhookBodyFormat>,
    /// Extra request headers, at most 32 and 4 KiB together; replaces the list.
    headers: MaybeUndefined<Vec<HttpHeaderInput>>,
    /// Largest number of requests in flight at once, 1-64; only with ordering NONE. Null, or another `ordering` without
    /// it, for the default of the ordering.
    max_in_flight: MaybeUndefined<i32>,
    /// Display name, 1-256 characters.
    name: MaybeUndefined<String>,
    /// What a STRICT endpoint does when the head of its line fails for good; null for SKIP.
    on_exhausted: MaybeUndefined<StrictExhaustion>,
    /// In which order deliveries go out; null for FIFO.
    ordering: MaybeUndefined<DeliveryOrdering>,
    /// Largest number of requests per second, 1-10000; null for no limit.
    rate_limit_per_second: MaybeUndefined<i32>,
    /// Another signature scheme or secret; replaces both at once, without overlap: use `webhookEndpointSecretRotate` for
    /// another secret of the same scheme that receivers can take up in time. Cannot be null.
    signing: MaybeUndefined<WebhookSigningInput>,
    /// Time allowed for one request, 1-60 seconds; null for `PT15S`.
    timeout: MaybeUndefined<Duration>,
    /// Destination URL; https unless the server allows http. Cannot be null.
    url: MaybeUndefined<Url>,
}

impl From<WebhookEndpointUpdateInput> for Patch {
    fn from(input: WebhookEndpointUpdateInput) -> Self {
        let signing =
            |signing: WebhookSigningInput| SigningDraft { scheme: signing.scheme.into(), secret: signing.secret };
        Self {
            name: input.name.into(),
            description: input.description.into(),
            url: Change::from(input.url).map(|url| url.0),
            headers: Change::from(input.headers).map(|headers| headers.into_iter().map(Into::into).collect()),
            body_format: Change::from(input.body_format).map(Into::into),
            ordering: Change::from(input.ordering).map(Into::into),
            max_in_flight: input.max_in_flight.into(),
            on_exhausted: Change::from(input.on_exhausted).map(Into::into),
            rate_limit: input.rate_limit_per_second.into(),
            timeout: Change::from(input.timeout).map(|timeout| timeout.0),
            signing: Change::from(input.signing).map(signing),
        }
    }
}

/// Result of `webhookEndpointUpdate`.
#[derive(SimpleObject)]
pub(crate) struct WebhookEndpointUpdatePayload {
    /// The signing secret, shown only this once; null unless the update asked for another.
    signing_secret: Option<String>,
    /// The endpoint; null on failure.
    webhook_endpoint: Option<WebhookEndpoint>,
    /// Problems with the input. Empty on success.
    user_errors: Vec<WebhookEndpointUserError>,
}

#[derive(Default)]
pub(crate) struct WebhookEndpointUpdate;

#[Object(name = "WebhookEndpointUpdateMutation")]
impl WebhookEndpointUpdate {
    /// Change a webhook endpoint. Absent fields keep their value; null clears an optional field. What is sent after
    /// this answered is sent with the new settings, retries included. A new signing secret is returned only here. Needs WEBHOOK_SUBSCRIBE.
    async fn webhook_endpoint_update(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "ID of the endpoint.")] id: ID,
        #[graphql(desc = "The fields to change.")] input: WebhookEndpointUpdateInput,
        #[graphql(desc = "Fail with CONFLICT unless the current `version` equals this.")] expected_version: Option<i32>,
    ) -> Option<Result<WebhookEndpointUpdatePayload>> {
        Some(
            async {
                payload(
                    update(ctx.app()?, ctx.caller()?, &id, input.into(), expected_version).await,
                    |updated| WebhookEndpointUpdatePayload {
                        signing_secret: updated.secret.map(|secret| secret.reveal().to_owned()),
                        webhook_endpoint: Some(WebhookEndpoint(updated.endpoint)),
                        user_errors: Vec::new(),
                    },
                    |user_errors| WebhookEndpointUpdatePayload {
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
