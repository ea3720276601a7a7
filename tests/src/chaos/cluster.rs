//! Everything that a run is made of: servers, wires, nodes, and what they know of each other.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use angarium_entity::EndpointId;
use angarium_entity::api_key::ApiKeySecret;
use angarium_entity::sealer::Sealer;
use serde_json::{Value, json};
use url::Url;

use super::evidence::{RunClock, Sample};
use super::link::Link;
use super::network::Network;
use super::node::{Node, Place};
use super::receivers::Receivers;
use super::script::{EVENT_TYPES, Script, endpoints};
use crate::process::program;
use crate::services::Services;
use crate::{GraphQl, builder};

/// Longest wait for all nodes to serve.
const UP_WITHIN: Duration = Duration::from_secs(60);
/// Pause between two looks at something.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Pause between two looks at endpoints that were suspended, and at what the nodes take up.
const CARE_EVERY: Duration = Duration::from_millis(500);
/// Everything that comes must be signed with it.
const SECRET: &str = "whsec_Y2hhb3MgY2hhb3MgY2hhb3MgY2hhb3MgY2hhb3M=";

/// What the nodes run on, and how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// One node on a file.
    Sqlite,
    /// One node on PostgreSQL, without Redis.
    Postgres,
    /// One node on PostgreSQL and Redis.
    Redis,
    /// Three nodes on PostgreSQL and Redis.
    Three,
    /// The same, each in a network namespace of its own.
    Apart,
}

impl Setup {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Sqlite, Self::Postgres, Self::Redis, Self::Three, Self::Apart];

    /// As in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite, one node",
            Self::Postgres => "PostgreSQL, one node",
            Self::Redis => "PostgreSQL and Redis, one node",
            Self::Three => "PostgreSQL and Redis, three nodes",
            Self::Apart => "PostgreSQL and Redis, three nodes in namespaces",
        }
    }

    /// How many nodes there are.
    pub fn nodes(self) -> usize {
        match self {
            Self::Sqlite | Self::Postgres | Self::Redis => 1,
            Self::Three | Self::Apart => 3,
        }
    }

    /// Whether there is a PostgreSQL.
    pub fn has_postgres(self) -> bool {
        self != Self::Sqlite
    }

    /// Whether there is a Redis.
    pub fn has_redis(self) -> bool {
        matches!(self, Self::Redis | Self::Three | Self::Apart)
    }
}

/// A running cluster with its endpoints, which are subscribed.
#[derive(Debug)]
pub struct Cluster {
    /// The time of the run.
    pub clock: RunClock,
    /// The nodes.
    pub nodes: Vec<Arc<Node>>,
    /// The wires between each node and PostgreSQL.
    pub postgres: Vec<Link>,
    /// The wires between each node and Redis.
    pub redis: Vec<Link>,
    /// The wire between the nodes and the receivers.
    pub receiving: Link,
    /// The endpoints.
    pub receivers: Receivers,
    /// PostgreSQL and Redis.
    pub services: Option<Services>,
    /// What the nodes can be pulled out of.
    pub network: Option<Network>,
    /// Calls to each node with the key of the workspace.
    pub api: Vec<GraphQl>,
    /// The IDs of the endpoints.
    pub endpoints: Vec<EndpointId>,
    directory: PathBuf,
    database: String,
    samples: Arc<Mutex<Vec<Sample>>>,
}

