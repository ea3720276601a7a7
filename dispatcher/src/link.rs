//! The way to Redis: one multiplexed connection for commands, and one for what other nodes say.
//!
//! Kinds     a single server, one found by Sentinel, or a Cluster; see [`RedisUrl`].
//! Lost      a connection that fails is dropped, and the next command makes another. Nothing waits for Redis for longer
//!           than [`CONNECT_WITHIN`] and [`ANSWER_WITHIN`]; callers go on without it.
//! Names     all keys and channels begin with `ang:` and the key of the installation, so that several installations may
//!           share a server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use angarium_entity::NodeId;
use redis::aio::{MultiplexedConnection, PubSub};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo as _,
    RedisConnectionInfo, RedisError, RedisFuture, Value,
};
use tokio::sync::Mutex;
use uuid::Uuid;

mod check;
mod url;

pub use check::RedisCheck;
pub(crate) use check::check;
use url::Kind;
pub use url::{RedisUrl, RedisUrlError};

/// Longest wait for a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// Longest wait for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The way to Redis.
pub(crate) struct Link {
    url: RedisUrl,
    prefix: String,
    connection: Mutex<Option<Connection>>,
    up: Arc<AtomicBool>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("url", &self.url).field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// A connection for commands. Cheap to clone; what is sent by several at once goes out together.
#[derive(Clone)]
pub(crate) enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl redis::aio::ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a redis::Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(connection) => connection.req_packed_command(cmd),
            Self::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a redis::Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

impl Link {
    /// To what `url` names, for the installation with this key. Connects when it is first used.
    pub(crate) fn new(url: RedisUrl, installation: Uuid) -> Self {
        // The end of a UUIDv7 is random.
        let name = installation.simple().to_string();
        let prefix = format!("ang:{}", &name[name.len() - 8..]);
        Self { url, prefix, connection: Mutex::new(None), up: Arc::new(AtomicBool::new(true)) }
    }

    /// What keys begin with.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether the last command reached Redis.
    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// A connection, the one that there is if there is one.
    pub(crate) async fn get(&self) -> Result<Connection, RedisError> {
        let mut connection = self.connection.lock().await;
        if let Some(connection) = &*connection {
            return Ok(connection.clone());
        }
        match connect(&self.url).await {
            Ok(made) => {
                if !self.up.swap(true, Ordering::Relaxed) {
                    tracing::info!("Redis answers again");
                }
                Ok(connection.insert(made).clone())
            }
            Err(error) => {
                self.note_down(&error);
                Err(error)
            }
        }
    }

    /// Tells of the end of a command. When the connection is of no more use, the next command makes another.
    pub(crate) async fn note(&self, error: &RedisError) {
        // What a server refuses while it changes its role is answered by another one.
        let has_moved = matches!(error.kind(), ErrorKind::Server(redis::ServerErrorKind::ReadOnly));
        if error.is_io_error() || error.is_connection_dropped() || error.is_timeout() || has_moved {
            *self.connection.lock().await = None;
            self.note_down(error);
        }
    }

    fn note_down(&self, error: &RedisError) {
        if self.up.swap(false, Ordering::Relaxed) {
            tracing::warn!(%error, "Redis does not answer; deliveries go on by the rows");
        }
    }

    /// Publishes messages, each to its channel.
    pub(crate) async fn publish(&self, messages: &[(String, Vec<u8>)]) -> Result<(), RedisError> {
        let mut connection = self.get().await?;
        let mut pipeline = redis::pipe();
        for (channel, message) in messages {
            pipeline.cmd("PUBLISH").arg(channel).arg(message).ignore();
        }
        let sent = match &mut connection {
            Connection::One(_) => pipeline.query_async::<()>(&mut connection).await,
            // A cluster routes a pipeline by its keys, and these have none.
            Connection::Cluster(_) => {
                for (channel, message) in messages {
                    redis::cmd("PUBLISH").arg(channel).arg(message).query_async::<i64>(&mut connection).await?;
                }
                Ok(())
            }
        };
        if let Err(error) = &sent {
            self.note(error).await;
        }
        sent
    }

