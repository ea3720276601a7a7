//! I4 and I7: what the rows say.

use std::collections::{HashMap, HashSet};

use angarium_entity::delivery::Status;

use super::super::evidence::{Evidence, Row};
use super::{Judgement, Receipts, acknowledged};

/// Looks at every row, and for the rows that there must be.
pub(super) fn judge(evidence: &Evidence, receipts: &Receipts<'_>, judgement: &mut Judgement) {
    let mut seen = HashSet::new();
    for row in &evidence.rows {
        let about = Some((row.event.as_str(), row.endpoint));
        let name = &evidence.endpoints[row.endpoint].name;
        let mut wrong =
            |broken, text: String| judgement.find(broken, about, format!("{} to `{name}` {text}", row.event));
        if !seen.insert((row.event.as_str(), row.endpoint)) {
            wrong("I4", "has two rows".to_owned());
        }
        if row.status != Status::Succeeded {
            wrong("I4", format!("is {} in the end", row.status.name()));
        }
        if usize::try_from(row.attempt_count).ok() != Some(row.attempts.len()) {
            wrong("I4", format!("counts {} attempts and has {}", row.attempt_count, row.attempts.len()));
        }
        let taken = receipts.get(&(row.event.as_str(), row.endpoint)).and_then(|came| {
            let taken = came.iter().rev().find(|receipt| receipt.is_delivered());
            taken.and_then(|receipt| receipt.answered).map(|(_, status)| status)
        });
        if let (Some(last), Some(taken)) = (row.attempts.last(), taken)
            && last.status != Some(taken)
        {
            wrong("I4", format!("ended with {:?}, but the receiver answered {taken}", last.status));
        }
        if let Some(text) = wrong_attempts(row) {
            wrong("I7", text);
        }
    }
    let types: HashMap<_, _> =
        acknowledged(evidence).map(|(published, event, _)| (event, published.event_type)).collect();
    for (event, event_type) in types {
        for (endpoint, it) in evidence.endpoints.iter().enumerate().filter(|(_, it)| it.matches(event_type)) {
            if !seen.contains(&(event, endpoint)) {
                judgement.find("I4", Some((event, endpoint)), format!("{event} to `{}` has no row", it.name));
            }
        }
    }
}

/// What is wrong with the attempts of a row among themselves. Times of rows are whole milliseconds.
fn wrong_attempts(row: &Row) -> Option<String> {
    for (place, attempt) in row.attempts.iter().enumerate() {
        if usize::try_from(attempt.number).ok() != Some(place + 1) {
            return Some(format!("has attempt {} in place {}", attempt.number, place + 1));
        }
    }
    let overlap = row.attempts.windows(2).find(|pair| pair[1].started + 1_000 < pair[0].completed)?;
    Some(format!("began attempt {} before attempt {} had ended", overlap[1].number, overlap[0].number))
}
