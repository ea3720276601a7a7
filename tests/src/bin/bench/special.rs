//! The scenarios that are more than publishers and endpoints side by side.

use std::time::{Duration, Instant};

use angarium_tests::GraphQl;
use serde_json::json;

use crate::publisher::Until;
use crate::receiver::{SUCCEEDS_ONE_IN, Way};
use crate::result::Measured;
use crate::scenario::{Rate, Run, types};
use crate::stage::{Stage, Wanted};
use crate::usage::used;

/// Deliveries of a backlog that is published before it is sent.
const BACKLOG: u32 = 3_000;
const HEALTHY: usize = 63;
const HANGING: usize = 100;
/// Deliveries that wait at each hanging endpoint.
const WAITING: u32 = 2_000;
pub(crate) const MANY: usize = 100_000;
/// Event types of the many endpoints, so that one event is for a thousand of them.
pub(crate) const MANY_TYPES: usize = 100;
/// Longer than any of the many endpoints has to wait for its first attempt.
pub(crate) const MANY_WAIT: Duration = Duration::from_secs(600);
/// After so long without anything to do, the processor time of the idle is measured for as long.
const IDLE: Duration = Duration::from_secs(75);
/// Endpoints that fail, and the retries that wait at each.
const FAILING: usize = 1_000;
const RETRIES_OF_EACH: u32 = 100;
/// Until the last result is written, in the database and in Redis.
const SETTLED_AFTER: Duration = Duration::from_secs(5);
const WAITING_AT_RESTART: u32 = 1_000_000;
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// DESIGN §8: 99 of 100 arrive beside hanging neighbours within so many times the time without them.
const BESIDE_MAX: f64 = 2.0;
/// The same: memory of a node with many endpoints, their share of a core and what they ask each second when idle, and
/// Redis for each retry that waits.
pub(crate) const MANY_BYTES_MAX: u64 = 300 << 20;
const IDLE_SHARE_MAX: f64 = 1.0;
const IDLE_ASKED_MAX: f64 = 20.0;
const RETRY_BYTES_MAX: i64 = 60;

