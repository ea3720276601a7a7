//! What names led to, for as long as that is believed. Time comes in as an argument.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use angarium_entity::Timestamp;

use super::address_guard::ForbiddenAddress;

/// Names that are remembered. What was not asked for in the latest half of them makes room.
const NAMES_MAX: usize = 65_536;
/// Shortest time that an answer is believed, whatever it says: a receiver that closes each connection, under a name that
/// nobody may remember, would have us ask for every request.
const BELIEVED_MIN: Duration = Duration::from_secs(5);
/// Longest time that addresses are believed: so long may whoever moves a receiver have to wait.
const ADDRESSES_MAX: Duration = Duration::from_mins(5);
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
struct Known {
    place: Place,
    since: Timestamp,
    until: Timestamp,
    /// When it may not be used any more, even where nobody can be asked.
    ends: Timestamp,
}

/// Names in two halves: when the first is full it becomes the second, and what was the second is forgotten.
#[derive(Debug)]
pub(super) struct KnownNames {
    latest: HashMap<String, Known>,
    earlier: HashMap<String, Known>,
    half_max: usize,
}

impl Default for KnownNames {
    fn default() -> Self {
        Self { latest: HashMap::new(), earlier: HashMap::new(), half_max: NAMES_MAX / 2 }
    }
}

impl KnownNames {
    /// Where `name` leads, if that is still believed.
    pub(super) fn get(&mut self, name: &str, now: Timestamp) -> Option<Place> {
        if !self.latest.contains_key(name)
            && let Some((name, known)) = self.earlier.remove_entry(name)
        {
            self.insert(name, known);
        }
        let known = self.latest.get(name)?;
        // A clock that was set back makes nothing last longer.
        (known.since <= now && now < known.until).then(|| known.place.clone())
    }

    /// A name server has said that `name` leads there, and for how long that holds, if it did.
    pub(super) fn learn(&mut self, name: &str, place: Place, lasts: Option<Duration>, now: Timestamp) {
        let lasts = lasts.unwrap_or_default();
        let (until, ends) = if let Place::Outside(_) = place {
            let until = now + lasts.clamp(BELIEVED_MIN, ADDRESSES_MAX);
            (until, until + STALE_MAX)
        } else {
            let until = now + lasts.clamp(BELIEVED_MIN, ABSENCE_MAX);
            (until, until)
        };
        self.earlier.remove(name);
        self.insert(name.to_owned(), Known { place, since: now, until, ends });
    }

    /// No name server answers. The addresses that `name` led to not long ago, which are believed again for a while.
    pub(super) fn stale(&mut self, name: &str, now: Timestamp) -> Option<Vec<SocketAddr>> {
        let known = self.latest.get_mut(name)?;
        let Place::Outside(addresses) = &known.place else { return None };
        if now < known.since || known.ends <= now {
            return None;
        }
        known.until = (now + STALE_BELIEVED).min(known.ends);
        Some(addresses.clone())
    }

