//! How deliveries are sent, and where to.

use std::net::SocketAddr;
use std::thread::available_parallelism;

use angarium_dispatcher::config::IDLE_HOSTS_MAX;
use angarium_dispatcher::{Proxy, RedisUrl};
use ipnet::IpNet;

use super::reader::{Reader, list};
use super::setting;

/// Most threads that are started without being asked for.
const ARBITERS_MAX: usize = 64;

/// Where a name server listens unless another port is given.
const DNS_PORT: u16 = 53;

/// Settings of the dispatcher.
#[derive(Clone, Debug)]
pub struct Dispatcher {
    /// Threads that send, each with its own HTTP client: [`setting::ARBITERS`].
    pub arbiters: usize,
    /// Most requests in flight on each of them: [`setting::IN_FLIGHT_MAX`].
    pub in_flight_max: usize,
    /// Hosts that each keeps unused connections for; less where the system allows few files.
    pub idle_hosts_max: usize,
    /// Whether `http://` endpoints are accepted: [`setting::ALLOW_HTTP`].
    pub allow_http: bool,
    /// Networks that endpoints may be in although they are not public: [`setting::ALLOW_CIDRS`].
    pub allowed: Vec<IpNet>,
    /// Name servers that are asked for the addresses of endpoints: [`setting::NAME_SERVERS`].
    pub name_servers: Vec<SocketAddr>,
    /// The HTTP proxy that every request goes through: [`setting::PROXY_URL`].
    pub proxy: Option<Proxy>,
    /// Where retry schedules are held, and by which nodes tell each other of what they do: [`setting::REDIS_URL`].
    pub redis: Option<RedisUrl>,
}

fn name_server(text: &str) -> Result<SocketAddr, String> {
    let at_default_port = || text.parse().map(|address| SocketAddr::new(address, DNS_PORT));
    let wrong = |_| format!("holds `{text}`, but a name server is written like `10.0.0.2` or `10.0.0.2:5353`");
    text.parse().or_else(|_| at_default_port()).map_err(wrong)
}

impl Dispatcher {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let network = |text: &str| {
            text.parse().map_err(|_| format!("holds `{text}`, but a network is written like `10.1.0.0/16`"))
        };
        let cores = || available_parallelism().map_or(1, |cores| cores.get().min(ARBITERS_MAX));
        Self {
            arbiters: reader.number(&setting::ARBITERS).unwrap_or_else(cores),
            in_flight_max: reader.number(&setting::IN_FLIGHT_MAX).unwrap_or_default(),
            idle_hosts_max: IDLE_HOSTS_MAX,
            allow_http: reader.boolean(&setting::ALLOW_HTTP),
            proxy: reader.read(&setting::PROXY_URL, |text| Proxy::parse(text).map_err(|error| error.to_string())),
            name_servers: reader.read(&setting::NAME_SERVERS, |text| list(text, name_server)).unwrap_or_default(),
            redis: reader.read(&setting::REDIS_URL, |text| RedisUrl::parse(text).map_err(|error| error.to_string())),
            allowed: reader.read(&setting::ALLOW_CIDRS, |text| list(text, network)).unwrap_or_default(),
        }
    }
}
