//! The HTTP client: no redirects, no proxy but the configured one, no decompression, one deadline over all, a body
//! that is read to a cap.
//!
//! One client for each arbiter, made on its thread: a pooled connection belongs to the runtime that opened it, and a
//! request on it from another runtime hangs until its timeout (seekers find it as reqwest#2501).

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use angarium_entity::attempt::{ErrorCode, FAILURE_BODY_BYTES_MAX, SUCCESS_BODY_BYTES_MAX};
use angarium_entity::endpoint::{Header, Headers, RequestHeader};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use reqwest::redirect::Policy;
use reqwest::{Body, Client, Response};
use tokio::runtime::Handle;
use url::Url;

pub(crate) mod address_guard;
mod explain;
pub(crate) mod proxy;
mod resolver;

use address_guard::AddressGuard;
use explain::{SendError, explain, find, forbidden_address, timed_out};
use proxy::{Proxy, Tunnels};
use resolver::GuardedResolver;

/// Longest wait for a connection, name look-up and TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// An unused connection is closed after this.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// Unused connections kept for each host.
const IDLE_PER_HOST: usize = 4;
/// Bytes of a response that are read; reading on keeps the connection usable, but not at any price.
const BODY_READ_MAX: usize = 64 * 1024;
/// Response headers that are kept, and their bytes together.
const HEADERS_KEPT_MAX: (usize, usize) = (32, 4096);
/// A connection that breaks this soon after a request was written on it had been closed while it lay in the pool.
const STALE_CONNECTION_WITHIN: Duration = Duration::from_secs(1);

/// Hosts whose last answer is remembered. One that is not gets no second try.
const HOSTS_REMEMBERED_MAX: usize = 65_536;

/// A request to an endpoint, complete.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) url: Url,
    pub(crate) headers: Vec<RequestHeader>,
    pub(crate) body: String,
    pub(crate) timeout: Duration,
}

/// What came back, as far as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Headers,
    pub(crate) retry_after: Option<String>,
    pub(crate) body: String,
    pub(crate) body_truncated: bool,
}

/// No complete answer came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
}

