//! How requests are signed, without the secret.

use angarium_entity::{Timestamp, endpoint, signing_secret};
use async_graphql::SimpleObject;

use super::enums::WebhookSignatureScheme;
use crate::graphql::scalar::DateTime;

/// How requests to an endpoint are signed.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct WebhookSigning {
    /// When the previous secret stops signing; null when there is none.
    previous_secret_expires_at: Option<DateTime>,
    /// Public key that verifies the signatures of ED25519: `whpk_` and base64. Null with other schemes.
    public_key: Option<String>,
    /// When the secret was last rotated.
    rotated_at: Option<DateTime>,
    /// Signature scheme.
    scheme: WebhookSignatureScheme,
    /// Last four characters of the secret; null when unsigned.
    secret_hint: Option<String>,
}

impl WebhookSigning {
    /// From the secrets of an endpoint, oldest first.
    pub(crate) fn new(scheme: endpoint::SignatureScheme, secrets: &[signing_secret::Model], now: Timestamp) -> Self {
        let current = secrets.iter().rfind(|secret| secret.expires_at.is_none());
        let is_first = secrets.len() < 2;
        let overlap = secrets.iter().filter_map(|secret| secret.expires_at).filter(|end| *end > now).max();
        Self {
            previous_secret_expires_at: overlap.map(Into::into),
            public_key: current.and_then(|secret| secret.public_key.clone()),
            rotated_at: current.filter(|_| !is_first).map(|secret| secret.created_at.into()),
            scheme: scheme.into(),
            secret_hint: current.map(|secret| secret.hint.clone()),
        }
    }
}
