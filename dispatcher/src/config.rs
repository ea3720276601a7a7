//! What the dispatcher is told at its start.

use crate::AddressGuard;

/// Settings of the dispatcher.
#[derive(Clone, Debug)]
pub struct Config {
    /// Threads that send, each with its own HTTP client. From 1 to 64.
    pub arbiters: usize,
    /// Most requests in flight on each thread.
    pub in_flight_max: usize,
    /// Which addresses may be connected to.
    pub guard: AddressGuard,
    /// Redis that holds the retry schedule; without one the schedule is fed from the rows.
    pub redis_url: Option<String>,
    /// Where the API of this node listens, for people who read the list of nodes.
    pub address: String,
}
