//! Host names to addresses, of which only the allowed ones are ever connected to.
//!
//! What is answered is believed for a time, see `known_names.rs`. The library remembers nothing: it would follow a clock of
//! its own, and forget what is wanted when no name server answers.
//!
//! The name servers are asked from here and not through `getaddrinfo`, which blocks a thread for as long as a name server
//! is silent and has no bound of its own. `/etc/hosts` goes first, and counts as it was at the start; the search list of
//! `resolv.conf` is not used, so that a name of a tenant never becomes one of the operator's network.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use angarium_entity::Timestamp;
use angarium_entity::clock::SharedClock;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, Resolver};
use reqwest::dns::{Addrs, Resolve, Resolving};
use tokio::runtime::Handle;

use super::address_guard::{AddressGuard, ForbiddenAddress};
use super::known_names::{ADDRESSES_MAX, KnownNames, Place};
use super::outage::Outage;
use super::question::{self, Answer};
use super::sockets::Sockets;

/// Longest wait for the addresses of a name, all questions included.
const LOOK_UP_WITHIN: Duration = Duration::from_secs(3);
/// Longest wait for it where addresses are known that are not believed any more: these are used then, while the question
/// goes on (RFC 8767, section 5). Half of the shortest timeout of an endpoint, which has to answer in what is left.
const LOOK_UP_PATIENCE: Duration = Duration::from_millis(500);

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

/// Name servers behind the guard. What was checked is what is connected to, so a name cannot be rebound between the check
/// and the connection. Clones know the same names.
#[derive(Clone)]
pub(crate) struct GuardedResolver {
    guard: Arc<AddressGuard>,
    names: Resolver<Sockets>,
    sockets: Sockets,
    hosts: Arc<Hosts>,
    known: Arc<Mutex<KnownNames>>,
    outage: Arc<Mutex<Outage>>,
    clock: SharedClock,
    /// Connections to name servers belong to the runtime that serves the API: each runtime needs its own.
    runtime: Handle,
}

impl GuardedResolver {
    /// Asks `servers`, or those of `/etc/resolv.conf` when there are none. `runtime` does the asking.
    ///
    /// # Errors
    /// Those of the library, on platforms without what it needs.
    pub(crate) fn new(
        guard: Arc<AddressGuard>,
        servers: &[SocketAddr],
        clock: SharedClock,
        runtime: Handle,
    ) -> Result<Self, NetError> {
        let sockets = Sockets::default();
        let names = question::asking(servers, sockets.clone())?;
        let hosts = Hosts::from_system().unwrap_or_else(|error| {
            tracing::warn!(%error, "the hosts file cannot be read; no name is looked up in it");
            Hosts::default()
        });
        let hosts = Arc::new(hosts);
        let (known, outage) = Default::default();
        Ok(Self { guard, names, sockets, hosts, known, outage, clock, runtime })
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
        let name_of_dns = match Name::from_ascii(&name) {
            Ok(mut of_dns) => {
                of_dns.set_fqdn(true);
                of_dns
            }
            Err(error) => return Err(ResolveError::Failed { name, source: error.into() }),
        };
        let of_hosts = self.of_hosts(&name_of_dns);
        if !of_hosts.is_empty() {
            return addresses(name.clone(), self.judge(&name, of_hosts));
        }
        if let Some(place) = self.known(|names, now| names.get(&name, now)) {
            return addresses(name, place);
        }
        let (resolver, text) = (self.clone(), name.clone());
        let mut asking = self.runtime.spawn(async move { resolver.find_out(text, name_of_dns).await });
        let found = match tokio::time::timeout(LOOK_UP_PATIENCE, &mut asking).await {
            Ok(found) => found,
            Err(_) => match self.known(|names, now| names.stale(&name, now)) {
                Some(stale) => return Ok(stale),
                None => asking.await,
            },
        };
        match found {
            Ok(place) => addresses(name, place?),
            Err(stopped) => Err(ResolveError::Failed { name, source: io::Error::other(stopped).into() }),
        }
    }

