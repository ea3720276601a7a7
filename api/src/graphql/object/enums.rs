//! The words of the tables, as the API explains them. `remote` keeps the two lists the same.

use angarium_entity::{api_key, attempt, delivery, endpoint, endpoint_health, replay, workspace};
use async_graphql::Enum;

/// A permission of an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "api_key::Scope")]
pub(crate) enum ApiScope {
    /// Everything, in every workspace.
    Admin,
    /// Read deliveries and attempts.
    DeliveryRead,
    /// Retry, cancel and delete deliveries; replay events.
    DeliveryWrite,
    /// Publish and delete events.
    EventPublish,
    /// Read events.
    EventRead,
    /// Change the event type catalogue. Only administrators hold it.
    EventTypeWrite,
    /// Read the API keys of the workspace (never the keys themselves) and who created what.
    WorkspaceRead,
    /// Create and revoke API keys; change the workspace.
    WorkspaceWrite,
    /// Read webhook subscriptions and endpoints.
    WebhookRead,
    /// Read signing secrets, where the workspace allows it.
    WebhookSecretRead,
    /// Create and change webhook subscriptions and endpoints.
    WebhookSubscribe,
}

/// Whether an endpoint is delivered to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "endpoint::Status")]
pub(crate) enum WebhookEndpointStatus {
    /// Delivering.
    Active,
    /// Held by its owner; deliveries wait.
    Paused,
    /// Held by the server (410 Gone, or failing for too long); deliveries wait.
    Suspended,
}

/// What a request body looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "endpoint::BodyFormat")]
pub(crate) enum WebhookBodyFormat {
    /// CloudEvents 1.0, structured JSON (`application/cloudevents+json`): `id` is the event's, as in `webhook-id`;
    /// `source` is `urn:uuid:` and the UUID of the workspace; `type` is the event type, `time` when it happened,
    /// `datacontenttype` is `application/json`, and `data` the payload as published.
    #[graphql(name = "CLOUDEVENTS")]
    CloudEvents,
    /// `{"type", "timestamp", "data"}`, as Standard Webhooks recommends.
    Envelope,
    /// The payload as published.
    Raw,
}

/// In which order deliveries to an endpoint go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "endpoint::Ordering")]
pub(crate) enum DeliveryOrdering {
    /// First attempts in publish order, one at a time; a failed delivery is retried later while newer ones go on.
    Fifo,
    /// No order; up to `maxInFlight` at once.
    None,
    /// Publish order kept to the end: a delivery starts only when the one before it reached a final status. Scheduled
    /// events, deliveries retried by hand and replays join at the end of the line when they are due; a test skips it, and
    /// deliveries of a disabled subscription step out of it.
    Strict,
}

/// What a STRICT endpoint does when the head of its line fails for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "endpoint::StrictExhaustion")]
pub(crate) enum StrictExhaustion {
    /// Pause the endpoint until its owner decides.
    Pause,
    /// Go on with the next.
    Skip,
}

/// State of the circuit breaker of an endpoint. It opens when 5 different deliveries have failed one after the other: a
/// single one is retried as its policy says. Then deliveries wait for 30 seconds, and for longer after each probe that
/// failed, up to 10 minutes (an hour while the endpoint is suspended). Neither waiting nor a probe uses up any of their
/// attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "endpoint_health::Circuit")]
pub(crate) enum CircuitState {
    /// Delivering.
    Closed,
    /// One probe at a time.
    HalfOpen,
    /// Waiting before the next probe.
    Open,
}

/// Summary of endpoint health, by its last 10 attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "endpoint_health::Status")]
pub(crate) enum WebhookEndpointHealthStatus {
    /// Every recent attempt failed.
    Failing,
    /// Recent attempts succeeded.
    Healthy,
    /// No attempt yet.
    Unknown,
    /// Some recent attempts failed.
    Unstable,
}

/// How requests are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "endpoint::SignatureScheme")]
pub(crate) enum WebhookSignatureScheme {
    /// Standard Webhooks `v1a`: Ed25519 of `id.timestamp.body`, verified with `WebhookSigning.publicKey`.
    #[graphql(name = "ED25519")]
    Ed25519,
    /// GitHub's: `X-Hub-Signature-256: sha256=<hex>` over the body. It has room for one signature: see
    /// `webhookEndpointSecretRotate`.
    Github,
    /// Not signed.
    None,
    /// Shopify's: `X-Shopify-Hmac-SHA256: <base64>` over the body. It has room for one signature: see
    /// `webhookEndpointSecretRotate`.
    Shopify,
    /// Standard Webhooks `v1`: HMAC-SHA-256 of `id.timestamp.body`.
    StandardWebhooks,
    /// Stripe's: `Stripe-Signature: t=<seconds>,v1=<hex>` over `t.body`.
    Stripe,
    /// Standard Webhooks `v1` keyed with the caller's secret followed by a secret of the server, 16 URL-safe
    /// characters, that is the bytes of both texts, one after the other. What is shown as the signing secret is the server's.
    TwoSecret,
}

/// Whether signing secrets can be read after creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "workspace::SecretVisibility")]
pub(crate) enum SecretVisibility {
    /// Shown once, when created or rotated.
    Once,
    /// Readable by callers with WEBHOOK_SECRET_READ.
    Readable,
}

/// How a new subscription is confirmed by its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "workspace::SubscriptionConfirmation")]
pub(crate) enum SubscriptionConfirmation {
    /// The endpoint must echo a challenge in its response.
    Challenge,
    /// The endpoint is sent a link that must be opened, or a token for `webhookSubscriptionConfirm`.
    Link,
    /// No confirmation.
    None,
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "delivery::Status")]
pub(crate) enum DeliveryStatus {
    /// Stopped by a caller.
    Canceled,
    /// Every attempt of the retry policy failed.
    Exhausted,
    /// Failed in a way that is not retried.
    Failed,
    /// Not attempted yet, or held while its endpoint or subscription is.
    Pending,
    /// Failed at least once, or asked for by hand; another attempt is due.
    Retrying,
    /// The endpoint answered with a 2xx status.
    Succeeded,
}

/// Why a delivery exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "delivery::Trigger")]
pub(crate) enum DeliveryTrigger {
    /// A published event.
    Event,
    /// A replay.
    Replay,
    /// A test.
    Test,
}

/// Where a replay stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "replay::Status")]
pub(crate) enum ReplayStatus {
    /// Stopped by a caller.
    Canceled,
    /// Finished.
    Completed,
    /// Stopped by an error; see `failureReason`.
    Failed,
    /// Working.
    Running,
}

/// Why an attempt was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "attempt::Trigger")]
pub(crate) enum AttemptTrigger {
    /// The first one.
    Initial,
    /// Somebody asked for it.
    Manual,
    /// The circuit breaker asked whether the endpoint is back. It counts in `attemptCount`, and uses up nothing of the
    /// retry policy.
    Probe,
    /// The retry policy.
    Retry,
}

/// Kinds of attempt failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "attempt::ErrorCode")]
pub(crate) enum DeliveryAttemptErrorCode {
    /// The response did not echo the challenge of a confirmation message.
    Challenge,
    /// The connection could not be made or broke.
    Connection,
    /// The host name could not be resolved.
    Dns,
    /// The address is not allowed, for example private.
    ForbiddenAddress,
    /// The response had a status other than 2xx.
    HttpStatus,
    /// The response was not valid HTTP.
    Protocol,
    /// The outbound proxy failed.
    Proxy,
    /// The response was a redirect, which is not followed.
    Redirect,
    /// No response within the timeout.
    Timeout,
    /// The TLS handshake or certificate failed.
    Tls,
}
