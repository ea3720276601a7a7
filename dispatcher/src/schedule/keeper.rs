//! Keeps the schedules of this node's shards: takes them over, writes what changes, tells the hubs what is due soon, and
//! rebuilds what is lost.
//!
//! It is one task, so that a write and a rebuild of the same shard never cross. What it cannot write it forgets: the
//! shard is rebuilt from the rows once Redis answers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use angarium_entity::clock::SharedClock;
use angarium_entity::{Database, DeliveryId, EndpointId, Timestamp, shard};
use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Answer, Attached, Entry, Place, RetrySchedule, Unavailable, Written, rows};
use crate::actor::Hubs;
use crate::cluster::Ownership;

/// What is due within this is in the wheels.
pub(crate) const AHEAD: Duration = Duration::from_mins(1);
/// Pause between two readings of what is due soon.
const EVERY: Duration = Duration::from_secs(30);
/// Pause before what failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// What was due so long ago and is still there waits for something else than its time.
const STALE_AFTER: Duration = Duration::from_mins(5);
/// Changes that wait for the keeper. Beyond it they are dropped, and everything is rebuilt.
const QUEUE_MAX: usize = 50_000;
/// Changes that are written together.
const BATCH_MAX: usize = 1_000;
/// Entries of one script.
const WRITE_MAX: usize = 500;
/// Shards that are asked at the same time, and whose rows are read together.
const AT_ONCE: usize = 64;
/// Endpoints that are read of one shard at once.
const RANGE_MAX: usize = 500;
/// Shards with nothing due soon that are read all the same, each time others: should Redis have lost them, it has lost more.
const LOOKED_AT: usize = 16;
/// Later than any retry.
const FAR: Duration = Duration::from_hours(24 * 3_650);

/// Something that happened to a delivery that waits for a time, or does no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Put(Entry),
    Remove(EndpointId, DeliveryId),
}

/// The way to the keeper. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schedule(Option<Way>);

#[derive(Clone, Debug)]
struct Way {
    changes: mpsc::Sender<Change>,
    overflown: Arc<AtomicBool>,
    rebuilds: Arc<AtomicU64>,
}

impl Schedule {
    /// Without Redis: the sweep reads the rows.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// A delivery waits until `due`, or does not wait any more.
    pub(crate) fn note(&self, endpoint: EndpointId, delivery: DeliveryId, due: Option<Timestamp>) {
        let Some(way) = &self.0 else { return };
        let change = match due {
            Some(due) => Change::Put(Entry { endpoint, delivery, due }),
            None => Change::Remove(endpoint, delivery),
        };
        if way.changes.try_send(change).is_err() {
            way.overflown.store(true, Ordering::Relaxed);
        }
    }

    /// How often schedules were rebuilt, counted by shards.
    pub(crate) fn rebuilds(&self) -> u64 {
        self.0.as_ref().map_or(0, |way| way.rebuilds.load(Ordering::Relaxed))
    }
}

/// The task.
pub(crate) struct Keeper<S> {
    pub(super) db: Database,
    pub(super) clock: SharedClock,
    pub(super) ownership: Ownership,
    pub(super) hubs: Hubs,
    pub(super) schedule: S,
    shard_count: i32,
    changes: mpsc::Receiver<Change>,
    overflown: Arc<AtomicBool>,
    rebuilds: Arc<AtomicU64>,
    kept: HashMap<i32, Kept>,
    /// Shards whose schedule is not known, or known to be wrong, with their epochs.
    unknown: BTreeMap<i32, (i64, Need)>,
    generations: u64,
    /// After what failed, not before then.
    try_at: Instant,
}

/// A schedule of this node.
#[derive(Clone, Debug)]
struct Kept {
    place: Place,
    version: i64,
    count: i64,
    /// Nothing is due before; none where that is not known.
    first: Option<Timestamp>,
}

/// What is put into a schedule and what is taken out.
type Batch = (Vec<Entry>, Vec<(EndpointId, DeliveryId)>);
/// What is due soon at each endpoint, and the first time at which anything is.
type Due = Result<Answer<(Vec<(EndpointId, Timestamp)>, Option<Timestamp>)>, Unavailable>;

/// What a shard needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// To be found.
    Attach,
    /// To be made again from the rows.
    Rebuild,
}

