//! A whole server in one process: start, and stop in order.
//!
//! Start   bind, and answer that we live and are not ready; the caller opens the database and brings its schema up to date;
//!         then start the dispatcher, and serve.
//! Stop    not ready any more, and nothing else for as long as load balancers need to see it; no new connections; every stream is closed at once; requests that run are answered, publishes among them,
//!         which is why the dispatcher is still there; then the dispatcher ends, what was traced is sent, then the database is
//!         closed.
//! Died    what was acknowledged is in the database, and the next start goes on from there.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use angarium_dispatcher::trace::{self, Exporting};
use angarium_dispatcher::{AddressGuard, Dispatcher, Tracer};
use angarium_entity::Database;
use angarium_entity::clock::SharedClock;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::AppState;
use crate::config::setting::{self, Setting};
use crate::config::{Config, PublicUrl};
use crate::dev::{Extras, Keys};
use crate::http::{self, Origins, Playground, Served, Stopping};
use crate::metrics::Metrics;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Somebody else listens there.
    #[error("{0} is in use; stop what listens there, or choose another address such as {2}={1}")]
    Busy(SocketAddr, SocketAddr, &'static str),
    /// The system does not let us listen there.
    #[error("failed to listen at {0}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The part that delivers did not start.
    #[error("failed to start delivering")]
    Dispatcher(#[from] angarium_dispatcher::StartError),
    /// The client of the collector could not be made.
    #[error(transparent)]
    Traces(#[from] trace::StartError),
    /// A fault of ours.
    #[error("failed to make the metrics")]
    Metrics(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// How long the parts of a stop may take.
#[derive(Clone, Copy, Debug)]
pub struct Grace {
    /// For whoever sends us requests, to see that they should go elsewhere. Everything is served meanwhile.
    pub notice: Duration,
    /// For requests to this server that run.
    pub answers: Duration,
    /// For deliveries that run; what is broken off is sent again by the next start.
    pub deliveries: Duration,
}

impl Grace {
    /// For production. A delivery may run for as long as its endpoint allows, at most 60 s, and is not broken off: give
    /// the process 75 s to end (`terminationGracePeriodSeconds`, `stop_grace_period`). It mostly takes far less.
    pub const SERVE: Self =
        Self { notice: Duration::ZERO, answers: Duration::from_secs(10), deliveries: Duration::from_secs(61) };
    /// For a person who waits at a terminal, and for tests.
    pub const DEV: Self =
        Self { notice: Duration::ZERO, answers: Duration::from_millis(500), deliveries: Duration::from_millis(500) };
}

/// What is not ready when nothing else is known.
const OPENING: &str = "the database is being opened";
/// How long a scrape that runs may take at the end of a stop.
const OBSERVED_WITHIN: Duration = Duration::from_millis(500);
/// How long the collector of traces may take for what waits at the end of a stop.
const TRACED_WITHIN: Duration = Duration::from_secs(2);

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    state: AppState,
    dispatcher: Dispatcher,
    traces: Exporting,
    api: Listener,
    /// That of the metrics. It is the last to stop, so that a stop can be watched.
    observed: Option<Listener>,
}

/// Somewhere we listen.
#[derive(Debug)]
struct Listener {
    address: SocketAddr,
    served: Served,
    stopping: Stopping,
    accepting: JoinHandle<()>,
}

impl Listener {
    async fn open(address: SocketAddr, setting: &Setting) -> Result<Self, StartError> {
        let (listener, address) = listen(address, setting).await?;
        let (served, stopping) = (Served::starting(OPENING), Stopping::new());
        let accepting = tokio::spawn(http::connections::serve(listener, served.clone(), stopping.clone()));
        Ok(Self { address, served, stopping, accepting })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A server that listens already, and is not there yet.
#[derive(Debug)]
pub struct Opening {
    api: Listener,
    observed: Option<Listener>,
}

impl Opening {
    /// Listens, and tells whoever asks that it lives and is not ready.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn listen(config: &Config) -> Result<Self, StartError> {
        let api = Listener::open(config.http.listen, &setting::LISTEN).await?;
        let observed = match config.http.metrics_listen {
            Some(address) => Some(Listener::open(address, &setting::METRICS_LISTEN).await?),
            None => None,
        };
        Ok(Self { api, observed })
    }

    /// Where the API listens.
    pub fn address(&self) -> SocketAddr {
        self.api.address
    }

    /// Why it is not ready.
    pub fn explain(&self, reason: &'static str) {
        for listener in [Some(&self.api), self.observed.as_ref()].into_iter().flatten() {
            listener.served.explain(reason);
        }
    }

    /// Starts serving `db`, whose schema is up to date, and delivering what waits in it. `dev` are the keys of a
    /// development server, which has an inbox and tells its playground the key.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        self,
        config: &Config,
        db: Database,
        clock: SharedClock,
        dev: Option<&Keys>,
    ) -> Result<Server, StartError> {
        self.start_tuned(config, db, clock, dev, |_| ()).await
    }

    async fn start_tuned(
        self,
        config: &Config,
        db: Database,
        clock: SharedClock,
        dev: Option<&Keys>,
        tune: impl FnOnce(&mut angarium_dispatcher::Config),
    ) -> Result<Server, StartError> {
        let Self { api, observed } = self;
        let address = api.address;
        let metrics = Metrics::new().map_err(|error| StartError::Metrics(error.into()))?;
        let (tracer, traces) = Tracer::start(config.traces.clone())?;
        let mut of_dispatcher = angarium_dispatcher::Config {
            arbiters: config.dispatcher.arbiters,
            in_flight_max: config.dispatcher.in_flight_max,
            idle_hosts_max: config.dispatcher.idle_hosts_max,
            awake_max: angarium_dispatcher::config::AWAKE_MAX,
            guard: AddressGuard::new(config.dispatcher.allowed.clone()),
            name_servers: config.dispatcher.name_servers.clone(),
            proxy: config.dispatcher.proxy.clone(),
            read_target: crate::app::replay::read_target,
            redis: config.dispatcher.redis.clone(),
            lease_ttl: angarium_dispatcher::config::LEASE_TTL,
            sweeps_retries: true,
            metrics: metrics.of_dispatcher(),
            tracer: tracer.clone(),
        };
        tune(&mut of_dispatcher);
        let sealer = config.secrets.sealer.clone();
        let dispatcher = Dispatcher::start(of_dispatcher, db.clone(), sealer.clone(), clock.clone()).await?;
        let state = AppState {
            db,
            dispatcher: dispatcher.handle(),
            sealer,
            clock,
            public_url: config.http.public_url.clone().unwrap_or_else(|| PublicUrl::of(address)).into(),
            limits: Arc::new(config.limits.clone()),
            event_types: Arc::default(),
            known_keys: Arc::default(),
            tracer,
            admin_key_hash: Some(config.secrets.admin_key_hash),
        };
        let extras = dev.map(|keys| Extras::new(address, keys));
        let (page, inbox) = extras.map(|extras| (extras.page, extras.inbox)).unzip();
        let origins = Origins::new(config.http.origins.clone(), address);
        let playground = Playground::find(page.as_ref());
        let stopping = api.stopping.clone();
        let shared = Arc::new(http::Server::new(state.clone(), origins, stopping, playground, inbox, metrics));
        if let Some(Listener { served, address, .. }) = &observed {
            served.replace(http::observed(shared.clone()));
            tracing::info!(%address, "metrics are served");
        }
        api.served.replace(http::router(shared, observed.is_none()));
        tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "the server is up");
        Ok(Server { state, dispatcher, traces, api, observed })
    }
}

impl Server {
    /// Listens and starts.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        config: &Config,
        db: Database,
        clock: SharedClock,
        dev: Option<&Keys>,
    ) -> Result<Self, StartError> {
        Opening::listen(config).await?.start(config, db, clock, dev).await
    }

    /// The same, with a dispatcher as a test needs it.
    ///
    /// # Errors
    /// [`StartError`].
    #[cfg(feature = "testing")]
    pub async fn start_for_test(
        config: &Config,
        db: Database,
        clock: SharedClock,
        tune: impl FnOnce(&mut angarium_dispatcher::Config),
    ) -> Result<Self, StartError> {
        Opening::listen(config).await?.start_tuned(config, db, clock, None, tune).await
    }

    /// Where it listens; with port 0 in the configuration, the one that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.api.address
    }

    /// Where the metrics are served, if they have a listener of their own.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.observed.as_ref().map(|observed| observed.address)
    }

    /// What its requests see.
    pub fn state(&self) -> &AppState {
        &self.state
    }

    /// Stops in order.
    pub async fn stop(self, grace: Grace) {
        self.api.stopping.announce();
        if !grace.notice.is_zero() {
            tracing::info!("the server is no longer ready, and goes on serving for now");
            self.state.clock.sleep(grace.notice).await;
        }
        self.api.stopping.begin();
        if !self.api.stopping.all_closed(grace.answers).await {
            tracing::warn!("some requests were still running; they are broken off");
        }
        self.api.accepting.abort();
        self.dispatcher.stop(grace.deliveries).await;
        self.traces.stop(TRACED_WITHIN).await;
        if let Some(observed) = self.observed {
            observed.stopping.begin();
            observed.stopping.all_closed(OBSERVED_WITHIN).await;
        }
        self.state.db.close().await;
        tracing::info!("the server is down");
    }
}

async fn listen(address: SocketAddr, setting: &Setting) -> Result<(TcpListener, SocketAddr), StartError> {
    let listening = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    listening.await.map_err(|error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            let other = address.port().checked_add(1).unwrap_or(address.port() - 1);
            StartError::Busy(address, SocketAddr::new(address.ip(), other), setting.name)
        }
        _ => StartError::Listen(address, error),
    })
}
