//! Retry schedules: when each endpoint has a retry due, held in Redis.
//!
//! Truth    is the row (`next_attempt_at`). The schedule is an index of it that can be lost at any moment: every answer
//!          tells whether it is still the one that was written to, and what is lost is rebuilt from the rows.
//! Writer   only the owner of a shard writes the keys of that shard. Every script checks the epoch of the owner, so one
//!          who was replaced is refused, and the generation, which changes with every rebuild, so that no half-built
//!          state is read and an emptied server is noticed at the next call.
//! Counter  every write counts; a number that is not the one after the last tells of writes that a failover has lost.
//! Window   the earliest [`WINDOW`] retries of an endpoint are held, so that a day without its receiver does not fill the
//!          server, and each of its keys stays a listpack (33 to 53 bytes an entry where ten or more wait). Where the
//!          window ends is kept too: what is later is in the rows only, so that no retry is held while an earlier one
//!          is not. Once most of them are gone, the next are read from the rows.
//! Reading  what is due within [`AHEAD`] is told to the hub of its endpoint, whose wheel wakes it to the millisecond. The
//!          rest is nowhere in memory. Entries stay until the result of their attempt replaces or removes them. A shard
//!          whose first retry is later is not asked, but for a few in turn, to notice an emptied server.
//! Without  Redis the sweep tells the wheels of the same from the rows.

use angarium_entity::{DeliveryId, EndpointId, Timestamp};

mod keeper;
#[cfg(test)]
mod memory;
mod redis;
mod rows;
#[cfg(test)]
mod tests;

pub(crate) use keeper::{AHEAD, Keeper, Schedule};
pub(crate) use redis::RedisSchedule;

/// Retries of one endpoint that are held.
pub(crate) const WINDOW: usize = 128;
/// Fewer than this and the next are read from the rows.
const LOW_WATER: usize = WINDOW / 4;

/// A retry that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) endpoint: EndpointId,
    pub(crate) delivery: DeliveryId,
    pub(crate) due: Timestamp,
}

/// Which schedule is meant: a shard as its owner knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) shard: i32,
    pub(crate) epoch: i64,
    /// The generation; every rebuild makes a new one.
    pub(crate) generation: String,
}

/// What a schedule says to its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer<T> {
    /// It was done.
    Done(T),
    /// Somebody with a newer epoch has it: nothing was done.
    Fenced,
    /// It is not there, or another generation, or only half built: nothing was done, and it must be rebuilt.
    Lost,
}

/// A schedule that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attached {
    pub(crate) generation: String,
    pub(crate) written: Written,
}

/// After a write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// Writes so far.
    pub(crate) version: i64,
    /// Entries that are held.
    pub(crate) count: i64,
    /// Endpoints that have few entries left here, and more in the rows.
    pub(crate) low: Vec<EndpointId>,
}

/// A schedule did not answer.
#[derive(Debug, thiserror::Error)]
#[error("the retry schedule does not answer")]
pub(crate) struct Unavailable(#[source] pub(crate) ::redis::RedisError);

/// Holds the retries of shards. The conformance suite says what each must do.
pub(crate) trait RetrySchedule: Send + Sync + 'static {
    /// Takes over the schedule of a shard for the owner with this epoch.
    fn attach(&self, shard: i32, epoch: i64) -> impl Future<Output = Result<Answer<Attached>, Unavailable>> + Send;

    /// Begins a new generation without entries, which is not attached to until [`Self::complete`].
    fn begin(&self, place: &Place) -> impl Future<Output = Result<Answer<()>, Unavailable>> + Send;

    /// Ends a rebuild.
    fn complete(&self, place: &Place) -> impl Future<Output = Result<Answer<()>, Unavailable>> + Send;

    /// Puts entries in, at their new time if they are there already, and takes others out. Of an endpoint the earliest
    /// [`WINDOW`] stay, and from the first that did not stay on nothing is taken in: what is held is always the front of
    /// what waits.
    fn write(
        &self,
        place: &Place,
        put: &[Entry],
        remove: &[(EndpointId, DeliveryId)],
    ) -> impl Future<Output = Result<Answer<Written>, Unavailable>> + Send;

    /// The endpoints that have something due at `until` or before, each with its earliest time; `limit` of them from
    /// the one numbered `offset`. Forgets what was due before `stale`: whoever waits so long waits for something else,
    /// and is found in the rows.
    fn range(
        &self,
        place: &Place,
        until: Timestamp,
        stale: Timestamp,
        offset: usize,
        limit: usize,
    ) -> impl Future<Output = Result<Answer<Vec<(EndpointId, Timestamp)>>, Unavailable>> + Send;

    /// Puts in the front of what waits at one endpoint, as just read from the rows: all of it, or one more than
    /// [`WINDOW`].
    fn refill(
        &self,
        place: &Place,
        endpoint: EndpointId,
        front: &[Entry],
    ) -> impl Future<Output = Result<Answer<Written>, Unavailable>> + Send;
}
