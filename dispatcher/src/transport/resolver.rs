//! Host names to addresses, of which only the allowed ones are ever connected to.
//!
//! The name servers are asked from here and not through `getaddrinfo`, which blocks a thread for as long as a name server
//! is silent and has no bound of its own. `/etc/hosts` goes first, and counts as it was at the start; the search list of
//! `resolv.conf` is not used, so that a name of a tenant never becomes one of the operator's network.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, Resolver, system_conf};
use reqwest::dns::{Addrs, Resolve, Resolving};
use tokio::runtime::Handle;

use super::address_guard::{AddressGuard, ForbiddenAddress};
use super::sockets::Sockets;

/// Most addresses of a name that are tried. The client divides its connect timeout among them.
const ADDRESSES_MAX: usize = 4;
/// Longest wait for the addresses of a name, all questions included.
const LOOK_UP_WITHIN: Duration = Duration::from_secs(3);
/// Longest wait for an answer, after which all name servers are asked once more.
const ANSWER_WITHIN: Duration = Duration::from_millis(1_400);
/// Answers that are remembered, for as long as they say and at most for so long; refusals in the same way.
const ANSWERS_MAX: u64 = 65_536;
const ANSWER_TTL_MAX: Duration = Duration::from_mins(5);
const REFUSAL_TTL_MAX: Duration = Duration::from_secs(10);
/// Questions that may be open at one connection to a name server.
const QUESTIONS_MAX: usize = 1_024;
/// What resolv.conf(5) says when it names no server, or is not there.
const LOCAL_SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 53);

/// A name that leads nowhere.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    /// There is no such name.
    #[error("the host name {0} does not exist")]
    Unknown(String),
    /// The look-up failed.
    #[error("the host name {name} could not be resolved")]
    Failed {
        /// The name.
        name: String,
        /// What the name servers said, or did not.
        source: NetError,
    },
    /// No name server answered.
    #[error("the host name {name} could not be resolved within {} s", LOOK_UP_WITHIN.as_secs())]
    Slow {
        /// The name.
        name: String,
    },
    /// It could not be asked for: this process has too few files.
    #[error("the host name {name} could not be asked for")]
    Unasked {
        /// The name.
        name: String,
        /// What the system says.
        source: io::Error,
    },
    /// It has no address.
    #[error("the host name {0} has no address")]
    Empty(String),
    /// It has only addresses that may not be connected to.
    #[error(transparent)]
    Forbidden(ForbiddenAddress),
}

/// Name servers behind the guard. What is answered is what is connected to, so a name cannot be rebound between the check
/// and the connection.
#[derive(Clone, Debug)]
pub(crate) struct GuardedResolver {
    guard: Arc<AddressGuard>,
    names: Resolver<Sockets>,
    sockets: Sockets,
    hosts: Arc<Hosts>,
    /// Connections to name servers belong to the runtime that serves the API: each runtime needs its own.
    runtime: Handle,
}

impl GuardedResolver {
    /// Asks `servers`, or those of `/etc/resolv.conf` when there are none. `runtime` does the asking.
    ///
    /// # Errors
    /// Those of the library, on platforms without what it needs.
    pub(crate) fn new(guard: Arc<AddressGuard>, servers: &[SocketAddr], runtime: Handle) -> Result<Self, NetError> {
        let config = if servers.is_empty() { of_system() } else { of_servers(servers) };
        let sockets = Sockets::default();
        let mut builder = Resolver::builder_with_config(config, sockets.clone());
        let options = builder.options_mut();
        options.timeout = ANSWER_WITHIN;
        options.attempts = 1;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.use_hosts_file = ResolveHosts::Never;
        options.cache_size = ANSWERS_MAX;
        options.positive_max_ttl = Some(ANSWER_TTL_MAX);
        options.negative_max_ttl = Some(REFUSAL_TTL_MAX);
        options.max_active_requests = QUESTIONS_MAX;
        options.try_tcp_on_error = true;
        let hosts = Hosts::from_system().unwrap_or_else(|error| {
            tracing::warn!(%error, "the hosts file cannot be read; no name is looked up in it");
            Hosts::default()
        });
        Ok(Self { guard, names: builder.build()?, sockets, hosts: Arc::new(hosts), runtime })
    }

