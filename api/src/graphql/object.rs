//! What the API answers with.

mod api_key;
mod attempt;
mod delivery;
mod delivery_stats;
pub(crate) mod enums;
mod event;
mod event_type;
mod http_header;
mod retry_policy;
mod server_info;
pub(crate) mod user_error;
mod viewer;
mod webhook_endpoint;
mod webhook_endpoint_health;
mod webhook_request_preview;
mod webhook_signing;
mod webhook_subscription;
mod workspace;
mod workspace_rules;

pub(crate) use api_key::ApiKey;
pub(crate) use attempt::DeliveryAttempt;
pub(crate) use delivery::Delivery;
pub(crate) use delivery_stats::DeliveryStats;
pub(crate) use event::Event;
pub(crate) use event_type::EventType;
pub(crate) use http_header::HttpHeader;
pub(crate) use retry_policy::RetryPolicy;
pub(crate) use server_info::ServerInfo;
pub(crate) use viewer::Viewer;
pub(crate) use webhook_endpoint::WebhookEndpoint;
pub(crate) use webhook_endpoint_health::WebhookEndpointHealth;
pub(crate) use webhook_request_preview::WebhookRequestPreview;
pub(crate) use webhook_signing::WebhookSigning;
pub(crate) use webhook_subscription::WebhookSubscription;
pub(crate) use workspace::Workspace;
pub(crate) use workspace_rules::WorkspaceRules;
