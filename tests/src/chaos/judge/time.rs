//! I5 and I8: how long things took.

use std::time::Duration;

use super::super::evidence::{Endpoint, Evidence, Injected, Micros, Order, micros};
use super::{Judgement, Limits, Receipts, acknowledged};

/// How long after a fault the run is still not calm, beside what its deliveries are allowed.
const SETTLED_AFTER: Duration = Duration::from_secs(2);
/// Time that an endpoint has for a request, unless it was given another.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(15);

/// Looks at what was published and at the endpoints that answer at once.
pub(super) fn judge(evidence: &Evidence, receipts: &Receipts<'_>, limits: &Limits, judgement: &mut Judgement) {
    let (mut late, mut acknowledging, mut recovery) = (Vec::new(), Vec::new(), 0);
    for (published, event, at) in acknowledged(evidence) {
        if is_calm(evidence, published.sent, at) && published.tries == 1 {
            acknowledging.push(at - published.sent);
        }
        for (endpoint, it) in evidence.endpoints.iter().enumerate() {
            if !it.prompt || !it.matches(published.event_type) {
                continue;
            }
            let came = receipts.get(&(event, endpoint)).and_then(|came| came.iter().find(|one| one.is_delivered()));
            let Some(arrived) = came.map(|receipt| receipt.at) else { continue };
            if is_calm(evidence, published.sent, arrived) {
                late.push(arrived.saturating_sub(at));
            }
            for fault in evidence.faults.iter().filter(|fault| at <= fault.to && arrived > fault.to) {
                recovery = recovery.max(arrived - fault.to);
            }
            if let Some((fault, waited)) = waited_after(evidence, at, arrived)
                && waited > micros(fault.allowance + strict_wait(it) + limits.patience)
            {
                let (name, what, seconds) = (&it.name, &fault.what, waited / 1_000_000);
                let text = format!("{event} came to `{name}` {seconds} s after the end of `{what}`");
                judgement.find("I5", Some((event, endpoint)), text);
            }
        }
    }
    judgement.recovery = Duration::from_micros(recovery);
    judgement.late = percentile_99(late);
    judgement.acknowledging = percentile_99(acknowledging);
    if judgement.late > limits.late {
        judgement.find("I5", None, format!("99 % arrived within {:?}, not {:?}", judgement.late, limits.late));
    }
    if judgement.acknowledging > limits.acknowledged {
        let text =
            format!("99 % were acknowledged within {:?}, not {:?}", judgement.acknowledging, limits.acknowledged);
        judgement.find("I8", None, text);
    }
}

/// Who takes a STRICT endpoint over from a node that has died waits for what that one may have sent.
fn strict_wait(endpoint: &Endpoint) -> Duration {
    if endpoint.order == Order::Strict { REQUEST_TIME_MAX } else { Duration::ZERO }
}

/// Whether nothing was broken, just repaired or done for the first time between two moments.
fn is_calm(evidence: &Evidence, from: Micros, to: Micros) -> bool {
    let disturbs = |fault: &Injected| {
        fault.from <= to
            && fault.to + micros(fault.allowance) + micros(SETTLED_AFTER) >= from
            && !fault.allowance.is_zero()
    };
    from >= evidence.warm_at && !evidence.faults.iter().any(disturbs)
}

/// The last fault that ended while the delivery was waiting, and how long it waited after that; nothing if another had
/// begun by then.
fn waited_after(evidence: &Evidence, acknowledged: Micros, arrived: Micros) -> Option<(&Injected, Micros)> {
    if evidence.faults.iter().any(|fault| fault.from <= arrived && arrived <= fault.to) {
        return None;
    }
    let fault = evidence
        .faults
        .iter()
        .filter(|fault| fault.to < arrived && !fault.allowance.is_zero())
        .max_by_key(|fault| fault.to)?;
    // It may arrive before its publisher has heard the answer.
    Some((fault, arrived.saturating_sub(fault.to.max(acknowledged))))
}

fn percentile_99(mut times: Vec<Micros>) -> Duration {
    times.sort_unstable();
    Duration::from_micros(times.get(times.len() * 99 / 100).copied().unwrap_or_default())
}
