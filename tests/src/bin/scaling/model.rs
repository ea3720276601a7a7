//! The stations that a delivery passes, and how long it waits at each. Discrete events; time is in microseconds.
//!
//! Node        cores, first come first served: a publish, and later the request of a delivery and its result.
//! Committers  two of each node: one statement at a time for publishes, one for results, of whatever waits.
//! PostgreSQL  cores for statements; where there are several nodes, a page is read for each delivery.
//! Log         one writer: whatever waits for the disk shares a flush, which takes as long as the disk and the bytes.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::costs::Costs;

/// Most events and results of one statement, and most deliveries of its events.
const GROUP_MAX: usize = 500;
const GROUP_DELIVERIES_MAX: usize = 5_000;
/// From the end of a request's sending to its answer.
const RECEIVER_US: f64 = 1_000.0;

/// An installation: one database and its nodes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Deliveries a second.
    pub(crate) rate: f64,
    pub(crate) fan_out: usize,
    pub(crate) nodes: usize,
    pub(crate) node_cores: usize,
    pub(crate) postgres_cores: usize,
}

/// How busy the busiest station of each kind was, and how long publishes took to arrive.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) node: f64,
    pub(crate) committer: f64,
    pub(crate) postgres: f64,
    pub(crate) log: f64,
    pub(crate) arrival_p50_ms: f64,
    pub(crate) arrival_p99_ms: f64,
}

impl Outcome {
    /// The kind of station that is fullest.
    pub(crate) fn busiest(&self) -> &'static str {
        let kinds = [
            (self.node, "cores of the nodes"),
            (self.committer, "committers of the nodes"),
            (self.postgres, "cores of PostgreSQL"),
            (self.log, "PostgreSQL's log"),
        ];
        kinds.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)).map_or("", |(_, name)| name)
    }
}

/// Servers with one queue.
#[derive(Debug)]
struct Station {
    free: usize,
    servers: usize,
    waiting: VecDeque<(f64, Next)>,
    busy: f64,
}

impl Station {
    fn new(servers: usize) -> Self {
        Self { free: servers, servers, waiting: VecDeque::new(), busy: 0.0 }
    }

    fn share(&self, time: f64) -> f64 {
        self.busy / (time * self.servers as f64)
    }
}

/// One that gathers what comes while it works. What it works on belongs to it until it is done.
#[derive(Debug, Default)]
struct Committer {
    waiting: Vec<f64>,
    is_busy: bool,
    groups: usize,
    members: usize,
}

impl Committer {
    /// The mean size of its groups, as a share of the largest.
    fn fullness(&self, most: usize) -> f64 {
        self.members as f64 / (self.groups.max(1) * most) as f64
    }
}

/// What follows when a server is done.
#[derive(Clone, Debug)]
enum Next {
    /// A publish is read; it began then.
    Read(usize, f64),
    /// A statement has run: publishes of a node that began then, or results.
    Ran(usize, Vec<f64>, bool),
    /// The page with a delivery is read.
    Paged(usize, f64),
    /// A request is sent.
    Sent(usize, f64),
}

enum Event {
    Publish,
    NodeDone(usize, Next),
    PostgresDone(Next),
    Flushed,
    Answered(usize),
}

struct At(f64, u64, Event);

impl PartialEq for At {
    fn eq(&self, other: &Self) -> bool {
        self.1 == other.1
    }
}

impl Eq for At {}

impl PartialOrd for At {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for At {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0).then(self.1.cmp(&other.1))
    }
}

struct World<'a> {
    costs: &'a Costs,
    shape: &'a Shape,
    now: f64,
    number: u64,
    events: BinaryHeap<Reverse<At>>,
    nodes: Vec<Station>,
    /// Publishes, then results, of each node.
    committers: Vec<[Committer; 2]>,
    postgres: Station,
    log: Log,
    arrivals: Vec<f64>,
    random: StdRng,
}

