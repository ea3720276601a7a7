//! One HTTP request of a delivery.

use angarium_dispatcher::render;
use angarium_entity::api_key::Scope;
use angarium_entity::endpoint::{BodyFormat, MASK, RequestHeaders, SignatureScheme};
use angarium_entity::json::StringList;
use angarium_entity::{Timestamp, attempt, delivery, event};
use async_graphql::{Context, ID, Object, Result, SimpleObject};

use super::enums::{AttemptTrigger, DeliveryAttemptErrorCode};
use super::{Delivery, HttpHeader};
use crate::app::AppError;
use crate::app::subscription::Preview;
use crate::graphql::context::CallContext as _;
use crate::graphql::node;
use crate::graphql::scalar::{DateTime, Url};

/// A row.
pub(crate) struct DeliveryAttempt(attempt::Model);

impl From<attempt::Model> for DeliveryAttempt {
    fn from(row: attempt::Model) -> Self {
        Self(row)
    }
}

/// What went wrong in an attempt.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct DeliveryAttemptError {
    /// Kind of failure.
    code: DeliveryAttemptErrorCode,
    /// Explanation for people.
    message: String,
}

/// An HTTP response from an endpoint.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct WebhookResponse {
    /// Body as text (invalid UTF-8 replaced): at most 16 KiB of a failure, 1 KiB of a success.
    body: Option<String>,
    /// Whether `body` was cut.
    body_truncated: bool,
    /// Headers.
    headers: Vec<HttpHeader>,
    /// HTTP status code.
    status_code: i32,
}

/// One HTTP request of a delivery.
#[Object]
impl DeliveryAttempt {
    /// When the attempt ended.
    async fn completed_at(&self) -> DateTime {
        self.0.completed_at.into()
    }

    /// The delivery.
    async fn delivery(&self, ctx: &Context<'_>) -> Result<Delivery> {
        Ok(Delivery(self.load_delivery(ctx).await?))
    }

    /// Milliseconds from start to end.
    async fn duration_ms(&self) -> i32 {
        self.0.duration_ms
    }

    /// What went wrong; null on success.
    async fn error(&self) -> Option<DeliveryAttemptError> {
        let code = self.0.error_code?.into();
        Some(DeliveryAttemptError { code, message: self.0.error_message.clone().unwrap_or_default() })
    }

    /// Global ID.
    pub(crate) async fn id(&self) -> ID {
        node::id(&self.0.id)
    }

    /// 1 for the first attempt.
    async fn number(&self) -> i32 {
        self.0.number
    }

    /// The request as sent.
    async fn request(&self, ctx: &Context<'_>) -> Result<WebhookRequest> {
        let delivery = self.load_delivery(ctx).await?;
        let loaders = ctx.loaders()?;
        let (event, revision, of_subscription) = futures_util::future::try_join3(
            loaders.event(delivery.workspace_id, delivery.event_id),
            loaders.revision(delivery.endpoint_id, self.0.endpoint_version),
            loaders.subscription_revision(delivery.subscription_id, self.0.subscription_version),
        )
        .await?;
        let missing = |what: &str| AppError::Inconsistent(format!("{} has no {what}", self.0.id));
        let is_gone = event.is_none();
        let revision = revision.ok_or_else(|| missing("revision of its endpoint"))?;
        let of_subscription = of_subscription.ok_or_else(|| missing("revision of its subscription"))?;
        Ok(WebhookRequest {
            event: event.unwrap_or_else(|| remains(&delivery)),
            is_gone,
            url: revision.url,
            headers: revision.headers,
            body_format: revision.body_format,
            payload_fields: of_subscription.payload_fields,
            started_at: self.0.started_at,
            scheme: revision.signature_scheme,
            signature: self.0.signature.clone(),
            trace_parent: self.0.trace_parent.clone(),
            is_callers: false,
        })
    }

    /// The response; null when none arrived.
    async fn response(&self) -> Option<WebhookResponse> {
        Some(WebhookResponse {
            body: self.0.response_body.clone(),
            body_truncated: self.0.response_body_truncated,
            headers: self.0.response_headers.as_ref().map(HttpHeader::list).unwrap_or_default(),
            status_code: self.0.response_status_code?,
        })
    }

    /// When the attempt started.
    async fn started_at(&self) -> DateTime {
        self.0.started_at.into()
    }

