//! What an answer means: whose fault, whether to retry, and when.

use std::time::Duration;

use angarium_entity::Timestamp;
use angarium_entity::attempt::ErrorCode;
use angarium_entity::delivery::DeliveryState;
use angarium_entity::retry_policy::{RETRY_AFTER_MAX, RetryPolicy};

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// 2xx.
    Delivered,
    /// Try again; the receiver may have asked to be left alone for a while.
    Retry {
        /// What went wrong.
        code: ErrorCode,
        /// `Retry-After` of a 429 or 503: the whole endpoint waits.
        hold: Option<Duration>,
    },
    /// 410: the receiver wants nothing more. The endpoint is suspended and the delivery waits.
    Gone,
}

/// Judges the status of a complete response. `retry_after` is that header's value.
pub(crate) fn judge(status: u16, retry_after: Option<&str>, now: Timestamp) -> Verdict {
    match status {
        200..=299 => Verdict::Delivered,
        300..=399 => Verdict::Retry { code: ErrorCode::Redirect, hold: None },
        410 => Verdict::Gone,
        429 | 503 => {
            let hold = retry_after.and_then(|value| parse_retry_after(value, now));
            Verdict::Retry { code: ErrorCode::HttpStatus, hold }
        }
        _ => Verdict::Retry { code: ErrorCode::HttpStatus, hold: None },
    }
}

/// Reads `Retry-After`: seconds (a fraction is rounded up) or an HTTP date in any of its three forms; at most 24 h.
///
/// Source: RFC 9110, sections 10.2.3 and 5.6.7.
pub(crate) fn parse_retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    let wait = match value.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && seconds >= 0.0 => {
            Duration::try_from_secs_f64(seconds.ceil()).unwrap_or(RETRY_AFTER_MAX)
        }
        Ok(_) => return None,
        Err(_) => {
            let at = httpdate::parse_http_date(value).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
            Timestamp::from_millis(i64::try_from(at.as_millis()).ok()?).since(now)
        }
    };
    (!wait.is_zero()).then(|| wait.min(RETRY_AFTER_MAX))
}

/// Where a delivery goes after a failed attempt, the `round_attempts`-th of its round, that ended at `now`.
/// `jitter` is in `0.0..1.0`.
pub(crate) fn after_failure(
    state: DeliveryState,
    policy: &RetryPolicy,
    round_attempts: u16,
    jitter: f64,
    hold: Option<Duration>,
    now: Timestamp,
) -> DeliveryState {
    let next = match policy.delay_after(round_attempts, jitter, hold) {
        Some(delay) => state.retry_at(now + delay),
        None => state.exhaust(now),
    };
    // Only an open delivery is ever sent, and no final state is left by an attempt.
    next.unwrap_or(state)
}

/// The same after a probe of the circuit breaker, which uses up nothing of the policy: after `round_attempts` that
/// counted, the delivery waits for the same step again.
pub(crate) fn after_probe(
    state: DeliveryState,
    policy: &RetryPolicy,
    round_attempts: u16,
    jitter: f64,
    hold: Option<Duration>,
    now: Timestamp,
) -> DeliveryState {
    // What was never tried waits as after its first attempt; by a policy without retries, for its turn.
    let delay = policy.delay_after(round_attempts.max(1), jitter, hold);
    let delay = delay.unwrap_or_else(|| hold.unwrap_or_default().min(RETRY_AFTER_MAX));
    state.retry_at(now + delay).unwrap_or(state)
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_614_265_330_000);
    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn only_2xx_is_success_and_a_redirect_is_not_followed() {
        assert_eq!(judge(204, None, NOW), Verdict::Delivered);
        assert_eq!(judge(302, None, NOW), Verdict::Retry { code: ErrorCode::Redirect, hold: None });
        for status in [100, 400, 404, 422, 500, 501, 599] {
            assert_eq!(judge(status, Some("9"), NOW), Verdict::Retry { code: ErrorCode::HttpStatus, hold: None });
        }
        assert_eq!(judge(410, None, NOW), Verdict::Gone);
    }

    #[test]
    fn every_status_is_judged_by_its_hundred_but_for_410() {
        for status in 100..=999 {
            let judged = judge(status, None, NOW);
            let failed = |code| Verdict::Retry { code, hold: None };
            match (status / 100, status) {
                (2, _) => assert_eq!(judged, Verdict::Delivered, "{status}"),
                (_, 410) => assert_eq!(judged, Verdict::Gone),
                (3, _) => assert_eq!(judged, failed(ErrorCode::Redirect), "{status}"),
                _ => assert_eq!(judged, failed(ErrorCode::HttpStatus), "{status}"),
            }
        }
    }

    #[test]
    fn retry_after_is_read_in_all_its_forms_and_bounded() {
        for (value, wait) in [
            ("120", Some(S(120))),
            (" 1.5 ", Some(S(2))),
            ("999999999", Some(S(86_400))),
            ("1e300", Some(S(86_400))),
            ("Thu, 25 Feb 2021 15:03:10 GMT", Some(S(60))),
            ("Thursday, 25-Feb-21 15:03:10 GMT", Some(S(60))),
            ("Thu Feb 25 15:03:10 2021", Some(S(60))),
            ("Thu, 25 Feb 2021 15:00:00 GMT", None),
            ("0", None),
            ("-5", None),
            ("NaN", None),
            ("soon", None),
        ] {
            let Verdict::Retry { hold, .. } = judge(429, Some(value), NOW) else { panic!("{value}") };
            assert_eq!(hold, wait, "{value}");
        }
    }

    #[test]
    fn a_failure_is_retried_until_the_policy_is_exhausted() {
        let policy = RetryPolicy::Custom { delays_ms: vec![10_000] };
        let retrying = after_failure(DeliveryState::Pending, &policy, 1, 0.5, None, NOW);
        assert_eq!(retrying, DeliveryState::Retrying { next_attempt_at: NOW + S(10) });
        assert_eq!(after_failure(retrying, &policy, 2, 0.5, None, NOW), DeliveryState::Exhausted { at: NOW });
    }

    #[test]
    fn a_probe_uses_up_nothing_and_has_its_delivery_wait_for_the_same_step_again() {
        let policy = RetryPolicy::Custom { delays_ms: vec![10_000, 20_000] };
        let waits = |seconds| DeliveryState::Retrying { next_attempt_at: NOW + S(seconds) };
        let probed = |state, attempts, hold| after_probe(state, &policy, attempts, 0.5, hold, NOW);
        assert_eq!(probed(DeliveryState::Pending, 0, None), waits(10), "what was never tried");
        assert_eq!(probed(waits(0), 1, None), waits(10));
        assert_eq!(probed(waits(0), 2, None), waits(20), "the last step lasts for any number of probes");
        assert_eq!(probed(waits(0), 2, Some(S(60))), waits(60));
        let once = RetryPolicy::Standard { max_attempts: 1 };
        assert_eq!(after_probe(DeliveryState::Pending, &once, 0, 0.5, None, NOW), waits(0));
    }
}
