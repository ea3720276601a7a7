//! The judge: reads what was written down, and says what is wrong.
//!
//! I1  nothing acknowledged is lost: it came, and was taken, at every endpoint that it matches.
//! I2  what an endpoint has taken is repeated only if a fault that may do so hit the request: it ran then, or its result
//!     was not durable yet. So the duplicates of a crash are bounded by what was in flight, one by one.
//! I3  what was acknowledged before something else was sent comes before it: at FIFO endpoints the first attempts, at
//!     STRICT ones every request.
//! I4  rows agree with receivers: one delivery for each, succeeded, with the attempts that it counts, of which the last
//!     ended as the receiver has it.
//! I5  an endpoint that answers at once gets its events at once, and after a fault within the allowance of the fault.
//! I6  memory and files of the nodes are bounded.
//! I7  attempts of a delivery are numbered one after the other, and never overlap: no node wrote over another.
//! I8  publishes are acknowledged at once, while nothing is broken.
//!
//! A run in which no fault hit anything proves nothing, and fails as well.

use std::collections::HashMap;
use std::time::Duration;

use super::evidence::{Evidence, Hit, Injected, Micros, Published, Receipt, micros};

mod order;
mod rows;
#[cfg(test)]
mod tests;
mod time;

/// How long a result may take to become durable, while the database is there.
const DURABLE_WITHIN: Duration = Duration::from_secs(2);

/// What is too much. It depends on the machine and on what else it does.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// 99th percentile of the time from acknowledgement to arrival, while nothing is broken (I5).
    pub late: Duration,
    /// 99th percentile of the time that a publish takes, while nothing is broken (I8).
    pub acknowledged: Duration,
    /// What is added to the allowance of each fault (I5), and to the time in which a result becomes durable (I2).
    pub patience: Duration,
    /// Memory of a node (I6).
    pub resident_bytes: u64,
    /// Open files of a node (I6).
    pub files: usize,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which invariant, such as `I1`.
    pub broken: &'static str,
    /// What is wrong, in words.
    pub text: String,
    /// The event and the endpoint it is about.
    pub about: Option<(String, usize)>,
}

/// What became of a run.
#[derive(Clone, Debug, Default)]
pub struct Judgement {
    /// Events that were acknowledged.
    pub acknowledged: usize,
    /// Deliveries that have to be of them.
    pub expected: usize,
    /// Requests that came.
    pub received: usize,
    /// Deliveries that never came.
    pub lost: usize,
    /// Requests that came again although the one before was taken; those that a fault excuses among them.
    pub duplicates: usize,
    /// Requests that came out of order.
    pub out_of_order: usize,
    /// From the end of a fault to the arrival of the last delivery that it had held up; the longest of all faults.
    pub recovery: Duration,
    /// 99th percentiles, while nothing was broken.
    pub late: Duration,
    /// The same of the time that a publish takes.
    pub acknowledging: Duration,
    /// The most memory of a node.
    pub resident_bytes: u64,
    /// The most files of a node.
    pub files: usize,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

impl Judgement {
    fn find(&mut self, broken: &'static str, about: Option<(&str, usize)>, text: String) {
        let about = about.map(|(event, endpoint)| (event.to_owned(), endpoint));
        self.findings.push(Finding { broken, text, about });
    }
}

/// Receipts by event and endpoint, in the order in which they came.
pub(super) type Receipts<'a> = HashMap<(&'a str, usize), Vec<&'a Receipt>>;

/// Judges a run.
pub fn judge(evidence: &Evidence, limits: &Limits) -> Judgement {
    let mut judgement = Judgement {
        acknowledged: acknowledged(evidence).count(),
        received: evidence.received.len(),
        ..Judgement::default()
    };
    let mut receipts: Receipts<'_> = HashMap::new();
    for receipt in &evidence.received {
        receipts.entry((&receipt.event, receipt.endpoint)).or_default().push(receipt);
    }
    arrivals(evidence, &receipts, &mut judgement);
    repeats(evidence, &receipts, limits, &mut judgement);
    order::judge(evidence, limits, &mut judgement);
    rows::judge(evidence, &receipts, &mut judgement);
    time::judge(evidence, &receipts, limits, &mut judgement);
    resources(evidence, limits, &mut judgement);
    if !evidence.faults.iter().any(|fault| has_hit(evidence, fault)) {
        judgement.find("hit", None, "no fault hit anything: the run proves nothing".to_owned());
    }
    for mishap in &evidence.mishaps {
        judgement.find("mishap", None, mishap.clone());
    }
    judgement
}

/// What was acknowledged, with its ID and when.
pub(super) fn acknowledged(evidence: &Evidence) -> impl Iterator<Item = (&Published, &str, Micros)> {
    evidence
        .published
        .iter()
        .filter_map(|published| Some((published, published.event.as_deref()?, published.acknowledged?)))
}

