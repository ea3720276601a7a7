//! More nodes of the same installation, in the same process.

use std::sync::Arc;

use angarium_api::AppState;
use angarium_api::server::{Grace, Server};
use angarium_dispatcher::NodeReport;
use angarium_dispatcher::config::AWAKE_MAX;
use angarium_entity::Database;

use crate::app::{Backend, TestApp, eventually};
use crate::client::GraphQl;
use crate::services::services;

/// How a node delivers, other than in production.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// Whether it looks through the rows for retries.
    pub sweeps_retries: bool,
    /// Whether it is connected to Redis.
    pub redis: bool,
    /// Endpoints that each thread keeps awake before it forgets the idle ones early.
    pub awake_max: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { sweeps_retries: true, redis: true, awake_max: AWAKE_MAX }
    }
}

/// A node beside the one of a [`TestApp`], with its clock.
#[derive(Debug)]
pub struct Node {
    /// Calls it as the key of the workspace.
    pub api: GraphQl,
    /// Calls it as the operator.
    pub admin: GraphQl,
    server: Server,
}

impl TestApp {
    /// A server on PostgreSQL and Redis.
    pub async fn start_on_redis() -> Self {
        Self::start_with(Backend::Postgres, &[("ANGARIUM_REDIS_URL", &services().redis_url)]).await
    }

    /// Another node.
    pub async fn join(&self) -> Node {
        self.join_tuned(Tuning::default()).await
    }

    /// Another node that delivers differently.
    pub async fn join_tuned(&self, tuning: Tuning) -> Node {
        let database = &self.config.database;
        let db = Database::open(&database.url, database.connections).await.expect("the database opens");
        let server = Server::start_for_test(&self.config, db, Arc::new(self.clock.clone()), |config| {
            config.sweeps_retries = tuning.sweeps_retries;
            config.awake_max = tuning.awake_max;
            if !tuning.redis {
                config.redis = None;
            }
        });
        let server = server.await.expect("the node starts");
        let base = format!("http://{}", server.address());
        Node { api: self.api.at(&base), admin: self.admin.at(&base), server }
    }

    /// Stops the first node in order, as SIGTERM does. The database and the clock stay.
    pub async fn hand_over(&mut self) {
        self.stop_server().await;
    }

    /// How this node stands among the others.
    pub fn node(&self) -> NodeReport {
        self.state().dispatcher.node()
    }
}

impl Node {
    /// What its requests see.
    pub fn state(&self) -> &AppState {
        self.server.state()
    }

    /// How it stands among the others.
    pub fn report(&self) -> NodeReport {
        self.state().dispatcher.node()
    }

    /// Waits until each of the two has its share of the shards.
    pub async fn shares_with(&self, app: &TestApp) {
        eventually("both nodes have their shares of the shards", async || {
            let (one, other) = (app.node(), self.report());
            let all_know = one.unowned_shards == 0 && other.unowned_shards == 0;
            (all_know && one.shards + other.shards == 1024 && one.shards.min(other.shards) > 300).then_some(())
        })
        .await;
    }

    /// Stops it in order, as SIGTERM does.
    pub async fn leave(self) {
        self.server.stop(Grace::SERVE).await;
    }
}