/// Why the client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The direct one.
    #[error(transparent)]
    Direct(#[from] reqwest::Error),
    /// The TLS of tunnels.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// What sends.
#[derive(Debug)]
enum Sender {
    Direct(Client),
    /// The client that is inside of the direct one as well, with connections that are tunnels.
    Proxied(legacy::Client<Tunnels, Body>),
}

/// The client of one arbiter.
#[derive(Debug)]
pub(crate) struct Transport {
    sender: Sender,
    guard: Arc<AddressGuard>,
    /// When each host last answered: only then can the pool hold a connection to it.
    answered: RefCell<HashMap<String, Instant>>,
}

impl Transport {
    /// Call it on the thread that will send. `runtime` resolves names.
    pub(crate) fn new(guard: Arc<AddressGuard>, runtime: Handle, proxy: Option<Proxy>) -> Result<Self, ClientError> {
        if let Some(proxy) = proxy {
            let client = legacy::Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_TIMEOUT)
                .pool_max_idle_per_host(IDLE_PER_HOST)
                .build(Tunnels::new(proxy, guard.clone(), runtime)?);
            return Ok(Self { sender: Sender::Proxied(client), guard, answered: RefCell::default() });
        }
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .dns_resolver(Arc::new(GuardedResolver::new(guard.clone(), runtime)))
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .tcp_nodelay(true)
            .http1_only()
            .build()?;
        Ok(Self { sender: Sender::Direct(client), guard, answered: RefCell::default() })
    }

    /// Sends `request` and reads the answer, all within its timeout. A response counts from its status on: a body that
    /// breaks, drips past the deadline or has no end is cut, and no reason to send again.
    ///
    /// A reused connection that its other end had already closed is told apart from a receiver that failed: the
    /// request is sent once more, on a new connection, as the same attempt.
    pub(crate) async fn send(&self, request: &Request) -> Result<Answer, Failure> {
        // A literal address never reaches the resolver, so it is checked here, before every attempt.
        self.guard.check_url(&request.url).map_err(|forbidden| forbidden_address(&forbidden))?;
        let started = Instant::now();
        let deadline = tokio::time::Instant::now() + request.timeout;
        let exchange = async {
            match self.exchange(request).await {
                Err(error) if self.was_stale(request, &error, started) => self.exchange(request).await,
                answered => answered,
            }
        };
        let response = match tokio::time::timeout_at(deadline, exchange).await {
            Ok(answered) => answered.map_err(|error| explain(&error))?,
            Err(_) => return Err(timed_out(request.timeout)),
        };
        // The status has come, and with it the receiver's word: what happens to the body no longer changes it.
        let closes = response.headers().get("connection").is_some_and(|value| value.as_bytes() == b"close");
        let (answer, complete) = read(response, deadline).await;
        if complete && !closes {
            self.remember(request);
        }
        Ok(answer)
    }

    /// Whether the request may have met a connection of the pool that was already closed.
    fn was_stale(&self, request: &Request, error: &SendError, started: Instant) -> bool {
        let pooled = |at: &Instant| started.saturating_duration_since(*at) < IDLE_TIMEOUT + STALE_CONNECTION_WITHIN;
        is_broken_connection(error)
            && started.elapsed() < STALE_CONNECTION_WITHIN
            && self.answered.borrow().get(request.url.authority()).is_some_and(pooled)
    }

    fn remember(&self, request: &Request) {
        let now = Instant::now();
        let mut answered = self.answered.borrow_mut();
        if answered.len() >= HOSTS_REMEMBERED_MAX {
            answered.retain(|_, at| now.saturating_duration_since(*at) < IDLE_TIMEOUT);
        }
        if let Some(at) = answered.get_mut(request.url.authority()) {
            *at = now;
        } else if answered.len() < HOSTS_REMEMBERED_MAX {
            answered.insert(request.url.authority().to_owned(), now);
        }
    }

    async fn exchange(&self, request: &Request) -> Result<Response, SendError> {
        match &self.sender {
            Sender::Direct(client) => {
                let mut outgoing = client.post(request.url.clone());
                for header in &request.headers {
                    outgoing = outgoing.header(&header.name, &header.value);
                }
                Ok(outgoing.body(request.body.clone()).send().await?)
            }
            Sender::Proxied(client) => {
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

/// Reads the body as far as it comes by `deadline`, and answers whether it was read to its end.
async fn read(mut response: Response, deadline: tokio::time::Instant) -> (Answer, bool) {
    let status = response.status();
    let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let headers = kept_headers(response.headers());
    let keep = if status.is_success() { SUCCESS_BODY_BYTES_MAX } else { FAILURE_BODY_BYTES_MAX };
    let (mut kept, mut read, mut truncated, mut complete) = (Vec::new(), 0, false, false);
    // What lies beyond the cap stays unread, which closes the connection.
    while read <= BODY_READ_MAX {
        let chunk = match tokio::time::timeout_at(deadline, response.chunk()).await {
            Ok(Ok(Some(chunk))) => chunk,
            Ok(Ok(None)) => {
                complete = true;
                break;
            }
            Ok(Err(_)) | Err(_) => {
                truncated = true;
                break;
            }
        };
        read += chunk.len();
        let room = keep - kept.len();
        truncated |= chunk.len() > room;
        kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    // PostgreSQL refuses NUL in text.
    let body = String::from_utf8_lossy(&kept).replace('\0', "\u{fffd}");
    (Answer { status: status.as_u16(), headers, retry_after, body, body_truncated: truncated || !complete }, complete)
}

fn kept_headers(headers: &http::HeaderMap) -> Headers {
    let (count_max, bytes_max) = HEADERS_KEPT_MAX;
    let mut bytes = 0;
    let kept = headers.iter().take(count_max).map_while(|(name, value)| {
        bytes += name.as_str().len() + value.len();
        let value = String::from_utf8_lossy(value.as_bytes()).replace('\0', "\u{fffd}");
        (bytes <= bytes_max).then(|| Header { name: name.as_str().to_owned(), value })
    });
    Headers(kept.collect())
}

fn is_broken_connection(error: &SendError) -> bool {
    if error.is_connect() || error.is_timeout() {
        return false;
    }
    find::<hyper::Error>(error).is_some_and(hyper::Error::is_incomplete_message)
        || find::<std::io::Error>(error).is_some_and(|error| {
            matches!(error.kind(), std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe)
        })
}
