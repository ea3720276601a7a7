//! The model that the schedule in Redis is held against.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use angarium_entity::{DeliveryId, EndpointId, Timestamp};

use super::{Answer, Attached, Entry, LOW_WATER, Place, RetrySchedule, Unavailable, WINDOW, Written};

#[derive(Clone, Debug, Default)]
pub(super) struct MemorySchedule(Arc<Mutex<HashMap<i32, Shard>>>);

#[derive(Debug, Default)]
struct Shard {
    epoch: i64,
    generation: String,
    version: i64,
    building: bool,
    entries: HashMap<EndpointId, BTreeSet<(Timestamp, DeliveryId)>>,
    /// Where the window of an endpoint with more in the rows ends.
    cut: HashMap<EndpointId, Timestamp>,
}

impl MemorySchedule {
    /// As `FLUSHALL` does.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i32, Shard>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn guarded<T>(&self, place: &Place, act: impl FnOnce(&mut Shard) -> T) -> Answer<T> {
        match self.lock().get_mut(&place.shard) {
            Some(shard) if shard.epoch > place.epoch => Answer::Fenced,
            Some(shard) if shard.generation == place.generation => Answer::Done(act(shard)),
            _ => Answer::Lost,
        }
    }
}

impl Shard {
    fn count(&self) -> i64 {
        self.entries.values().map(|entries| i64::try_from(entries.len()).unwrap_or(0)).sum()
    }
}

impl Shard {
    fn write(&mut self, put: &[Entry], remove: &[(EndpointId, DeliveryId)]) -> Written {
        let mut touched = BTreeSet::new();
        for entry in put {
            let entries = self.entries.entry(entry.endpoint).or_default();
            entries.retain(|(_, delivery)| *delivery != entry.delivery);
            if self.cut.get(&entry.endpoint).is_none_or(|end| entry.due < *end) {
                entries.insert((entry.due, entry.delivery));
            }
            touched.insert(entry.endpoint);
        }
        for (endpoint, delivery) in remove {
            if let Some(entries) = self.entries.get_mut(endpoint) {
                entries.retain(|(_, known)| known != delivery);
            }
            touched.insert(*endpoint);
        }
        let mut low = Vec::new();
        for endpoint in touched {
            let entries = self.entries.entry(endpoint).or_default();
            if entries.len() > WINDOW {
                while entries.len() > WINDOW {
                    self.cut.extend(entries.pop_last().map(|(due, _)| (endpoint, due)));
                }
            } else if entries.len() < LOW_WATER && self.cut.contains_key(&endpoint) {
                low.push(endpoint);
            }
            if entries.is_empty() {
                self.entries.remove(&endpoint);
            }
        }
        self.version += 1;
        Written { version: self.version, count: self.count(), low }
    }
}

impl RetrySchedule for MemorySchedule {
    async fn attach(&self, shard: i32, epoch: i64) -> Result<Answer<Attached>, Unavailable> {
        Ok(match self.lock().get_mut(&shard) {
            Some(shard) if shard.epoch > epoch => Answer::Fenced,
            Some(shard) if !shard.building => {
                shard.epoch = epoch;
                let written = Written { version: shard.version, count: shard.count(), low: Vec::new() };
                Answer::Done(Attached { generation: shard.generation.clone(), written })
            }
            _ => Answer::Lost,
        })
    }

    async fn begin(&self, place: &Place) -> Result<Answer<()>, Unavailable> {
        let mut shards = self.lock();
        let shard = shards.entry(place.shard).or_default();
        if shard.epoch > place.epoch {
            return Ok(Answer::Fenced);
        }
        *shard = Shard { epoch: place.epoch, generation: place.generation.clone(), building: true, ..Shard::default() };
        Ok(Answer::Done(()))
    }

    async fn complete(&self, place: &Place) -> Result<Answer<()>, Unavailable> {
        Ok(self.guarded(place, |shard| shard.building = false))
    }

    async fn write(
        &self,
        place: &Place,
        put: &[Entry],
        remove: &[(EndpointId, DeliveryId)],
    ) -> Result<Answer<Written>, Unavailable> {
        Ok(self.guarded(place, |shard| shard.write(put, remove)))
    }

    async fn refill(
        &self,
        place: &Place,
        endpoint: EndpointId,
        front: &[Entry],
    ) -> Result<Answer<Written>, Unavailable> {
        Ok(self.guarded(place, |shard| {
            shard.cut.remove(&endpoint);
            shard.write(front, &[])
        }))
    }

    async fn range(
        &self,
        place: &Place,
        until: Timestamp,
        stale: Timestamp,
        offset: usize,
        limit: usize,
    ) -> Result<Answer<Vec<(EndpointId, Timestamp)>>, Unavailable> {
        Ok(self.guarded(place, |shard| {
            for entries in shard.entries.values_mut() {
                entries.retain(|(due, _)| *due >= stale);
            }
            shard.entries.retain(|_, entries| !entries.is_empty());
            let first = |(endpoint, entries): (&EndpointId, &BTreeSet<(Timestamp, DeliveryId)>)| {
                entries.first().map(|(due, _)| ((*due, *endpoint), ()))
            };
            let by_time: BTreeMap<(Timestamp, EndpointId), ()> = shard.entries.iter().filter_map(first).collect();
            let due = by_time.into_keys().take_while(|(due, _)| *due <= until);
            due.skip(offset).take(limit).map(|(due, endpoint)| (endpoint, due)).collect()
        }))
    }
}
