//! I3: order, by what was acknowledged before what was sent.

use std::collections::{HashMap, HashSet};

use super::super::evidence::{Evidence, Micros, Order, Receipt, Row};
use super::{Judgement, Limits, acknowledged};

/// Looks at every endpoint that has an order.
pub(super) fn judge(evidence: &Evidence, limits: &Limits, judgement: &mut Judgement) {
    let times: HashMap<&str, (Micros, Micros)> =
        acknowledged(evidence).map(|(published, event, at)| (event, (published.sent, at))).collect();
    for (place, endpoint) in evidence.endpoints.iter().enumerate() {
        let mut came: Vec<&Receipt> = evidence.received.iter().filter(|receipt| receipt.endpoint == place).collect();
        match endpoint.order {
            Order::None => continue,
            Order::Strict => {}
            Order::Fifo => {
                let unseen = unseen_first_attempts(evidence, place, &came);
                let mut seen = HashSet::new();
                came.retain(|receipt| seen.insert(&receipt.event) && !unseen.contains(receipt.event.as_str()));
            }
        }
        // The latest of what came that was sent last.
        let mut latest: Option<(Micros, &str)> = None;
        for receipt in came {
            let Some(&(sent, at)) = times.get(receipt.event.as_str()) else { continue };
            if let Some((other_sent, other)) = latest
                && other != receipt.event
                && other_sent >= at
                && !is_excused(evidence, receipt, limits)
            {
                judgement.out_of_order += 1;
                let text = format!(
                    "{} came to `{}` after {other}, which was sent only after it was acknowledged",
                    receipt.event, endpoint.name
                );
                judgement.find("I3", Some((&receipt.event, place)), text);
            }
            if latest.is_none_or(|(other, _)| sent > other) {
                latest = Some((sent, &receipt.event));
            }
        }
    }
}

/// What was on the wire when a node was frozen or cut off comes when it comes; nothing can call it back.
fn is_excused(evidence: &Evidence, receipt: &Receipt, limits: &Limits) -> bool {
    let was_taken_before = evidence.received.iter().any(|other| {
        other.event == receipt.event
            && other.endpoint == receipt.endpoint
            && other.at < receipt.at
            && !other.asks_for_another()
            && evidence.faults.iter().any(|fault| super::excuses(fault, other, limits))
    });
    // A repeat that is excused as a duplicate, which I2 has counted, is not counted twice.
    was_taken_before
}

/// Events whose first attempt failed before it reached the receiver: from then on a FIFO line goes on without them.
fn unseen_first_attempts<'a>(evidence: &'a Evidence, place: usize, came: &[&Receipt]) -> HashSet<&'a str> {
    let mut first: HashMap<&str, Micros> = HashMap::new();
    for receipt in came {
        first.entry(&receipt.event).or_insert(receipt.at);
    }
    let is_unseen = |row: &&Row| {
        row.attempts.len() > 1
            && first.get(row.event.as_str()).is_none_or(|&at| at / 1_000 > row.attempts[0].completed / 1_000 + 1)
    };
    evidence.rows.iter().filter(|row| row.endpoint == place).filter(is_unseen).map(|row| row.event.as_str()).collect()
}
