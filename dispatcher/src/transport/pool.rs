//! The client of one arbiter, and how many unused connections it may keep.
//!
//! The pool of the HTTP library has a bound for each host and none over all, and a hundred thousand hosts would leave us a
//! hundred thousand connections of some 30 KB. So the hosts that may have one are counted, and when there are too many, a
//! new client takes over: the old one closes what is unused, and what runs comes to its end.

use std::cell::RefCell;
use std::collections::HashMap;
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
    /// When each host last answered on a connection that can be used again.
    answered: RefCell<HashMap<String, Instant>>,
}

impl Pool {
    pub(super) fn new(plan: Plan) -> Result<Self, ClientError> {
        let sender = RefCell::new(Sender::new(&plan)?);
        Ok(Self { plan, sender, answered: RefCell::default() })
    }

    pub(super) fn sender(&self) -> Sender {
        self.sender.borrow().clone()
    }

    /// Whether a request to `host`, started then, that broke just now may have met a connection that was already closed.
    pub(super) fn was_stale(&self, host: &str, started: Instant) -> bool {
        let pooled = |at: &Instant| started.saturating_duration_since(*at) < IDLE_TIMEOUT + STALE_CONNECTION_WITHIN;
        started.elapsed() < STALE_CONNECTION_WITHIN && self.answered.borrow().get(host).is_some_and(pooled)
    }

    /// A request to `host` has been answered, and its connection can be used again.
    pub(super) fn kept(&self, host: &str) {
        let now = Instant::now();
        let mut answered = self.answered.borrow_mut();
        if let Some(at) = answered.get_mut(host) {
            *at = now;
            return;
        }
        let hosts_max = self.plan.idle_hosts_max;
        if answered.len() >= hosts_max {
            answered.retain(|_, at| now.saturating_duration_since(*at) < IDLE_TIMEOUT);
            // Half of the room, so that this is not asked again at the next host.
            if answered.len() > hosts_max / 2 {
                self.renew();
                answered.clear();
            }
        }
        answered.insert(host.to_owned(), now);
    }

    /// Closes what is unused: somebody else needs the files.
    pub(super) fn let_go(&self) {
        let mut answered = self.answered.borrow_mut();
        if !answered.is_empty() {
            self.renew();
            answered.clear();
        }
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
