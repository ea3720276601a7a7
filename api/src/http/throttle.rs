//! How many operations a key may ask for: a token bucket for each, which holds what may be asked for in one second.
//!
//! Counted  every operation that is executed, over HTTP, as an event stream or on a WebSocket; a batch of events is one.
//!          Access tokens draw from the bucket of the key that made them. Calls without a key can ask for nothing much.
//! Each     node counts for itself: behind a balancer, a key gets the rate on every node.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use angarium_entity::{ApiKeyId, Timestamp};

use crate::Caller;

/// Most buckets. One that is full again says nothing and is dropped when room is needed; if all are in use, all are
/// dropped: a moment of leniency instead of memory without end.
const BUCKETS_MAX: usize = 10_000;

/// The buckets.
#[derive(Debug)]
pub(super) struct Throttle {
    /// None for no limit.
    per_second: Option<NonZeroU32>,
    /// By key; none for the operator's own.
    buckets: Mutex<HashMap<Option<ApiKeyId>, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Timestamp,
}

impl Throttle {
    pub(super) fn new(per_second: Option<NonZeroU32>) -> Self {
        Self { per_second, buckets: Mutex::default() }
    }

    /// Takes one operation of `caller` at `now`, or tells when there is one again.
    pub(super) fn take(&self, caller: Option<&Caller>, now: Timestamp) -> Result<(), Duration> {
        let (Some(per_second), Some(caller)) = (self.per_second, caller) else { return Ok(()) };
        self.take_of(caller.key_id(), f64::from(per_second.get()), now)
    }

    fn take_of(&self, key: Option<ApiKeyId>, rate: f64, now: Timestamp) -> Result<(), Duration> {
        let filled = |bucket: &Bucket| (bucket.left + now.since(bucket.at).as_secs_f64() * rate).min(rate);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS_MAX && !buckets.contains_key(&key) {
            buckets.retain(|_, bucket| filled(bucket) < rate);
            if buckets.len() >= BUCKETS_MAX {
                buckets.clear();
            }
        }
        let left = buckets.get(&key).map_or(rate, filled);
        if left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - left) / rate));
        }
        let at = buckets.get(&key).map_or(now, |bucket| bucket.at.max(now));
        buckets.insert(key, Bucket { left: left - 1.0, at });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttle(per_second: u32) -> Throttle {
        Throttle::new(NonZeroU32::new(per_second))
    }

    #[test]
    fn a_bucket_holds_a_second_and_fills_again() {
        let (throttle, now) = (throttle(4), Timestamp::from_millis(1_000));
        let taken = |at: Timestamp| (0..10).filter(|_| throttle.take_of(None, 4.0, at).is_ok()).count();
        assert_eq!(taken(now), 4);
        assert_eq!(throttle.take_of(None, 4.0, now), Err(Duration::from_millis(250)));
        assert_eq!(taken(now + Duration::from_millis(249)), 0);
        assert_eq!(taken(now + Duration::from_millis(500)), 2);
        assert_eq!(taken(now + Duration::from_hours(1)), 4);
        assert_eq!(taken(now), 0, "a clock that goes back gives nothing");
    }

    #[test]
    fn keys_do_not_share_and_their_number_is_bounded() {
        let (throttle, now) = (throttle(1), Timestamp::from_millis(1_000));
        for _ in 0..2 * BUCKETS_MAX {
            assert_eq!(throttle.take_of(Some(ApiKeyId::new(now)), 1.0, now), Ok(()));
        }
        assert!(throttle.buckets.lock().is_ok_and(|buckets| buckets.len() <= BUCKETS_MAX));
    }
}
