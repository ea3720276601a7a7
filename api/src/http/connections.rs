//! Accepting connections. `axum::serve` would do it without a bound on their number and on the time that a client
//! takes to send its headers; everything else here is as there.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt as _;

use super::metrics::Peer;
use super::{Served, Stopping};

/// Most connections at once, without those that became a WebSocket; more wait in the system's queue.
const CONNECTIONS_MAX: usize = 10_000;
/// Longest wait for the headers of the first or the next request. Longer than the 90 s for which common clients keep an
/// idle connection: if we closed it first, a mutation could meet a closing connection.
const HEADERS_TIME_MAX: Duration = Duration::from_secs(100);
/// Wait after a connection could not be accepted, such as for want of a file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves whoever connects, until the server stops. Requests that run then are still answered.
pub(crate) async fn serve(listener: TcpListener, served: Served, stopping: Stopping) {
    let limit = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut open = stopping.open();
    let accepting = async {
        while let Ok(permit) = limit.clone().acquire_owned().await {
            match listener.accept().await {
                Ok((stream, from)) => {
                    let serving = serve_one(stream, Peer(from), served.clone(), stopping.clone(), permit);
                    drop(tokio::spawn(serving));
                }
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        () = open.stopped() => {}
    }
}

async fn serve_one(stream: TcpStream, peer: Peer, served: Served, stopping: Stopping, _permit: OwnedSemaphorePermit) {
    let mut open = stopping.open();
    // Answers are small and whole; waiting to fill a packet would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "failed to set TCP_NODELAY");
    }
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let router = served.router();
        async move { router.oneshot(request.map(Body::new)).await.map_err(|never: Infallible| never) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIME_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = open.stopped() => {
            connection.as_mut().graceful_shutdown();
            connection.as_mut().await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}
