//! `/graphql` over a WebSocket: the sub-protocol `graphql-transport-ws`.
//!
//! One task owns a socket and all of its operations. It takes the next answer of an operation only when the one before
//! has been handed to the system, so a client that reads slowly slows its own streams down and nothing piles up here.
//! A client that takes nothing for [`SEND_TIME_MAX`], or is silent for two pings, is gone.
//!
//! Source  <https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md>

mod close;
mod message;
mod session;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts as _;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

use super::Server;
use super::answer::{Kind, Refusal};
use crate::authenticate::Credentials;
use close::Close;
use session::Session;

const PROTOCOL: &str = "graphql-transport-ws";
/// Largest message that is read.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// Longest wait for `connection_init`.
const INIT_TIME_MAX: Duration = Duration::from_secs(3);
/// What is read from a socket at once. Clients say little, and each socket keeps as much: the default is 128 KiB.
const READ_BUFFER_BYTES: usize = 4 * 1024;
/// A ping of the WebSocket protocol, which every client answers by itself, goes out this often.
const PING_EVERY: Duration = Duration::from_secs(15);
/// A client that was not heard of for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(40);
/// Longest wait until a client takes a message.
const SEND_TIME_MAX: Duration = Duration::from_secs(20);
/// Longest wait for a client's own close frame.
const CLOSE_TIME_MAX: Duration = Duration::from_millis(300);

/// Answers the request to open a socket.
pub(super) async fn accept(server: Arc<Server>, mut parts: Parts) -> Response {
    if let Some((_, false)) = server.origins.check(&parts.headers) {
        let message = "pages of this origin may not open streams; the operator lists others in ANGARIUM_CORS_ORIGINS";
        return Refusal::new(Kind::Forbidden, "FORBIDDEN", message).into_response(super::accept::Media::Json);
    }
    let credentials = match Credentials::from_headers(&parts.headers) {
        Ok(credentials) => credentials,
        Err(error) => {
            let refusal = Refusal::new(Kind::Unauthenticated, "UNAUTHENTICATED", error.to_string());
            return refusal.into_response(super::accept::Media::Json);
        }
    };
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade.protocols([PROTOCOL]),
        Err(rejection) => return rejection.into_response(),
    };
    if upgrade.selected_protocol().is_none() {
        let message = format!("offer the sub-protocol `{PROTOCOL}`");
        return Refusal::new(Kind::Malformed, "BAD_USER_INPUT", message).into_response(super::accept::Media::Json);
    }
    let counted = server.metrics.socket();
    let Ok(permit) = server.sockets.clone().try_acquire_owned() else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .on_upgrade(async move |socket| {
            serve(server, socket, credentials).await;
            drop((permit, counted));
        })
}

/// Serves one socket to its end.
async fn serve(server: Arc<Server>, mut socket: WebSocket, credentials: Credentials) {
    let mut open = server.stopping.open();
    let end = tokio::select! {
        end = converse(server, &mut socket, credentials) => end,
        () = open.stopped() => Some(Close::GOING_AWAY),
    };
    let Some(close) = end else { return };
    let farewell = async {
        if socket.send(Message::Close(Some(close.into_frame()))).await.is_ok() {
            // Leaving before the client has answered could take the frame back from the wire.
            while let Some(Ok(_)) = socket.recv().await {}
        }
    };
    if timeout(CLOSE_TIME_MAX, farewell).await.is_err() {
        tracing::debug!("a client did not close its socket in time");
    }
}

/// Why the socket is to be closed; nothing if it is closed or broken already.
async fn converse(server: Arc<Server>, socket: &mut WebSocket, credentials: Credentials) -> Option<Close> {
    let mut session = Session::new(server, credentials);
    let init_deadline = sleep(INIT_TIME_MAX);
    tokio::pin!(init_deadline);
    let mut pings = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard_at = Instant::now();
    loop {
        let outgoing = tokio::select! {
            () = &mut init_deadline, if !session.is_acknowledged() => return Some(Close::INIT_TIMEOUT),
            answer = session.next_answer() => match answer {
                Ok(answer) => answer,
                Err(close) => return Some(close),
            },
            incoming = socket.recv() => {
                heard_at = Instant::now();
                match incoming? {
                    Ok(Message::Close(_)) => return None,
                    Ok(message) => match session.hear(message).await {
                        Ok(Some(reply)) => reply,
                        Ok(None) => continue,
                        Err(close) => return Some(close),
                    },
                    Err(_) => return Some(Close::TOO_BIG),
                }
            }
            _ = pings.tick() => {
                if heard_at.elapsed() > SILENCE_MAX {
                    return None;
                }
                Message::Ping(bytes::Bytes::new())
            }
        };
        timeout(SEND_TIME_MAX, socket.send(outgoing)).await.ok()?.ok()?;
    }
}
