//! The scenarios, and how each is run.

use std::path::Path;
use std::time::{Duration, Instant};

use angarium_tests::GraphQl;

use crate::Options;
use crate::publisher::{Load, Published, Until};
use crate::receiver::{Receiver, Way};
use crate::result::Measured;
use crate::stage::{Stage, Wanted};
use crate::usage::{Watched, used};

/// After so long without one more arrival, what is missing is lost.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Endpoints, and a load on them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Publishers and endpoints side by side.
    Plain { endpoints: usize, way: Way, ordering: &'static str, load: Rate, fan_out: bool },
    /// Published while the endpoint is paused, then sent.
    Backlog { ordering: &'static str },
    /// 100 events/s to 63 endpoints, alone and then beside 100 that hang.
    Hanging { same_workspace: bool },
    /// 100,000 endpoints with one waiting delivery each.
    Many,
    /// 100,000 endpoints, each at a host of its own.
    Hosts,
    /// 1,000 endpoints with 100 retries each that wait for an hour.
    Retries,
    /// 100 events/s while 1,000,000 old rows are deleted.
    Retention,
    /// Killed and started again with 1,000,000 waiting.
    Restart,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) publishers: u32,
    pub(crate) batch: u32,
    pub(crate) per_second: Option<u32>,
}

/// As fast as they are acknowledged.
const fn rate(publishers: u32, batch: u32) -> Rate {
    Rate { publishers, batch, per_second: None }
}

/// 100 events a second, of 20 publishers in turn: each has its last answer before it sends again.
pub(crate) const STEADY: Rate = Rate { publishers: 20, batch: 1, per_second: Some(100) };

const fn plain(endpoints: usize, way: Way, load: Rate) -> Kind {
    Kind::Plain { endpoints, way, ordering: "FIFO", load, fan_out: false }
}

/// All of them.
pub(crate) const ALL: [Scenario; 18] = [
    Scenario { name: "single", about: "one mutation per event, 64 endpoints", kind: plain(64, Way::Ok, rate(64, 1)) },
    Scenario { name: "batch", about: "batches of 100 events, 64 endpoints", kind: plain(64, Way::Ok, rate(16, 100)) },
    Scenario {
        name: "fanout",
        about: "one event to 64 endpoints",
        kind: Kind::Plain { endpoints: 64, way: Way::Ok, ordering: "FIFO", load: rate(64, 1), fan_out: true },
    },
    Scenario { name: "fifo", about: "one FIFO endpoint, one publisher", kind: plain(1, Way::Ok, rate(1, 1)) },
    Scenario {
        name: "strict",
        about: "one STRICT endpoint, one publisher",
        kind: Kind::Plain { endpoints: 1, way: Way::Ok, ordering: "STRICT", load: rate(1, 1), fan_out: false },
    },
    Scenario {
        name: "backlog-fifo",
        about: "3,000 published, then sent to one endpoint",
        kind: Kind::Backlog { ordering: "FIFO" },
    },
    Scenario { name: "backlog-strict", about: "the same, STRICT", kind: Kind::Backlog { ordering: "STRICT" } },
    Scenario { name: "steady", about: "100 events/s, 64 endpoints", kind: plain(64, Way::Ok, STEADY) },
    Scenario {
        name: "hanging-other",
        about: "100 hanging endpoints of another workspace",
        kind: Kind::Hanging { same_workspace: false },
    },
    Scenario {
        name: "hanging-same",
        about: "100 hanging endpoints of the same workspace",
        kind: Kind::Hanging { same_workspace: true },
    },
    Scenario { name: "slow", about: "50 ms receivers, 1,000 endpoints", kind: plain(1_000, Way::Slow, rate(64, 1)) },
    Scenario { name: "failing", about: "one event in ten fails once", kind: plain(64, Way::Flaky, rate(64, 1)) },
    Scenario { name: "many", about: "100,000 endpoints, one waiting delivery each", kind: Kind::Many },
    Scenario { name: "hosts", about: "100,000 endpoints, each at a host of its own", kind: Kind::Hosts },
    Scenario { name: "retries", about: "1,000 endpoints, 100 waiting retries each", kind: Kind::Retries },
    Scenario { name: "retention", about: "100 events/s while 1,000,000 rows are deleted", kind: Kind::Retention },
    Scenario { name: "restart", about: "kill -9 with 1,000,000 waiting", kind: Kind::Restart },
    Scenario {
        name: "endpoints",
        about: "one mutation per event, 10,000 endpoints",
        kind: plain(10_000, Way::Ok, rate(64, 1)),
    },
];

