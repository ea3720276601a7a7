//! What a run writes down, and the judge reads.

use std::time::{Duration, Instant};

use angarium_entity::delivery::Status;
use angarium_entity::{Clock as _, SystemClock, Timestamp};

/// Microseconds since the run began.
pub type Micros = u64;

/// A length of time, rounded down.
pub fn micros(time: Duration) -> Micros {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The time of a run: monotonic, and the same for all that happens in this process.
#[derive(Clone, Copy, Debug)]
pub struct RunClock {
    began: Instant,
    began_at: Timestamp,
}

impl RunClock {
    /// Begins now.
    pub fn start() -> Self {
        Self { began: Instant::now(), began_at: SystemClock.now() }
    }

    /// Now.
    pub fn now(self) -> Micros {
        micros(self.began.elapsed())
    }

    /// A time that a row tells, to the millisecond.
    pub fn of_row(self, at: Timestamp) -> Micros {
        micros(at.since(self.began_at))
    }
}

/// In which order an endpoint wants its deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// First attempts in publish order.
    Fifo,
    /// The next only when the one before is final.
    Strict,
    /// None.
    None,
}

/// An endpoint, and what it subscribes to.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// What it is for, such as `prompt FIFO`.
    pub name: String,
    /// Its order.
    pub order: Order,
    /// Names of event types, or `*`.
    pub takes: Vec<&'static str>,
    /// Whether it answers at once and always well, so that its deliveries tell how late Angarium is.
    pub prompt: bool,
}

impl Endpoint {
    /// Whether events of this type go there.
    pub fn matches(&self, event_type: &str) -> bool {
        self.takes.iter().any(|taken| *taken == "*" || *taken == event_type)
    }
}

/// An event that a publisher has sent.
#[derive(Clone, Debug)]
pub struct Published {
    /// Its ID, once that is known.
    pub event: Option<String>,
    /// Its type.
    pub event_type: &'static str,
    /// When it was sent first.
    pub sent: Micros,
    /// When it was acknowledged.
    pub acknowledged: Option<Micros>,
    /// How often it was sent until then; always with the same idempotency key.
    pub tries: u32,
}

/// A request that a receiver got.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// Which endpoint.
    pub endpoint: usize,
    /// The `webhook-id`.
    pub event: String,
    /// When it was there to the last byte.
    pub at: Micros,
    /// When it was answered, and with what; none when the sender went away before.
    pub answered: Option<(Micros, u16)>,
    /// Whether the script lets the sender hear of it in time.
    pub is_told: bool,
    /// Whether the connection broke behind the head, so that the sender may not have had an answer.
    pub is_broken: bool,
    /// Whether the signature and the body are right.
    pub is_verified: bool,
}

impl Receipt {
    /// Whether the endpoint took it and said so: a repeat is then a duplicate.
    pub fn is_delivered(&self) -> bool {
        self.is_told && self.answered.is_some_and(|(_, status)| (200..300).contains(&status))
    }

    /// Whether the endpoint itself asked for a repeat, by what it answered or by not answering.
    pub fn asks_for_another(&self) -> bool {
        !self.is_told || self.answered.is_some_and(|(_, status)| !(200..300).contains(&status))
    }
}

/// A delivery as the database has it in the end.
#[derive(Clone, Debug)]
pub struct Row {
    /// Of which event.
    pub event: String,
    /// To which endpoint.
    pub endpoint: usize,
    /// Where it ended.
    pub status: Status,
    /// How many attempts it counts.
    pub attempt_count: i32,
    /// Its attempts, by number.
    pub attempts: Vec<Attempt>,
}

/// An attempt as the database has it.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// From 1.
    pub number: i32,
    /// When it started.
    pub started: Micros,
    /// When it ended.
    pub completed: Micros,
    /// HTTP status, if an answer came.
    pub status: Option<u16>,
}

/// How it is told that a fault hit something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hit {
    /// So many things were hit, as was seen then and there: sessions of the database that were at work, or what a wire did
    /// not carry. That something was there which could have been hit is not enough.
    Counted(usize),
    /// Requests that were broken off at that moment, publishes that were, or results that were not durable yet, so that
    /// what they had delivered was repeated.
    BrokenOff,
    /// Requests that were running at that moment.
    InFlight,
    /// Publishes that waited through it, or were sent again because of it.
    Publishes,
    /// Retry schedules that nodes have missed since, and those that they have made again; both, since one that is made for
    /// the first time counts as well.
    Rebuilt {
        /// By what they say.
        missed: usize,
        /// By what they count.
        made: usize,
    },
    /// It breaks nothing.
    Nothing,
}

/// A fault that was injected.
#[derive(Clone, Debug)]
pub struct Injected {
    /// What was done, such as `kill -9 of node 2`.
    pub what: String,
    /// When it began.
    pub from: Micros,
    /// When what was broken was whole again.
    pub to: Micros,
    /// How it is told whether it hit.
    pub hit: Hit,
    /// Whether requests that ran then, or whose results were not durable yet, may be repeated.
    pub excuses_repeats: bool,
    /// How long after `to` what was sent meanwhile may still come, although its sender has given it up.
    pub comes_late: Duration,
    /// How long after `to` deliveries may arrive late.
    pub allowance: Duration,
}

/// What a node took up at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Memory in bytes.
    pub resident_bytes: u64,
    /// Open files, sockets among them.
    pub files: usize,
}

/// Everything.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// The endpoints; elsewhere they are told by their place here.
    pub endpoints: Vec<Endpoint>,
    /// What was published.
    pub published: Vec<Published>,
    /// What came, in the order in which it came.
    pub received: Vec<Receipt>,
    /// What is stored.
    pub rows: Vec<Row>,
    /// What was broken.
    pub faults: Vec<Injected>,
    /// Until when everything is done for the first time: connections, plans, settings. How long it takes is not judged.
    pub warm_at: Micros,
    /// What the nodes took up.
    pub samples: Vec<Sample>,
    /// What went wrong beside the events, such as a node that ended by itself.
    pub mishaps: Vec<String>,
}
