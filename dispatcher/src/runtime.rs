//! Own threads: start, drain, stop.
//!
//! The actix System and its arbiters live on threads of their own, each a runtime of one thread; the committers, the
//! pager and the sweep are tasks of the caller's runtime, where the database connections live. They talk by channels.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc as blocking;
use std::thread::JoinHandle;
use std::time::Duration;

use actix::prelude::*;
use actix_rt::{Arbiter, ArbiterHandle};
use angarium_entity::Database;
use angarium_entity::clock::SharedClock;
use angarium_entity::sealer::Sealer;
use futures_util::FutureExt as _;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::actor::hub::{Drain, Hub, Stop};
use crate::actor::{HubPort, Hubs, JobMemory, Setup};
use crate::cluster::{Chore, Chores, Membership, Ownership, Running, watch_settings};
use crate::config::Config;
use crate::handle::{Cluster, DispatcherHandle, Parts};
use crate::link::{self, Link, RedisUrl};
use crate::peers::{Audience, Peers};
use crate::schedule::{Keeper, RedisSchedule, Schedule};
use crate::store::cancel::Canceler;
use crate::store::erase::Eraser;
use crate::store::logged::Logged;
use crate::store::notice::Notices;
use crate::store::replay::Replays;
use crate::store::{completion, expiry, express, held, ingest, install, pager, purge, retention, sieve, sweep};
use crate::transport::plan::Plan;
use crate::transport::{ClientError, Transport};

