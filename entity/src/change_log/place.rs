//! A place in the change log: which rows somebody has been told of.
//!
//! Trap    on PostgreSQL a row gets its number before it is committed, so a smaller number may become visible after a
//!         larger one, and "all up to 7" is a promise that nobody can give.
//! Way     a place is what PostgreSQL itself calls a snapshot: the first transaction that had not begun, and those
//!         before it that were still open. A row counts as told if its transaction is neither. What is new is what
//!         this statement sees and the place does not cover, and afterwards the place is the snapshot of the
//!         statement. This is exact whatever commits when, it needs no memory of rows and no waiting for the slowest,
//!         and it is as small as the number of transactions that write at the same moment.
//! Midway  rows are told in the order of (transaction, number), but what is left of a transaction that was told in
//!         part comes first. After a row the place covers the transactions before it as the statement saw them, those
//!         behind it as the place before did, and of its own the part that was told ([`Midway`]).
//! SQLite  has one writer, so that the number of the row serves as that of its transaction and nothing is ever open.
//! Source  <https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-PG-SNAPSHOT>

/// Most open transactions that a place names when it leaves the process; with more it covers less, and whoever returns
/// to it is told of some changes again.
pub const OPEN_MAX: usize = 100;

/// Which rows have been told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Rows of this transaction and of later ones were not told.
    pub end: i64,
    /// Nor were those of these, which are before it; sorted.
    pub open: Vec<i64>,
    /// Of one transaction that is not covered, what was told all the same.
    pub midway: Option<Midway>,
}

/// A part of the rows of one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Midway {
    /// The transaction.
    pub xid: i64,
    /// Its rows before this one were told,
    pub seq: i64,
    /// and so many entries of this one.
    pub entries: usize,
}

impl Place {
    /// The place of a snapshot in PostgreSQL's words, `xmin:xmax:xip,…`; none when it is something else.
    pub fn parse(snapshot: &str) -> Option<Self> {
        let mut parts = snapshot.splitn(3, ':').skip(1);
        let end = parts.next()?.parse().ok()?;
        let open: Result<Vec<i64>, _> =
            parts.next()?.split(',').filter(|xid| !xid.is_empty()).map(str::parse).collect();
        Some(Self::new(end, open.ok()?, None))
    }

    /// A place from its parts, in any order.
    pub fn new(end: i64, mut open: Vec<i64>, midway: Option<Midway>) -> Self {
        open.retain(|xid| *xid < end);
        open.sort_unstable();
        open.dedup();
        Self { end, open, midway }
    }

    /// The same or less, with at most [`OPEN_MAX`] names.
    #[must_use]
    pub fn shortened(&self) -> Self {
        let mut short = self.clone();
        short.end = self.open.get(OPEN_MAX).copied().unwrap_or(self.end);
        short.open.truncate(OPEN_MAX);
        short
    }

    /// Whether every row of the transaction was told, or will never be seen.
    pub fn covers(&self, xid: i64) -> bool {
        xid < self.end && self.open.binary_search(&xid).is_err()
    }

    /// How many entries of a row that is not covered were told.
    pub fn told_of(&self, xid: i64, seq: i64) -> usize {
        match self.midway {
            Some(midway) if midway.xid == xid && seq < midway.seq => usize::MAX,
            Some(midway) if midway.xid == xid && seq == midway.seq => midway.entries,
            _ => 0,
        }
    }

    /// The place after a row that a statement with the snapshot `seen` found, when everything in front of it and
    /// `entries` of its own were told; none for all of them.
    #[must_use]
    pub fn after(&self, seen: &Self, xid: i64, seq: i64, entries: Option<usize>) -> Self {
        let midway = Some(match entries {
            Some(entries) => Midway { xid, seq, entries },
            None => Midway { xid, seq: seq.saturating_add(1), entries: 0 },
        });
        let before = match self.midway {
            Some(same) if same.xid == xid => return Self { midway, ..self.clone() },
            Some(other) => self.with(other.xid),
            None => self.clone(),
        };
        let mut open: Vec<i64> = seen.open.iter().copied().filter(|open| *open < xid).collect();
        open.push(xid);
        open.extend(before.open.iter().filter(|open| **open > xid));
        Self::new(before.end.max(xid), open, midway)
    }

    /// The same when the whole of a transaction was told, if that can be said.
    fn with(&self, xid: i64) -> Self {
        let end = if self.end == xid { xid.saturating_add(1) } else { self.end };
        let open = self.open.iter().copied().filter(|open| *open != xid).collect();
        Self { end, open, midway: None }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_snapshot_of_postgresql_is_read() {
        assert_eq!(Place::parse("10:20:10,14"), Some(Place { end: 20, open: vec![10, 14], midway: None }));
        assert_eq!(Place::parse("20:20:"), Some(Place { end: 20, open: vec![], midway: None }));
        for wrong in ["", "1:2", "1:x:", "1:2:y"] {
            assert_eq!(Place::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn more_open_transactions_than_can_be_named_cover_less() {
        let place = Place::new(1_000, (200..500).collect(), None).shortened();
        assert_eq!((place.end, place.open.len()), (300, OPEN_MAX));
        assert!(place.covers(199) && !place.covers(200) && !place.covers(600));
    }

    /// Transactions open and close at random; somebody reads pages at random and resumes in the middle of them.
    #[test]
    fn every_row_is_told_whatever_commits_when_and_wherever_a_reader_resumes() {
        let mut chance = 88_172_645_463_325_252_u64;
        let mut draw = move |below: u64| {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            chance % below
        };
        let (mut next, mut open, mut visible) = (1_i64, Vec::<i64>::new(), BTreeSet::<i64>::new());
        let (mut place, mut told) = (Place::default(), BTreeSet::<i64>::new());
        for _ in 0..20_000 {
            if open.len() < 8 && draw(2) == 0 {
                open.push(next);
                next += 1;
            } else if !open.is_empty() && draw(3) > 0 {
                let chosen = usize::try_from(draw(open.len() as u64)).unwrap_or(0);
                visible.insert(open.swap_remove(chosen));
            }
            if draw(4) == 0 {
                let seen = Place::new(next, open.clone(), None);
                // The number of a row is drawn before its commit: here it is that of its transaction, backwards.
                let mut new: Vec<i64> = visible
                    .iter()
                    .copied()
                    .filter(|xid| !place.covers(*xid) && place.told_of(*xid, -xid) == 0)
                    .collect();
                new.sort_by_key(|xid| (place.midway.is_none_or(|midway| midway.xid != *xid), *xid));
                let base = place.clone();
                let stop = usize::try_from(draw(new.len() as u64 + 2)).unwrap_or(0);
                for xid in new.iter().take(stop) {
                    assert!(told.insert(*xid), "{xid} was told before");
                    place = base.after(&seen, *xid, -xid, None);
                }
                if stop >= new.len() {
                    place = seen;
                }
                assert_eq!(place, Place::new(place.end, place.open.clone(), place.midway));
                for xid in visible.difference(&told) {
                    assert!(!place.covers(*xid), "{xid} is covered and was not told");
                }
            }
        }
        assert!(told.len() > 1_000);
    }

    #[test]
    fn the_entries_of_a_row_are_told_once() {
        let place = Place::new(10, vec![7], None).after(&Place::new(12, vec![11], None), 10, 50, Some(3));
        assert_eq!((place.told_of(10, 49), place.told_of(10, 50), place.told_of(10, 51)), (usize::MAX, 3, 0));
        assert!(place.covers(7) && place.covers(9) && !place.covers(10) && !place.covers(11));
    }
}