/// What a scenario is run with.
pub(crate) struct Run<'a> {
    pub(crate) options: &'a Options,
    pub(crate) receiver: &'a Receiver,
}

impl Run<'_> {
    /// Runs it on nodes of this build of the program.
    pub(crate) async fn scenario(&self, scenario: &Scenario, program: &Path) -> Vec<Measured> {
        self.receiver.tally().take();
        let mut stage = Stage::start(self.options, program).await;
        match scenario.kind {
            Kind::Plain { endpoints, way, ordering, load, fan_out } => {
                let types = types("bench", if fan_out { 1 } else { endpoints });
                let api = stage.workspace(&types).await;
                let wanted = self.wanted(way, 0, endpoints, &types, ordering);
                stage.endpoints(&api, wanted).await;
                let load = self.load(load, types);
                let copies = if fan_out { endpoints } else { 1 };
                vec![self.measure(scenario.name, &stage, &api, &load, copies).await]
            }
            Kind::Backlog { ordering } => vec![self.backlog(scenario.name, &stage, ordering).await],
            Kind::Hanging { same_workspace } => self.hanging(&stage, same_workspace).await,
            Kind::Many => self.many(&stage).await,
            Kind::Hosts => self.hosts(&stage).await,
            Kind::Retries => vec![self.retries(&stage).await],
            Kind::Retention => self.retention(&mut stage).await,
            Kind::Restart => vec![self.restart(&mut stage).await],
        }
    }

    /// Endpoints with numbers from `first` on, which get the types in turn.
    pub(crate) fn wanted(
        &self,
        way: Way,
        first: usize,
        count: usize,
        types: &[String],
        ordering: &'static str,
    ) -> Vec<Wanted> {
        let endpoint = |number: usize| {
            let wanted = Wanted::new(self.receiver.url(way, number), types[number % types.len()].clone());
            Wanted { ordering, ..wanted }
        };
        (first..first + count).map(endpoint).collect()
    }

    pub(crate) fn load(&self, rate: Rate, event_types: Vec<String>) -> Load {
        Load {
            publishers: rate.publishers,
            batch: rate.batch,
            per_second: rate.per_second,
            event_types,
            payload_bytes: self.options.payload_bytes,
            until: Until::Passed(Duration::from_secs(self.options.seconds)),
        }
    }

    /// Publishes, waits for all that was acknowledged, and judges.
    pub(crate) async fn measure(
        &self,
        name: &str,
        stage: &Stage,
        api: &GraphQl,
        load: &Load,
        copies: usize,
    ) -> Measured {
        let watched = stage.watched();
        let (before, log) = (watched.cpu(), stage.log_bytes().await);
        let published = load.run(api, &stage.bases()).await;
        self.await_arrivals(published.events * copies as u64).await;
        let mut measured = self.judge(name, &watched, &before, published, copies);
        if let (Some(before), Some(after)) = (log, stage.log_bytes().await)
            && let Ok(deliveries @ 1..) = i64::try_from(measured.deliveries)
        {
            measured.note = format!("{} B of log each", (after - before) / deliveries);
        }
        measured
    }

    pub(crate) fn judge(
        &self,
        name: &str,
        watched: &Watched,
        before: &crate::usage::Cpu,
        published: Published,
        copies: usize,
    ) -> Measured {
        let cpu = used(before, &watched.cpu());
        let expected = published.events * copies as u64;
        Measured::new(name, published, expected, self.receiver.tally().take(), cpu, watched.memory().0)
    }

    /// Waits until so many were accepted, or nothing more comes.
    pub(crate) async fn await_arrivals(&self, expected: u64) {
        let (mut last, mut since) = (0, Instant::now());
        loop {
            let accepted = self.receiver.tally().accepted();
            if accepted >= expected || since.elapsed() > PATIENCE {
                return;
            }
            if accepted > last {
                (last, since) = (accepted, Instant::now());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Names of event types.
pub(crate) fn types(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}.e{number}")).collect()
}
