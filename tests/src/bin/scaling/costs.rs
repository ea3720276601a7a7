//! What was measured, in microseconds of processor time and bytes of PostgreSQL's log.
//!
//! Source  `tests/bench single fanout` on a machine of two cores: 205 and 139 µs of node and PostgreSQL for a delivery of
//!         one event each, 74 and 87 for one of 64, 4,197 and 3,891 bytes of log; shares within by `perf`. A page for each
//!         delivery, a flush and what the disk takes are estimates.

/// Costs of one publish and of one delivery.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Costs {
    /// A node reads, checks and answers a publish.
    pub(crate) publish_node: f64,
    /// It signs and sends a delivery and takes its result.
    pub(crate) deliver_node: f64,
    /// PostgreSQL begins, plans and ends a statement.
    pub(crate) statement_postgres: f64,
    /// It stores an event, a delivery, a result, and reads the page with a delivery.
    pub(crate) event_postgres: f64,
    pub(crate) insert_postgres: f64,
    pub(crate) result_postgres: f64,
    pub(crate) page_postgres: f64,
    /// Bytes of log.
    pub(crate) event_log: f64,
    pub(crate) insert_log: f64,
    pub(crate) result_log: f64,
    /// A flush of nothing, and what the disk takes.
    pub(crate) flush: f64,
    pub(crate) log_bytes_per_us: f64,
}

/// One mutation for each event.
pub(crate) const SINGLE: Costs = Costs {
    publish_node: 140.0,
    deliver_node: 60.0,
    statement_postgres: 300.0,
    event_postgres: 30.0,
    insert_postgres: 45.0,
    result_postgres: 40.0,
    page_postgres: 60.0,
    event_log: 300.0,
    insert_log: 1_800.0,
    result_log: 2_100.0,
    flush: 500.0,
    log_bytes_per_us: 500.0,
};

/// One event to many endpoints: what is done once for an event hardly counts.
pub(crate) const FAN_OUT: Costs = Costs { page_postgres: 20.0, ..SINGLE };
