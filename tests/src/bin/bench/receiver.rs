//! A receiver that costs little: hyper on threads of its own, every signature verified.
//!
//! Path    `/<way>/<endpoint>`, the way one of [`Way`], the endpoint a number.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use ring::hmac;
use tokio::net::TcpListener;

use crate::mark::Mark;
use crate::tally::Tally;

/// The secret of every endpoint.
pub(crate) const SECRET: &str = "whsec_YmVuY2htYXJrLWJlbmNobWFyay1iZW5jaG1hcms=";
/// Threads of the receiver; their names start with this, which is how their time is told from that of others.
pub(crate) const THREAD: &str = "receiver";
const THREADS: usize = 2;
/// One in so many events fails at its first attempt where the way says so.
const FAILS_ONE_IN: u32 = 10;
/// One in so many events succeeds where most fail.
pub(crate) const SUCCEEDS_ONE_IN: u32 = 5;
const SLOW: Duration = Duration::from_millis(50);

/// How requests are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// 204 at once.
    Ok,
    /// The same, but of an endpoint without order.
    Any,
    /// 204 after 50 ms.
    Slow,
    /// 500 to the first attempt of one event in ten.
    Flaky,
    /// 500 to four events in a row, 204 to the fifth, so that the circuit of the endpoint never opens.
    Shaky,
    /// 500.
    Down,
    /// Never.
    Hang,
}

impl Way {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Ok, "ok"),
        (Self::Any, "any"),
        (Self::Slow, "slow"),
        (Self::Flaky, "flaky"),
        (Self::Shaky, "shaky"),
        (Self::Down, "down"),
        (Self::Hang, "hang"),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(way, _)| *way == self).map_or("ok", |(_, name)| name)
    }

    fn read(path: &str) -> Option<(Self, u32)> {
        let (name, endpoint) = path.strip_prefix('/')?.split_once('/')?;
        let (way, _) = Self::ALL.into_iter().find(|(_, known)| *known == name)?;
        Some((way, endpoint.parse().ok()?))
    }
}

#[derive(Debug)]
pub(crate) struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Debug)]
struct Shared {
    key: hmac::Key,
    tally: Tally,
    hanging: AtomicUsize,
}

impl Receiver {
    pub(crate) fn start() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name(THREAD)
            .enable_all()
            .build()?;
        // All of 127.0.0.0/8 leads here, so that there may be many hosts.
        let listener = runtime.block_on(TcpListener::bind("0.0.0.0:0"))?;
        let address = SocketAddr::from(([127, 0, 0, 1], listener.local_addr()?.port()));
        let shared = Arc::new(Shared { key: key(), tally: Tally::default(), hanging: AtomicUsize::new(0) });
        runtime.spawn(serve(listener, shared.clone()));
        Ok(Self { address, shared, _runtime: runtime })
    }

    pub(crate) fn url(&self, way: Way, endpoint: usize) -> String {
        format!("http://{}/{}/{endpoint}", self.address, way.name())
    }

    /// The same at a host that only this endpoint is at.
    pub(crate) fn url_at_own_host(&self, way: Way, endpoint: usize) -> String {
        // From 127.1.0.0 on.
        let [_, high, middle, low] = u32::try_from(endpoint).expect("few").to_be_bytes();
        format!("http://127.{}.{middle}.{low}:{}/{}/{endpoint}", high + 1, self.address.port(), way.name())
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.shared.tally
    }

    /// Requests that hang.
    pub(crate) fn hanging(&self) -> usize {
        self.shared.hanging.load(Ordering::Relaxed)
    }
}

/// The key that [`SECRET`] stands for.
pub(crate) fn key() -> hmac::Key {
    let bytes = STANDARD.decode(SECRET.trim_start_matches("whsec_")).expect("it is base64");
    hmac::Key::new(hmac::HMAC_SHA256, &bytes)
}

/// The signature of Standard Webhooks.
pub(crate) fn sign(key: &hmac::Key, id: &str, timestamp: &str, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(key);
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        context.update(part);
    }
    format!("v1,{}", STANDARD.encode(context.sign()))
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let shared = shared.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| receive(shared.clone(), request));
            // A sender that goes away is no matter.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn receive(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let answer = |status| Ok(Response::builder().status(status).body(Empty::new()).expect("a plain answer"));
    let Ok(body) = body.collect().await.map(http_body_util::Collected::to_bytes) else {
        return answer(StatusCode::BAD_REQUEST);
    };
    let mark = Mark::find(&body).filter(|_| is_verified(&shared.key, &head.headers, &body));
    let (Some(mark), Some((way, endpoint))) = (mark, Way::read(head.uri.path())) else {
        shared.tally.refuse();
        return answer(StatusCode::UNAUTHORIZED);
    };
    if way == Way::Hang {
        let _hanging = Hanging::new(&shared.hanging);
        std::future::pending::<()>().await;
    }
    let is_first = shared.tally.arrive(endpoint, mark, way != Way::Any);
    let fails = match way {
        Way::Down => true,
        Way::Flaky => is_first && mark.number % FAILS_ONE_IN == 0,
        Way::Shaky => mark.number % SUCCEEDS_ONE_IN != SUCCEEDS_ONE_IN - 1,
        Way::Ok | Way::Any | Way::Slow | Way::Hang => false,
    };
    if fails {
        return answer(StatusCode::INTERNAL_SERVER_ERROR);
    }
    if way == Way::Slow {
        tokio::time::sleep(SLOW).await;
    }
    shared.tally.accept(endpoint, mark);
    answer(StatusCode::NO_CONTENT)
}

fn is_verified(key: &hmac::Key, headers: &HeaderMap, body: &[u8]) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(id), Some(timestamp), Some(signatures)) =
        (text("webhook-id"), text("webhook-timestamp"), text("webhook-signature"))
    else {
        return false;
    };
    let expected = sign(key, id, timestamp, body);
    signatures.split(' ').any(|signature| signature == expected)
}

/// Counts a request for as long as it hangs.
struct Hanging<'a>(&'a AtomicUsize);

impl<'a> Hanging<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Hanging<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