/// What `try_send` may queue at a hub. What matters is bounded by its sender.
const MAILBOX: usize = 4096;
/// A resolver thread more or less is nothing that an arbiter needs: names are resolved elsewhere.
const BLOCKING_THREADS: usize = 1;
/// How long threads may take to end after everything on them has.
const JOIN_WITHIN: Duration = Duration::from_millis(500);
/// How long the database may take to be told that this node leaves.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// Why the dispatcher did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The HTTP client could not be made, for example without any root certificates.
    #[error("cannot make the HTTP client")]
    Client(#[source] ClientError),
    /// A thread or its runtime could not be made.
    #[error("cannot start the threads that deliver")]
    Threads(#[source] std::io::Error),
    /// The rows of the installation could not be read or made.
    #[error("cannot read the installation; is the database migrated?")]
    Database(#[source] sea_orm::DbErr),
}

/// A running dispatcher.
#[derive(Debug)]
pub struct Dispatcher {
    handle: DispatcherHandle,
    hubs: Hubs,
    system: System,
    thread: Option<JoinHandle<()>>,
    /// Ends by itself when nobody is left who could report a result.
    recording: tokio::task::JoinHandle<()>,
    membership: Option<Running>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Dispatcher {
    /// Starts delivering what waits in `db`. Call it on the runtime that `db` was opened on.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: Config, db: Database, sealer: Sealer, clock: SharedClock) -> Result<Self, StartError> {
        Self::start_all(config, db, sealer, clock).boxed().await
    }

    #[expect(clippy::too_many_lines, reason = "the parts and who is told of whom, in one place")]
    async fn start_all(config: Config, db: Database, sealer: Sealer, clock: SharedClock) -> Result<Self, StartError> {
        // Only fails if somebody else has chosen already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let installation = install::install(&db, clock.now()).await.map_err(StartError::Database)?;
        let runtime = tokio::runtime::Handle::current();
        let (guard, proxy) = (config.guard.clone(), config.proxy.clone());
        let plan = Plan::new(guard, &config.name_servers, proxy, config.idle_hosts_max, clock.clone(), runtime);
        let plan = plan.map_err(StartError::Client)?;
        Transport::new(plan.clone()).map_err(StartError::Client)?;

        let shard_count = installation.shard_count;
        let ownership = Ownership::new(shard_count);
        let link = config.redis.clone().map(|url| Arc::new(Link::new(url, installation.key)));
        let (peers, halves) = Peers::new(link.clone());
        let (asks, asked) = mpsc::unbounded_channel();
        let (reports, reported) = mpsc::unbounded_channel();
        let memory = JobMemory::default();
        let setup = Setup {
            plan,
            clock: clock.clone(),
            sealer: sealer.clone(),
            in_flight_max: config.in_flight_max,
            awake_max: config.awake_max,
            shard_count,
            asks,
            reports,
            memory: memory.clone(),
            ownership: ownership.clone(),
            has_schedule: link.is_some(),
            metrics: config.metrics.clone(),
            tracer: config.tracer.clone(),
        };
        let (system, arbiters, thread) = start_system(config.arbiters)?;
        let ports = arbiters.iter().map(|arbiter| start_hub(arbiter, &setup)).collect();
        let hubs = Hubs::new(ports, ownership.clone(), peers.clone());

        let logged = Logged::new(ownership.clone(), peers.clone());
        let sieve = sieve::Sieve::start().map_err(StartError::Threads)?;
        let (ingest, committer) = ingest::channel(
            db.clone(),
            clock.clone(),
            hubs.clone(),
            logged.clone(),
            sieve.clone(),
            config.metrics.clone(),
            config.tracer,
        );
        let eraser = Eraser {
            db: db.clone(),
            clock: clock.clone(),
            hubs: hubs.clone(),
            logged: logged.clone(),
            marked: Arc::default(),
            peers: peers.clone(),
        };
        let notices = Notices::start(hubs.clone(), logged.clone()).map_err(StartError::Threads)?;
        let replays = Replays {
            db: db.clone(),
            clock: clock.clone(),
            hubs: hubs.clone(),
            logged: logged.clone(),
            read_target: config.read_target,
            sieve,
            wake: Arc::default(),
            peers: peers.clone(),
        };
        let canceler =
            Canceler { db: db.clone(), hubs: hubs.clone(), logged: logged.clone(), metrics: config.metrics.clone() };
        let mut tasks = Vec::new();
        let mut schedule = Schedule::none();
        if let Some(link) = &link {
            let redis = RedisSchedule::new(link.clone());
            let (keeper, way) =
                Keeper::new(db.clone(), clock.clone(), ownership.clone(), hubs.clone(), redis, shard_count);
            schedule = way;
            tasks.push(supervise("the keeper of retry schedules", keeper.run()));
            tasks.push(tokio::spawn(warn_of_redis(config.redis.clone())));
        }
        if let Some(halves) = halves {
            let (express, skipping) = mpsc::unbounded_channel();
            let chores = vec![eraser.marked.clone(), replays.wake.clone()];
            let audience = Audience { hubs: hubs.clone(), logged: logged.here().clone(), chores, express };
            tasks.push(supervise("the ear for other nodes", halves.run(audience)));
            tasks
                .push(supervise("the reader of what skips its line", express::run(db.clone(), hubs.clone(), skipping)));
        }
        let recording = completion::run(
            db.clone(),
            clock.clone(),
            hubs.clone(),
            logged.clone(),
            notices.clone(),
            schedule.clone(),
            config.metrics.clone(),
            reported,
        );
        let recording = supervise("the completion committer", recording);
        let taken = Arc::new(Notify::new());
        let membership = Membership {
            db: db.clone(),
            clock: clock.clone(),
            ownership: ownership.clone(),
            hubs: hubs.clone(),
            peers: peers.clone(),
            ttl: config.lease_ttl,
            taken: taken.clone(),
        };
        let membership = membership.start().await.map_err(StartError::Database)?;
        let sweep = sweep::Sweep {
            db: db.clone(),
            clock: clock.clone(),
            hubs: hubs.clone(),
            ownership: ownership.clone(),
            link: link.clone(),
            taken,
            retries: config.sweeps_retries,
        };
        tasks.extend([
            supervise("the ingest committer", committer),
            supervise("the pager", pager::run(canceler.clone(), clock.clone(), sealer, memory, asked)),
            supervise("the sweep", sweep.run()),
            supervise("the vigil over settings", watch_settings(db.clone(), hubs.clone(), ownership.clone())),
        ]);
        tasks.extend(start_chores(&ownership, &db, &clock, &canceler, &notices, &eraser, &replays));
        let handle = DispatcherHandle::new(Parts {
            db,
            clock,
            ingest,
            hubs: hubs.clone(),
            logged,
            notices,
            guard: config.guard,
            shard_count,
            eraser,
            replays,
            cluster: Cluster { ownership, link, schedule },
            metrics: config.metrics,
        });
        Ok(Self { handle, hubs, system, thread: Some(thread), recording, membership: Some(membership), tasks })
    }

    /// What the API sees.
    pub fn handle(&self) -> DispatcherHandle {
        self.handle.clone()
    }

    /// Starts nothing more, waits up to `within` for what runs, and ends. Other nodes take the shards over as they become
    /// quiet. What was not acknowledged is not stored, what
    /// runs longer is broken off and sent again by the next start.
    pub async fn stop(self, within: Duration) {
        self.stop_all(within).boxed().await;
    }

    async fn stop_all(mut self, within: Duration) {
        if let Some(membership) = &self.membership {
            membership.drain();
        }
        let (waiting, drained): (Vec<_>, Vec<_>) = self.hubs.all().iter().map(|_| oneshot::channel()).unzip();
        for (port, waiting) in self.hubs.all().iter().zip(waiting) {
            // A hub that has ended has nothing running.
            let _ = port.addr.send(Drain(waiting)).await;
        }
        let drained = futures_util::future::join_all(drained);
        if tokio::time::timeout(within, drained).await.is_err() {
            tracing::warn!("some requests were still running; they are broken off and will be sent again");
        }
        for port in self.hubs.all() {
            let _ = port.addr.send(Stop).await;
        }
        self.system.stop();
        if let Some(thread) = self.thread.take() {
            let joined = tokio::task::spawn_blocking(move || thread.join());
            if tokio::time::timeout(JOIN_WITHIN, joined).await.is_err() {
                tracing::warn!("the threads that deliver did not end in time");
            }
        }
        // Results that have come but are not durable would be sent again by the next start.
        if tokio::time::timeout(JOIN_WITHIN, &mut self.recording).await.is_err() {
            tracing::warn!("some results are not durable; their deliveries will be sent again");
        }
        self.recording.abort();
        if let Some(membership) = self.membership.take() {
            membership.leave(LEAVE_WITHIN).await;
        }
        for task in &self.tasks {
            task.abort();
        }
        // Until a task has ended it holds the database, and the next start would find it in use.
        for task in std::mem::take(&mut self.tasks) {
            let _ = tokio::time::timeout(JOIN_WITHIN, task).await;
        }
    }
}

/// Tells once of what people should know of their Redis.
async fn warn_of_redis(url: Option<RedisUrl>) {
    let Some(url) = url else { return };
    match link::check(&url).await {
        Ok(found) => found.warnings.iter().for_each(|warning| tracing::warn!(redis = %url, "{warning}")),
        Err(error) => tracing::warn!(redis = %url, %error, "Redis does not answer; deliveries go on by the rows"),
    }
}

/// What one node does for all.
fn start_chores(
    ownership: &Ownership,
    db: &Database,
    clock: &SharedClock,
    canceler: &Canceler,
    notices: &Notices,
    eraser: &Eraser,
    replays: &Replays,
) -> Vec<tokio::task::JoinHandle<()>> {
    let chore = |name, start: Box<dyn Fn() -> Chore + Send>| supervise(name, Chores(ownership.clone()).run(start));
    let (db, clock) = (db.clone(), clock.clone());
    let at = {
        let (db, clock) = (db.clone(), clock.clone());
        move || (db.clone(), clock.clone())
    };
    let sweeper =
        expiry::Sweeper { db: db.clone(), clock: clock.clone(), canceler: canceler.clone(), notices: notices.clone() };
    let (forget_at, retention_at, purge_at) = (at.clone(), at.clone(), at);
    let (finishing, holding, eraser, replays) = (canceler.clone(), canceler.clone(), eraser.clone(), replays.clone());
    let (finishing_clock, holding_clock) = (clock.clone(), clock);
    vec![
        chore(
            "the sweep of old keys",
            Box::new(move || {
                let (db, clock) = forget_at();
                Box::pin(crate::store::forget::run(db, clock))
            }),
        ),
        chore(
            "the end of what was being canceled",
            Box::new(move || Box::pin(finishing.clone().finish(finishing_clock.now()))),
        ),
        chore("the eraser", Box::new(move || Box::pin(eraser.clone().run()))),
        chore("the replays", Box::new(move || Box::pin(replays.clone().run()))),
        chore("the sweep of what ends", Box::new(move || Box::pin(sweeper.clone().run()))),
        chore(
            "the sweep of what is held",
            Box::new(move || Box::pin(held::run(holding.clone(), holding_clock.clone()))),
        ),
        chore(
            "the sweep of what is old",
            Box::new(move || {
                let (db, clock) = retention_at();
                Box::pin(retention::run(db, clock))
            }),
        ),
        chore(
            "the sweep of deleted workspaces",
            Box::new(move || {
                let (db, clock) = purge_at();
                Box::pin(purge::run(db, clock))
            }),
        ),
    ]
}

/// Runs a part without which nothing is delivered. When it dies, ending the process is the recovery that is tested best.
fn supervise(name: &'static str, part: impl Future<Output = ()> + Send + 'static) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        if AssertUnwindSafe(part).catch_unwind().await.is_err() {
            tracing::error!(part = name, "a part of the dispatcher has died; ending the process");
            std::process::abort();
        }
    })
}