    /// Asks where a name leads, and remembers it. Whoever wants to know may be gone before the answer comes, so it is not
    /// left to him.
    async fn find_out(self, name: String, name_of_dns: Name) -> Result<Place, ResolveError> {
        match self.ask(&name, name_of_dns).await {
            Ok(answer) => {
                if let Some(lasted) = self.outage().answered(self.clock.now()) {
                    tracing::info!(seconds = lasted.as_secs(), "the name servers answer again");
                }
                Ok(self.learn(&name, answer))
            }
            Err(error @ (ResolveError::Failed { .. } | ResolveError::Slow { .. })) => {
                let Some(stale) = self.known(|names, now| names.stale(&name, now)) else { return Err(error) };
                if self.outage().unanswered(self.clock.now()) {
                    tracing::warn!(%error, "no name server answers; the addresses are used that names had");
                }
                Ok(Place::Outside(stale))
            }
            Err(error) => Err(error),
        }
    }

    /// Looks into what is known at present.
    fn known<T>(&self, look: impl FnOnce(&mut KnownNames, Timestamp) -> T) -> T {
        let now = self.clock.now();
        let mut names = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = look(&mut names, now);
        let forgotten = names.take_forgotten();
        drop(names);
        // Up to half of the table, which would take a while in the lock, and everybody waits at it.
        drop(forgotten);
        seen
    }

    fn outage(&self) -> MutexGuard<'_, Outage> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of_hosts(&self, name: &Name) -> Vec<IpAddr> {
        let of_kind = |kind| self.hosts.lookup_static_host(&Query::query(name.clone(), kind));
        let found = [RecordType::A, RecordType::AAAA].into_iter().filter_map(of_kind);
        found
            .flat_map(|found| found.answers().iter().filter_map(|record| record.data.ip_addr()).collect::<Vec<_>>())
            .collect()
    }

    /// Asks where a name leads.
    async fn ask(&self, text: &str, name: Name) -> Result<Answer, ResolveError> {
        let (lacked, text) = (self.sockets.lacked(), text.to_owned());
        match question::ask(&self.names, name, LOOK_UP_WITHIN).await {
            Ok(answer @ Answer::Addresses { .. }) => Ok(answer),
            // What another look-up lacked meanwhile may be taken for ours: it is only asked again.
            Ok(_) | Err(_) if self.sockets.lacked() != lacked => {
                Err(ResolveError::Unasked { name: text, source: self.sockets.last_lack() })
            }
            Ok(answer) => Ok(answer),
            Err(NetError::Timeout) => Err(ResolveError::Slow { name: text }),
            Err(source) => Err(ResolveError::Failed { name: text, source }),
        }
    }

    /// Remembers where a name leads.
    fn learn(&self, name: &str, answer: Answer) -> Place {
        let (place, lasts, lost) = match answer {
            Answer::Addresses { found, lasts, lost } => (self.judge(name, found), lasts, lost),
            Answer::Nowhere { lasts } => (Place::Nowhere, lasts, None),
            Answer::Unknown { lasts } => (Place::Unknown, lasts, None),
        };
        self.known(|names, now| match lost {
            None => names.learn(name, place, lasts, now),
            Some(lost) => names.learn_half(name, place, lost, now),
        })
    }

    /// Those of the addresses of a name that may be connected to.
    fn judge(&self, name: &str, found: Vec<IpAddr>) -> Place {
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
            (true, Some(forbidden)) => return Place::Inside(forbidden),
            (true, None) => return Place::Nowhere,
            (false, Some(forbidden)) => {
                tracing::info!(name, address = %forbidden.0, "a name leads also to an address that is not allowed, which is left out");
            }
            (false, None) => {}
        }
        Place::Outside(allowed)
    }
}

impl std::fmt::Debug for GuardedResolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuardedResolver").field("guard", &self.guard).finish_non_exhaustive()
    }
}

fn addresses(name: String, place: Place) -> Result<Vec<SocketAddr>, ResolveError> {
    match place {
        Place::Outside(addresses) => Ok(addresses),
        Place::Inside(forbidden) => Err(ResolveError::Forbidden(forbidden)),
        Place::Nowhere => Err(ResolveError::Empty(name)),
        Place::Unknown => Err(ResolveError::Unknown(name)),
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: reqwest::dns::Name) -> Resolving {
        let look_up = self.clone().look_up(name.as_str().to_owned());
        Box::pin(async move { look_up.await.map(|found| Box::new(found.into_iter()) as Addrs).map_err(Into::into) })
    }
}
