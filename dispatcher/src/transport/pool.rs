//! The client of one arbiter, and how many unused connections it may keep.
//!
//! The pool of the HTTP library has a bound for each host and none over all, and a hundred thousand hosts would leave us a
//! hundred thousand connections of some 30 KB. So the hosts that may have one are counted, and when there are too many, a
//! new client takes over: the old one closes what is unused, and what runs comes to its end.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use reqwest::redirect::Policy;
use reqwest::{Body, Client, Response};

use super::explain::SendError;
use super::plan::{ClientError, Plan};
use super::proxy::Tunnels;
use super::{CONNECT_TIMEOUT, Request};
use crate::config::IDLE_PER_HOST;

/// An unused connection is closed after this.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// A connection that breaks this soon after a request was written on it had been closed while it lay in the pool.
const STALE_CONNECTION_WITHIN: Duration = Duration::from_secs(1);
/// Connections of one host that are remembered: more can be in use, and what breaks on one of these counts as a failure.
const CONNECTIONS_MAX: usize = 64;

/// What sends. Clones share their connections.
#[expect(clippy::large_enum_variant, reason = "one of them for each thread")]
#[derive(Clone, Debug)]
pub(super) enum Sender {
    Direct(Client),
    /// The client that is inside of the direct one as well, with connections that are tunnels.
    Proxied(legacy::Client<Tunnels, Body>),
}

/// The client in use, and which hosts it may keep a connection to.
#[derive(Debug)]
pub(super) struct Pool {
    plan: Plan,
    sender: RefCell<Sender>,
    /// The hosts that have answered on a connection that can be used again.
    answered: RefCell<HashMap<String, Answered>>,
}

#[derive(Debug)]
struct Answered {
    /// When it last did.
    at: Instant,
    /// Our ends of these connections, the latest last.
    ends: VecDeque<SocketAddr>,
}

impl Answered {
    fn note(&mut self, end: SocketAddr, now: Instant) {
        self.at = now;
        if self.ends.back() == Some(&end) {
            return;
        }
        self.ends.retain(|known| *known != end);
        if self.ends.len() >= CONNECTIONS_MAX {
            self.ends.pop_front();
        }
        self.ends.push_back(end);
    }
}

/// Whether a connection on which a request broke so soon may have been closed before.
pub(super) fn was_closed(elapsed: Duration) -> bool {
    elapsed < STALE_CONNECTION_WITHIN
}

impl Pool {
    pub(super) fn new(plan: Plan) -> Result<Self, ClientError> {
        let sender = RefCell::new(Sender::new(&plan)?);
        Ok(Self { plan, sender, answered: RefCell::default() })
    }

    pub(super) fn sender(&self) -> Sender {
        self.sender.borrow().clone()
    }

    /// Whether `host` has answered before on the connection with this end of ours. It is broken, and forgotten.
    pub(super) fn was_used(&self, host: &str, end: SocketAddr) -> bool {
        let mut answered = self.answered.borrow_mut();
        let Some(known) = answered.get_mut(host) else { return false };
        let place = known.ends.iter().position(|known| *known == end);
        place.and_then(|place| known.ends.remove(place)).is_some()
    }

    /// A request to `host` has been answered, and its connection, with this end of ours, can be used again.
    pub(super) fn kept(&self, host: &str, end: SocketAddr) {
        let now = Instant::now();
        let mut answered = self.answered.borrow_mut();
        if let Some(known) = answered.get_mut(host) {
            known.note(end, now);
            return;
        }
        let hosts_max = self.plan.idle_hosts_max;
        if answered.len() >= hosts_max {
            answered.retain(|_, known| now.saturating_duration_since(known.at) < IDLE_TIMEOUT);
            // Half of the room, so that this is not asked again at the next host.
            if answered.len() > hosts_max / 2 {
                self.renew();
                answered.clear();
            }
        }
        answered.insert(host.to_owned(), Answered { at: now, ends: VecDeque::from([end]) });
    }

    /// Closes what is unused: somebody else needs the files.
    pub(super) fn let_go(&self) {
        let mut answered = self.answered.borrow_mut();
        if !answered.is_empty() {
            self.renew();
            answered.clear();
        }
    }

    /// Hosts that it may keep a connection to.
    #[cfg(test)]
    pub(super) fn hosts(&self) -> usize {
        self.answered.borrow().len()
    }

    fn renew(&self) {
        match Sender::new(&self.plan) {
            Ok(sender) => *self.sender.borrow_mut() = sender,
            // It was made once, so this is for the log.
            Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "no new HTTP client"),
        }
    }
}

impl Sender {
    fn new(plan: &Plan) -> Result<Self, ClientError> {
        if let Some(proxy) = &plan.proxy {
            let client = legacy::Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_TIMEOUT)
                .pool_max_idle_per_host(IDLE_PER_HOST)
                .http1_ignore_invalid_headers_in_responses(true)
                .build(Tunnels::new(proxy.clone(), plan));
            return Ok(Self::Proxied(client));
        }
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .dns_resolver(std::sync::Arc::new(plan.resolver.clone()))
            .tls_backend_preconfigured(plan.tls.as_ref().clone())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .tcp_nodelay(true)
            .http1_only()
            .http1_ignore_invalid_headers_in_responses(true)
            .build()?;
        Ok(Self::Direct(client))
    }

    /// Sends a request up to the head of its answer.
    pub(super) async fn exchange(self, request: &Request) -> Result<Response, SendError> {
        match self {
            Self::Direct(client) => {
                let mut outgoing = client.post(request.url.clone());
                for header in &request.headers {
                    outgoing = outgoing.header(&header.name, &header.value);
                }
                let sent = outgoing.body(request.body.clone()).send().await;
                // Its words would have the whole URL, and what is in a query is often a secret.
                Ok(sent.map_err(reqwest::Error::without_url)?)
            }
            Self::Proxied(client) => {
                let mut outgoing = http::Request::post(request.url.as_str());
                for header in &request.headers {
                    outgoing = outgoing.header(&header.name, &header.value);
                }
                let response = client.request(outgoing.body(Body::from(request.body.clone()))?).await?;
                Ok(response.map(Body::wrap).into())
            }
        }
    }
}
