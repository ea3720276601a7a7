//! The HTTP client: no redirects, no proxy but the configured one, no decompression, one deadline over all, a body
//! that is read to a cap.
//!
//! One client for each arbiter, made on its thread: a pooled connection belongs to the runtime that opened it, and a
//! request on it from another runtime hangs until its timeout (seekers find it as reqwest#2501).

use std::time::{Duration, Instant};

use angarium_entity::attempt::ErrorCode;
use angarium_entity::endpoint::RequestHeader;
use hyper_util::client::legacy::connect::HttpInfo;
use reqwest::Response;
use url::Url;

pub(crate) mod address_guard;
mod answer;
mod explain;
mod known_names;
pub(crate) mod name_server;
mod outage;
pub(crate) mod plan;
mod pool;
pub(crate) mod proxy;
mod question;
mod resolver;
mod sockets;
#[cfg(test)]
mod tests;

pub(crate) use answer::Answer;
#[cfg(any(fuzzing, test))]
pub(crate) use answer::masked;
pub use plan::ClientError;

use explain::{SendError, explain, find, forbidden_address, timed_out};
use plan::Plan;
use pool::{Pool, was_closed};

/// Longest wait for a connection, name look-up and TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A request to an endpoint, complete.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) url: Url,
    pub(crate) headers: Vec<RequestHeader>,
    pub(crate) body: String,
    pub(crate) timeout: Duration,
}

/// No complete answer came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
    /// What only the operator is told: the libraries' own words, or which address it was.
    pub(crate) detail: Option<String>,
    /// Nothing was tried: this process lacked what a connection needs. No word about the receiver.
    pub(crate) is_ours: bool,
}

/// The client of one arbiter.
#[derive(Debug)]
pub(crate) struct Transport {
    plan: Plan,
    pool: Pool,
}

impl Transport {
    /// Call it on the thread that will send.
    pub(crate) fn new(plan: Plan) -> Result<Self, ClientError> {
        Ok(Self { pool: Pool::new(plan.clone())?, plan })
    }

    /// Sends `request` and reads the answer, all within its timeout. A response counts from its status on: a body that
    /// breaks, drips past the deadline or has no end is cut, and no reason to send again.
    ///
    /// A connection that had answered before, and that its other end had already closed, is told apart from a receiver that
    /// failed: the request is sent once more, as the same attempt. What breaks on a new connection is the receiver's doing.
    pub(crate) async fn send(&self, request: &Request) -> Result<Answer, Failure> {
        // A literal address never reaches the resolver, so it is checked here, before every attempt.
        self.plan.resolver.guard().check_url(&request.url).map_err(|forbidden| forbidden_address(&forbidden))?;
        let (started, host) = (Instant::now(), request.url.authority());
        let is_used_again = |error: &SendError| error.local_end().is_some_and(|end| self.pool.was_used(host, end));
        let deadline = tokio::time::Instant::now() + request.timeout;
        let exchange = async {
            match self.pool.sender().exchange(request).await {
                Err(error)
                    if is_broken_connection(&error) && was_closed(started.elapsed()) && is_used_again(&error) =>
                {
                    self.pool.sender().exchange(request).await
                }
                answered => answered,
            }
        };
        let response = match tokio::time::timeout_at(deadline, exchange).await {
            Ok(answered) => answered.map_err(|error| self.failed(&error))?,
            Err(_) => return Err(timed_out(request.timeout)),
        };
        // The status has come, and with it the receiver's word: what happens to the body no longer changes it.
        let end = response.extensions().get::<HttpInfo>().map(HttpInfo::local_addr);
        let closes = closes(&response);
        let (answer, complete) = answer::read(response, deadline, &request.headers).await;
        if complete
            && !closes
            && let Some(end) = end
        {
            self.pool.kept(host, end);
        }
        Ok(answer)
    }

    fn failed(&self, error: &SendError) -> Failure {
        let failure = explain(error);
        if failure.is_ours {
            self.pool.let_go();
        }
        failure
    }
}

/// Whether no further request follows on the connection of this answer.
fn closes(response: &Response) -> bool {
    let options = response.headers().get_all("connection").into_iter().filter_map(|value| value.to_str().ok());
    let mut options = options.flat_map(|value| value.split(','));
    let mut says = |option: &str| options.any(|said| said.trim().eq_ignore_ascii_case(option));
    if response.version() == http::Version::HTTP_10 { !says("keep-alive") } else { says("close") }
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
