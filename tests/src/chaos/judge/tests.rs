//! The judge is judged: of a run in which all went well it finds nothing, and whatever is then lost, doubled, swapped or
//! bent, it finds.

use super::super::evidence::{Attempt, Endpoint, Order, Row, Sample};
use super::*;
use angarium_entity::delivery::Status;

const LIMITS: Limits = Limits {
    late: Duration::from_millis(20),
    acknowledged: Duration::from_millis(50),
    patience: Duration::ZERO,
    resident_bytes: 1 << 20,
    files: 10,
};
const FIFO: usize = 0;
const STRICT: usize = 1;
const ANY: usize = 2;
const EVENTS: usize = 40;
/// From one event to the next, in microseconds; acknowledged after 1 ms, there after 2 ms, answered after 3 ms.
const EVERY: Micros = 10_000;

fn event(n: usize) -> String {
    format!("evt_{n}")
}

/// A run of one publisher and three endpoints in which all went well; a node was killed in the middle, and broke off
/// what was sent last.
fn run() -> Evidence {
    let endpoint = |name: &str, order| Endpoint { name: name.to_owned(), order, takes: vec!["*"], prompt: true };
    let mut evidence = Evidence {
        endpoints: vec![endpoint("fifo", Order::Fifo), endpoint("strict", Order::Strict), endpoint("any", Order::None)],
        samples: vec![Sample { resident_bytes: 1 << 20, files: 10 }],
        ..Evidence::default()
    };
    let killed = EVERY * (EVENTS as Micros / 2) + 2_500;
    for n in 0..EVENTS {
        let sent = EVERY * n as Micros;
        evidence.published.push(Published {
            event: Some(event(n)),
            event_type: "invoice.paid",
            sent,
            acknowledged: Some(sent + 1_000),
            tries: 1,
        });
        for endpoint in [FIFO, STRICT, ANY] {
            let (at, answered) = (sent + 2_000, sent + 3_000);
            let receipt = Receipt {
                endpoint,
                event: event(n),
                at,
                answered: Some((answered, 204)),
                is_told: true,
                is_broken: false,
                is_verified: true,
            };
            let is_hit = (at..answered).contains(&killed);
            if is_hit {
                evidence.received.push(Receipt { answered: None, ..receipt.clone() });
            }
            let later = if is_hit { 2_000 } else { 0 };
            evidence.received.push(Receipt { at: at + later, answered: Some((answered + later, 204)), ..receipt });
            evidence.rows.push(Row {
                event: event(n),
                endpoint,
                status: Status::Succeeded,
                attempt_count: 1,
                attempts: vec![Attempt {
                    number: 1,
                    started: at + later,
                    completed: answered + later,
                    status: Some(204),
                }],
            });
        }
    }
    evidence.received.sort_by_key(|receipt| receipt.at);
    evidence.faults.push(Injected {
        what: "kill -9".to_owned(),
        from: killed,
        to: killed + 1,
        hit: Hit::BrokenOff,
        excuses_repeats: true,
        comes_late: Duration::ZERO,
        allowance: Duration::from_millis(50),
    });
    evidence
}

/// Which invariants are broken, each once.
fn broken(evidence: &Evidence) -> Vec<&'static str> {
    let mut broken: Vec<_> = judge(evidence, &LIMITS).findings.iter().map(|finding| finding.broken).collect();
    broken.sort_unstable();
    broken.dedup();
    broken
}

fn place(evidence: &Evidence, n: usize, endpoint: usize) -> usize {
    let is_it = |receipt: &Receipt| receipt.event == event(n) && receipt.endpoint == endpoint;
    evidence.received.iter().position(is_it).expect("it came")
}

/// Far from the fault.
const SOME: usize = EVENTS - 5;

#[test]
fn a_run_in_which_all_went_well_has_no_findings() {
    let judgement = judge(&run(), &LIMITS);
    assert_eq!(judgement.findings, []);
    assert_eq!((judgement.acknowledged, judgement.expected, judgement.lost), (EVENTS, 3 * EVENTS, 0));
    assert_eq!((judgement.received, judgement.duplicates, judgement.out_of_order), (3 * EVENTS + 3, 0, 0));
    assert_eq!(judgement.recovery, Duration::from_micros(1_499));
}

