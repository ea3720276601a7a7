//! An endpoint as its actor needs it: opened secrets, parsed URL, the policies of its subscriptions.

use std::collections::HashMap;
use std::time::Duration;

use angarium_entity::endpoint::{self, BodyFormat, Ordering, RequestHeader, SignatureScheme, Status, StrictExhaustion};
use angarium_entity::json::StringList;
use angarium_entity::sealer::{SealError, Sealer};
use angarium_entity::workspace::rules::PatternError;
use angarium_entity::{
    RetryPolicy, SubscriptionId, WorkspaceId, endpoint_health, signing_secret, subscription, workspace,
};
use url::Url;

use crate::machine::breaker::Patience;
use crate::machine::endpoint::{Hold, Rules};
use crate::signature::{Signer, SignerError};

/// Read whole, never changed: a new one replaces it.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) workspace_id: WorkspaceId,
    pub(crate) version: i32,
    /// The version of the workspace's configuration that all of this is of.
    pub(crate) config_version: i64,
    pub(crate) url: Url,
    pub(crate) headers: Vec<RequestHeader>,
    pub(crate) body_format: BodyFormat,
    pub(crate) timeout: Duration,
    pub(crate) rules: Rules,
    /// What happens when the head of a STRICT line fails for good; none without such a line.
    pub(crate) on_exhausted: Option<StrictExhaustion>,
    /// How it was doing when this was read.
    pub(crate) health: endpoint_health::Model,
    /// Why nothing can be sent there: the rules of the workspace forbid the URL. No retry changes that.
    pub(crate) forbidden: Option<String>,
    pub(crate) signature_scheme: SignatureScheme,
    pub(crate) signer: Signer,
    subscriptions: HashMap<SubscriptionId, OfSubscription>,
    default_policy: RetryPolicy,
}

/// What a delivery is sent by on behalf of its subscription, also when that has moved on to another endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OfSubscription {
    pub(crate) revision: i32,
    pub(crate) payload_fields: Option<StringList>,
    retry_policy: Option<RetryPolicy>,
}

/// Rows that no settings can be made of. Our fault, never the receiver's: the deliveries wait.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("the stored URL of the endpoint does not parse")]
    Url(#[from] url::ParseError),
    #[error("a stored rule of the workspace does not compile")]
    Rules(#[from] PatternError),
    #[error("a secret header of the endpoint does not open")]
    Header(#[from] SealError),
    #[error(transparent)]
    Signer(#[from] SignerError),
}

impl Settings {
    pub(crate) fn new(
        row: &endpoint::Model,
        workspace: &workspace::Model,
        subscriptions: Vec<subscription::Model>,
        secrets: &[signing_secret::Model],
        health: Option<endpoint_health::Model>,
        sealer: &Sealer,
    ) -> Result<Self, SettingsError> {
        let signer = Signer::new(row.signature_scheme, secrets, sealer)?;
        let health = health.unwrap_or_else(|| endpoint_health::Model::unknown(row.id, row.workspace_id));
        // Who failed for too long is probed now and then; who is gone is not.
        let suspended = row.status == Status::Suspended && health.probe_at.is_some();
        let hold = match (row.status, row.held_until) {
            (_, until) if suspended => until.map_or(Hold::No, Hold::Until),
            (Status::Active, None) => Hold::No,
            (Status::Active, Some(until)) => Hold::Until(until),
            (Status::Paused | Status::Suspended, _) => Hold::Paused,
        };
        let max_in_flight = usize::try_from(row.max_in_flight).unwrap_or(1).max(1);
        let suspend_after = Duration::from_millis(u64::try_from(workspace.suspend_after_ms).unwrap_or(u64::MAX));
        let gone = row.status == Status::Suspended && !suspended;
        let patience = Patience { suspend_after, suspended, gone };
        let rate_limit = row.rate_limit_per_second.and_then(|limit| usize::try_from(limit).ok());
        let forbidden = workspace.rules.compile()?.check_url(&row.url).err();
        let subscriptions = subscriptions
            .into_iter()
            .map(|subscription| {
                let subscription::Model { id, revision, payload_fields, retry_policy, .. } = subscription;
                (id, OfSubscription { revision, payload_fields, retry_policy })
            })
            .collect();
        Ok(Self {
            workspace_id: row.workspace_id,
            version: row.version,
            config_version: workspace.config_version,
            url: Url::parse(&row.url)?,
            headers: row.headers.open(row.id, sealer)?,
            body_format: row.body_format,
            timeout: Duration::from_millis(u64::try_from(row.timeout_ms).unwrap_or(0)),
            rules: Rules { ordering: row.ordering, max_in_flight, rate_limit, hold, patience },
            health,
            on_exhausted: (row.ordering == Ordering::Strict).then_some(row.on_exhausted),
            forbidden: forbidden.map(|forbidden| format!("The URL of the endpoint {forbidden}.")),
            signature_scheme: row.signature_scheme,
            signer,
            subscriptions,
            default_policy: workspace.retry_policy.clone().unwrap_or_default(),
        })
    }

    /// Of an endpoint with one subscription, that nothing may be sent to: its deliveries fail without a request.
    #[cfg(test)]
    pub(crate) fn of_forbidden(health: endpoint_health::Model, rules: Rules, subscription: SubscriptionId) -> Self {
        let sealer = Sealer::new(&[1; 32]);
        let of_subscription = OfSubscription { revision: 1, payload_fields: None, retry_policy: None };
        Self {
            workspace_id: health.workspace_id,
            version: 1,
            config_version: 1,
            url: Url::parse("https://receiver.example/").expect("a URL"),
            headers: Vec::new(),
            body_format: BodyFormat::Raw,
            timeout: Duration::from_secs(15),
            rules,
            on_exhausted: None,
            health,
            forbidden: Some("Nothing may be sent there.".to_owned()),
            signature_scheme: SignatureScheme::None,
            signer: Signer::new(SignatureScheme::None, &[], &sealer).expect("it signs nothing"),
            subscriptions: HashMap::from([(subscription, of_subscription)]),
            default_policy: RetryPolicy::default(),
        }
    }

    /// The policy of a subscription, or what it inherits.
    pub(crate) fn retry_policy(&self, subscription: SubscriptionId) -> &RetryPolicy {
        let own = self.subscriptions.get(&subscription).and_then(|found| found.retry_policy.as_ref());
        own.unwrap_or(&self.default_policy)
    }

    /// What a delivery of this subscription is sent by. None for one that these settings do not know yet, because it was
    /// made or moved here after they were read.
    pub(crate) fn subscription(&self, subscription: SubscriptionId) -> Option<&OfSubscription> {
        self.subscriptions.get(&subscription)
    }
}
