//! A clock that goes on while the machine sleeps.
//!
//! Trap    `Instant` is `CLOCK_MONOTONIC` on Linux, which stands still during a suspend: a lease measured by it would
//!         outlive its end.
//! Source  `clock_gettime(2)`, `CLOCK_BOOTTIME`.

use rustix::time::{ClockId, clock_gettime};

#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOCK: ClockId = ClockId::Monotonic;

/// Milliseconds since some moment before the process began.
pub(super) fn now_ms() -> i64 {
    let now = clock_gettime(CLOCK);
    now.tv_sec.saturating_mul(1_000).saturating_add(now.tv_nsec / 1_000_000)
}