/// What waits for the disk, and what is being flushed.
#[derive(Debug, Default)]
struct Log {
    waiting: Vec<Next>,
    flushing: Vec<Next>,
    is_busy: bool,
    busy: f64,
}

/// Most events of one statement.
fn group_max(fan_out: usize) -> usize {
    GROUP_MAX.min(GROUP_DELIVERIES_MAX / fan_out)
}

/// Runs so many deliveries.
pub(crate) fn simulate(costs: &Costs, shape: &Shape, deliveries: usize) -> Outcome {
    let mut world = World {
        costs,
        shape,
        now: 0.0,
        number: 0,
        events: BinaryHeap::new(),
        nodes: (0..shape.nodes).map(|_| Station::new(shape.node_cores)).collect(),
        committers: (0..shape.nodes).map(|_| Default::default()).collect(),
        postgres: Station::new(shape.postgres_cores),
        log: Log::default(),
        arrivals: Vec::with_capacity(deliveries),
        random: StdRng::seed_from_u64(7),
    };
    world.run(deliveries / shape.fan_out)
}

impl World<'_> {
    fn run(&mut self, publishes: usize) -> Outcome {
        let pause = 1e6 * self.shape.fan_out as f64 / self.shape.rate;
        let (mut left, mut ended) = (publishes, 0.0);
        self.after(0.0, Event::Publish);
        while let Some(Reverse(At(at, _, event))) = self.events.pop() {
            self.now = at;
            match event {
                Event::Publish => {
                    let node = self.random.random_range(0..self.shape.nodes);
                    self.on_node(node, self.costs.publish_node, Next::Read(node, at));
                    left -= 1;
                    if left > 0 {
                        let gap = -pause * self.random.random_range(1e-9_f64..1.0).ln();
                        self.after(gap, Event::Publish);
                    } else {
                        // What is measured is the time in which load came.
                        ended = at;
                        break;
                    }
                }
                Event::NodeDone(node, next) => self.node_done(node, &next),
                Event::PostgresDone(next) => self.postgres_done(next),
                Event::Flushed => self.flushed(),
                Event::Answered(node) => {
                    self.committers[node][1].waiting.push(at);
                    self.commit(node, 1);
                }
            }
        }
        self.outcome(ended)
    }

    fn outcome(&mut self, time: f64) -> Outcome {
        let most = |shares: &mut dyn Iterator<Item = f64>| shares.fold(0.0, f64::max);
        self.arrivals.sort_by(f64::total_cmp);
        let quantile = |share: f64| {
            let place = (self.arrivals.len() as f64 * share) as usize;
            self.arrivals.get(place).copied().unwrap_or_default() / 1e3
        };
        Outcome {
            node: most(&mut self.nodes.iter().map(|node| node.share(time))),
            // It is full when its groups are: until then they grow.
            committer: most(&mut self.committers.iter().flat_map(|[publishes, results]| {
                [publishes.fullness(group_max(self.shape.fan_out)), results.fullness(GROUP_MAX)]
            })),
            postgres: self.postgres.share(time),
            log: self.log.busy / time,
            arrival_p50_ms: quantile(0.5),
            arrival_p99_ms: quantile(0.99),
        }
    }

    fn after(&mut self, time: f64, event: Event) {
        self.number += 1;
        self.events.push(Reverse(At(self.now + time, self.number, event)));
    }

    fn on_node(&mut self, node: usize, cost: f64, next: Next) {
        let station = &mut self.nodes[node];
        if station.free == 0 {
            station.waiting.push_back((cost, next));
            return;
        }
        station.free -= 1;
        station.busy += cost;
        self.after(cost, Event::NodeDone(node, next));
    }

    fn on_postgres(&mut self, cost: f64, next: Next) {
        let station = &mut self.postgres;
        if station.free == 0 {
            station.waiting.push_back((cost, next));
            return;
        }
        station.free -= 1;
        station.busy += cost;
        self.after(cost, Event::PostgresDone(next));
    }

    fn node_done(&mut self, node: usize, next: &Next) {
        self.nodes[node].free += 1;
        if let Some((cost, waiting)) = self.nodes[node].waiting.pop_front() {
            self.on_node(node, cost, waiting);
        }
        match *next {
            Next::Read(node, began) => {
                self.committers[node][0].waiting.push(began);
                self.commit(node, 0);
            }
            Next::Sent(node, began) => {
                self.arrivals.push(self.now - began);
                self.after(RECEIVER_US, Event::Answered(node));
            }
            Next::Ran(..) | Next::Paged(..) => unreachable!("PostgreSQL does that"),
        }
    }

    fn postgres_done(&mut self, next: Next) {
        self.postgres.free += 1;
        if let Some((cost, waiting)) = self.postgres.waiting.pop_front() {
            self.on_postgres(cost, waiting);
        }
        match next {
            Next::Ran(..) => {
                self.log.waiting.push(next);
                self.flush();
            }
            Next::Paged(node, began) => self.on_node(node, self.costs.deliver_node, Next::Sent(node, began)),
            Next::Read(..) | Next::Sent(..) => unreachable!("a node does that"),
        }
    }

    /// Begins a statement of whatever waits, unless one is running.
    fn commit(&mut self, node: usize, kind: usize) {
        let most = if kind == 0 { group_max(self.shape.fan_out) } else { GROUP_MAX };
        let committer = &mut self.committers[node][kind];
        if committer.is_busy || committer.waiting.is_empty() {
            return;
        }
        let rest = committer.waiting.split_off(committer.waiting.len().min(most));
        let group = std::mem::replace(&mut committer.waiting, rest);
        committer.is_busy = true;
        committer.groups += 1;
        committer.members += group.len();
        let count = group.len() as f64;
        let cost = self.costs.statement_postgres
            + if kind == 0 {
                count * (self.costs.event_postgres + self.shape.fan_out as f64 * self.costs.insert_postgres)
            } else {
                count * self.costs.result_postgres
            };
        self.on_postgres(cost, Next::Ran(node, group, kind == 0));
    }

    fn flush(&mut self) {
        let log = &mut self.log;
        if log.is_busy || log.waiting.is_empty() {
            return;
        }
        log.flushing = std::mem::take(&mut log.waiting);
        log.is_busy = true;
        let bytes: f64 = log
            .flushing
            .iter()
            .map(|next| match next {
                Next::Ran(_, group, true) => {
                    let (events, copies) = (group.len() as f64, self.shape.fan_out as f64);
                    events * (self.costs.event_log + copies * self.costs.insert_log)
                }
                Next::Ran(_, group, false) => group.len() as f64 * self.costs.result_log,
                _ => 0.0,
            })
            .sum();
        let writing = bytes / self.costs.log_bytes_per_us;
        // Whatever waits shares the rest.
        log.busy += writing;
        self.after(self.costs.flush + writing, Event::Flushed);
    }

    fn flushed(&mut self) {
        self.log.is_busy = false;
        for next in std::mem::take(&mut self.log.flushing) {
            let Next::Ran(node, group, is_publish) = next else { continue };
            let kind = usize::from(!is_publish);
            let committer = &mut self.committers[node][kind];
            committer.is_busy = false;
            if is_publish {
                for began in group {
                    self.deliver(node, began);
                }
            }
            self.commit(node, kind);
        }
        self.flush();
    }

    /// An event is durable: each of its endpoints is some node's.
    fn deliver(&mut self, node: usize, began: f64) {
        for _ in 0..self.shape.fan_out {
            if self.shape.nodes == 1 {
                self.on_node(node, self.costs.deliver_node, Next::Sent(node, began));
                continue;
            }
            let owner = self.random.random_range(0..self.shape.nodes);
            self.on_postgres(self.costs.page_postgres, Next::Paged(owner, began));
        }
    }
}
