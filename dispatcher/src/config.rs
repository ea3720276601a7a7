//! What the dispatcher is told at its start.

use crate::replay::ReadTarget;
use crate::{AddressGuard, Proxy};

/// Settings of the dispatcher.
#[derive(Clone, Debug)]
pub struct Config {
    /// Threads that send, each with its own HTTP client. From 1 to 64.
    pub arbiters: usize,
    /// Most requests in flight on each thread. From 1 to 100,000.
    pub in_flight_max: usize,
    /// Which addresses may be connected to.
    pub guard: AddressGuard,
    /// What every request goes through; none sends directly.
    pub proxy: Option<Proxy>,
    /// Reads what a replay is to send.
    pub read_target: ReadTarget,
}
