//! Endpoints of which each is at a host of its own: what a node keeps of them.

use std::time::{Duration, Instant};

use angarium_dispatcher::config::IDLE_HOSTS_MAX;

use crate::publisher::Until;
use crate::receiver::Way;
use crate::result::Measured;
use crate::scenario::{Rate, Run, types};
use crate::special::{MANY, MANY_BYTES_MAX, MANY_TYPES, MANY_WAIT};
use crate::stage::{Stage, Wanted};

/// Every host gets a delivery so often.
const ROUNDS: usize = 3;
/// Sockets of requests in flight and of clients, and files: more than these take beside connections that are kept.
const OTHERS_MAX: usize = 4_096;
/// Unused connections are closed within this, and actors of idle endpoints end.
const IDLE_WITHIN: Duration = Duration::from_secs(90);
/// Files and sockets of a node that nobody asks for anything.
const IDLE_FILES_MAX: usize = 128;
/// Memory after the last round may be so many times that after the first.
const GROWTH_MAX: f64 = 1.1;
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Run<'_> {
    pub(crate) async fn hosts(&self, stage: &Stage) -> Vec<Measured> {
        let types = types("many", MANY_TYPES);
        let api = stage.workspace(&types).await;
        let wanted = |number| {
            let url = self.receiver.url_at_own_host(Way::Ok, number);
            Wanted::new(url, types[number % types.len()].clone())
        };
        stage.endpoints(&api, (0..MANY).map(wanted).collect()).await;
        let watched = stage.watched();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let files_max = self.options.nodes * (threads * IDLE_HOSTS_MAX + OTHERS_MAX);
        let mut rounds: Vec<Measured> = Vec::new();
        let mut bytes = Vec::new();
        for round in 1..=ROUNDS {
            let before = watched.cpu();
            let mut load = self.load(Rate { publishers: 1, batch: 1, per_second: None }, types.clone());
            load.until = Until::Operations(u32::try_from(MANY_TYPES).expect("a hundred"));
            let (bases, mut files) = (stage.bases(), 0);
            let mut publishing = std::pin::pin!(load.run(&api, &bases));
            let published = loop {
                tokio::select! {
                    published = &mut publishing => break published,
                    () = tokio::time::sleep(LOOK_EVERY) => files = files.max(watched.files()),
                }
            };
            let begun = Instant::now();
            while self.receiver.tally().accepted() < MANY as u64 && begun.elapsed() < MANY_WAIT {
                files = files.max(watched.files());
                tokio::time::sleep(LOOK_EVERY).await;
            }
            let mut measured = self.judge(&format!("hosts: {round}"), &watched, &before, published, MANY / MANY_TYPES);
            let begun = Instant::now();
            while watched.files() > IDLE_FILES_MAX && begun.elapsed() < IDLE_WITHIN {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            let (idle, closed) = (watched.files(), begun.elapsed());
            // What goes with idle endpoints goes a bit later.
            tokio::time::sleep(IDLE_WITHIN.saturating_sub(closed)).await;
            bytes.push(watched.memory().1);
            let left = watched.memory().1 >> 20;
            let closed = closed.as_secs();
            measured.note = format!("{files} files open at most, {idle} after {closed} s; then {left} MiB");
            measured.faults.extend((files > files_max).then(|| format!("{files} files open")));
            measured.faults.extend((idle > IDLE_FILES_MAX).then(|| format!("{idle} files open when idle")));
            measured
                .faults
                .extend((measured.memory > MANY_BYTES_MAX).then(|| format!("{} MiB of memory", measured.memory >> 20)));
            rounds.push(measured);
        }
        #[expect(clippy::cast_precision_loss, reason = "some hundred million")]
        let growth = bytes[ROUNDS - 1] as f64 / bytes[0] as f64;
        if let Some(last) = rounds.last_mut() {
            last.faults
                .extend((growth > GROWTH_MAX).then(|| format!("{growth:.2} times the memory of the first round")));
        }
        rounds
    }
}