impl<S: RetrySchedule> Keeper<S> {
    /// One that is to run, and the way to it.
    pub(crate) fn new(
        db: Database,
        clock: SharedClock,
        ownership: Ownership,
        hubs: Hubs,
        schedule: S,
        shard_count: i32,
    ) -> (Self, Schedule) {
        let (sender, changes) = mpsc::channel(QUEUE_MAX);
        let (overflown, rebuilds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let way = Way { changes: sender, overflown: overflown.clone(), rebuilds: rebuilds.clone() };
        let keeper = Self {
            db,
            clock,
            ownership,
            hubs,
            schedule,
            shard_count,
            changes,
            overflown,
            rebuilds,
            kept: HashMap::new(),
            unknown: BTreeMap::new(),
            generations: 0,
            try_at: Instant::now(),
        };
        (keeper, Schedule(Some(way)))
    }

    /// Keeps until nobody is left who could say anything.
    pub(crate) async fn run(mut self) {
        let mut moved = self.ownership.changes();
        let mut batch = Vec::with_capacity(BATCH_MAX);
        let mut read_at = self.clock.now() + EVERY;
        self.adopt();
        loop {
            self.settle().await;
            let clock = self.clock.clone();
            let again = if self.unknown.is_empty() { Duration::MAX } else { AGAIN };
            tokio::select! {
                count = self.changes.recv_many(&mut batch, BATCH_MAX) => {
                    if count == 0 {
                        return;
                    }
                    self.write(batch.drain(..)).await;
                }
                told = moved.changed() => {
                    if told.is_err() {
                        return;
                    }
                    self.adopt();
                }
                () = clock.sleep_until(read_at) => {
                    self.read_all().await;
                    read_at = self.clock.now() + EVERY;
                }
                () = tokio::time::sleep(again) => {}
            }
            if self.overflown.swap(false, Ordering::Relaxed) {
                tracing::warn!("more retries changed than could be written to Redis; their schedules are rebuilt");
                let all: Vec<i32> = self.kept.keys().copied().collect();
                for shard in all {
                    self.lose(shard, Need::Rebuild);
                }
            }
        }
    }

    /// Notes which shards have come and gone.
    fn adopt(&mut self) {
        let owned: HashMap<i32, i64> = self.ownership.epochs().into_iter().collect();
        self.kept.retain(|shard, kept| owned.get(shard) == Some(&kept.place.epoch));
        self.unknown.retain(|shard, (epoch, _)| owned.get(shard) == Some(epoch));
        for (shard, epoch) in owned {
            if !self.kept.contains_key(&shard) {
                self.unknown.entry(shard).or_insert((epoch, Need::Attach));
            }
        }
    }

    /// Forgets what is known of a shard.
    fn lose(&mut self, shard: i32, need: Need) {
        if let Some(kept) = self.kept.remove(&shard) {
            self.unknown.insert(shard, (kept.place.epoch, need));
        }
    }

    /// Finds or rebuilds what is not known, as far as Redis and the database answer.
    pub(super) async fn settle(&mut self) {
        let wanted: Vec<_> = self.unknown.iter().map(|(shard, (epoch, need))| (*shard, *epoch, *need)).collect();
        if wanted.is_empty() || Instant::now() < self.try_at {
            return;
        }
        self.try_at = Instant::now() + AGAIN;
        let to_find =
            wanted.iter().filter(|(.., need)| *need == Need::Attach).map(|(shard, epoch, _)| (*shard, *epoch));
        let to_find: Vec<_> = to_find.collect();
        let schedule = &self.schedule;
        let found: Vec<(i32, i64, Result<Answer<Attached>, Unavailable>)> = stream::iter(to_find)
            .map(|(shard, epoch)| async move { (shard, epoch, schedule.attach(shard, epoch).await) })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let mut to_read = Vec::new();
        for (shard, epoch, answer) in found {
            match answer {
                Ok(Answer::Done(Attached { generation, written })) => {
                    let place = Place { shard, epoch, generation };
                    self.kept
                        .insert(shard, Kept { place, version: written.version, count: written.count, first: None });
                    self.unknown.remove(&shard);
                    to_read.push(shard);
                }
                Ok(Answer::Fenced) => drop(self.unknown.remove(&shard)),
                Ok(Answer::Lost) => drop(self.unknown.insert(shard, (epoch, Need::Rebuild))),
                // Those that were not asked yet would not be answered either.
                Err(_) => return,
            }
        }
        let lost = self.unknown.iter().filter(|(_, (_, need))| *need == Need::Rebuild).map(|(shard, _)| *shard);
        let lost: Vec<i32> = lost.collect();
        for shards in lost.chunks(AT_ONCE) {
            match self.rebuild(shards).await {
                Ok(()) => to_read.extend(shards),
                Err(error) => {
                    tracing::debug!(error = &*error, "retry schedules could not be rebuilt; trying again");
                    break;
                }
            }
        }
        self.try_at = if self.unknown.is_empty() { Instant::now() } else { self.try_at };
        self.read(&to_read).await;
    }

    /// Makes the schedules of these shards again from the rows.
    async fn rebuild(&mut self, shards: &[i32]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut entries: HashMap<i32, Vec<Entry>> = HashMap::new();
        for (shard, entry) in rows::of_shards(self.db.read(), shards).await? {
            entries.entry(shard).or_default().push(entry);
        }
        let mut rebuilt = 0;
        for shard in shards {
            let Some((epoch, _)) = self.unknown.get(shard).copied() else { continue };
            let entries = entries.remove(shard).unwrap_or_default();
            if entries.is_empty() {
                // The first write finds nothing, and makes it.
                let place = Place { shard: *shard, epoch, generation: String::new() };
                self.kept.insert(*shard, Kept { place, version: 0, count: 0, first: None });
                self.unknown.remove(shard);
                continue;
            }
            rebuilt += 1;
            self.generations += 1;
            let place = Place { shard: *shard, epoch, generation: format!("{epoch:x}.{:x}", self.generations) };
            match self.make(&place, &entries).await? {
                Answer::Done(written) => {
                    self.kept
                        .insert(*shard, Kept { place, version: written.version, count: written.count, first: None });
                    self.unknown.remove(shard);
                }
                Answer::Fenced => drop(self.unknown.remove(shard)),
                // Emptied again meanwhile.
                Answer::Lost => {}
            }
        }
        if rebuilt > 0 {
            self.rebuilds.fetch_add(rebuilt, Ordering::Relaxed);
            tracing::info!(shards = rebuilt, "retry schedules were rebuilt from the rows");
        }
        Ok(())
    }

    async fn make(&self, place: &Place, entries: &[Entry]) -> Result<Answer<Written>, Unavailable> {
        match self.schedule.begin(place).await? {
            Answer::Done(()) => {}
            Answer::Fenced => return Ok(Answer::Fenced),
            Answer::Lost => return Ok(Answer::Lost),
        }
        let mut last = Written::default();
        for entries in entries.chunks(WRITE_MAX) {
            match self.schedule.write(place, entries, &[]).await? {
                Answer::Done(written) => last = written,
                other => return Ok(other),
            }
        }
        Ok(match self.schedule.complete(place).await? {
            Answer::Done(()) => Answer::Done(last),
            Answer::Fenced => Answer::Fenced,
            Answer::Lost => Answer::Lost,
        })
    }

    /// Writes what has changed; of several changes of a delivery the last.
    pub(super) async fn write(&mut self, changes: impl Iterator<Item = Change>) {
        let mut last: HashMap<DeliveryId, Change> = HashMap::new();
        for change in changes {
            let (Change::Put(Entry { delivery, .. }) | Change::Remove(_, delivery)) = change;
            last.insert(delivery, change);
        }
        let mut by_shard: HashMap<i32, Batch> = HashMap::new();
        for change in last.into_values() {
            let (Change::Put(Entry { endpoint, .. }) | Change::Remove(endpoint, _)) = change;
            let (put, remove) = by_shard.entry(shard::of(endpoint, self.shard_count)).or_default();
            match change {
                Change::Put(entry) => put.push(entry),
                Change::Remove(endpoint, delivery) => remove.push((endpoint, delivery)),
            }
        }
        for (shard, (put, _)) in &by_shard {
            self.expect(*shard, put.iter().map(|entry| entry.due));
        }
        let schedule = &self.schedule;
        // What is not kept now is rebuilt from rows that say all of it.
        let wanted: Vec<_> = by_shard
            .into_iter()
            .filter_map(|(shard, (put, remove))| Some((self.kept.get(&shard)?.place.clone(), put, remove)))
            // Nothing is there that could be taken out.
            .filter(|(place, put, _)| !put.is_empty() || !place.generation.is_empty())
            .collect();
        let answers: Vec<(Place, Result<Answer<Written>, Unavailable>)> = stream::iter(wanted)
            .map(|(place, put, remove)| async move {
                let answer = schedule.write(&place, &put, &remove).await;
                (place, answer)
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let mut low = Vec::new();
        for (place, answer) in answers {
            low.extend(self.note(&place, answer).into_iter().map(|endpoint| (place.clone(), endpoint)));
        }
        for (place, endpoint) in low {
            self.refill(&place, endpoint).await;
        }
    }

    /// What an answer to a write says of the schedule. Answers who needs more from the rows.
    fn note(&mut self, place: &Place, answer: Result<Answer<Written>, Unavailable>) -> BTreeSet<EndpointId> {
        match answer {
            Ok(Answer::Done(written)) => {
                let Some(kept) = self.kept.get_mut(&place.shard) else { return BTreeSet::new() };
                if written.version == kept.version + 1 {
                    (kept.version, kept.count) = (written.version, written.count);
                    return written.low.into_iter().collect();
                }
                tracing::warn!(
                    shard = place.shard,
                    "Redis has lost the last writes to a retry schedule; it is rebuilt"
                );
                self.lose(place.shard, Need::Rebuild);
            }
            Ok(Answer::Fenced) => {
                tracing::warn!(shard = place.shard, "somebody else keeps a retry schedule that was this node's");
                self.kept.remove(&place.shard);
            }
            Ok(Answer::Lost) => {
                if !place.generation.is_empty() {
                    tracing::warn!(shard = place.shard, "Redis has lost a retry schedule; it is rebuilt");
                }
                self.lose(place.shard, Need::Rebuild);
            }
            // Whether it was written is not known.
            Err(_) => self.lose(place.shard, Need::Rebuild),
        }
        BTreeSet::new()
    }

    /// Reads the next of an endpoint that has more in the rows than here.
    async fn refill(&mut self, place: &Place, endpoint: EndpointId) {
        let entries = match rows::of_endpoint(self.db.read(), endpoint).await {
            Ok(entries) => entries,
            Err(error) => {
                tracing::warn!(%error, %endpoint, "the next retries of an endpoint could not be read; the sweep finds them");
                return;
            }
        };
        self.expect(place.shard, entries.iter().map(|entry| entry.due));
        let answer = self.schedule.refill(place, endpoint, &entries).await;
        self.note(place, answer);
    }

    /// Reads the shards that have something due soon, and a few others; all of them when one of those is lost.
    async fn read_all(&mut self) {
        let soon = self.clock.now() + AHEAD;
        let waiting = self.kept.iter().filter(|(_, kept)| kept.count > 0);
        let (mut to_read, mut later): (Vec<i32>, Vec<i32>) = waiting
            .map(|(shard, _)| *shard)
            .partition(|shard| self.kept[shard].first.is_none_or(|first| first <= soon));
        for _ in 0..LOOKED_AT.min(later.len()) {
            to_read.push(later.swap_remove(rand::random_range(0..later.len())));
        }
        if self.read(&to_read).await {
            self.read(&later).await;
        }
    }

    /// Something is put into a shard.
    fn expect(&mut self, shard: i32, due: impl Iterator<Item = Timestamp>) {
        let Some(kept) = self.kept.get_mut(&shard) else { return };
        if let (Some(first), Some(due)) = (kept.first, due.min()) {
            kept.first = Some(first.min(due));
        }
    }

    /// Tells the hubs what is due soon in these shards. Answers whether one of them is lost.
    async fn read(&mut self, shards: &[i32]) -> bool {
        let (now, mut has_lost) = (self.clock.now(), false);
        let schedule = &self.schedule;
        let places: Vec<Place> = shards
            .iter()
            .filter_map(|shard| self.kept.get(shard))
            .filter(|kept| kept.count > 0)
            .map(|kept| kept.place.clone())
            .collect();
        let answers: Vec<(i32, Due)> = stream::iter(places)
            .map(|place| async move { (place.shard, read_one(schedule, &place, now).await) })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let mut due = Vec::new();
        for (shard, answer) in answers {
            match answer {
                Ok(Answer::Done((found, first))) => {
                    due.extend(found.into_iter().map(|(endpoint, at)| (at, endpoint)));
                    if let Some(kept) = self.kept.get_mut(&shard) {
                        kept.first = first;
                    }
                }
                Ok(Answer::Fenced) => drop(self.kept.remove(&shard)),
                Ok(Answer::Lost) => {
                    tracing::warn!(shard, "Redis has lost a retry schedule; it is rebuilt");
                    self.lose(shard, Need::Rebuild);
                    has_lost = true;
                }
                Err(_) => {}
            }
        }
        self.hubs.remind_here(due);
        has_lost
    }
}

async fn read_one<S: RetrySchedule>(schedule: &S, place: &Place, now: Timestamp) -> Due {
    let (mut all, mut offset) = (Vec::new(), 0);
    loop {
        match schedule.range(place, now + AHEAD, now - STALE_AFTER, offset, RANGE_MAX).await? {
            Answer::Done(found) => {
                let count = found.len();
                all.extend(found);
                if count == RANGE_MAX {
                    offset += count;
                    continue;
                }
                if let Some((_, first)) = all.first() {
                    let first = Some(*first);
                    return Ok(Answer::Done((all, first)));
                }
                let found = schedule.range(place, now + FAR, now - STALE_AFTER, 0, 1).await?;
                return Ok(found.map(|found| (all, found.first().map(|(_, first)| *first))));
            }
            Answer::Fenced => return Ok(Answer::Fenced),
            Answer::Lost => return Ok(Answer::Lost),
        }
    }
}
