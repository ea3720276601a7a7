//! Whether the name servers answer, as the operator is told: once when they do not any more, and once when they do again.

use std::time::Duration;

use angarium_entity::Timestamp;

/// Without an answer about any name for so long, questions that fail are no matter of one name.
const UNANSWERED_FOR: Duration = Duration::from_secs(10);

/// What was heard of the name servers. Time comes in as an argument.
#[derive(Debug, Default)]
pub(super) struct Outage {
    answered: Option<Timestamp>,
    since: Option<Timestamp>,
}

impl Outage {
    /// An answer has come, whatever it says. How long the outage was that is over with it.
    pub(super) fn answered(&mut self, now: Timestamp) -> Option<Duration> {
        self.answered = Some(now);
        self.since.take().map(|since| now.since(since))
    }

    /// No answer has come about a name that had addresses. Whether an outage begins with it.
    pub(super) fn unanswered(&mut self, now: Timestamp) -> bool {
        let begins = self.since.is_none() && self.answered.is_none_or(|answered| now.since(answered) >= UNANSWERED_FOR);
        if begins {
            self.since = Some(now);
        }
        begins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_000_000_000);

    #[test]
    fn an_outage_is_told_once_when_it_begins_and_once_when_it_is_over() {
        let mut outage = Outage::default();
        assert_eq!(outage.answered(START), None);
        let begins = (0..3_600).filter(|second| {
            let now = START + Duration::from_secs(*second);
            // A hundred names, each asked for every second.
            let begins = (0..100).filter(|_| outage.unanswered(now)).count();
            assert!(begins <= 1);
            begins == 1
        });
        assert_eq!(begins.collect::<Vec<_>>(), [UNANSWERED_FOR.as_secs()]);
        let end = START + Duration::from_hours(1);
        assert_eq!(outage.answered(end), Some(end.since(START + UNANSWERED_FOR)));
        assert_eq!(outage.answered(end), None);
        assert!(outage.unanswered(end + UNANSWERED_FOR), "the next one is told too");
    }

    #[test]
    fn a_name_that_fails_while_others_are_answered_is_no_outage() {
        let mut outage = Outage::default();
        for second in 0..3_600 {
            let now = START + Duration::from_secs(second);
            if second % 9 == 0 {
                assert_eq!(outage.answered(now), None);
            }
            assert!(!outage.unanswered(now), "{second}");
        }
        assert!(Outage::default().unanswered(START), "no answer ever");
    }
}
