//! A fresh database with fresh nodes on it, for one scenario.

use std::path::{Path, PathBuf};

use angarium_tests::process::Process;
use angarium_tests::services::services;
use angarium_tests::{Backend, GraphQl, Installation, builder};
use futures_util::StreamExt as _;
use futures_util::stream;
use sea_orm::{ConnectionTrait as _, DbBackend, Statement};
use serde_json::{Value, json};

use crate::receiver::SECRET;
use crate::redis::Redis;
use crate::usage::{Watched, parent_of};
use crate::{Options, Store};

/// Endpoints that one operation makes, and operations at once.
const PER_OPERATION: usize = 20;
const AT_ONCE: usize = 8;

/// An endpoint to be made, with the only event type that it gets.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) url: String,
    pub(crate) event_type: String,
    pub(crate) ordering: &'static str,
    pub(crate) max_in_flight: Option<usize>,
    pub(crate) timeout: &'static str,
    pub(crate) retry_after: &'static str,
}

impl Wanted {
    pub(crate) fn new(url: String, event_type: String) -> Self {
        Self { url, event_type, ordering: "FIFO", max_in_flight: None, timeout: "PT15S", retry_after: "PT2S" }
    }

    fn input(&self) -> Value {
        let create = json!({
            "url": self.url,
            "ordering": self.ordering,
            "maxInFlight": self.max_in_flight,
            "timeout": self.timeout,
            "signing": { "secret": SECRET },
        });
        let delays = vec![self.retry_after; 5];
        json!({ "eventTypes": [self.event_type], "endpoint": { "create": create }, "retryPolicy": { "delays": delays } })
    }
}

pub(crate) struct Stage {
    // They end before their files go.
    nodes: Vec<Process>,
    installation: Installation,
    program: PathBuf,
    postgres: Option<u32>,
    redis: Option<Redis>,
}

impl Stage {
    /// Nodes of this build of the program; on PostgreSQL they have a Redis, which is emptied before.
    pub(crate) async fn start(options: &Options, program: &Path) -> Self {
        let (backend, postgres, redis) = match options.store {
            Store::Sqlite => (Backend::Sqlite, None, None),
            Store::Postgres => (Backend::Postgres, postgres().await, Redis::emptied().await),
        };
        let mut installation = Installation::new(backend).await;
        if redis.is_some() {
            installation.set("ANGARIUM_REDIS_URL", &services().redis_url);
        }
        let mut stage = Self { nodes: Vec::new(), installation, program: program.to_owned(), postgres, redis };
        stage.start_nodes(options.nodes);
        stage
    }

    /// Starts them, and waits until they serve.
    pub(crate) fn start_nodes(&mut self, count: usize) {
        self.nodes.extend((0..count).map(|_| self.installation.serve_with(&self.program)));
    }

    /// `kill -9` for all of them.
    pub(crate) fn kill_nodes(&mut self) {
        self.nodes.drain(..).for_each(|mut node| node.kill());
    }

    pub(crate) fn watched(&self) -> Watched {
        let redis = self.redis.as_ref().map(|redis| redis.process);
        Watched { nodes: self.nodes.iter().map(Process::id).collect(), postgres: self.postgres, redis }
    }

    pub(crate) fn bases(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.base().to_owned()).collect()
    }

    /// A workspace with these event types; answers a client with its key.
    pub(crate) async fn workspace(&self, event_types: &[String]) -> GraphQl {
        let admin = self.installation.admin(&self.nodes[0]);
        stream::iter(event_types).for_each_concurrent(AT_ONCE, |name| builder::event_type(&admin, name)).await;
        let (_, key) = builder::workspace_with_key(&admin, "Bench").await;
        admin.with_key(&key)
    }

    /// Makes endpoints, each with its subscription; answers their IDs in no particular order.
    pub(crate) async fn endpoints(&self, api: &GraphQl, wanted: Vec<Wanted>) -> Vec<String> {
        let chunks: Vec<_> = wanted.chunks(PER_OPERATION).map(<[Wanted]>::to_vec).collect();
        let made = stream::iter(chunks).map(|chunk| make(api, chunk)).buffer_unordered(AT_ONCE);
        made.collect::<Vec<_>>().await.concat()
    }

    /// The Redis of the nodes.
    pub(crate) fn redis(&self) -> Option<&Redis> {
        self.redis.as_ref()
    }

    /// The database of the nodes.
    pub(crate) fn database(&self) -> &str {
        self.installation.database()
    }

    /// Transactions that the database has committed or rolled back, which is about as many as statements were sent while
    /// idle.
    pub(crate) async fn transactions(&self) -> Option<i64> {
        self.ask("SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()").await
    }

    /// Bytes that PostgreSQL has ever written to its log.
    pub(crate) async fn log_bytes(&self) -> Option<i64> {
        self.ask("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint").await
    }

    /// A number, if the database is PostgreSQL.
    async fn ask(&self, asked: &str) -> Option<i64> {
        let db = sea_orm::Database::connect(self.installation.database()).await.ok()?;
        let row = db.query_one_raw(Statement::from_string(DbBackend::Postgres, asked)).await.ok()??;
        row.try_get_by_index(0).ok()
    }
}

/// The process that starts those of PostgreSQL's connections.
async fn postgres() -> Option<u32> {
    let db = sea_orm::Database::connect(&services().postgres_url).await.ok()?;
    let asked = Statement::from_string(DbBackend::Postgres, "SELECT pg_backend_pid()");
    let pid: i32 = db.query_one_raw(asked).await.ok()??.try_get_by_index(0).ok()?;
    parent_of(u32::try_from(pid).ok()?)
}

async fn make(api: &GraphQl, wanted: Vec<Wanted>) -> Vec<String> {
    let numbers = || 0..wanted.len();
    let variables: Vec<String> = numbers().map(|n| format!("$i{n}: WebhookSubscriptionCreateInput!")).collect();
    let variables = variables.join(" ");
    let fields: Vec<String> = numbers()
        .map(|n| {
            format!(
                "m{n}: webhookSubscriptionCreate(input: $i{n}) \
                 {{ webhookSubscription {{ endpoint {{ id }} }} userErrors {{ code message field }} }} "
            )
        })
        .collect();
    let fields = fields.join(" ");
    let inputs: serde_json::Map<_, _> = numbers().map(|n| (format!("i{n}"), wanted[n].input())).collect();
    let data = api.data(&format!("mutation({variables}) {{ {fields} }}"), inputs.into()).await;
    let made = numbers().map(|n| {
        let one = &data[format!("m{n}")];
        assert_eq!(one["userErrors"], json!([]), "an endpoint could not be made");
        builder::text(&one["webhookSubscription"]["endpoint"]["id"])
    });
    made.collect()
}