/// Runs an actix System on a thread of its own, with `count` arbiters on theirs.
fn start_system(count: usize) -> Result<(System, Vec<ArbiterHandle>, JoinHandle<()>), StartError> {
    type Started = Result<(System, Vec<ArbiterHandle>), std::io::Error>;
    let (started, is_started) = blocking::channel::<Started>();
    let run = move || {
        let runner = System::new();
        let arbiters: Result<Vec<_>, _> = (0..count).map(|_| Arbiter::try_with_tokio_rt(arbiter_runtime)).collect();
        let arbiters = match arbiters {
            Ok(arbiters) => arbiters,
            Err(error) => {
                let _ = started.send(Err(std::io::Error::other(error)));
                return;
            }
        };
        let handles = arbiters.iter().map(Arbiter::handle).collect();
        let _ = started.send(Ok((System::current(), handles)));
        if let Err(error) = runner.run() {
            tracing::error!(%error, "the actix system has ended with an error");
        }
        for arbiter in arbiters {
            arbiter.stop();
            let _ = arbiter.join();
        }
    };
    let thread = std::thread::Builder::new().name("actix-system".to_owned()).spawn(run).map_err(StartError::Threads)?;
    let (system, arbiters) = is_started
        .recv()
        .map_err(|gone| StartError::Threads(std::io::Error::other(gone)))?
        .map_err(StartError::Threads)?;
    Ok((system, arbiters, thread))
}

fn arbiter_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(BLOCKING_THREADS).build()
}

fn start_hub(arbiter: &ArbiterHandle, setup: &Setup) -> HubPort {
    let queued = Arc::new(AtomicUsize::new(0));
    let (setup, counter) = (setup.clone(), queued.clone());
    let addr = Hub::start_in_arbiter(arbiter, move |ctx| Hub::new(ctx, &setup, counter, MAILBOX));
    HubPort { addr, queued }
}