    fn insert(&mut self, name: String, known: Known) {
        if self.latest.len() >= self.half_max && !self.latest.contains_key(&name) {
            self.earlier = std::mem::take(&mut self.latest);
        }
        self.latest.insert(name, known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_000_000_000);
    const MILLISECOND: Duration = Duration::from_millis(1);

    fn outside(last: u8) -> Place {
        Place::Outside(vec![SocketAddr::from(([192, 0, 9, last], 0))])
    }

    /// Whether an answer that says `lasts` is believed to the end of `for_secs` seconds, and no longer.
    fn assert_believed(place: &Place, lasts: Option<Duration>, for_secs: u64) {
        let mut names = KnownNames::default();
        names.learn("a.example", place.clone(), lasts, START);
        let end = START + Duration::from_secs(for_secs);
        for now in [START, end - MILLISECOND] {
            assert_eq!(names.get("a.example", now).as_ref(), Some(place), "{place:?} {lasts:?} at {now}");
        }
        for now in [end, end + Duration::from_hours(9)] {
            assert_eq!(names.get("a.example", now), None, "{place:?} {lasts:?} at {now}");
        }
    }

    #[test]
    fn addresses_are_believed_for_as_long_as_they_say_between_five_seconds_and_five_minutes() {
        for (said, believed) in [(0, 5), (1, 5), (5, 5), (6, 6), (299, 299), (300, 300), (301, 300), (86_400, 300)] {
            assert_believed(&outside(1), Some(Duration::from_secs(said)), believed);
        }
        // The most that a record can say (RFC 2181, section 8), and more than that.
        for huge in [u64::from(u32::MAX >> 1), u64::from(u32::MAX), u64::MAX] {
            assert_believed(&outside(1), Some(Duration::from_secs(huge)), 300);
        }
        assert_believed(&outside(1), None, 5);
    }

    #[test]
    fn that_a_name_leads_nowhere_is_believed_for_ten_seconds_at_most() {
        let forbidden = ForbiddenAddress(std::net::IpAddr::from([10, 0, 0, 1]));
        for place in [Place::Nowhere, Place::Unknown, Place::Inside(forbidden)] {
            for (said, believed) in [(0, 5), (1, 5), (7, 7), (10, 10), (11, 10), (u64::from(u32::MAX), 10)] {
                assert_believed(&place, Some(Duration::from_secs(said)), believed);
            }
            assert_believed(&place, None, 5);
        }
    }

    #[test]
    fn what_is_learnt_replaces_what_was_known() {
        let mut names = KnownNames::default();
        names.learn("a.example", outside(1), Some(Duration::from_mins(5)), START);
        names.learn("a.example", Place::Unknown, None, START);
        assert_eq!(names.get("a.example", START), Some(Place::Unknown));
        assert_eq!(names.stale("a.example", START), None, "that it is gone is an answer");
        names.learn("a.example", outside(2), None, START);
        assert_eq!(names.get("a.example", START), Some(outside(2)));
        assert_eq!(names.get("b.example", START), None);
    }

    #[test]
    fn without_an_answer_old_addresses_are_used_for_an_hour_and_asked_for_every_ten_seconds() {
        let mut names = KnownNames::default();
        assert_eq!(names.stale("a.example", START), None, "nothing is known of it");
        names.learn("a.example", outside(1), None, START);
        let mut now = START + BELIEVED_MIN;
        let ends = now + STALE_MAX;
        while now < ends {
            assert_eq!(names.get("a.example", now), None);
            assert!(names.stale("a.example", now).is_some());
            let asks = (now + STALE_BELIEVED).min(ends);
            assert_eq!(names.get("a.example", asks - MILLISECOND), Some(outside(1)));
            now = asks;
        }
        assert_eq!((names.get("a.example", ends), names.stale("a.example", ends)), (None, None));
    }

    #[test]
    fn a_clock_that_is_set_back_makes_nothing_last_longer() {
        let mut names = KnownNames::default();
        names.learn("a.example", outside(1), Some(ADDRESSES_MAX), START);
        let before = START - Duration::from_hours(24);
        assert_eq!((names.get("a.example", before), names.stale("a.example", before)), (None, None));
    }

    #[test]
    fn a_hundred_thousand_names_are_bounded_and_those_in_use_stay() {
        let mut names = KnownNames::default();
        names.learn("busy.example", outside(1), Some(ADDRESSES_MAX), START);
        for number in 0..100_000 {
            names.learn(&format!("host-{number}.example"), outside(2), Some(ADDRESSES_MAX), START);
            assert!(names.latest.len() + names.earlier.len() <= NAMES_MAX);
            if number % 1_000 == 0 {
                assert_eq!(names.get("busy.example", START), Some(outside(1)));
            }
        }
        let is_known = |number: &usize| names.get(&format!("host-{number}.example"), START).is_some();
        let known = (0..100_000).rev().take_while(is_known).count();
        assert!(known >= NAMES_MAX / 2 - 1, "{known} of the latest are known");
    }
}
