//! Which node delivers for which endpoint.
//!
//! Shard    endpoints hash into shards; a shard has one owner, whose actors send for its endpoints. Its epoch grows with
//!          every owner.
//! Lease    a node may send while its row in `node` says so: for [`TTL`], said again every third of that. It trusts its
//!          own lease for a little less, counted by a clock that goes on while the machine sleeps, from the moment at
//!          which it asked. No clock of two nodes is compared.
//! Burial   who sees that the lease of another has run out deletes its row. That is the moment at which the shards of
//!          the dead are free, and not before: a node that was merely slow renews its lease and goes on.
//! Fence    results are written only by a transaction that holds the row of its node (`FOR KEY SHARE`), so nothing of a
//!          node that was buried becomes durable, whenever it wakes up. It notices, drops what it knows and joins again
//!          as another node.
//! Moves    rendezvous hashing says where each shard belongs, so a node that comes or goes moves only what it must. A
//!          shard is given away when nothing of it is in flight and its last result is durable: those first that are
//!          quiet, [`MOVES_MAX`] at a time, then [`BUSY_MOVES_MAX`] of the others, which start nothing more meanwhile. One
//!          that was not quiet in time stays, and goes alone later, with more patience. A release names the epoch, so
//!          that one which comes late takes nothing away.
//! Strict   who takes a shard from a buried node waits for the timeout of a STRICT endpoint before its first request:
//!          what the dead had sent has ended by then.
//! Alone    while a node is the only one, what it publishes goes straight to its actors. A publish reads the version of
//!          the membership in its transaction: once somebody else has joined, every line is read from the rows.
//! Embedded SQLite has one process, by the lock on its file. It takes every shard at its start and for good.
//!
//! # Deliberately absent
//! Leases in Redis. A fence must not be forgotten by what it fences off, and Redis may be emptied at any moment.

use std::time::Duration;

mod boot;
mod chores;
mod leases;
mod membership;
mod ownership;
mod placement;
mod vigil;

pub(crate) use chores::{Chore, Chores};
pub(crate) use membership::{Membership, Running};
pub(crate) use ownership::{Ownership, Route};
pub(crate) use vigil::watch as watch_settings;

/// How long a node that says nothing keeps its shards.
pub(crate) const TTL: Duration = Duration::from_secs(10);
/// Shards that are being given away at the same time.
const MOVES_MAX: usize = 32;
/// The same, of those that have a request in flight.
const BUSY_MOVES_MAX: usize = 4;
