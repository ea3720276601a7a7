//! A limit of requests per second: each uses a token, which comes back a second later.
//!
//! So no second ever sees more requests than the limit, wherever it begins, and an endpoint that was quiet may use all
//! of its tokens at once. What is counted is when requests start.

use std::collections::VecDeque;
use std::time::Duration;

use angarium_entity::Timestamp;

/// After this a token is back.
const SECOND: Duration = Duration::from_secs(1);

/// The tokens of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    /// Requests of the last second by their millisecond, oldest first: at most a thousand entries.
    used: VecDeque<(Timestamp, usize)>,
    count: usize,
}

impl Tokens {
    /// How many requests may start at `now`.
    pub(crate) fn free(&mut self, now: Timestamp, limit: usize) -> usize {
        self.prune(now);
        limit.saturating_sub(self.count)
    }

    /// A request starts. Without a limit nobody asks what is free, and a limit may come at any time.
    pub(crate) fn take(&mut self, now: Timestamp) {
        self.prune(now);
        self.count += 1;
        match self.used.back_mut() {
            Some((at, count)) if *at == now => *count += 1,
            _ => self.used.push_back((now, 1)),
        }
    }

    /// When the next token comes back; none when none is away.
    pub(crate) fn next_at(&self) -> Option<Timestamp> {
        self.used.front().map(|&(at, _)| at + SECOND)
    }

    /// Gives back the memory of what was used before the last second.
    pub(crate) fn rest(&mut self, now: Timestamp) {
        self.prune(now);
        self.used.shrink_to_fit();
    }

    fn prune(&mut self, now: Timestamp) {
        while let Some(&(at, count)) = self.used.front() {
            // A clock that was set back must not stop an endpoint for longer than a second.
            if now < at + SECOND && at <= now {
                break;
            }
            self.used.pop_front();
            self.count -= count;
        }
    }
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_sees_more_than_the_limit_wherever_it_begins() {
        let mut tokens = Tokens::default();
        let mut started = Vec::new();
        for milli in 0..5_000 {
            let now = Timestamp::from_millis(milli);
            // Asks at random, more often than is allowed.
            for _ in 0..(milli * 7_919 % 5) / 4 {
                if tokens.free(now, 100) > 0 {
                    tokens.take(now);
                    started.push(milli);
                }
            }
        }
        assert!((400..=500).contains(&started.len()), "{}", started.len());
        for first in &started {
            assert!(started.iter().filter(|at| (*first..first + 1_000).contains(*at)).count() <= 100);
        }
    }

    #[test]
    fn who_was_quiet_may_use_all_at_once_and_is_told_when_to_come_back() {
        let at = Timestamp::from_millis;
        let mut tokens = Tokens::default();
        assert_eq!((tokens.free(at(5_000), 3), tokens.next_at()), (3, None));
        for now in [5_000, 5_000, 5_400] {
            tokens.take(at(now));
        }
        assert_eq!((tokens.free(at(5_999), 3), tokens.next_at()), (0, Some(at(6_000))));
        assert_eq!((tokens.free(at(6_000), 3), tokens.next_at()), (2, Some(at(6_400))));
        assert_eq!(tokens.free(at(6_400), 3), 3);
        assert_eq!(tokens.free(at(6_400), 1), 1, "the limit may change at any time");
    }

    #[test]
    fn no_more_than_a_second_is_remembered_also_where_nobody_asks_what_is_free() {
        let mut tokens = Tokens::default();
        for milli in 0..100_000 {
            tokens.take(Timestamp::from_millis(milli));
        }
        assert!(tokens.used.len() <= 1_000 && tokens.used.capacity() <= 2_048, "{}", tokens.used.capacity());
        assert_eq!(tokens.free(Timestamp::from_millis(99_999), 1_001), 1, "a limit that comes now knows of them");
        tokens.rest(Timestamp::from_millis(100_500));
        assert_eq!(tokens.free(Timestamp::from_millis(100_500), 1_000), 501);
        tokens.rest(Timestamp::from_millis(101_000));
        assert_eq!(tokens.used.capacity(), 0);
    }

    #[test]
    fn a_clock_that_is_set_back_stops_nobody() {
        let mut tokens = Tokens::default();
        tokens.take(Timestamp::from_millis(9_000));
        assert_eq!(tokens.free(Timestamp::from_millis(1_000), 1), 1);
    }
}
