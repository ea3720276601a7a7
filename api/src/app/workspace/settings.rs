//! What the subscriptions and deliveries of a tenant keep to.

use std::ops::RangeInclusive;
use std::time::Duration;

use angarium_entity::endpoint::url;
use angarium_entity::workspace::rules::{self, PatternError};
use angarium_entity::workspace::{
    LIFETIME, Model, PATIENCE, RETENTION_RANGE, Rules, SecretVisibility, SubscriptionConfirmation,
};

use super::ErrorCode;
use crate::app::retry_policy::RetryPolicyDraft;
use crate::app::{Change, Path, Problems, duration};

/// Settings to change, or to begin with. Lengths of time are in ISO 8601.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Policy of subscriptions that set none.
    pub retry_policy: Change<RetryPolicyDraft>,
    /// How long a held delivery waits.
    pub hold_max: Change<String>,
    /// How long events and deliveries are kept.
    pub retention: Change<String>,
    /// How long an endpoint may fail.
    pub suspend_after: Change<String>,
    /// Longest lifetime of a subscription.
    pub max_subscription_lifetime: Change<String>,
    /// What subscriptions may ask for, as a whole.
    pub rules: Change<RulesDraft>,
    /// Whether signing secrets can be read.
    pub secret_visibility: Change<SecretVisibility>,
    /// How new subscriptions are confirmed.
    pub subscription_confirmation: Change<SubscriptionConfirmation>,
}

/// Rules as given.
#[derive(Clone, Debug)]
pub struct RulesDraft {
    /// Pattern of event types.
    pub event_type_pattern: Option<String>,
    /// Most characters of a URL.
    pub url_max_length: i32,
    /// Pattern of URLs.
    pub url_pattern: Option<String>,
}

impl Settings {
    /// Writes them into `row` and tells what is wrong with them.
    pub(super) fn apply(self, row: &mut Model, problems: &mut Problems<ErrorCode>) {
        let input = Path::argument("input");
        match self.retry_policy {
            Change::Keep => {}
            Change::Clear => row.retry_policy = None,
            Change::Set(draft) => {
                row.retry_policy = draft.check(ErrorCode::Invalid, &input.at("retryPolicy"), problems);
            }
        }
        for (name, change, range, of_row) in [
            ("holdMax", self.hold_max, &PATIENCE, &mut row.hold_max_ms),
            ("retention", self.retention, &RETENTION_RANGE, &mut row.retention_ms),
            ("suspendAfter", self.suspend_after, &PATIENCE, &mut row.suspend_after_ms),
        ] {
            let field = input.at(name);
            if let Some(Some(text)) = problems.not_cleared(&field, change) {
                *of_row = length(&field, &text, range, problems).unwrap_or(*of_row);
            }
        }
        let field = input.at("maxSubscriptionLifetime");
        match self.max_subscription_lifetime {
            Change::Keep => {}
            Change::Clear => row.max_subscription_lifetime_ms = None,
            Change::Set(text) => row.max_subscription_lifetime_ms = length(&field, &text, &LIFETIME, problems),
        }
        match self.rules {
            Change::Keep => {}
            Change::Clear => row.rules = Rules::default(),
            Change::Set(draft) => row.rules = draft.check(&input.at("rules"), problems).unwrap_or_default(),
        }
        let given = problems.not_cleared(&input.at("secretVisibility"), self.secret_visibility).flatten();
        row.secret_visibility = given.unwrap_or(row.secret_visibility);
        let field = input.at("subscriptionConfirmation");
        let given = problems.not_cleared(&field, self.subscription_confirmation).flatten();
        row.subscription_confirmation = given.unwrap_or(row.subscription_confirmation);
    }
}

impl RulesDraft {
    fn check(self, field: &Path, problems: &mut Problems<ErrorCode>) -> Option<Rules> {
        for (name, pattern) in [("eventTypePattern", &self.event_type_pattern), ("urlPattern", &self.url_pattern)] {
            let Some(Err(error)) = pattern.as_deref().map(rules::compile) else { continue };
            let code = match error {
                PatternError::Blank => ErrorCode::Blank,
                PatternError::TooLong => ErrorCode::TooLong,
                PatternError::TooLarge | PatternError::Malformed(_) => ErrorCode::Invalid,
            };
            problems.add(code, &field.at(name), error.to_string());
        }
        let in_range =
            u16::try_from(self.url_max_length).ok().filter(|len| (1..=url::LEN_MAX).contains(&(*len).into()));
        if in_range.is_none() {
            problems.add(ErrorCode::Invalid, &field.at("urlMaxLength"), format!("is not from 1 to {}", url::LEN_MAX));
        }
        let Self { event_type_pattern, url_pattern, .. } = self;
        Some(Rules { event_type_pattern, url_max_length: in_range?, url_pattern })
    }
}

/// Reads a length of time within `range`, in milliseconds.
fn length(
    field: &Path,
    text: &str,
    range: &RangeInclusive<Duration>,
    problems: &mut Problems<ErrorCode>,
) -> Option<i64> {
    match duration::parse(text) {
        Ok(length) if range.contains(&length) => return Some(millis(length)),
        Ok(_) => {
            let [least, most] = [range.start(), range.end()].map(|bound| duration::print(*bound));
            problems.add(ErrorCode::Invalid, field, format!("is not from `{least}` to `{most}`"));
        }
        Err(error) => problems.add(ErrorCode::Invalid, field, error.to_string()),
    }
    None
}

/// As it is stored.
pub(super) fn millis(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}
