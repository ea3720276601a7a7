//! How long what was said of a name is used, by the millisecond.

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
fn half_an_answer_is_believed_for_five_seconds_and_keeps_the_addresses_of_the_other_family() {
    let v6 = |last| SocketAddr::new([0x2a00, 0, 0, 0, 0, 0, 0, last].into(), 0);
    let v4 = SocketAddr::from(([192, 0, 9, 1], 0));
    let mut names = KnownNames::default();
    let ends = START + BELIEVED_MIN + STALE_MAX;
    names.learn("a.example", Place::Outside(vec![v4, v6(1)]), None, START);
    let mut now = START + BELIEVED_MIN;
    while now < ends {
        let place = names.learn_half("a.example", Place::Outside(vec![v6(2)]), Family::V4, now);
        assert_eq!(place, Place::Outside(vec![v4, v6(2)]), "IPv4 goes first, as in a whole answer");
        let until = (now + BELIEVED_MIN).min(ends);
        assert_eq!(names.get("a.example", until - MILLISECOND), Some(place));
        assert_eq!(names.get("a.example", until), None);
        now = until;
    }
    // What is not said for an hour is kept no longer, however often the other half is.
    let place = names.learn_half("a.example", Place::Outside(vec![v6(2)]), Family::V4, ends);
    assert_eq!(place, Place::Outside(vec![v6(2)]));
    assert_eq!(names.stale("a.example", ends + STALE_MAX), Some(vec![v6(2)]), "it was said just now");
    let forbidden = Place::Inside(ForbiddenAddress(std::net::IpAddr::from([10, 0, 0, 1])));
    assert_eq!(names.learn_half("a.example", forbidden.clone(), Family::V6, ends), Place::Outside(vec![v6(2)]));
    assert_eq!(names.learn_half("b.example", forbidden.clone(), Family::V6, START), forbidden);
    assert_eq!(names.get("b.example", START + BELIEVED_MIN), None);
    let many = |from: u8| (from..from + 4).map(|last| SocketAddr::from(([192, 0, 9, last], 0))).collect::<Vec<_>>();
    names.learn("c.example", Place::Outside(vec![v6(1)]), None, START);
    assert_eq!(names.learn_half("c.example", Place::Outside(many(1)), Family::V6, START), Place::Outside(many(1)));
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
fn a_question_that_fails_late_changes_nothing_of_an_answer_that_came_meanwhile() {
    let mut names = KnownNames::default();
    for lasts in [BELIEVED_MIN, BELIEVED_MAX] {
        names.learn("a.example", outside(1), Some(lasts), START);
        assert!(names.stale("a.example", START).is_some());
        assert_eq!(names.get("a.example", START + lasts - MILLISECOND), Some(outside(1)));
        assert_eq!(names.get("a.example", START + lasts), None);
    }
}

#[test]
fn old_addresses_are_found_wherever_they_are_kept() {
    let mut names = KnownNames { half_max: 2, ..KnownNames::default() };
    names.learn("a.example", outside(1), None, START);
    for other in ["b.example", "c.example"] {
        names.learn(other, outside(2), None, START);
    }
    assert!(!names.latest.contains_key("a.example"));
    assert!(names.stale("a.example", START + BELIEVED_MIN).is_some(), "others were asked for during the question");
}

#[test]
fn a_clock_that_is_set_back_makes_nothing_last_longer() {
    let mut names = KnownNames::default();
    names.learn("a.example", outside(1), Some(BELIEVED_MAX), START);
    let before = START - Duration::from_hours(24);
    assert_eq!((names.get("a.example", before), names.stale("a.example", before)), (None, None));
}

#[test]
fn a_hundred_thousand_names_are_bounded_and_those_in_use_stay() {
    let mut names = KnownNames::default();
    names.learn("busy.example", outside(1), Some(BELIEVED_MAX), START);
    for number in 0..100_000 {
        names.learn(&format!("host-{number}.example"), outside(2), Some(BELIEVED_MAX), START);
        assert!(names.latest.len() + names.earlier.len() <= NAMES_MAX);
        if number % 1_000 == 0 {
            assert_eq!(names.get("busy.example", START), Some(outside(1)));
        }
    }
    let is_known = |number: &usize| names.get(&format!("host-{number}.example"), START).is_some();
    let known = (0..100_000).rev().take_while(is_known).count();
    assert!(known >= NAMES_MAX / 2 - 1, "{known} of the latest are known");
}

#[test]
fn what_is_forgotten_is_handed_out_and_dropped_by_nobody_else() {
    let mut names = KnownNames::default();
    let mut handed_out = 0;
    for number in 0..NAMES_MAX * 2 {
        names.learn(&format!("host-{number}.example"), outside(1), None, START);
        let forgotten = names.take_forgotten().len();
        assert!(forgotten == 0 || forgotten == NAMES_MAX / 2, "{forgotten}");
        handed_out += forgotten;
        assert_eq!(handed_out + names.latest.len() + names.earlier.len(), number + 1);
    }
    assert_eq!(handed_out, NAMES_MAX);
}