    /// Signature header as sent; null when unsigned.
    async fn signature(&self) -> Option<&str> {
        self.0.signature.as_deref()
    }

    /// Whether the response had a 2xx status.
    async fn succeeded(&self) -> bool {
        self.0.error_code.is_none()
    }

    /// Why the attempt was made.
    async fn trigger(&self) -> AttemptTrigger {
        self.0.trigger.into()
    }
}

impl DeliveryAttempt {
    async fn load_delivery(&self, ctx: &Context<'_>) -> Result<delivery::Model> {
        let found = ctx.loaders()?.delivery(self.0.workspace_id, self.0.delivery_id).await?;
        let missing = || AppError::Inconsistent(format!("{} has no delivery", self.0.id));
        Ok(found.ok_or_else(missing)?)
    }
}

/// What a delivery tells of its event after that was deleted; the deliveries of many follow it in steps.
fn remains(delivery: &delivery::Model) -> event::Model {
    event::Model {
        id: delivery.event_id,
        workspace_id: delivery.workspace_id,
        event_type: delivery.event_type.clone(),
        payload: String::new(),
        channels: StringList::default(),
        idempotency_key: None,
        occurred_at: delivery.created_at,
        test: false,
        created_at: delivery.created_at,
        sealed: None,
        trace_parent: None,
        trace_state: None,
    }
}

/// What an attempt sent, made again from what it was made of; or what would be sent.
pub(crate) struct WebhookRequest {
    event: event::Model,
    url: String,
    headers: RequestHeaders,
    body_format: BodyFormat,
    payload_fields: Option<StringList>,
    started_at: Timestamp,
    scheme: SignatureScheme,
    signature: Option<String>,
    trace_parent: Option<String>,
    /// Whether the event was deleted, so that only its ID and its type are known.
    is_gone: bool,
    /// Whether the event is of the caller's own making.
    is_callers: bool,
}

impl From<Preview> for WebhookRequest {
    fn from(preview: Preview) -> Self {
        let Preview { endpoint, event, payload_fields, signature, .. } = preview;
        Self {
            url: endpoint.url,
            headers: endpoint.headers,
            body_format: endpoint.body_format,
            payload_fields,
            started_at: event.created_at,
            scheme: endpoint.signature_scheme,
            event,
            is_gone: false,
            signature,
            trace_parent: None,
            is_callers: true,
        }
    }
}

impl WebhookRequest {
    fn rendered(&self) -> String {
        render::body(self.body_format, &self.event, self.payload_fields.as_ref())
    }
}

/// An HTTP request to an endpoint.
#[Object]
impl WebhookRequest {
    /// Body, byte for byte as it was signed; of an event that was published null without EVENT_READ, and once the event
    /// is gone.
    async fn body(&self, ctx: &Context<'_>) -> Option<Result<String>> {
        if !self.is_callers
            && let Err(error) = ctx.require(Scope::EventRead)
        {
            return Some(Err(error.into()));
        }
        (!self.is_gone).then(|| Ok(self.rendered()))
    }

    /// Headers, all of them, in the order in which they were sent; once the event is gone without its `content-length` and
    /// `tracestate`. Values of headers marked secret are masked; without WEBHOOK_READ those of all of the endpoint's own
    /// headers.
    fn headers(&self, ctx: &Context<'_>) -> Result<Vec<HttpHeader>> {
        let mut own = self.headers.masked();
        if ctx.caller()?.require(Scope::WebhookRead).is_err() {
            for header in &mut own {
                MASK.clone_into(&mut header.value);
                header.secret = true;
            }
        }
        let url = url::Url::parse(&self.url);
        let url = url.map_err(|error| AppError::Inconsistent(format!("the URL of a request: {error}")))?;
        let head = render::Head {
            event: &self.event,
            url: &url,
            body_format: self.body_format,
            body_len: self.rendered().len(),
            own: &own,
            started_at: self.started_at,
            scheme: self.scheme,
            signature: self.signature.as_deref(),
            trace_parent: self.trace_parent.as_deref(),
            trace_state: self.event.trace_state.as_deref(),
        };
        let is_known = |name: &str| !self.is_gone || name != "content-length";
        Ok(head.headers().into_iter().filter(|header| is_known(&header.name)).map(HttpHeader::from).collect())
    }

    /// HTTP method.
    async fn method(&self) -> &'static str {
        "POST"
    }

    /// URL.
    async fn url(&self) -> Url {
        Url(self.url.clone())
    }
}