impl Cluster {
    /// Starts one with its files in `directory`.
    pub async fn start(setup: Setup, directory: &Path) -> Self {
        std::fs::create_dir_all(directory).expect("the directory is writable");
        let services = setup.has_postgres().then(|| tokio::task::block_in_place(Services::start));
        let database = match &services {
            None => format!("sqlite://{}", directory.join("chaos.db").display()),
            Some(services) => services.postgres_url.clone(),
        };
        if services.is_some() {
            migrate(&database);
        }
        let network = (setup == Setup::Apart).then(|| Network::create(setup.nodes()).expect("a network may be made"));
        let host = network.as_ref().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), Network::host);
        let allowed = network.as_ref().map_or_else(|| "127.0.0.0/8".to_owned(), Network::cidr);
        let (admin_key, encryption_key) = (ApiKeySecret::generate(), Sealer::generate_key());
        let (mut nodes, mut postgres, mut redis) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..setup.nodes() {
            let mut url = database.clone();
            if services.is_some() {
                let link = Link::start(host, address_of(&database)).await;
                url = through(&database, &link);
                postgres.push(link);
            }
            let settings = [
                ("ANGARIUM_DATABASE_URL", url.as_str()),
                ("ANGARIUM_ADMIN_KEY", admin_key.reveal()),
                ("ANGARIUM_ENCRYPTION_KEY", &encryption_key),
                ("ANGARIUM_ALLOW_HTTP", "true"),
                ("ANGARIUM_ALLOW_CIDRS", &allowed),
            ];
            let mut settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
            if let Some(services) = services.as_ref().filter(|_| setup.has_redis()) {
                let link = Link::start(host, address_of(&services.redis_url)).await;
                settings.push(("ANGARIUM_REDIS_URL".to_owned(), through(&services.redis_url, &link)));
                redis.push(link);
            }
            let place = match &network {
                None => Place::free(),
                Some(network) => Place::within(network, number),
            };
            nodes.push(Node::start(&format!("node {}", number + 1), directory, place, settings));
        }
        let clock = RunClock::start();
        let scripts = endpoints().iter().map(|(_, script)| *script).collect();
        let receivers = Receivers::start(clock, scripts, SECRET).await;
        let receiving = Link::start(host, receivers.address()).await;
        let mut cluster = Self {
            clock,
            nodes,
            postgres,
            redis,
            receiving,
            receivers,
            services,
            network,
            api: Vec::new(),
            endpoints: Vec::new(),
            directory: directory.to_owned(),
            database,
            samples: Arc::default(),
        };
        cluster.all_up().await;
        cluster.settle_in(admin_key.reveal()).await;
        cluster.care();
        cluster
    }

    /// Waits until every node serves.
    ///
    /// # Panics
    /// When that takes too long.
    pub async fn all_up(&self) {
        for node in &self.nodes {
            let is_up = wait_for(UP_WITHIN, async || node.is_up()).await;
            assert!(is_up, "{} does not get to serve:\n{}", node.name, node.logged());
        }
    }

    /// How many deliveries are still open; none where nobody answers.
    pub async fn open(&self) -> Option<u64> {
        let query = "{ deliveries(where: { status: [PENDING, RETRYING] }) { totalCount } }";
        let body = json!({ "query": query }).to_string();
        let asked = tokio::time::timeout(UP_WITHIN, self.api[0].try_post_body(body)).await;
        let answer: Value = serde_json::from_str(&asked.ok()?.ok()?.1).ok()?;
        answer["data"]["deliveries"]["totalCount"].as_u64()
    }

    /// Ends every node in order, and answers whether all have ended.
    pub async fn stop(&self) -> bool {
        self.nodes.iter().for_each(|node| node.stop());
        wait_for(UP_WITHIN, async || self.nodes.iter().all(|node| node.has_stopped())).await
    }

    /// Where the rows are, past all wires.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Where the files are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What the nodes took up so far.
    pub fn samples(&self) -> Vec<Sample> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn settle_in(&mut self, admin_key: &str) {
        let admin = GraphQl::new(&self.nodes[0].base(), admin_key);
        for name in EVENT_TYPES {
            builder::event_type(&admin, name).await;
        }
        let (_, key) = builder::workspace_with_key(&admin, "Chaos").await;
        self.api = self.nodes.iter().map(|node| admin.with_key(&key).at(&node.base())).collect();
        for (place, (endpoint, script)) in endpoints().into_iter().enumerate() {
            let create = json!({
                "url": format!("http://{}/{place}", self.receiving.address()),
                "ordering": format!("{:?}", endpoint.order).to_uppercase(),
                "timeout": format!("PT{}S", script.timeout_s()),
                "signing": { "secret": SECRET },
            });
            let computed = json!({ "initialDelay": "PT0.25S", "maxDelay": "PT5S", "maxAttempts": 50 });
            let input = json!({
                "eventTypes": endpoint.takes,
                "endpoint": { "create": create },
                "retryPolicy": { "computed": computed },
            });
            let made = builder::subscribe(&self.api[0], input).await;
            self.endpoints.push(made.endpoint.parse().expect("the ID of an endpoint"));
        }
    }

    /// Does what an owner does, who resumes what was suspended, and takes samples.
    fn care(&self) {
        let gone = endpoints().iter().position(|(_, script)| *script == Script::Gone).expect("there is one");
        let (api, nodes, samples) = (self.api.clone(), self.nodes.clone(), Arc::downgrade(&self.samples));
        let endpoint = self.endpoints[gone].to_string();
        tokio::spawn(async move {
            for turn in 0.. {
                tokio::time::sleep(CARE_EVERY).await;
                let Some(samples) = samples.upgrade() else { break };
                samples
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend(nodes.iter().filter_map(|it| it.sample()));
                let _ = tokio::time::timeout(CARE_EVERY, resume(&api[turn % api.len()], &endpoint)).await;
            }
        });
    }
}

/// Resumes an endpoint if it is suspended.
async fn resume(api: &GraphQl, endpoint: &str) {
    let status = "query($id: ID!) { webhookEndpoint(id: $id) { status } }";
    if ask(api, status, endpoint).await.is_some_and(|answer| answer["data"]["webhookEndpoint"]["status"] == "SUSPENDED")
    {
        ask(api, "mutation($id: ID!) { webhookEndpointResume(id: $id) { userErrors { code } } }", endpoint).await;
    }
}

/// The answer about something with an ID; none where nobody answers.
async fn ask(api: &GraphQl, query: &str, id: &str) -> Option<Value> {
    let body = json!({ "query": query, "variables": { "id": id } }).to_string();
    serde_json::from_str(&api.try_post_body(body).await.ok()?.1).ok()
}

/// Asks until it is so, or the time is over; whether it is.
pub async fn wait_for(within: Duration, mut is_so: impl AsyncFnMut() -> bool) -> bool {
    let asking = async {
        while !is_so().await {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(within, asking).await.is_ok()
}

fn migrate(database: &str) {
    let migrated = std::process::Command::new(program())
        .arg("migrate")
        .env("ANGARIUM_DATABASE_URL", database)
        .output()
        .expect("the program runs");
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
}

/// Host and port of a URL.
pub fn address_of(url: &str) -> SocketAddr {
    let url = Url::parse(url).expect("a URL");
    let host = url.host_str().expect("a host").parse().expect("an address");
    SocketAddr::new(host, url.port().expect("a port"))
}

/// The same URL by way of a link.
pub fn through(url: &str, link: &Link) -> String {
    let mut url = Url::parse(url).expect("a URL");
    url.set_ip_host(link.address().ip()).expect("it has a host");
    url.set_port(Some(link.address().port())).expect("it has a host");
    url.into()
}
