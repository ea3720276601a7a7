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
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::actor::hub::{Drain, Hub, Stop};
use crate::actor::{HubPort, Hubs, JobMemory, Setup};
use crate::config::Config;
use crate::handle::DispatcherHandle;
use crate::store::cancel::Canceler;
use crate::store::erase::Eraser;
use crate::store::notice::Notices;
use crate::store::replay::Replays;
use crate::store::{completion, expiry, held, ingest, install, pager, purge, retention, sieve, sole, sweep};
use crate::transport::{ClientError, Transport};

/// Rows of the change log that a slow reader may lag behind before it must read the log itself.
const CHANGES_KEPT: usize = 4096;
/// What `try_send` may queue at a hub. What matters is bounded by its sender.
const MAILBOX: usize = 4096;
/// A resolver thread more or less is nothing that an arbiter needs: names are resolved elsewhere.
const BLOCKING_THREADS: usize = 1;
/// How long threads may take to end after everything on them has.
const JOIN_WITHIN: Duration = Duration::from_millis(500);

/// Why the dispatcher did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The HTTP client could not be made, for example without any root certificates.
    #[error("cannot make the HTTP client")]
    Client(#[source] ClientError),
    /// A thread or its runtime could not be made.
    #[error("cannot start the threads that deliver")]
    Threads(#[source] std::io::Error),
    /// Another process delivers for this database.
    #[error("another process delivers for this database; stop it first")]
    NotSole,
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
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Dispatcher {
    /// Starts delivering what waits in `db`. Call it on the runtime that `db` was opened on.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: Config, db: Database, sealer: Sealer, clock: SharedClock) -> Result<Self, StartError> {
        // Only fails if somebody else has chosen already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let installation = install::install(&db, clock.now()).await.map_err(StartError::Database)?;
        let sole = sole::Sole::claim(&db).await.map_err(StartError::Database)?.ok_or(StartError::NotSole)?;
        let runtime = tokio::runtime::Handle::current();
        let guard = Arc::new(config.guard.clone());
        Transport::new(guard.clone(), runtime.clone(), config.proxy.clone()).map_err(StartError::Client)?;

        let (asks, asked) = mpsc::unbounded_channel();
        let (reports, reported) = mpsc::unbounded_channel();
        let memory = JobMemory::default();
        let setup = Setup {
            guard,
            proxy: config.proxy.clone(),
            runtime,
            clock: clock.clone(),
            sealer: sealer.clone(),
            in_flight_max: config.in_flight_max,
            shard_count: installation.shard_count,
            asks,
            reports,
            memory: memory.clone(),
        };
        let (system, arbiters, thread) = start_system(config.arbiters)?;
        let hubs = Hubs::new(arbiters.iter().map(|arbiter| start_hub(arbiter, &setup)).collect());

        let changes = broadcast::Sender::new(CHANGES_KEPT);
        let sieve = sieve::Sieve::start().map_err(StartError::Threads)?;
        let (ingest, committer) =
            ingest::channel(db.clone(), clock.clone(), hubs.clone(), changes.clone(), sieve.clone());
        let eraser = Eraser {
            db: db.clone(),
            clock: clock.clone(),
            hubs: hubs.clone(),
            changes: changes.clone(),
            marked: Arc::default(),
        };
        let notices = Notices::start(hubs.clone(), changes.clone()).map_err(StartError::Threads)?;
        let replays = Replays {
            db: db.clone(),
            clock: clock.clone(),
            hubs: hubs.clone(),
            changes: changes.clone(),
            read_target: config.read_target,
            sieve,
            wake: Arc::default(),
        };
        let canceler = Canceler { db: db.clone(), hubs: hubs.clone(), changes: changes.clone() };
        let recording =
            completion::run(db.clone(), clock.clone(), hubs.clone(), changes.clone(), notices.clone(), reported);
        let recording = supervise("the completion committer", recording);
        let sweeper = expiry::Sweeper {
            db: db.clone(),
            clock: clock.clone(),
            canceler: canceler.clone(),
            notices: notices.clone(),
        };
        let tasks = vec![
            tokio::spawn(crate::store::forget::run(db.clone(), clock.clone())),
            tokio::spawn(canceler.clone().finish(clock.now())),
            supervise("the eraser", eraser.clone().run()),
            supervise("the replays", replays.clone().run()),
            supervise("the ingest committer", committer),
            supervise("the pager", pager::run(db.clone(), clock.clone(), sealer, hubs.clone(), memory, asked)),
            supervise("the sweep", sweep::run(db.clone(), clock.clone(), hubs.clone())),
            supervise("the sweep of what ends", sweeper.run()),
            supervise("the sweep of what is held", held::run(canceler, clock.clone())),
            supervise("the sweep of what is old", retention::run(db.clone(), clock.clone())),
            supervise("the sweep of deleted workspaces", purge::run(db.clone(), clock.clone())),
            tokio::spawn(sole.watch(hubs.clone())),
        ];
        let count = installation.shard_count;
        let handle = DispatcherHandle::new(
            db,
            clock,
            ingest,
            hubs.clone(),
            changes,
            notices,
            config.guard,
            count,
            eraser,
            replays,
        );
        Ok(Self { handle, hubs, system, thread: Some(thread), recording, tasks })
    }

    /// What the API sees.
    pub fn handle(&self) -> DispatcherHandle {
        self.handle.clone()
    }

    /// Starts nothing more, waits up to `within` for what runs, and ends. What was not acknowledged is not stored, what
    /// runs longer is broken off and sent again by the next start.
    pub async fn stop(mut self, within: Duration) {
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
        for task in &self.tasks {
            task.abort();
        }
        // Until a task has ended it holds the database, and the next start would find it in use.
        for task in std::mem::take(&mut self.tasks) {
            let _ = tokio::time::timeout(JOIN_WITHIN, task).await;
        }
    }
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
