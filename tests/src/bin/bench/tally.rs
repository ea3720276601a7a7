//! What arrived, and whether it should have.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Instant;

use crate::mark::{Mark, now_micros};

/// Counts what a receiver accepted since it was last cleared.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<Counts>);

#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Accepted and verified.
    pub(crate) accepted: u64,
    /// Requests whose signature is wrong, or that carry no mark.
    pub(crate) unverified: u64,
    /// Requests for what was accepted before.
    pub(crate) duplicates: u64,
    /// First requests that came after the first request of a later event of the same publisher.
    pub(crate) disorder: u64,
    /// From the publishing of an event to its first request, in microseconds.
    pub(crate) arrivals: Vec<u32>,
    /// When the last one was accepted.
    pub(crate) last_at: Option<Instant>,
    lines: HashMap<(u32, u32), Line>,
}

/// The events of one publisher at one endpoint.
#[derive(Debug, Default)]
struct Line {
    next: u32,
    seen: Bits,
    accepted: Bits,
}

#[derive(Debug, Default)]
struct Bits(Vec<u64>);

impl Bits {
    /// Whether it was set before.
    fn set(&mut self, number: u32) -> bool {
        let (word, bit) = ((number / 64) as usize, 1 << (number % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let was_set = self.0[word] & bit != 0;
        self.0[word] |= bit;
        was_set
    }
}

impl Tally {
    /// A verified request of `mark` at `endpoint` has come. Answers whether it is the first one.
    pub(crate) fn arrive(&self, endpoint: u32, mark: Mark, is_ordered: bool) -> bool {
        let mut counts = self.0.lock().expect("nobody panics with it");
        let Counts { lines, arrivals, disorder, .. } = &mut *counts;
        let line = lines.entry((endpoint, mark.publisher)).or_default();
        if line.seen.set(mark.number) {
            return false;
        }
        *disorder += u64::from(is_ordered && mark.number < line.next);
        line.next = line.next.max(mark.number + 1);
        arrivals.push(u32::try_from(now_micros().saturating_sub(mark.at_micros)).unwrap_or(u32::MAX));
        true
    }

    /// It is answered with success.
    pub(crate) fn accept(&self, endpoint: u32, mark: Mark) {
        let mut counts = self.0.lock().expect("nobody panics with it");
        let was_accepted = counts.lines.entry((endpoint, mark.publisher)).or_default().accepted.set(mark.number);
        counts.duplicates += u64::from(was_accepted);
        counts.accepted += u64::from(!was_accepted);
        counts.last_at = Some(Instant::now());
    }

    pub(crate) fn refuse(&self) {
        self.0.lock().expect("nobody panics with it").unverified += 1;
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.0.lock().expect("nobody panics with it").accepted
    }

    pub(crate) fn arrived(&self) -> usize {
        self.0.lock().expect("nobody panics with it").arrivals.len()
    }

    /// What was counted; from now on it counts from 0, and knows no event.
    pub(crate) fn take(&self) -> Counts {
        std::mem::take(&mut *self.0.lock().expect("nobody panics with it"))
    }
}

/// Of measurements in microseconds, those below which so many in a thousand lie; in milliseconds.
pub(crate) fn percentiles<const N: usize>(measured: &mut [u32], thousandths: [usize; N]) -> [f64; N] {
    measured.sort_unstable();
    thousandths.map(|wanted| {
        let place = (measured.len() * wanted / 1_000).min(measured.len().saturating_sub(1));
        measured.get(place).map_or(0.0, |micros| f64::from(*micros) / 1_000.0)
    })
}

#[test]
fn lost_doubled_and_swapped_events_are_told_apart() {
    let tally = Tally::default();
    let mark = |number| Mark::now(0, number);
    for number in [0, 2, 1, 3, 3] {
        tally.arrive(7, mark(number), true);
        tally.accept(7, mark(number));
    }
    let counts = tally.take();
    assert_eq!((counts.accepted, counts.duplicates, counts.disorder, counts.arrivals.len()), (4, 1, 1, 4));
}

#[test]
fn a_retry_is_no_duplicate_and_an_endpoint_knows_nothing_of_another() {
    let tally = Tally::default();
    let mark = Mark::now(0, 5);
    assert!(tally.arrive(1, mark, true) && !tally.arrive(1, mark, true) && tally.arrive(2, Mark::now(0, 4), true));
    tally.accept(1, mark);
    let counts = tally.take();
    assert_eq!((counts.accepted, counts.duplicates, counts.disorder), (1, 0, 0));
}