/// I1, and that only what was published comes, to whom it is for, and signed.
fn arrivals(evidence: &Evidence, receipts: &Receipts<'_>, judgement: &mut Judgement) {
    for (published, event, _) in acknowledged(evidence) {
        for (endpoint, it) in evidence.endpoints.iter().enumerate().filter(|(_, it)| it.matches(published.event_type)) {
            judgement.expected += 1;
            let came = receipts.get(&(event, endpoint)).is_some_and(|came| came.iter().any(|one| one.is_delivered()));
            if !came {
                judgement.lost += 1;
                judgement.find("I1", Some((event, endpoint)), format!("{event} never arrived at `{}`", it.name));
            }
        }
    }
    let types: HashMap<_, _> =
        acknowledged(evidence).map(|(published, event, _)| (event, published.event_type)).collect();
    for receipt in &evidence.received {
        let endpoint = &evidence.endpoints[receipt.endpoint];
        let about = Some((receipt.event.as_str(), receipt.endpoint));
        if !receipt.is_verified {
            judgement.find("I1", about, format!("{} came wrongly signed to `{}`", receipt.event, endpoint.name));
        }
        // What nobody acknowledged may have been stored all the same, if its publisher gave up.
        if types.get(receipt.event.as_str()).is_some_and(|event_type| !endpoint.matches(event_type)) {
            judgement.find(
                "I1",
                about,
                format!("{} came to `{}`, which did not ask for it", receipt.event, endpoint.name),
            );
        }
    }
}

/// I2.
fn repeats(evidence: &Evidence, receipts: &Receipts<'_>, limits: &Limits, judgement: &mut Judgement) {
    for ((event, endpoint), came) in receipts {
        for pair in came.windows(2) {
            if pair[0].asks_for_another() || pair[0].is_broken {
                continue;
            }
            judgement.duplicates += usize::from(pair[0].is_delivered());
            if !evidence.faults.iter().any(|fault| excuses(fault, pair[0], limits)) {
                let (name, at) = (&evidence.endpoints[*endpoint].name, pair[1].at);
                let text = format!("{event} came again to `{name}` at {at} µs, without a reason");
                judgement.find("I2", Some((event, *endpoint)), text);
            }
        }
    }
}

/// What was sent while a fault lasted may come to the receiver so much later: it lay in a pipe. A busy machine, which is
/// granted patience, carries it a tenth of that later still.
const UNDER_WAY: Duration = Duration::from_millis(100);

/// Whether the request was running while the fault lasted, or its result may not have been durable when it began.
fn excuses(fault: &Injected, receipt: &Receipt, limits: &Limits) -> bool {
    let answered = receipt.answered.map_or(Micros::MAX, |(at, _)| at);
    fault.excuses_repeats
        && receipt.at <= fault.to + micros(UNDER_WAY + fault.comes_late + limits.patience / 10)
        && answered >= fault.from.saturating_sub(micros(DURABLE_WITHIN + limits.patience / 10))
}

/// I6.
fn resources(evidence: &Evidence, limits: &Limits, judgement: &mut Judgement) {
    judgement.resident_bytes = evidence.samples.iter().map(|sample| sample.resident_bytes).max().unwrap_or_default();
    judgement.files = evidence.samples.iter().map(|sample| sample.files).max().unwrap_or_default();
    if judgement.resident_bytes > limits.resident_bytes {
        let text = format!("a node took {} bytes, more than {}", judgement.resident_bytes, limits.resident_bytes);
        judgement.find("I6", None, text);
    }
    if judgement.files > limits.files {
        judgement.find("I6", None, format!("a node had {} files open, more than {}", judgement.files, limits.files));
    }
}

/// Whether the fault hit anything.
fn has_hit(evidence: &Evidence, fault: &Injected) -> bool {
    let is_running =
        |receipt: &&Receipt| receipt.at <= fault.from && receipt.answered.is_none_or(|(at, _)| at >= fault.from);
    match fault.hit {
        Hit::Nothing => true,
        Hit::Counted(count) => count > 0,
        Hit::Rebuilt { missed, made } => missed > 0 && made > 0,
        Hit::InFlight => evidence.received.iter().any(|receipt| is_running(&receipt)),
        Hit::BrokenOff => {
            let is_broken = |receipt: &&Receipt| receipt.is_told && receipt.answered.is_none();
            let is_again = |first: &&Receipt| {
                let is_same = |later: &Receipt| later.endpoint == first.endpoint && later.event == first.event;
                first.at <= fault.from && evidence.received.iter().any(|later| later.at > fault.from && is_same(later))
            };
            let is_sent_again = |published: &Published| {
                let until = published.acknowledged.unwrap_or(Micros::MAX);
                published.tries > 1 && published.sent <= fault.from && until >= fault.from
            };
            evidence.received.iter().filter(is_broken).any(|receipt| is_running(&receipt))
                || evidence.received.iter().filter(|receipt| receipt.is_delivered()).any(|first| is_again(&first))
                || evidence.published.iter().any(is_sent_again)
        }
        Hit::Publishes => evidence.published.iter().any(|published| {
            let until = published.acknowledged.unwrap_or(Micros::MAX);
            let is_during = published.sent <= fault.to && until >= fault.from;
            is_during && (published.tries > 1 || published.sent <= fault.from)
        }),
    }
}
