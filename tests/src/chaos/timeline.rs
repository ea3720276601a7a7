//! The life of one delivery, for whoever has to find out what went wrong.

use std::fmt::Write as _;

use super::evidence::{Evidence, Micros};

/// Everything that was written down about an event and an endpoint, and the faults meanwhile, by time.
pub fn of(evidence: &Evidence, event: &str, endpoint: usize) -> String {
    let mut lines: Vec<(Micros, String)> = Vec::new();
    for published in evidence.published.iter().filter(|published| published.event.as_deref() == Some(event)) {
        lines.push((published.sent, format!("published as {}", published.event_type)));
        if let Some(at) = published.acknowledged {
            lines.push((at, format!("acknowledged at try {}", published.tries)));
        }
    }
    let is_it = |other: &str, place: usize| other == event && place == endpoint;
    for receipt in evidence.received.iter().filter(|receipt| is_it(&receipt.event, receipt.endpoint)) {
        lines.push((receipt.at, "came to the receiver".to_owned()));
        match receipt.answered {
            Some((at, status)) if receipt.is_told => lines.push((at, format!("answered {status}"))),
            Some((at, status)) => lines.push((at, format!("answered {status}, too late for the sender"))),
            None => lines.push((receipt.at, "never answered".to_owned())),
        }
    }
    for row in evidence.rows.iter().filter(|row| is_it(&row.event, row.endpoint)) {
        for attempt in &row.attempts {
            lines.push((attempt.started, format!("row: attempt {} started", attempt.number)));
            lines.push((attempt.completed, format!("row: attempt {} ended with {:?}", attempt.number, attempt.status)));
        }
        lines.push((Micros::MAX, format!("row: {} after {} attempts", row.status.name(), row.attempt_count)));
    }
    for fault in &evidence.faults {
        lines.push((fault.from, format!("** {} begins", fault.what)));
        lines.push((fault.to, format!("** {} is over", fault.what)));
    }
    lines.sort_by_key(|(at, _)| *at);
    let mut text = format!("  {event} to `{}`\n", evidence.endpoints[endpoint].name);
    for (at, what) in lines {
        let _ = match at {
            Micros::MAX => writeln!(text, "        in the end  {what}"),
            at => writeln!(text, "  {:>10} ms  {what}", format!("{}.{:03}", at / 1_000, at % 1_000)),
        };
    }
    text
}
