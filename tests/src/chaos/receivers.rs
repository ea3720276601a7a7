//! The endpoints: one server that plays all of them, verifies what comes, and writes it down.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::post;
use futures_util::{StreamExt as _, stream};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::evidence::{Micros, Receipt, RunClock};
use super::script::{Action, Script};

/// Pause between the bytes of a body that drips.
const DRIP_EVERY: Duration = Duration::from_millis(100);
/// A piece of a body without an end.
static PIECE: [u8; 16 * 1024] = [b'x'; 16 * 1024];

/// All endpoints of a run.
#[derive(Debug)]
pub struct Receivers {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    clock: RunClock,
    scripts: Vec<Script>,
    secret: String,
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Log {
    received: Vec<Receipt>,
    /// How many requests each endpoint has got.
    counts: Vec<usize>,
}

impl Receivers {
    /// Starts them on a free port. What comes must be signed with `secret`.
    pub async fn start(clock: RunClock, scripts: Vec<Script>, secret: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let log = Log { received: Vec::new(), counts: vec![0; scripts.len()] };
        let shared = Arc::new(Shared { clock, scripts, secret: secret.to_owned(), log: Mutex::new(log) });
        let router = Router::new().route("/{endpoint}", post(receive)).with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("the receivers serve") });
        Self { address, shared, server }
    }

    /// Where they listen; the path is the place of an endpoint.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What came so far, in the order in which it came.
    pub fn received(&self) -> Vec<Receipt> {
        self.shared.log().received.clone()
    }
}

impl Drop for Receivers {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a request down; its place in the log, and what to do with it.
    fn note(&self, endpoint: usize, headers: &HeaderMap, body: &[u8]) -> (usize, Action) {
        let event = headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
        let verifier = standardwebhooks::Webhook::new(&self.secret).expect("a secret of the standard");
        let is_verified = verifier.verify(body, headers).is_ok();
        let at = self.clock.now();
        let mut log = self.log();
        let nth = log.counts[endpoint];
        log.counts[endpoint] += 1;
        let action = self.scripts[endpoint].action(nth);
        let is_told = !matches!(action, Action::Hang | Action::Lie(_));
        let is_broken = matches!(action, Action::Reset);
        log.received.push(Receipt { endpoint, event, at, answered: None, is_told, is_broken, is_verified });
        (log.received.len() - 1, action)
    }

    fn answer(&self, place: usize, status: u16, at: Micros) {
        self.log().received[place].answered = Some((at, status));
    }
}

/// A request that the sender breaks off is dropped here, and stays without an answer in the log.
async fn receive(
    State(shared): State<Arc<Shared>>,
    Path(endpoint): Path<usize>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (place, action) = shared.note(endpoint, &headers, &body);
    let (status, retry_after, body) = match action {
        Action::Answer(status, after) => {
            if !after.is_zero() {
                tokio::time::sleep(after).await;
            }
            (status, None, Body::empty())
        }
        Action::RetryAfter(status, seconds) => (status, Some(seconds), Body::empty()),
        Action::Hang => return std::future::pending().await,
        Action::Lie(after) => {
            shared.answer(place, 200, shared.clock.now());
            tokio::time::sleep(after).await;
            (200, None, Body::empty())
        }
        Action::HangBody => (200, None, Body::from_stream(stream::pending::<Result<Bytes, Infallible>>())),
        Action::Drip => (200, None, dripping()),
        Action::Endless => {
            let pieces = stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(&PIECE)));
            (200, None, Body::from_stream(pieces))
        }
        Action::Reset => (200, None, breaking()),
    };
    shared.answer(place, status, shared.clock.now());
    let mut response = Response::builder().status(status);
    if let Some(seconds) = retry_after {
        response = response.header("retry-after", seconds);
    }
    response.body(body).expect("the answer is right")
}

fn dripping() -> Body {
    let drops = stream::repeat(Bytes::from_static(b"x")).then(|byte| async move {
        tokio::time::sleep(DRIP_EVERY).await;
        Ok::<_, Infallible>(byte)
    });
    Body::from_stream(drops)
}

fn breaking() -> Body {
    let broken = Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
    Body::from_stream(stream::iter([Ok(Bytes::from_static(b"{\"ok\":")), broken]))
}