#[test]
fn a_delivery_that_is_lost_is_found() {
    for endpoint in [FIFO, STRICT, ANY] {
        let mut evidence = run();
        let place = place(&evidence, SOME, endpoint);
        evidence.received.remove(place);
        assert_eq!(broken(&evidence), ["I1"]);
        assert_eq!(judge(&evidence, &LIMITS).lost, 1);
    }
}

#[test]
fn a_delivery_that_only_ever_failed_is_lost() {
    let mut evidence = run();
    let place = place(&evidence, SOME, ANY);
    evidence.received[place].answered = Some((evidence.received[place].at, 500));
    assert_eq!(broken(&evidence), ["I1"]);
}

#[test]
fn a_delivery_that_is_doubled_is_found() {
    for endpoint in [FIFO, STRICT, ANY] {
        let mut evidence = run();
        let place = place(&evidence, SOME, endpoint);
        let again = evidence.received[place].clone();
        evidence.received.insert(place + 1, again);
        assert_eq!(broken(&evidence), ["I2"]);
        assert_eq!(judge(&evidence, &LIMITS).duplicates, 1);
    }
}

#[test]
fn a_delivery_that_a_crash_has_doubled_is_counted_and_excused_only_near_the_crash() {
    // Within 0.4 s everything is near a crash, whose results may take 2 s to be durable; so the crash is moved.
    let excused = |from: Micros, comes_late: Duration| {
        let mut evidence = run();
        evidence.faults[0].comes_late = comes_late;
        let place = place(&evidence, 30, ANY);
        let again = Receipt { at: 5_000_000, answered: Some((5_001_000, 204)), ..evidence.received[place].clone() };
        evidence.received.push(again);
        (evidence.faults[0].from, evidence.faults[0].to) = (from, from + 1);
        let judgement = judge(&evidence, &LIMITS);
        assert_eq!(judgement.duplicates, 1);
        !judgement.findings.iter().any(|finding| finding.about == Some((event(30), ANY)))
    };
    let (at_once, late) = (Duration::ZERO, Duration::from_millis(60));
    assert!(excused(303_000, at_once), "it was just answered");
    assert!(excused(2_200_000, at_once), "its result may not have been durable");
    assert!(!excused(2_400_000, at_once), "its result had to be durable");
    assert!(excused(250_000, at_once), "it was under way");
    assert!(!excused(150_000, at_once), "it had not come yet");
    assert!(excused(150_000, late), "packets that vanished were sent once more");
    assert!(!excused(130_000, late), "they would have been sent by then");
}

#[test]
fn two_deliveries_that_are_swapped_are_found_where_there_is_an_order() {
    for (endpoint, findings) in [(FIFO, vec!["I3"]), (STRICT, vec!["I3"]), (ANY, vec![])] {
        let mut evidence = run();
        let (first, second) = (place(&evidence, SOME, endpoint), place(&evidence, SOME + 1, endpoint));
        (evidence.received[first].event, evidence.received[second].event) = (event(SOME + 1), event(SOME));
        assert_eq!(broken(&evidence), findings, "{endpoint}");
        assert_eq!(judge(&evidence, &LIMITS).out_of_order, findings.len());
    }
}

#[test]
fn events_that_were_published_at_the_same_time_may_come_in_any_order() {
    let mut evidence = run();
    let (first, second) = (place(&evidence, SOME, STRICT), place(&evidence, SOME + 1, STRICT));
    (evidence.received[first].event, evidence.received[second].event) = (event(SOME + 1), event(SOME));
    evidence.published[SOME + 1].sent = evidence.published[SOME].sent;
    assert_eq!(broken(&evidence), [] as [&str; 0]);
}

#[test]
fn a_retry_may_come_later_at_a_fifo_endpoint_but_not_at_a_strict_one() {
    for (endpoint, findings) in [(FIFO, vec![]), (STRICT, vec!["I3"])] {
        let mut evidence = run();
        let failed = place(&evidence, SOME, endpoint);
        let again = evidence.received[failed].clone();
        evidence.received[failed].answered = Some((again.at, 500));
        let after_the_next = place(&evidence, SOME + 1, endpoint) + 1;
        evidence.received.insert(after_the_next, again);
        assert_eq!(broken(&evidence), findings, "{endpoint}");
    }
}

