//! `webhookEndpointSecretRotate`

use async_graphql::{Context, ID, Object, Result, SimpleObject};

use crate::app::endpoint::rotate;
use crate::graphql::context::CallContext as _;
use crate::graphql::mutation::payload;
use crate::graphql::object::WebhookEndpoint;
use crate::graphql::object::user_error::WebhookEndpointUserError;
use crate::graphql::scalar::Duration;

/// Result of `webhookEndpointSecretRotate`.
#[derive(SimpleObject)]
pub(crate) struct WebhookEndpointSecretRotatePayload {
    /// The signing secret, shown only this once; null on failure.
    signing_secret: Option<String>,
    /// The endpoint; null on failure.
    webhook_endpoint: Option<WebhookEndpoint>,
    /// Problems with the input. Empty on success.
    user_errors: Vec<WebhookEndpointUserError>,
}

#[derive(Default)]
pub(crate) struct WebhookEndpointSecretRotate;

#[Object]
impl WebhookEndpointSecretRotate {
    /// Replace the signing secret, not the scheme. The new secret is returned only here; the old one keeps signing during
    /// the overlap, so that a request carries a signature of each. Requests of the schemes GITHUB and SHOPIFY have room
    /// for one, so the old secret signs alone until the overlap ends, and then the new one. At most 8 secrets are valid at
    /// once. Needs WEBHOOK_SUBSCRIBE.
    async fn webhook_endpoint_secret_rotate(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "ID of the endpoint.")] id: ID,
        #[graphql(
            desc = "Secret to use, 12 to 256 bytes in the form of the scheme, see WebhookSigningInput. Generated when absent; with TWO_SECRET the caller's half then stays and the server's is another.",
            secret
        )]
        secret: Option<String>,
        #[graphql(
            desc = "How long the old secret stays valid, at most 7 days; zero revokes it and every older one at once.",
            default_with = "Duration(\"PT24H\".to_owned())"
        )]
        overlap: Duration,
    ) -> Option<Result<WebhookEndpointSecretRotatePayload>> {
        Some(
            async {
                payload(
                    rotate(ctx.app()?, ctx.caller()?, &id, secret, &overlap.0).await,
                    |rotated| WebhookEndpointSecretRotatePayload {
                        signing_secret: rotated.secret.map(|secret| secret.reveal().to_owned()),
                        webhook_endpoint: Some(WebhookEndpoint(rotated.endpoint)),
                        user_errors: Vec::new(),
                    },
                    |user_errors| WebhookEndpointSecretRotatePayload {
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
