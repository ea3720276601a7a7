//! When failed deliveries are tried again.
//!
//! Source  the standard delays are those of Standard Webhooks 1.0.0, "Delivery and retries".

use std::time::Duration;

use sea_orm::FromJsonQueryResult;
use serde::{Deserialize, Serialize};

/// Delays of [`RetryPolicy::Standard`], in seconds: 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h.
pub const STANDARD_DELAYS_S: [u64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
/// Attempts of the standard policy, the first included.
pub const STANDARD_MAX_ATTEMPTS: u16 = 10;
/// Most attempts that any policy may ask for.
pub const MAX_ATTEMPTS: u16 = 50;
/// Longest delay that a policy may ask for.
pub const DELAY_MAX: Duration = Duration::from_hours(7 * 24);
/// Longest wait that a receiver may ask for with `Retry-After`.
pub const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);
/// Each delay is drawn evenly from `1 - JITTER` to `1 + JITTER` times its length.
pub const JITTER: f64 = 0.2;

/// When failed deliveries are tried again, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, FromJsonQueryResult)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RetryPolicy {
    /// The standard delays, cut short after `max_attempts` (1 to 10).
    Standard {
        /// Attempts in all.
        max_attempts: u16,
    },
    /// Delays given one by one, in milliseconds; as many retries as delays.
    Custom {
        /// The delays in order, at most 49.
        delays_ms: Vec<u64>,
    },
    /// Delays that grow by a rule.
    Computed {
        /// How they grow.
        growth: Growth,
        /// Before the first retry, in milliseconds.
        initial_delay_ms: u64,
        /// Longest delay, in milliseconds.
        max_delay_ms: u64,
        /// Attempts in all, 1 to 50.
        max_attempts: u16,
    },
}

/// How computed delays grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Growth {
    /// The same delay every time.
    Fixed,
    /// Growing by the initial delay each time.
    Linear,
    /// Doubling.
    Exponential,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::Standard { max_attempts: STANDARD_MAX_ATTEMPTS }
    }
}

impl RetryPolicy {
    /// Attempts in all, the first included.
    pub fn max_attempts(&self) -> u16 {
        match self {
            Self::Standard { max_attempts } | Self::Computed { max_attempts, .. } => *max_attempts,
            Self::Custom { delays_ms } => u16::try_from(delays_ms.len()).unwrap_or(MAX_ATTEMPTS - 1).saturating_add(1),
        }
    }

    /// The delays between attempts, before jitter, in order: one fewer than [`RetryPolicy::max_attempts`].
    pub fn delays(&self) -> Vec<Duration> {
        (1..self.max_attempts()).filter_map(|attempt| self.base_delay(attempt)).collect()
    }

    /// Wait after failed attempt `attempt` (from 1) of a round, or `None` when the policy is exhausted.
    ///
    /// `jitter` is in `0.0..1.0`, drawn by the caller. `asked` is `Retry-After`, honoured up to [`RETRY_AFTER_MAX`];
    /// it can lengthen a delay, never shorten it.
    pub fn delay_after(&self, attempt: u16, jitter: f64, asked: Option<Duration>) -> Option<Duration> {
        if attempt >= self.max_attempts() {
            return None;
        }
        let drawn = self.base_delay(attempt)?.mul_f64(1.0 - JITTER + 2.0 * JITTER * jitter);
        Some(drawn.max(asked.unwrap_or_default().min(RETRY_AFTER_MAX)))
    }

    /// The longest that [`RetryPolicy::delay_after`] can answer without being asked for more.
    pub fn longest_delay_after(&self, attempt: u16) -> Option<Duration> {
        self.delay_after(attempt, 1.0, None)
    }

    fn base_delay(&self, attempt: u16) -> Option<Duration> {
        let index = usize::from(attempt.checked_sub(1)?);
        match self {
            Self::Standard { .. } => STANDARD_DELAYS_S.get(index).map(|&seconds| Duration::from_secs(seconds)),
            Self::Custom { delays_ms } => delays_ms.get(index).map(|&millis| Duration::from_millis(millis)),
            Self::Computed { growth, initial_delay_ms, max_delay_ms, .. } => {
                let grown = match growth {
                    Growth::Fixed => *initial_delay_ms,
                    Growth::Linear => initial_delay_ms.saturating_mul(u64::from(attempt)),
                    Growth::Exponential => {
                        initial_delay_ms.saturating_mul(1_u64.checked_shl(u32::from(attempt) - 1).unwrap_or(u64::MAX))
                    }
                };
                Some(Duration::from_millis(grown.min(*max_delay_ms)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn the_standard_policy_makes_ten_attempts_with_the_published_delays() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.max_attempts(), 10);
        assert_eq!(policy.delays(), STANDARD_DELAYS_S.map(S));
        assert_eq!(policy.delay_after(10, 0.5, None), None);
    }

    #[test]
    fn jitter_moves_a_delay_by_a_fifth_at_most() {
        let policy = RetryPolicy::Custom { delays_ms: vec![10_000] };
        assert_eq!(policy.delay_after(1, 0.0, None), Some(S(8)));
        assert_eq!(policy.delay_after(1, 0.5, None), Some(S(10)));
        assert_eq!(policy.longest_delay_after(1), Some(S(12)));
    }

    #[test]
    fn retry_after_lengthens_a_delay_up_to_a_day_and_never_shortens_it() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.delay_after(1, 0.5, Some(S(60))), Some(S(60)));
        assert_eq!(policy.delay_after(2, 0.5, Some(S(60))), Some(S(300)));
        assert_eq!(policy.delay_after(1, 0.5, Some(S(1_000_000))), Some(S(86_400)));
    }

    #[test]
    fn max_attempts_cuts_the_standard_policy_short_and_an_empty_list_never_retries() {
        assert_eq!(RetryPolicy::Standard { max_attempts: 2 }.delays(), [S(5)]);
        assert_eq!(RetryPolicy::Standard { max_attempts: 1 }.delay_after(1, 0.5, None), None);
        assert_eq!(RetryPolicy::Custom { delays_ms: vec![] }.delay_after(1, 0.5, Some(S(1))), None);
    }

    #[test]
    fn computed_delays_grow_by_their_rule_up_to_the_longest_and_do_not_overflow() {
        let computed = |growth, max_attempts| RetryPolicy::Computed {
            growth,
            initial_delay_ms: 1_000,
            max_delay_ms: 5_000,
            max_attempts,
        };
        assert_eq!(computed(Growth::Fixed, 4).delays(), [S(1), S(1), S(1)]);
        assert_eq!(computed(Growth::Linear, 8).delays(), [S(1), S(2), S(3), S(4), S(5), S(5), S(5)]);
        assert_eq!(computed(Growth::Exponential, 5).delays(), [S(1), S(2), S(4), S(5)]);
        assert_eq!(computed(Growth::Exponential, 50).delays().len(), 49);
    }
}
