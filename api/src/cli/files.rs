//! How many files and sockets the process may have open.

use angarium_dispatcher::config::{IDLE_HOSTS_MAX, IDLE_PER_HOST};

use crate::config;

/// Sockets of clients and databases, and files, beside those of deliveries.
const OTHERS: usize = 4_096;

/// Raises the limit as far as the system lets us. Where that is not enough for all, deliveries get at most half of it,
/// and warns if that bounds the requests in flight: who hangs or keeps a connection must not cost the callers of the API
/// and the database theirs. What still cannot be opened is tried again and is no failure of the receiver, but late.
pub(super) fn fit(config: &mut config::Dispatcher) {
    let whole = config.in_flight_max.saturating_add(IDLE_HOSTS_MAX * IDLE_PER_HOST);
    let wanted = config.arbiters.saturating_mul(whole).saturating_add(OTHERS);
    let allowed = match rlimit::increase_nofile_limit(u64::try_from(wanted).unwrap_or(u64::MAX)) {
        Ok(allowed) => usize::try_from(allowed).unwrap_or(usize::MAX),
        Err(error) => {
            tracing::warn!(%error, "the limit of open files cannot be raised");
            return;
        }
    };
    let (in_flight_max, idle_hosts_max) = shares(allowed, config.arbiters, config.in_flight_max);
    if in_flight_max < config.in_flight_max {
        tracing::warn!(
            allowed,
            wanted,
            in_flight_max,
            "the limit of open files is lower than the requests in flight may need, so fewer run at the same time on each \
             thread; raise it (ulimit -n, LimitNOFILE), or lower ANGARIUM_IN_FLIGHT_MAX"
        );
    }
    (config.in_flight_max, config.idle_hosts_max) = (in_flight_max, idle_hosts_max);
}

/// Requests in flight of each thread, and hosts that it keeps unused connections for, where so many files are allowed.
fn shares(allowed: usize, threads: usize, in_flight_max: usize) -> (usize, usize) {
    let of_others = OTHERS.min(allowed / 2);
    let of_thread = (allowed - of_others) / threads.max(1);
    let in_flight = in_flight_max.min(of_thread / 2).max(1);
    let idle_hosts = of_thread.saturating_sub(in_flight) / IDLE_PER_HOST;
    (in_flight, idle_hosts.clamp(1, IDLE_HOSTS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_get_all_they_may_use_or_at_most_half_of_the_files() {
        assert_eq!(shares(1_048_576, 8, 2_000), (2_000, 2_048));
        assert_eq!(shares(65_536, 8, 2_000), (2_000, 1_420));
        assert_eq!(shares(4_096, 2, 2_000), (512, 128));
        assert_eq!(shares(256, 2, 2_000), (32, 8));
        assert_eq!(shares(256, 2, 10), (10, 13));
        assert_eq!(shares(0, 64, 100_000), (1, 1));
        for allowed in (16..10_000).step_by(7) {
            let (in_flight, idle_hosts) = shares(allowed, 2, 2_000);
            assert!(
                2 * (in_flight + idle_hosts * IDLE_PER_HOST) <= (allowed / 2).max(allowed.saturating_sub(OTHERS)) + 10
            );
        }
    }
}
