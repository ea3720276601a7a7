//! What names led to, for as long as that is believed. Time comes in as an argument.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use angarium_entity::Timestamp;

use super::address_guard::ForbiddenAddress;
use super::question::Family;

/// Most addresses of a name that are tried. The client divides its connect timeout among them.
pub(super) const ADDRESSES_MAX: usize = 4;
/// Names that are remembered. What was not asked for in the latest half of them makes room.
const NAMES_MAX: usize = 65_536;
/// Shortest time that an answer is believed, whatever it says: a receiver that closes each connection, under a name that
/// nobody may remember, would have us ask for every request.
const BELIEVED_MIN: Duration = Duration::from_secs(5);
/// Longest time that addresses are believed: so long may whoever moves a receiver have to wait.
const BELIEVED_MAX: Duration = Duration::from_mins(5);
/// The same for a name that leads nowhere, which somebody may just be making.
const ABSENCE_MAX: Duration = Duration::from_secs(10);
/// While no name server answers, addresses are used for so long after they were believed (RFC 8767) ...
const STALE_MAX: Duration = Duration::from_hours(1);
/// ... and the name servers are left in peace for so long after each question.
const STALE_BELIEVED: Duration = Duration::from_secs(10);

/// Where a name leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// To these addresses, which may be connected to.
    Outside(Vec<SocketAddr>),
    /// Only to addresses that may not.
    Inside(ForbiddenAddress),
    /// To no address.
    Nowhere,
    /// There is no such name.
    Unknown,
}

#[derive(Debug)]
pub(super) struct Known {
    place: Place,
    since: Timestamp,
    until: Timestamp,
    /// When it may not be used any more, even where nobody can be asked.
    ends: Timestamp,
}

/// Names in two halves: when the first is full it becomes the second, and what was the second is forgotten. Dropping that
/// is left to whoever takes it.
#[derive(Debug)]
pub(super) struct KnownNames {
    latest: HashMap<String, Known>,
    earlier: HashMap<String, Known>,
    forgotten: HashMap<String, Known>,
    half_max: usize,
}

impl Default for KnownNames {
    fn default() -> Self {
        let [latest, earlier, forgotten] = Default::default();
        Self { latest, earlier, forgotten, half_max: NAMES_MAX / 2 }
    }
}

impl KnownNames {
    /// Where `name` leads, if that is still believed.
    pub(super) fn get(&mut self, name: &str, now: Timestamp) -> Option<Place> {
        let known = self.find(name)?;
        // A clock that was set back makes nothing last longer.
        (known.since <= now && now < known.until).then(|| known.place.clone())
    }

    /// A name server has said that `name` leads there, and for how long that holds, if it did.
    pub(super) fn learn(&mut self, name: &str, place: Place, lasts: Option<Duration>, now: Timestamp) -> Place {
        let lasts = lasts.unwrap_or_default();
        let (until, ends) = if let Place::Outside(_) = place {
            let until = now + lasts.clamp(BELIEVED_MIN, BELIEVED_MAX);
            (until, until + STALE_MAX)
        } else {
            let until = now + lasts.clamp(BELIEVED_MIN, ABSENCE_MAX);
            (until, until)
        };
        self.replace(name, Known { place: place.clone(), since: now, until, ends });
        place
    }

    /// The same of an answer that lacks the addresses of a family, because a question was lost: those that were known are
    /// kept. It is asked again soon.
    pub(super) fn learn_half(&mut self, name: &str, place: Place, lost: Family, now: Timestamp) -> Place {
        let known = self.find(name).filter(|known| known.since <= now && now < known.ends);
        let (kept, ends) = match known {
            Some(Known { place: Place::Outside(known), ends, .. }) => {
                (known.iter().copied().filter(|address| lost.has(address)).collect(), *ends)
            }
            _ => (Vec::new(), now),
        };
        if kept.is_empty() {
            return self.learn(name, place, None, now);
        }
        let mut all = kept;
        if let Place::Outside(found) = place {
            all.extend(found);
            all.sort_by_key(SocketAddr::is_ipv6);
            all.truncate(ADDRESSES_MAX);
        }
        // What is kept lasts no longer than it would have without this answer.
        let (place, until) = (Place::Outside(all), (now + BELIEVED_MIN).min(ends));
        self.replace(name, Known { place: place.clone(), since: now, until, ends });
        place
    }

    /// No name server answers. The addresses that `name` led to not long ago, which are believed again for a while.
    pub(super) fn stale(&mut self, name: &str, now: Timestamp) -> Option<Vec<SocketAddr>> {
        let known = self.find(name)?;
        let Place::Outside(addresses) = &known.place else { return None };
        if now < known.since || known.ends <= now {
            return None;
        }
        // An answer that came since the question was put holds for as long as it says.
        if known.until <= now {
            known.until = (now + STALE_BELIEVED).min(known.ends);
        }
        Some(addresses.clone())
    }

    /// What was forgotten since this was asked for, tens of thousands of names at once: drop it outside of a lock.
    pub(super) fn take_forgotten(&mut self) -> HashMap<String, Known> {
        std::mem::take(&mut self.forgotten)
    }

    /// What is known of `name`, among the latest from now on.
    fn find(&mut self, name: &str) -> Option<&mut Known> {
        if !self.latest.contains_key(name)
            && let Some((name, known)) = self.earlier.remove_entry(name)
        {
            self.insert(name, known);
        }
        self.latest.get_mut(name)
    }

    fn replace(&mut self, name: &str, known: Known) {
        self.earlier.remove(name);
        self.insert(name.to_owned(), known);
    }

    fn insert(&mut self, name: String, known: Known) {
        if self.latest.len() >= self.half_max && !self.latest.contains_key(&name) {
            let earlier = std::mem::replace(&mut self.earlier, std::mem::take(&mut self.latest));
            self.forgotten = earlier;
        }
        self.latest.insert(name, known);
    }
}

#[cfg(test)]
mod tests;
