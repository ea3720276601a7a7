//! An endpoint as its actor needs it: opened secrets, parsed URL, the policies of its subscriptions.

use std::collections::HashMap;
use std::time::Duration;

use angarium_entity::endpoint::{self, BodyFormat, Ordering, RequestHeader, SignatureScheme, Status, StrictExhaustion};
use angarium_entity::sealer::{SealError, Sealer};
use angarium_entity::{RetryPolicy, SubscriptionId, WorkspaceId, signing_secret, subscription, workspace};
use url::Url;

use crate::machine::endpoint::{Hold, Rules};
use crate::signature::{Signer, SignerError};

/// Read whole, never changed: a new one replaces it.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) workspace_id: WorkspaceId,
    pub(crate) version: i32,
    pub(crate) url: Url,
    pub(crate) headers: Vec<RequestHeader>,
    pub(crate) body_format: BodyFormat,
    pub(crate) timeout: Duration,
    pub(crate) rules: Rules,
    /// What happens when the head of a STRICT line fails for good; none without such a line.
    pub(crate) on_exhausted: Option<StrictExhaustion>,
    pub(crate) signature_scheme: SignatureScheme,
    pub(crate) signer: Signer,
    policies: HashMap<SubscriptionId, RetryPolicy>,
    default_policy: RetryPolicy,
}

/// Rows that no settings can be made of. Our fault, never the receiver's: the deliveries wait.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("the stored URL of the endpoint does not parse")]
    Url(#[from] url::ParseError),
    #[error("a secret header of the endpoint does not open")]
    Header(#[from] SealError),
    #[error(transparent)]
    Signer(#[from] SignerError),
}

impl Settings {
    pub(crate) fn new(
        row: endpoint::Model,
        workspace: &workspace::Model,
        subscriptions: Vec<subscription::Model>,
        secrets: &[signing_secret::Model],
        sealer: &Sealer,
    ) -> Result<Self, SettingsError> {
        let signer = Signer::new(row.signature_scheme, secrets, sealer)?;
        let hold = match (row.status, row.held_until) {
            (Status::Active, None) => Hold::No,
            (Status::Active, Some(until)) => Hold::Until(until),
            (Status::Paused | Status::Suspended, _) => Hold::Paused,
        };
        let max_in_flight = usize::try_from(row.max_in_flight).unwrap_or(1).max(1);
        let rate_limit = row.rate_limit_per_second.and_then(|limit| usize::try_from(limit).ok());
        let policies = subscriptions
            .into_iter()
            .filter_map(|subscription| Some((subscription.id, subscription.retry_policy?)))
            .collect();
        Ok(Self {
            workspace_id: row.workspace_id,
            version: row.version,
            url: Url::parse(&row.url)?,
            headers: row.headers.open(row.id, sealer)?,
            body_format: row.body_format,
            timeout: Duration::from_millis(u64::try_from(row.timeout_ms).unwrap_or(0)),
            rules: Rules { ordering: row.ordering, max_in_flight, rate_limit, hold },
            on_exhausted: (row.ordering == Ordering::Strict).then_some(row.on_exhausted),
            signature_scheme: row.signature_scheme,
            signer,
            policies,
            default_policy: workspace.retry_policy.clone().unwrap_or_default(),
        })
    }

    /// The policy of a subscription, or what it inherits.
    pub(crate) fn retry_policy(&self, subscription: SubscriptionId) -> &RetryPolicy {
        self.policies.get(&subscription).unwrap_or(&self.default_policy)
    }
}
