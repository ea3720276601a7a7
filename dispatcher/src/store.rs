//! Rows: the truth. Two committers write many results at once, a pager reads for many endpoints, sweeps find what
//! got lost in memory.
//!
//! Batches go to the database as one JSON parameter, which PostgreSQL (`json_to_recordset`) and SQLite (`json_each`)
//! both turn into rows: the text of a statement never grows with the batch, and no limit of bound parameters is near.
//! [`sql`] owns what differs between the two.

pub(crate) mod backlog;
pub(crate) mod cancel;
pub(crate) mod completion;
pub(crate) mod confirmation;
pub(crate) mod database;
pub(crate) mod erase;
pub(crate) mod expiry;
pub(crate) mod express;
pub(crate) mod forget;
pub(crate) mod held;
pub(crate) mod idempotency;
pub(crate) mod ingest;
pub(crate) mod install;
pub(crate) mod logged;
pub(crate) mod match_table;
pub(crate) mod notice;
pub(crate) mod pager;
pub(crate) mod purge;
pub(crate) mod replay;
pub(crate) mod retention;
pub(crate) mod retry;
pub(crate) mod sieve;
pub(crate) mod sql;
mod standing;
pub(crate) mod sweep;
pub(crate) mod test_event;
mod walk;
