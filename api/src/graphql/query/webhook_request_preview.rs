//! `webhookRequestPreview`

use async_graphql::{Context, ID, Object, Result};

use crate::app::subscription::{PreviewDraft, preview};
use crate::graphql::context::CallContext as _;
use crate::graphql::node;
use crate::graphql::object::WebhookRequestPreview;
use crate::graphql::scalar::{EventTypeName, Json};

#[derive(Default)]
pub(crate) struct WebhookRequestPreviewQuery;

#[Object]
impl WebhookRequestPreviewQuery {
    /// The exact HTTP request that a subscription would be sent for a payload, without sending it: its event has no
    /// channels, and an ID that is not stored. Its signature is a placeholder unless the caller has WEBHOOK_SECRET_READ.
    /// Needs WEBHOOK_READ.
    async fn webhook_request_preview(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "ID of the subscription.")] webhook_subscription_id: ID,
        #[graphql(
            desc = "Event type to render; needed when the subscription has only patterns, or else the first that it names."
        )]
        event_type: Option<EventTypeName>,
        #[graphql(
            desc = "A filter to try instead of the stored one, at most 2000 characters. What is no filter answers BAD_USER_INPUT and says where it is wrong."
        )]
        filter: Option<String>,
        #[graphql(
            desc = "Payload to render, at most 256 KiB; defaults to the sample payload of the event type, or else `{}`."
        )]
        payload: Option<Json>,
    ) -> Option<Result<WebhookRequestPreview>> {
        async {
            let (state, caller) = (ctx.app()?, ctx.caller()?);
            let Some(id) = node::parse(&webhook_subscription_id) else { return Ok(None) };
            let (event_type, payload) = (event_type.map(|name| name.0), payload.map(|json| json.0));
            let draft = PreviewDraft { id, event_type, filter, payload };
            Ok(preview(state, caller, draft).await?.map(WebhookRequestPreview))
        }
        .await
        .transpose()
    }
}
