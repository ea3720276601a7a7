//! Doors for the fuzzers in `tests/fuzz/targets`, to what is private otherwise.

use std::time::Duration;

use angarium_entity::Timestamp;

/// How long a `Retry-After` that came at `now` asks to wait.
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    crate::classify::parse_retry_after(value, now)
}

/// What is kept of the first `keep` bytes of an answer to a request with these secrets.
pub fn masked(bytes: &[u8], keep: usize, secrets: &[&[u8]]) -> Vec<u8> {
    crate::transport::masked(bytes, keep, secrets)
}
