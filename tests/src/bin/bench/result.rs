//! What a scenario measured, and the table of it.

use std::time::Duration;

use crate::publisher::Published;
use crate::tally::{Counts, percentiles};
use crate::usage::Cpu;

/// The result of one run of a scenario.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    pub(crate) name: String,
    pub(crate) publishes_per_s: f64,
    pub(crate) deliveries: u64,
    pub(crate) deliveries_per_s: f64,
    /// From publishing to the first request: p50, p95 and p99 in milliseconds.
    pub(crate) arrival: Option<[f64; 3]>,
    /// Of the answer to a publish: p50 and p99 in milliseconds.
    pub(crate) acknowledged: Option<[f64; 2]>,
    pub(crate) cpu: Cpu,
    /// Most bytes in memory of a node.
    pub(crate) memory: u64,
    pub(crate) lost: u64,
    pub(crate) duplicates: u64,
    pub(crate) disorder: u64,
    pub(crate) unverified: u64,
    pub(crate) note: String,
    /// What else the scenario promises and did not keep.
    pub(crate) faults: Vec<String>,
}

impl Measured {
    pub(crate) fn new(
        name: &str,
        published: Published,
        expected: u64,
        mut counts: Counts,
        cpu: Cpu,
        memory: u64,
    ) -> Self {
        let mut acknowledged = published.acknowledged;
        let lasted = counts.last_at.map_or(Duration::ZERO, |last| last.saturating_duration_since(published.begun));
        Self {
            name: name.to_owned(),
            publishes_per_s: per_second(published.events, published.lasted),
            deliveries: counts.accepted,
            deliveries_per_s: per_second(counts.accepted, lasted),
            arrival: (!counts.arrivals.is_empty()).then(|| percentiles(&mut counts.arrivals, [500, 950, 990])),
            acknowledged: (!acknowledged.is_empty()).then(|| percentiles(&mut acknowledged, [500, 990])),
            cpu,
            memory,
            lost: expected.saturating_sub(counts.accepted),
            duplicates: counts.duplicates,
            disorder: counts.disorder,
            unverified: counts.unverified,
            note: String::new(),
            faults: Vec::new(),
        }
    }

    /// Whether everything arrived, once, in order and rightly signed, and the scenario kept what it promises.
    pub(crate) fn is_right(&self) -> bool {
        self.lost + self.duplicates + self.disorder + self.unverified == 0 && self.faults.is_empty()
    }

    /// Processor time of a part per delivery, in microseconds.
    fn cpu_micros(&self, part: &str) -> Option<f64> {
        let time = self.cpu.get(part)?;
        (self.deliveries > 0).then(|| time.as_secs_f64() * 1e6 / real(self.deliveries))
    }

    /// The same of all server processes together.
    fn servers_micros(&self) -> Option<f64> {
        let all: Duration = ["node", "postgres", "redis"].iter().filter_map(|part| self.cpu.get(part)).sum();
        (self.deliveries > 0).then(|| all.as_secs_f64() * 1e6 / real(self.deliveries))
    }

    fn row(&self, ceiling: f64) -> [String; COLUMNS] {
        let micros = |part| self.cpu_micros(part).map_or(String::new(), |micros| format!("{micros:.0}"));
        let rate = |rate: f64| if rate > 0.0 { format!("{rate:.0}") } else { String::new() };
        let share = self.deliveries_per_s / ceiling;
        [
            self.name.clone(),
            rate(self.publishes_per_s),
            rate(self.deliveries_per_s),
            if share > 0.0 { format!("{share:.3}") } else { String::new() },
            list(self.arrival.as_ref().map(<[f64; 3]>::as_slice)),
            list(self.acknowledged.as_ref().map(<[f64; 2]>::as_slice)),
            micros("node"),
            micros("postgres"),
            micros("redis"),
            format!("{}", self.memory >> 20),
            self.lost.to_string(),
            self.duplicates.to_string(),
            self.disorder.to_string(),
            self.note.clone(),
        ]
    }
}

const COLUMNS: usize = 14;
const HEAD: [&str; COLUMNS] = [
    "scenario",
    "publishes/s",
    "deliveries/s",
    "of ceiling",
    "arrival p50/p95/p99 ms",
    "ack p50/p99 ms",
    "node µs/dlv",
    "postgres µs/dlv",
    "redis µs/dlv",
    "node MiB",
    "lost",
    "doubled",
    "disorder",
    "",
];

/// A table in Markdown.
pub(crate) fn table(measured: &[Measured], ceiling: f64) -> String {
    let rows: Vec<_> =
        std::iter::once(HEAD.map(str::to_owned)).chain(measured.iter().map(|one| one.row(ceiling))).collect();
    let widths: [usize; COLUMNS] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let line = |row: &[String; COLUMNS]| {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let mut lines: Vec<_> = rows.iter().map(line).collect();
    lines.insert(1, format!("|{}|\n", widths.map(|width| "-".repeat(width + 2)).join("|")));
    lines.concat()
}

/// Processor time of all server processes for a delivery, in other runs as a share of these, pair by pair: the median, and
/// the least and the most.
pub(crate) fn shares(runs: &[Measured], others: &[Measured]) -> String {
    let mut shares: Vec<f64> = runs
        .iter()
        .zip(others)
        .filter_map(|(run, other)| Some(other.servers_micros()? / run.servers_micros()?))
        .collect();
    shares.sort_by(f64::total_cmp);
    match shares.as_slice() {
        [] => String::new(),
        [least, .., most] => {
            format!("{:.3} of its processor time ({least:.3} to {most:.3})", shares[shares.len() / 2])
        }
        [one] => format!("{one:.3} of its processor time"),
    }
}

/// The run in the middle, by its deliveries per second or, where there are none, by its p99; and how far the others are.
pub(crate) fn median(mut runs: Vec<Measured>) -> Measured {
    runs.sort_by(|one, other| one.deliveries_per_s.total_cmp(&other.deliveries_per_s));
    let (least, most) = (runs[0].deliveries_per_s, runs[runs.len() - 1].deliveries_per_s);
    let count = runs.len();
    // One that went wrong must not hide among those that did not.
    let told = runs.iter().position(|run| !run.is_right()).unwrap_or(count / 2);
    let mut median = runs.swap_remove(told);
    if count > 1 {
        median.note =
            format!("{}{count} runs: {least:.0} to {most:.0}/s", if median.note.is_empty() { "" } else { "; " });
    }
    median
}

fn list(numbers: Option<&[f64]>) -> String {
    let texts = numbers.unwrap_or_default().iter().map(|number| format!("{number:.1}"));
    texts.collect::<Vec<_>>().join(" / ")
}

pub(crate) fn per_second(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { real(count) / time.as_secs_f64() }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^52")]
fn real(count: u64) -> f64 {
    count as f64
}
