//! An endpoint as its actor needs it: opened secrets, parsed URL, the policies of its subscriptions.

use std::collections::HashMap;
use std::time::Duration;

use angarium_entity::endpoint::{self, BodyFormat, Headers, Ordering, SignatureScheme, Status, StrictExhaustion};
use angarium_entity::sealer::{SealError, Sealer};
use angarium_entity::signing_secret::{self, SigningSecret};
use angarium_entity::{RetryPolicy, SubscriptionId, Timestamp, WorkspaceId, subscription, workspace};
use url::Url;

use crate::machine::endpoint::{Hold, Rules};

/// Read whole, never changed: a new one replaces it.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) workspace_id: WorkspaceId,
    pub(crate) version: i32,
    pub(crate) url: Url,
    pub(crate) headers: Headers,
    pub(crate) body_format: BodyFormat,
    pub(crate) timeout: Duration,
    pub(crate) rules: Rules,
    /// What happens when the head of a STRICT line fails for good; none without such a line.
    pub(crate) on_exhausted: Option<StrictExhaustion>,
    /// With the time until which each signs.
    secrets: Vec<(SigningSecret, Option<Timestamp>)>,
    policies: HashMap<SubscriptionId, RetryPolicy>,
    default_policy: RetryPolicy,
}

/// Rows that no settings can be made of. Our fault, never the receiver's: the deliveries wait.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("the stored URL of the endpoint does not parse")]
    Url(#[from] url::ParseError),
    #[error("a signing secret of the endpoint does not open")]
    Secret(#[from] SealError),
}

impl Settings {
    pub(crate) fn new(
        row: endpoint::Model,
        workspace: &workspace::Model,
        subscriptions: Vec<subscription::Model>,
        secrets: &[signing_secret::Model],
        sealer: &Sealer,
    ) -> Result<Self, SettingsError> {
        // The newest first: receivers that look at one signature only look at the first.
        let mut secrets: Vec<&signing_secret::Model> = secrets.iter().collect();
        secrets.sort_unstable_by_key(|secret| std::cmp::Reverse((secret.created_at, secret.id)));
        let secrets = match row.signature_scheme {
            SignatureScheme::None => Vec::new(),
            SignatureScheme::StandardWebhooks => secrets
                .iter()
                .map(|secret| Ok((secret.open(sealer)?, secret.expires_at)))
                .collect::<Result<_, SealError>>()?,
        };
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
            headers: row.headers,
            body_format: row.body_format,
            timeout: Duration::from_millis(u64::try_from(row.timeout_ms).unwrap_or(0)),
            rules: Rules { ordering: row.ordering, max_in_flight, rate_limit, hold },
            on_exhausted: (row.ordering == Ordering::Strict).then_some(row.on_exhausted),
            secrets,
            policies,
            default_policy: workspace.retry_policy.clone().unwrap_or_default(),
        })
    }

    /// The policy of a subscription, or what it inherits.
    pub(crate) fn retry_policy(&self, subscription: SubscriptionId) -> &RetryPolicy {
        self.policies.get(&subscription).unwrap_or(&self.default_policy)
    }

    /// The secrets that sign at `now`.
    pub(crate) fn secrets_at(&self, now: Timestamp) -> Vec<SigningSecret> {
        let valid = |end: &Option<Timestamp>| end.is_none_or(|end| now < end);
        self.secrets.iter().filter(|(_, end)| valid(end)).map(|(secret, _)| secret.clone()).collect()
    }
}
