//! Retry policies as callers ask for them.

use std::time::Duration;

use angarium_entity::RetryPolicy;
use angarium_entity::retry_policy::{DELAY_MAX, Growth, MAX_ATTEMPTS, STANDARD_MAX_ATTEMPTS};

use super::{Path, Problems, duration};

/// A policy as given.
#[derive(Clone, Debug)]
pub enum RetryPolicyDraft {
    /// The standard delays, cut short.
    Standard {
        /// Attempts in all.
        max_attempts: i32,
    },
    /// Delays one by one, in ISO 8601.
    Delays(Vec<String>),
    /// Delays that grow.
    Computed {
        /// How; none for a strategy that is not a rule of growth.
        growth: Option<Growth>,
        /// Before the first retry, in ISO 8601.
        initial_delay: String,
        /// Longest delay, in ISO 8601.
        max_delay: String,
        /// Attempts in all.
        max_attempts: i32,
    },
}

impl RetryPolicyDraft {
    /// Checks it. `field` is where it was given, `code` what to call what is wrong.
    pub fn check<C: Copy>(self, code: C, field: &Path, problems: &mut Problems<C>) -> Option<RetryPolicy> {
        match self {
            Self::Standard { max_attempts } => {
                let field = field.at("standard").at("maxAttempts");
                let max_attempts = attempts(max_attempts, STANDARD_MAX_ATTEMPTS, code, &field, problems)?;
                Some(RetryPolicy::Standard { max_attempts })
            }
            Self::Delays(delays) => {
                let field = field.at("delays");
                if delays.len() >= usize::from(MAX_ATTEMPTS) {
                    problems.add(code, &field, format!("holds more than {} delays", MAX_ATTEMPTS - 1));
                    return None;
                }
                let delays_ms: Vec<_> = delays
                    .iter()
                    .enumerate()
                    .map(|(index, text)| delay(text, code, &field.item(index), problems))
                    .collect();
                Some(RetryPolicy::Custom { delays_ms: delays_ms.into_iter().collect::<Option<_>>()? })
            }
            Self::Computed { growth, initial_delay, max_delay, max_attempts } => {
                let field = field.at("computed");
                if growth.is_none() {
                    problems.add(code, &field.at("strategy"), "is not a rule of growth; use `delays` or `standard`");
                }
                let initial = delay(&initial_delay, code, &field.at("initialDelay"), problems);
                let longest = delay(&max_delay, code, &field.at("maxDelay"), problems);
                let max_attempts = attempts(max_attempts, MAX_ATTEMPTS, code, &field.at("maxAttempts"), problems);
                let (initial_delay_ms, max_delay_ms) = (initial?, longest?);
                if max_delay_ms < initial_delay_ms {
                    problems.add(code, &field.at("maxDelay"), "is shorter than `initialDelay`");
                }
                Some(RetryPolicy::Computed {
                    growth: growth?,
                    initial_delay_ms,
                    max_delay_ms,
                    max_attempts: max_attempts?,
                })
            }
        }
    }
}

fn attempts<C: Copy>(given: i32, max: u16, code: C, field: &Path, problems: &mut Problems<C>) -> Option<u16> {
    let checked = u16::try_from(given).ok().filter(|attempts| (1..=max).contains(attempts));
    if checked.is_none() {
        problems.add(code, field, format!("is not from 1 to {max}"));
    }
    checked
}

fn delay<C: Copy>(text: &str, code: C, field: &Path, problems: &mut Problems<C>) -> Option<u64> {
    match duration::parse(text) {
        Ok(delay) if delay <= DELAY_MAX => Some(millis(delay)),
        Ok(_) => {
            problems.add(code, field, "is longer than 7 days");
            None
        }
        Err(error) => {
            problems.add(code, field, error.to_string());
            None
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(draft: RetryPolicyDraft) -> Result<RetryPolicy, Vec<String>> {
        let mut problems = Problems::default();
        let policy = draft.check((), &Path::argument("p"), &mut problems);
        problems.unless_any(policy).map_err(|told| told.into_iter().map(|p| p.field.into_steps().join(".")).collect())
    }

    fn computed(growth: Option<Growth>, initial: &str, longest: &str, max_attempts: i32) -> RetryPolicyDraft {
        RetryPolicyDraft::Computed {
            growth,
            initial_delay: initial.to_owned(),
            max_delay: longest.to_owned(),
            max_attempts,
        }
    }

    #[test]
    fn each_form_is_taken_within_its_bounds() {
        assert_eq!(
            check(RetryPolicyDraft::Standard { max_attempts: 3 }),
            Ok(RetryPolicy::Standard { max_attempts: 3 })
        );
        assert_eq!(
            check(RetryPolicyDraft::Delays(vec!["PT1S".to_owned(), "P7D".to_owned()])),
            Ok(RetryPolicy::Custom { delays_ms: vec![1_000, 604_800_000] })
        );
        assert_eq!(check(RetryPolicyDraft::Delays(vec![])), Ok(RetryPolicy::Custom { delays_ms: vec![] }));
        assert!(check(computed(Some(Growth::Linear), "PT1S", "PT1M", 50)).is_ok());
    }

    #[test]
    fn what_is_out_of_bounds_is_told_where_it_stands() {
        let told = |draft| check(draft).expect_err("it is out of bounds");
        assert_eq!(told(RetryPolicyDraft::Standard { max_attempts: 11 }), ["p.standard.maxAttempts"]);
        assert_eq!(
            told(RetryPolicyDraft::Delays(vec!["PT1S".into(), "P8D".into(), "x".into()])),
            ["p.delays.1", "p.delays.2"]
        );
        assert_eq!(told(RetryPolicyDraft::Delays(vec!["PT1S".into(); 50])), ["p.delays"]);
        assert_eq!(
            told(computed(None, "?", "P8D", 0)),
            ["p.computed.strategy", "p.computed.initialDelay", "p.computed.maxDelay", "p.computed.maxAttempts"]
        );
        assert_eq!(told(computed(Some(Growth::Fixed), "PT2S", "PT1S", 2)), ["p.computed.maxDelay"]);
    }
}