impl Run<'_> {
    pub(crate) async fn backlog(&self, name: &str, stage: &Stage, ordering: &'static str) -> Measured {
        let types = types("bench", 1);
        let api = stage.workspace(&types).await;
        let endpoints = stage.endpoints(&api, self.wanted(Way::Ok, 0, 1, &types, ordering)).await;
        switch(&api, "webhookEndpointPause", &endpoints).await;
        let mut load = self.load(Rate { publishers: 1, batch: 1, per_second: None }, types);
        load.until = Until::Operations(BACKLOG);
        let mut published = load.run(&api, &stage.bases()).await;
        let watched = stage.watched();
        let before = watched.cpu();
        published.begun = Instant::now();
        switch(&api, "webhookEndpointResume", &endpoints).await;
        self.await_arrivals(published.events).await;
        self.judge(name, &watched, &before, published, 1)
    }

    pub(crate) async fn hanging(&self, stage: &Stage, same_workspace: bool) -> Vec<Measured> {
        let name = if same_workspace { "hanging-same" } else { "hanging-other" };
        let healthy = types("bench", HEALTHY);
        let api = stage.workspace(&healthy).await;
        stage.endpoints(&api, self.wanted(Way::Ok, 0, HEALTHY, &healthy, "FIFO")).await;
        let steady = self.load(Rate { publishers: 20, batch: 1, per_second: Some(100) }, healthy);
        let alone = self.measure(&format!("{name}: alone"), stage, &api, &steady, 1).await;

        let hung = types("hang", 1);
        let own = stage.workspace(&hung).await;
        let neighbour = if same_workspace { &api } else { &own };
        let hang = |wanted: Wanted| Wanted { ordering: "NONE", max_in_flight: Some(64), timeout: "PT30S", ..wanted };
        let wanted = self.wanted(Way::Hang, HEALTHY, HANGING, &hung, "NONE").into_iter().map(hang).collect();
        stage.endpoints(neighbour, wanted).await;
        let mut backlog = self.load(Rate { publishers: 1, batch: 100, per_second: None }, hung);
        backlog.until = Until::Operations(WAITING / 100);
        backlog.run(neighbour, &stage.bases()).await;
        // Until no more of them get a request: the share that they are given is used up.
        let mut hanging = 0;
        while hanging == 0 || self.receiver.hanging() > hanging {
            hanging = self.receiver.hanging();
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let mut beside = self.measure(&format!("{name}: beside"), stage, &api, &steady, 1).await;
        beside.note = format!("{hanging} requests hung");
        if let (Some([.., without]), Some([.., with])) = (&alone.arrival, &beside.arrival) {
            let times = with / without;
            beside.faults.extend((times > BESIDE_MAX).then(|| format!("99 of 100 arrive {times:.1} times as late")));
        }
        vec![alone, beside]
    }

    /// Every delivery fails once and then waits for an hour.
    pub(crate) async fn many(&self, stage: &Stage) -> Vec<Measured> {
        let types = types("many", MANY_TYPES);
        let api = stage.workspace(&types).await;
        let wait = |wanted: Wanted| Wanted { retry_after: "PT1H", ..wanted };
        let begun = Instant::now();
        let wanted = self.wanted(Way::Down, 0, MANY, &types, "FIFO").into_iter().map(wait).collect();
        stage.endpoints(&api, wanted).await;
        let made = begun.elapsed();
        let watched = stage.watched();
        let before = watched.cpu();
        let mut load = self.load(Rate { publishers: 1, batch: 1, per_second: None }, types);
        load.until = Until::Operations(u32::try_from(MANY_TYPES).expect("a hundred"));
        let published = load.run(&api, &stage.bases()).await;
        let begun = Instant::now();
        while self.receiver.tally().arrived() < MANY && begun.elapsed() < MANY_WAIT {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let arrived = self.receiver.tally().arrived();
        let mut waiting = self.judge("many: waiting", &watched, &before, published, 0);
        waiting.deliveries = arrived as u64;
        waiting.lost = (MANY - arrived) as u64;
        waiting.note = format!("endpoints made in {:.0} s; now {} MiB", made.as_secs_f64(), watched.memory().1 >> 20);

        let bytes = watched.memory().1;
        waiting.faults.extend((bytes > MANY_BYTES_MAX).then(|| format!("{} MiB of memory", bytes >> 20)));

        tokio::time::sleep(IDLE).await;
        let (cpu, statements, asked) = (watched.cpu(), stage.transactions().await, commands(stage).await);
        tokio::time::sleep(IDLE).await;
        let (after, asked_after) = (stage.transactions().await, commands(stage).await);
        let used = used(&cpu, &watched.cpu());
        let share = used["node"].as_secs_f64() / IDLE.as_secs_f64() * 100.0;
        let mut idle = Measured { name: "many: idle".to_owned(), memory: watched.memory().1, ..Measured::default() };
        idle.note = format!("{share:.2} % of a core");
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        let each_second =
            |before: Option<i64>, after: Option<i64>| Some((after? - before?) as f64 / IDLE.as_secs_f64());
        let mut asked_in_all = 0.0;
        let kinds =
            [(each_second(statements, after), "transactions/s"), (each_second(asked, asked_after), "Redis commands/s")];
        for (rate, name) in kinds {
            if let Some(rate) = rate {
                asked_in_all += rate;
                idle.note.extend([", ", &format!("{rate:.1}"), " ", name]);
            }
        }
        idle.faults.extend((share >= IDLE_SHARE_MAX).then(|| format!("{share:.2} % of a core")));
        idle.faults.extend((asked_in_all >= IDLE_ASKED_MAX).then(|| format!("{asked_in_all:.1} asked each second")));
        vec![waiting, idle]
    }

    /// Four deliveries of five fail once and then wait for an hour; tells what each of them takes in Redis.
    pub(crate) async fn retries(&self, stage: &Stage) -> Measured {
        let types = types("bench", 1);
        let api = stage.workspace(&types).await;
        let wait = |wanted: Wanted| Wanted { retry_after: "PT1H", ..wanted };
        let wanted = self.wanted(Way::Shaky, 0, FAILING, &types, "FIFO").into_iter().map(wait).collect();
        stage.endpoints(&api, wanted).await;
        let watched = stage.watched();
        let before = (watched.cpu(), bytes(stage).await);
        let mut load = self.load(Rate { publishers: 1, batch: 1, per_second: None }, types);
        let events = RETRIES_OF_EACH / (SUCCEEDS_ONE_IN - 1) * SUCCEEDS_ONE_IN;
        load.until = Until::Operations(events);
        let published = load.run(&api, &stage.bases()).await;
        let (expected, waiting) = (FAILING * events as usize, FAILING * RETRIES_OF_EACH as usize);
        let begun = Instant::now();
        while self.receiver.tally().arrived() < expected && begun.elapsed() < MANY_WAIT {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(SETTLED_AFTER).await;
        let arrived = self.receiver.tally().arrived();
        let mut measured = self.judge("retries", &watched, &before.0, published, 0);
        measured.deliveries = arrived as u64;
        measured.lost = (expected - arrived) as u64;
        if let (Some(before), Some(after)) = (before.1, bytes(stage).await) {
            let each = (after - before) / i64::try_from(waiting).expect("a hundred thousand");
            measured.note = format!("{each} bytes of Redis for each that waits");
            measured.faults.extend((each > RETRY_BYTES_MAX).then(|| format!("{each} bytes of Redis for each retry")));
        }
        measured
    }

    pub(crate) async fn restart(&self, stage: &mut Stage) -> Measured {
        let types = types("bench", 1);
        let api = stage.workspace(&types).await;
        let endpoints = stage.endpoints(&api, self.wanted(Way::Ok, 0, 64, &types, "FIFO")).await;
        switch(&api, "webhookEndpointPause", &endpoints).await;
        let mut load = self.load(Rate { publishers: 4, batch: 100, per_second: None }, types);
        load.until = Until::Operations(WAITING_AT_RESTART / 64 / 100 / 4);
        let mut published = load.run(&api, &stage.bases()).await;
        stage.kill_nodes();
        stage.start_nodes(1);
        switch(&api.at(&stage.bases()[0]), "webhookEndpointResume", &endpoints).await;
        stage.kill_nodes();
        self.receiver.tally().take();

        published.begun = Instant::now();
        stage.start_nodes(self.options.nodes);
        let serving = published.begun.elapsed();
        let watched = stage.watched();
        let before = watched.cpu();
        while self.receiver.tally().arrived() == 0 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let first = published.begun.elapsed();
        self.await_arrivals(published.events * 64).await;
        let mut measured = self.judge("restart", &watched, &before, published, 64);
        // What was sent between the two starts is not counted, and nothing is known of when it was published.
        (measured.lost, measured.arrival) = (0, None);
        measured.note =
            format!("served after {} ms, first request after {} ms", serving.as_millis(), first.as_millis());
        measured
    }
}

/// Commands that the nodes' Redis has executed.
async fn commands(stage: &Stage) -> Option<i64> {
    stage.redis()?.commands().await
}

/// Bytes that the nodes' Redis takes.
async fn bytes(stage: &Stage) -> Option<i64> {
    stage.redis()?.bytes().await
}

/// Pauses or resumes endpoints.
pub(crate) async fn switch(api: &GraphQl, mutation: &str, endpoints: &[String]) {
    for id in endpoints {
        let query = format!("mutation($id: ID!) {{ {mutation}(id: $id) {{ userErrors {{ code }} }} }}");
        assert_eq!(api.data(&query, json!({ "id": id })).await[mutation]["userErrors"], json!([]));
    }
}