    pub(super) fn guard(&self) -> &AddressGuard {
        &self.guard
    }

    /// Where look-ups are made.
    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// The addresses of a name that may be connected to.
    pub(super) async fn look_up(self, name: String) -> Result<Vec<SocketAddr>, ResolveError> {
        let resolver = self.clone();
        let asked = name.clone();
        let looking_up = self.runtime.spawn(async move { resolver.addresses(asked).await });
        let found = looking_up.await.unwrap_or_else(|stopped| {
            Err(ResolveError::Failed { name: name.clone(), source: io::Error::other(stopped).into() })
        })?;
        let mut refused = None;
        let mut allowed = Vec::new();
        for address in found {
            match self.guard.check(address) {
                Ok(()) => allowed.push(SocketAddr::new(address, 0)),
                Err(forbidden) => refused = Some(forbidden),
            }
        }
        allowed.truncate(ADDRESSES_MAX);
        match (allowed.is_empty(), refused) {
            (true, Some(forbidden)) => return Err(ResolveError::Forbidden(forbidden)),
            (true, None) => return Err(ResolveError::Empty(name)),
            (false, Some(forbidden)) => {
                tracing::info!(name, address = %forbidden.0, "a name leads also to an address that is not allowed, which is left out");
            }
            (false, None) => {}
        }
        Ok(allowed)
    }

    /// All addresses of a name.
    async fn addresses(&self, text: String) -> Result<Vec<IpAddr>, ResolveError> {
        let mut name = match Name::from_ascii(&text) {
            Ok(name) => name,
            Err(error) => return Err(ResolveError::Failed { name: text, source: error.into() }),
        };
        name.set_fqdn(true);
        let of_hosts = |kind| self.hosts.lookup_static_host(&Query::query(name.clone(), kind));
        let known = [RecordType::A, RecordType::AAAA].into_iter().filter_map(of_hosts);
        let known: Vec<_> = known
            .flat_map(|found| found.answers().iter().filter_map(|record| record.data.ip_addr()).collect::<Vec<_>>())
            .collect();
        if !known.is_empty() {
            return Ok(known);
        }
        let lacked = self.sockets.lacked();
        match tokio::time::timeout(LOOK_UP_WITHIN, self.names.lookup_ip(name)).await {
            Ok(Ok(found)) => Ok(found.iter().collect()),
            // What another look-up lacked meanwhile may be taken for ours: it is only asked again.
            Ok(Err(_)) | Err(_) if self.sockets.lacked() != lacked => {
                Err(ResolveError::Unasked { name: text, source: self.sockets.last_lack() })
            }
            Ok(Err(error)) => Err(failed(text, error)),
            Err(_) => Err(ResolveError::Slow { name: text }),
        }
    }
}

fn failed(name: String, source: NetError) -> ResolveError {
    match &source {
        NetError::Timeout => ResolveError::Slow { name },
        NetError::Dns(DnsError::NoRecordsFound(nothing)) if nothing.response_code == ResponseCode::NXDomain => {
            ResolveError::Unknown(name)
        }
        NetError::Dns(DnsError::NoRecordsFound(_)) => ResolveError::Empty(name),
        _ => ResolveError::Failed { name, source },
    }
}

fn of_system() -> ResolverConfig {
    match system_conf::read_system_conf() {
        Ok((config, _)) => ResolverConfig::from_name_servers(config.name_servers),
        Err(error) => {
            tracing::warn!(%error, "no name server is configured; names are asked of {LOCAL_SERVER}");
            of_servers(&[LOCAL_SERVER])
        }
    }
}

fn of_servers(servers: &[SocketAddr]) -> ResolverConfig {
    let server = |address: &SocketAddr| {
        let at_port = |mut connection: ConnectionConfig| {
            connection.port = address.port();
            connection
        };
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(at_port);
        NameServerConfig::new(address.ip(), true, connections.into())
    };
    ResolverConfig::from_name_servers(servers.iter().map(server).collect())
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: reqwest::dns::Name) -> Resolving {
        let look_up = self.clone().look_up(name.as_str().to_owned());
        Box::pin(async move { look_up.await.map(|found| Box::new(found.into_iter()) as Addrs).map_err(Into::into) })
    }
}
