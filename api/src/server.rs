//! A whole server in one process: start, and stop in order.
//!
//! Start   bind, start the dispatcher, serve. The caller opens the database and brings its schema up to date.
//! Stop    no new connections; every stream is closed at once; requests that run are answered, publishes among them,
//!         which is why the dispatcher is still there; then the dispatcher ends, then the database is closed.
//! Died    what was acknowledged is in the database, and the next start goes on from there.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use angarium_dispatcher::{AddressGuard, Dispatcher};
use angarium_entity::Database;
use angarium_entity::clock::SharedClock;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::AppState;
use crate::config::{Config, PublicUrl};
use crate::dev::{Extras, Keys};
use crate::http::{self, Origins, Playground, Stopping};

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Somebody else listens there.
    #[error("{0} is in use; stop what listens there, or choose another address such as ANGARIUM_LISTEN={1}")]
    Busy(SocketAddr, SocketAddr),
    /// The system does not let us listen there.
    #[error("failed to listen at {0}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The part that delivers did not start.
    #[error("failed to start delivering")]
    Dispatcher(#[from] angarium_dispatcher::StartError),
}

/// How long the parts of a stop may take.
#[derive(Clone, Copy, Debug)]
pub struct Grace {
    /// For requests to this server that run.
    pub answers: Duration,
    /// For deliveries that run; what is broken off is sent again by the next start.
    pub deliveries: Duration,
}

impl Grace {
    /// For production. A delivery may run for as long as its endpoint allows, at most 60 s, and is not broken off: give
    /// the process 75 s to end (`terminationGracePeriodSeconds`, `stop_grace_period`). It mostly takes far less.
    pub const SERVE: Self = Self { answers: Duration::from_secs(10), deliveries: Duration::from_secs(61) };
    /// For a person who waits at a terminal, and for tests.
    pub const DEV: Self = Self { answers: Duration::from_millis(500), deliveries: Duration::from_millis(500) };
}

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    state: AppState,
    stopping: Stopping,
    dispatcher: Dispatcher,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Starts serving `db`, whose schema is up to date, and delivering what waits in it. `dev` are the keys of a
    /// development server, which has an inbox and tells its playground the key.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        config: &Config,
        db: Database,
        clock: SharedClock,
        dev: Option<&Keys>,
    ) -> Result<Self, StartError> {
        let (listener, address) = listen(config.http.listen).await?;
        let of_dispatcher = angarium_dispatcher::Config {
            arbiters: config.dispatcher.arbiters,
            in_flight_max: config.dispatcher.in_flight_max,
            guard: AddressGuard::new(config.dispatcher.allowed.clone()),
            proxy: config.dispatcher.proxy.clone(),
            read_target: crate::app::replay::read_target,
        };
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
            admin_key_hash: Some(config.secrets.admin_key_hash),
        };
        let stopping = Stopping::new();
        let extras = dev.map(|keys| Extras::new(address, keys));
        let (page, inbox) = extras.map(|extras| (extras.page, extras.inbox)).unzip();
        let origins = Origins::new(config.http.origins.clone(), address);
        let playground = Playground::find(page.as_ref());
        let shared = Arc::new(http::Server::new(state.clone(), origins, stopping.clone(), playground, inbox));
        let accepting = tokio::spawn(http::connections::serve(listener, http::router(shared), stopping.clone()));
        tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "the server is up");
        Ok(Self { address, state, stopping, dispatcher, accepting })
    }

    /// Where it listens; with port 0 in the configuration, the one that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What its requests see.
    pub fn state(&self) -> &AppState {
        &self.state
    }

    /// Stops in order.
    pub async fn stop(self, grace: Grace) {
        self.stopping.begin();
        if !self.stopping.all_closed(grace.answers).await {
            tracing::warn!("some requests were still running; they are broken off");
        }
        self.accepting.abort();
        self.dispatcher.stop(grace.deliveries).await;
        self.state.db.close().await;
        tracing::info!("the server is down");
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let listening = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    listening.await.map_err(|error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            let other = address.port().checked_add(1).unwrap_or(address.port() - 1);
            StartError::Busy(address, SocketAddr::new(address.ip(), other))
        }
        _ => StartError::Listen(address, error),
    })
}
