//! Any operation as a stream of server-sent events, for whoever cannot open a WebSocket: `curl` for one.
//!
//! Events `next`, each with one GraphQL answer, and `complete` at the end; a refused document is a `next` too.
//! Source "distinct connections" of <https://github.com/graphql/graphql-over-http/blob/main/rfcs/GraphQLOverSSE.md>

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use angarium_dispatcher::Span;
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{self, Stream, StreamExt as _};
use tokio::time::timeout;

use super::answer::json;
use super::operation::Parameters;
use super::{RequestId, Server, run};
use crate::Caller;
use crate::authenticate::Credentials;

/// A comment is sent after this much silence, so that proxies keep the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const COMMENT: &str = ":\n\n";
/// Browsers hand on only events that have data, if empty; that of axum would have none.
const COMPLETE: &str = "event: complete\ndata: \n\n";

/// Streams what `parameters` ask for, until it ends, the key of `credentials` is refused, or the server stops.
pub(super) fn answer(
    server: Arc<Server>,
    parameters: Parameters,
    (credentials, caller): (Credentials, Option<Caller>),
    id: RequestId,
    span: Span,
) -> Response {
    let outcomes = match parameters.operation(&server.documents) {
        Ok(operation) => run::stream(server.clone(), operation, caller, id, span),
        Err(refusal) => stream::once(std::future::ready(Err(refusal))).boxed(),
    };
    let end = async move {
        let mut open = server.stopping.open();
        tokio::select! {
            () = open.stopped() => {}
            () = server.authenticator.refused(&credentials) => {}
        }
    };
    // A stream that is cut short has no `complete`, so that its client knows to come back.
    let events = outcomes.map(next).chain(stream::once(std::future::ready(COMPLETE.to_owned()))).take_until(end);
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-cache")];
    (headers, Body::from_stream(kept_alive(events).map(Ok::<_, Infallible>))).into_response()
}

/// An answer as an event. JSON has no line breaks outside of texts, nor inside, so its data is one line.
fn next(outcome: run::Outcome) -> String {
    let answer = match outcome {
        Ok(executed) => json(&executed),
        Err(refusal) => json(&refusal),
    };
    format!("event: next\ndata: {answer}\n\n")
}

/// `events`, and a comment whenever they are silent for [`KEEP_ALIVE`].
fn kept_alive(events: impl Stream<Item = String> + Send + 'static) -> impl Stream<Item = String> {
    stream::unfold(events.boxed(), async |mut events| match timeout(KEEP_ALIVE, events.next()).await {
        Ok(event) => event.map(|event| (event, events)),
        Err(_) => Some((COMMENT.to_owned(), events)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_silent_stream_is_kept_alive_by_comments() {
        let events = stream::once(async {
            tokio::time::sleep(KEEP_ALIVE * 2 + KEEP_ALIVE / 2).await;
            COMPLETE.to_owned()
        });
        let sent: Vec<String> = kept_alive(events).collect().await;
        assert_eq!(sent, [COMMENT, COMMENT, COMPLETE]);
    }
}
