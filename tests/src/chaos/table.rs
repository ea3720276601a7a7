//! A line per run.

use super::judge::Judgement;

/// The titles.
pub const HEAD: &str = "| setup | scenario | acknowledged | deliveries | requests | lost | duplicates | out of order | \
    recovery | late p99 | acknowledged p99 | memory | files | |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|";

/// A line.
pub fn line(setup: &str, scenario: &str, judgement: &Judgement) -> String {
    let verdict = if judgement.findings.is_empty() { "ok" } else { "FAILED" };
    format!(
        "| {setup} | {scenario} | {} | {} | {} | {} | {} | {} | {:.1} s | {:.1} ms | {:.1} ms | {} MiB | {} | {verdict} |",
        judgement.acknowledged,
        judgement.expected,
        judgement.received,
        judgement.lost,
        judgement.duplicates,
        judgement.out_of_order,
        judgement.recovery.as_secs_f64(),
        judgement.late.as_secs_f64() * 1e3,
        judgement.acknowledging.as_secs_f64() * 1e3,
        judgement.resident_bytes >> 20,
        judgement.files,
    )
}