#[test]
fn rows_that_disagree_with_receivers_are_found() {
    let bend = |bend: fn(&mut Row)| {
        let mut evidence = run();
        bend(&mut evidence.rows[3 * SOME]);
        broken(&evidence)
    };
    assert_eq!(bend(|row| row.status = Status::Retrying), ["I4"]);
    assert_eq!(bend(|row| row.attempt_count = 2), ["I4"]);
    assert_eq!(bend(|row| row.attempts[0].status = Some(500)), ["I4"]);
    assert_eq!(bend(|row| row.endpoint = STRICT), ["I4"]);
    assert_eq!(bend(|row| row.attempts[0].number = 2), ["I7"]);
    let overlap = |row: &mut Row| {
        row.attempts.push(Attempt { number: 2, ..row.attempts[0].clone() });
        row.attempts[0].completed += 3_000;
        row.attempt_count = 2;
    };
    assert_eq!(bend(overlap), ["I7"]);
}

#[test]
fn what_is_late_is_found() {
    let mut evidence = run();
    let fault = evidence.faults[0].to;
    let held = place(&evidence, EVENTS / 2 - 1, ANY);
    evidence.received[held].at = fault + 60_000;
    assert_eq!(broken(&evidence), ["I5"], "after the fault by more than its allowance");

    let mut evidence = run();
    evidence.faults[0].allowance = Duration::ZERO;
    evidence.received.iter_mut().for_each(|receipt| receipt.at += 30_000);
    assert!(broken(&evidence).contains(&"I5"), "while nothing is broken");

    let mut evidence = run();
    evidence.faults[0].allowance = Duration::ZERO;
    evidence.published.iter_mut().for_each(|published| published.acknowledged = Some(published.sent + 60_000));
    assert!(broken(&evidence).contains(&"I8"));
    evidence.warm_at = EVERY * EVENTS as Micros;
    assert!(!broken(&evidence).contains(&"I8"), "not as long as everything is done for the first time");
}

#[test]
fn a_node_that_takes_too_much_is_found() {
    for sample in [Sample { resident_bytes: 2 << 20, files: 1 }, Sample { resident_bytes: 1, files: 11 }] {
        let mut evidence = run();
        evidence.samples.push(sample);
        assert_eq!(broken(&evidence), ["I6"]);
    }
}

#[test]
fn a_wrong_signature_and_a_stranger_are_found() {
    let mut evidence = run();
    evidence.received[SOME].is_verified = false;
    assert_eq!(broken(&evidence), ["I1"]);

    let mut evidence = run();
    evidence.endpoints[ANY].takes = vec!["sms.outbound"];
    assert!(judge(&evidence, &LIMITS).findings.iter().any(|finding| finding.text.contains("did not ask for it")));
}

#[test]
fn a_run_in_which_no_fault_hit_fails() {
    let mut evidence = run();
    evidence.received.retain(|receipt| receipt.answered.is_some());
    assert_eq!(broken(&evidence), ["hit"], "nothing was in flight at the kill");

    let made_for_the_first_time = Hit::Rebuilt { missed: 0, made: 1 };
    let not_made_again = Hit::Rebuilt { missed: 1, made: 0 };
    for hit in [Hit::Counted(0), made_for_the_first_time, not_made_again, Hit::Publishes] {
        let mut evidence = run();
        evidence.faults[0].hit = hit;
        assert_eq!(broken(&evidence), ["hit"], "{hit:?}");
    }
    for hit in [Hit::Counted(1), Hit::Rebuilt { missed: 1, made: 1 }, Hit::InFlight] {
        let mut evidence = run();
        evidence.faults[0].hit = hit;
        assert_eq!(broken(&evidence), [] as [&str; 0], "{hit:?}");
    }
    let mut evidence = run();
    evidence.faults[0].hit = Hit::InFlight;
    evidence.faults[0].from = EVERY * (EVENTS as Micros / 2) + 1_500;
    assert_eq!(broken(&evidence), ["hit"], "nothing was in flight when it began");
    let mut evidence = run();
    evidence.faults[0].hit = Hit::Publishes;
    evidence.published[EVENTS / 2].acknowledged = Some(evidence.faults[0].to + 10);
    assert_eq!(broken(&evidence), [] as [&str; 0]);
}

#[test]
fn a_node_that_ends_by_itself_is_found() {
    let mut evidence = run();
    evidence.mishaps.push("node 1 ended with signal 6".to_owned());
    assert_eq!(broken(&evidence), ["mishap"]);
}
