//! The manners of receivers: what each does with its n-th request.

use std::time::Duration;

use super::evidence::{Endpoint, Order};

/// The scripts begin again after so many requests.
const ROUND: usize = 200;
/// Longer than the endpoints with a short timeout allow.
const TOO_LONG: Duration = Duration::from_millis(1_500);

/// What is done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// An answer, after a while.
    Answer(u16, Duration),
    /// An answer that asks to be left alone for so many seconds.
    RetryAfter(u16, u32),
    /// Nothing, ever.
    Hang,
    /// 200 in the log of the receiver, but so late that the sender has given up.
    Lie(Duration),
    /// 200 and a body that never comes.
    HangBody,
    /// 200 and a body of one byte now and then.
    Drip,
    /// 200 and a body without an end.
    Endless,
    /// 200 and a connection that breaks in the middle of the body.
    Reset,
}

/// The manners of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// 204 at once.
    Prompt,
    /// 204 after so many milliseconds.
    Slow(u64),
    /// A few 500 in a row, not as many as open the circuit.
    Bursts,
    /// 429, then 503, both with `Retry-After`.
    Busy,
    /// 410, once.
    Gone,
    /// Hangs now and then.
    Hanging,
    /// Answers too late now and then.
    Lying,
    /// Answers well, with bodies that hang, drip, break and never end.
    Bodies,
}

impl Script {
    /// What to do with request `nth`, from 0.
    pub fn action(self, nth: usize) -> Action {
        let at_once = Action::Answer(204, Duration::ZERO);
        match (self, nth % ROUND) {
            (Self::Slow(millis), _) => Action::Answer(204, Duration::from_millis(millis)),
            (Self::Bursts, 8..=10 | 30..=32) => Action::Answer(500, Duration::ZERO),
            (Self::Busy, 10) => Action::RetryAfter(429, 1),
            (Self::Busy, 25) => Action::RetryAfter(503, 1),
            (Self::Gone, 12) if nth < ROUND => Action::Answer(410, Duration::ZERO),
            (Self::Hanging, 10) => Action::Hang,
            (Self::Lying, 10) => Action::Lie(TOO_LONG),
            (Self::Bodies, 5) => Action::HangBody,
            (Self::Bodies, 10) => Action::Drip,
            (Self::Bodies, 15) => Action::Endless,
            (Self::Bodies, 20) => Action::Reset,
            _ => at_once,
        }
    }

    /// Time allowed for one request, in seconds.
    pub fn timeout_s(self) -> u32 {
        match self {
            Self::Hanging | Self::Lying | Self::Bodies => 1,
            _ => 15,
        }
    }
}

/// The endpoints of every run, with their manners.
pub fn endpoints() -> Vec<(Endpoint, Script)> {
    use Order::{Fifo, None, Strict};
    const ALL: [(Script, Order, &[&str]); 15] = [
        (Script::Prompt, Fifo, &["*"]),
        (Script::Prompt, Strict, &["*"]),
        (Script::Prompt, None, &["*"]),
        (Script::Prompt, Fifo, &["invoice.paid"]),
        (Script::Prompt, Strict, &["sms.outbound"]),
        (Script::Slow(10), Fifo, &["invoice.paid"]),
        (Script::Slow(60), None, &["*"]),
        (Script::Slow(40), None, &["sms.outbound", "invoice.paid"]),
        (Script::Bursts, Fifo, &["*"]),
        (Script::Bursts, Strict, &["invoice.voided"]),
        (Script::Busy, Fifo, &["*"]),
        (Script::Gone, Fifo, &["invoice.voided", "sms.outbound"]),
        (Script::Hanging, None, &["invoice.paid", "invoice.voided"]),
        (Script::Lying, Strict, &["invoice.paid"]),
        (Script::Bodies, None, &["*"]),
    ];
    let named = |(place, (script, order, takes)): (usize, (Script, Order, &[&'static str]))| {
        let name = format!("{place} {script:?} {order:?}");
        (Endpoint { name, order, takes: takes.to_vec(), prompt: script == Script::Prompt }, script)
    };
    ALL.into_iter().enumerate().map(named).collect()
}

/// The types of event that are published.
pub const EVENT_TYPES: [&str; 3] = ["invoice.paid", "invoice.voided", "sms.outbound"];
