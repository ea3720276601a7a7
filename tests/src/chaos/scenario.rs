//! The acts: what is broken how often while events are published, and what comes of it.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::watch;

use super::cluster::{Cluster, Setup, wait_for};
use super::evidence::{Evidence, Injected};
use super::faults::Fault;
use super::judge::{Judgement, Limits, judge};
use super::link::Wire;
use super::publisher::{Ledger, Publisher};
use super::script::endpoints;
use super::{rows, timeline};

/// Callers that publish at the same time.
const PUBLISHERS: u32 = 4;
/// Findings that are told in full.
const TOLD_MAX: usize = 5;
/// Published before what takes time is judged.
const WARM_UP: Duration = Duration::from_millis(1_500);
/// How long open deliveries may take to be final after the end. A circuit that receivers have opened twice waits 60 s.
const QUIET_WITHIN: Duration = Duration::from_secs(150);

/// Something to break, again and again.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// As in the table and in filters.
    pub name: &'static str,
    /// What.
    pub fault: Fault,
    /// Pause from the end of one to the begin of the next; half of it is drawn.
    pub every: Duration,
}

const S: fn(u64) -> Duration = Duration::from_secs;

/// All of them, as in the long run. Faults that last have to be longer than a lease there.
pub fn all() -> Vec<Scenario> {
    let scenario = |name, fault, every| Scenario { name, fault, every: S(every) };
    vec![
        scenario("receivers", Fault::None, 10),
        scenario("kill", Fault::Kill, 8),
        scenario("terminate", Fault::Terminate, 5),
        scenario("freeze", Fault::Freeze(S(15)), 10),
        scenario("restart-postgres", Fault::RestartPostgres, 8),
        scenario("freeze-postgres", Fault::FreezePostgres(S(5)), 10),
        scenario("terminate-backends", Fault::TerminateBackends, 5),
        scenario("cut-postgres", Fault::PostgresWire(Wire::Cut, S(5)), 10),
        scenario("silent-postgres", Fault::PostgresWire(Wire::Silent, S(12)), 15),
        scenario("mute-postgres", Fault::PostgresWire(Wire::Mute, S(5)), 15),
        scenario("slow-postgres", Fault::PostgresWire(Wire::Slow(Duration::from_millis(50)), S(10)), 10),
        scenario("flush-redis", Fault::FlushRedis, 4),
        scenario("restart-redis", Fault::RestartRedis(Duration::ZERO), 8),
        scenario("redis-down", Fault::RestartRedis(S(20)), 20),
        scenario("cut-redis", Fault::RedisWire(Wire::Cut, S(5)), 10),
        scenario("silent-redis", Fault::RedisWire(Wire::Silent, S(12)), 15),
        scenario("cut-receivers", Fault::ReceivingWire(Wire::Cut, S(3)), 40),
        scenario("pull-out", Fault::PullOut(S(15)), 15),
        scenario("silent-receivers", Fault::ReceivingWire(Wire::Silent, S(5)), 20),
    ]
}

/// How a run is made.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// On what.
    pub setup: Setup,
    /// What is broken.
    pub scenario: Scenario,
    /// How long events are published, at least; a fault that has begun is seen through.
    pub time: Duration,
    /// Events a second.
    pub rate: u32,
    /// How long is published before the first fault, and after the last.
    pub calm: Duration,
    /// What all chance is drawn from.
    pub seed: u64,
    /// What is too much.
    pub limits: Limits,
}

/// What became of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The figures.
    pub judgement: Judgement,
    /// What is wrong, with the seed and the lives of some deliveries; empty when nothing is.
    pub report: String,
}

impl Run {
    /// Plays it.
    pub async fn play(self) -> Outcome {
        let unique = uuid::Uuid::now_v7().simple();
        let directory = std::env::temp_dir().join(format!("angarium-chaos-{unique}"));
        let cluster = Cluster::start(self.setup, &directory).await;
        let ledger = Ledger::create(&directory.join("acknowledged.log"));
        let (stop, stopped) = watch::channel(false);
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|number| {
                let publisher = Publisher {
                    number: number as usize,
                    nodes: cluster.api.clone(),
                    clock: cluster.clock,
                    ledger: ledger.clone(),
                    every: Duration::from_secs(1) * PUBLISHERS / self.rate,
                    seed: self.seed,
                };
                tokio::spawn(publisher.run(stopped.clone()))
            })
            .collect();
        tokio::time::sleep(WARM_UP).await;
        let warm_at = cluster.clock.now();
        let faults = self.break_things(&cluster).await;
        stop.send_replace(true);
        let mut evidence = Evidence {
            endpoints: endpoints().into_iter().map(|(endpoint, _)| endpoint).collect(),
            faults,
            warm_at,
            ..Evidence::default()
        };
        for publisher in publishers {
            evidence.published.extend(publisher.await.expect("no publisher panics"));
        }
        self.collect(&cluster, &mut evidence).await;
        let judgement = judge(&evidence, &self.limits);
        let report = self.report(&evidence, &judgement, &cluster);
        if judgement.findings.is_empty() {
            drop(cluster);
            let _ = std::fs::remove_dir_all(directory);
        }
        Outcome { judgement, report }
    }

    /// Breaks and mends until the time is over.
    async fn break_things(&self, cluster: &Cluster) -> Vec<Injected> {
        let mut random = StdRng::seed_from_u64(self.seed);
        let mut faults = Vec::new();
        let until = tokio::time::Instant::now() + self.time;
        tokio::time::sleep(self.calm).await;
        loop {
            let injected = self.scenario.fault.inject(cluster, faults.len()).await;
            faults.push(injected);
            let pause = self.scenario.every.mul_f64(random.random_range(0.5..1.0));
            if tokio::time::Instant::now() + pause + self.calm >= until {
                break;
            }
            tokio::time::sleep(pause).await;
        }
        tokio::time::sleep_until(until.max(tokio::time::Instant::now() + self.calm)).await;
        faults
    }

    /// Waits until nothing is open, ends the nodes, and gathers what there is to know.
    async fn collect(&self, cluster: &Cluster, evidence: &mut Evidence) {
        let is_quiet = wait_for(QUIET_WITHIN, async || cluster.open().await == Some(0)).await;
        if !is_quiet {
            let open = cluster.open().await;
            evidence.mishaps.push(format!("deliveries are open {QUIET_WITHIN:?} after the end: {open:?}"));
        }
        evidence.samples = cluster.samples();
        if !cluster.stop().await {
            evidence.mishaps.push("a node did not end when it was told to".to_owned());
        }
        evidence.mishaps.extend(cluster.nodes.iter().flat_map(|node| node.mishaps()));
        evidence.received = cluster.receivers.received();
        evidence.rows = rows::read(cluster.database(), &cluster.endpoints, cluster.clock).await;
    }

    fn report(&self, evidence: &Evidence, judgement: &Judgement, cluster: &Cluster) -> String {
        if judgement.findings.is_empty() {
            return String::new();
        }
        let (setup, name, count) = (self.setup.name(), self.scenario.name, judgement.findings.len());
        let files = cluster.directory().display();
        let mut report = format!("{name} on {setup} with seed {}: {count} findings; files in {files}\n", self.seed);
        for finding in judgement.findings.iter().take(TOLD_MAX) {
            report.extend([finding.broken, ": ", &finding.text, "\n"]);
            if let Some((event, endpoint)) = &finding.about {
                report += &timeline::of(evidence, event, *endpoint);
            }
        }
        report
    }
}
