//! What the dispatcher is told at its start.

use std::time::Duration;

use crate::link::RedisUrl;
use crate::replay::ReadTarget;
use crate::{AddressGuard, Metrics, Proxy, Tracer};

/// Settings of the dispatcher.
#[derive(Clone, Debug)]
pub struct Config {
    /// Threads that send, each with its own HTTP client. From 1 to 64.
    pub arbiters: usize,
    /// Most requests in flight on each thread. From 1 to 100,000.
    pub in_flight_max: usize,
    /// Hosts that each thread keeps unused connections for, [`IDLE_PER_HOST`] of them for each. From 1; [`IDLE_HOSTS_MAX`]
    /// where files are plenty.
    pub idle_hosts_max: usize,
    /// Endpoints that each thread keeps awake before it forgets those with nothing to do early. [`AWAKE_MAX`], except in a
    /// test.
    pub awake_max: usize,
    /// Which addresses may be connected to.
    pub guard: AddressGuard,
    /// What is asked for the addresses of names; empty for what the system names.
    pub name_servers: Vec<std::net::SocketAddr>,
    /// What every request goes through; none sends directly.
    pub proxy: Option<Proxy>,
    /// Reads what a replay is to send.
    pub read_target: ReadTarget,
    /// Where retry schedules are held and nodes tell each other of what they do; none for one node that reads its rows,
    /// or some that look every second.
    pub redis: Option<RedisUrl>,
    /// How long a node that says nothing keeps its shards. [`LEASE_TTL`], except where a test cannot wait.
    pub lease_ttl: Duration,
    /// Whether the rows are looked through for retries, too. Only a test of the schedule goes without.
    pub sweeps_retries: bool,
    /// Where it counts what it does.
    pub metrics: Metrics,
    /// Makes spans of publishes and attempts, if any are wanted.
    pub tracer: Tracer,
}

/// Hosts that unused connections are kept for by one thread.
pub const IDLE_HOSTS_MAX: usize = 2_048;
/// Unused connections kept for each host.
pub const IDLE_PER_HOST: usize = 4;

/// Endpoints that a thread keeps awake before those with nothing to do are forgotten early. Each takes some KiB.
pub const AWAKE_MAX: usize = 4_096;

/// How long a node that says nothing keeps its shards.
pub const LEASE_TTL: Duration = crate::cluster::TTL;
