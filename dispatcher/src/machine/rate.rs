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
        while let Some(&(at, count)) = self.used.front() {
            // A clock that was set back must not stop an endpoint for longer than a second.
            if now < at + SECOND && at <= now {
                break;
            }
            self.used.pop_front();
            self.count -= count;
        }
        limit.saturating_sub(self.count)
    }

    /// A request starts.
    pub(crate) fn take(&mut self, now: Timestamp) {
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
    fn a_clock_that_is_set_back_stops_nobody() {
        let mut tokens = Tokens::default();
        tokens.take(Timestamp::from_millis(9_000));
        assert_eq!(tokens.free(Timestamp::from_millis(1_000), 1), 1);
    }
}