    /// Hears what is said to all and to `node`.
    pub(crate) async fn subscribe(&self, node: NodeId) -> Result<PubSub, RedisError> {
        let client = match &self.url.kind {
            Kind::Single => Client::open(server(&self.url, &self.url.hosts[0]))?,
            Kind::Sentinel { .. } => sentinel(&self.url)?.async_get_client().await?,
            // Whatever one of them is told, all of them tell.
            Kind::Cluster => {
                let mut last = RedisError::from((ErrorKind::InvalidClientConfig, "no server is named"));
                for host in &self.url.hosts {
                    match hear(&Client::open(server(&self.url, host))?, &self.channels(node)).await {
                        Ok(heard) => return Ok(heard),
                        Err(error) => last = error,
                    }
                }
                return Err(last);
            }
        };
        hear(&client, &self.channels(node)).await
    }

    /// The channel that all nodes hear.
    pub(crate) fn channel_of_all(&self) -> String {
        format!("{}:nodes", self.prefix)
    }

    /// The channel that a node hears.
    pub(crate) fn channel_of(&self, node: NodeId) -> String {
        format!("{}:node:{}", self.prefix, node.0.simple())
    }

    fn channels(&self, node: NodeId) -> [String; 2] {
        [self.channel_of_all(), self.channel_of(node)]
    }
}

async fn hear(client: &Client, channels: &[String]) -> Result<PubSub, RedisError> {
    let connecting = async {
        let mut heard = client.get_async_pubsub().await?;
        heard.subscribe(channels).await?;
        Ok(heard)
    };
    let timed_out = |_| RedisError::from((ErrorKind::Io, "Redis does not answer in time"));
    tokio::time::timeout(CONNECT_WITHIN, connecting).await.map_err(timed_out)?
}

async fn connect(url: &RedisUrl) -> Result<Connection, RedisError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_WITHIN))
        .set_response_timeout(Some(ANSWER_WITHIN));
    let connecting = async {
        match &url.kind {
            Kind::Single => {
                let client = Client::open(server(url, &url.hosts[0]))?;
                client.get_multiplexed_async_connection_with_config(&config).await.map(Connection::One)
            }
            Kind::Sentinel { .. } => {
                sentinel(url)?.get_async_connection_with_config(&config).await.map(Connection::One)
            }
            Kind::Cluster => cluster(url)?.get_async_connection().await.map(Connection::Cluster),
        }
    };
    // Sentinels are asked one after the other.
    let timed_out = |_| RedisError::from((ErrorKind::Io, "Redis does not answer in time"));
    tokio::time::timeout(CONNECT_WITHIN * 2, connecting).await.map_err(timed_out)?
}

fn server(url: &RedisUrl, host: &(String, u16)) -> ConnectionInfo {
    let mut login = RedisConnectionInfo::default().set_db(url.database);
    if let Some(user) = &url.server.user {
        login = login.set_username(user);
    }
    if let Some(password) = &url.server.password {
        login = login.set_password(password);
    }
    let info = address(url, host).into_connection_info().expect("an address is enough");
    info.set_redis_settings(login)
}

fn address(url: &RedisUrl, (host, port): &(String, u16)) -> ConnectionAddr {
    let (host, port) = (host.clone(), *port);
    if url.tls {
        ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host, port)
    }
}

fn cluster(url: &RedisUrl) -> Result<ClusterClient, RedisError> {
    ClusterClientBuilder::new(url.hosts.iter().map(|host| server(url, host)))
        .connection_timeout(CONNECT_WITHIN)
        .response_timeout(ANSWER_WITHIN)
        .retries(2)
        .build()
}

fn sentinel(url: &RedisUrl) -> Result<SentinelClient, RedisError> {
    let Kind::Sentinel { master, login } = &url.kind else {
        return Err(RedisError::from((ErrorKind::InvalidClientConfig, "not a Sentinel")));
    };
    let sentinels = url.hosts.iter().map(|host| address(url, host));
    let mut builder =
        SentinelClientBuilder::new(sentinels, master, SentinelServerType::Master)?.set_client_to_redis_db(url.database);
    if url.tls {
        builder = builder
            .set_client_to_redis_tls_mode(redis::TlsMode::Secure)
            .set_client_to_sentinel_tls_mode(redis::TlsMode::Secure);
    }
    if let Some(user) = &url.server.user {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = &url.server.password {
        builder = builder.set_client_to_redis_password(password);
    }
    if let Some(user) = &login.user {
        builder = builder.set_client_to_sentinel_username(user);
    }
    if let Some(password) = &login.password {
        builder = builder.set_client_to_sentinel_password(password);
    }
    builder.build()
}
