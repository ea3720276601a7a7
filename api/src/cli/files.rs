//! How many files and sockets the process may have open.

use crate::config;

/// Sockets of clients and databases, and files, beside those of deliveries.
const OTHERS: u64 = 4_096;
/// Unused connections that each thread may keep to the hosts of endpoints.
const UNUSED: u64 = 8_192;

/// Raises the limit as far as the system lets us, and warns if requests in flight may use it up: what cannot be opened is
/// tried again and is no failure of the receiver, but late.
pub(super) fn raise_limit(config: &config::Dispatcher) {
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let (threads, in_flight) = (number(config.arbiters), number(config.in_flight_max));
    let wanted = threads.saturating_mul(in_flight.saturating_add(UNUSED)).saturating_add(OTHERS);
    let needed = threads.saturating_mul(in_flight).saturating_add(OTHERS);
    match rlimit::increase_nofile_limit(wanted) {
        Ok(allowed) if allowed < needed => tracing::warn!(
            allowed,
            needed,
            "the limit of open files is lower than the requests in flight may need; raise it (ulimit -n, LimitNOFILE), or \
             lower ANGARIUM_IN_FLIGHT_MAX"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit of open files cannot be raised"),
    }
}
