//! What one client has said, and its operations.

use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;

use axum::extract::ws::Message;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{AbortHandle, Abortable, BoxStream, SelectAll, once};
use serde_json::Value;
use serde_json::value::RawValue;

use super::close::Close;
use super::message::{Incoming, Outgoing};
use crate::Caller;
use crate::authenticate::{AuthenticateError, Credentials};
use crate::http::answer::{Kind, Refusal};
use crate::http::operation::Parameters;
use crate::http::run::{self, Outcome};
use crate::http::{RequestId, Server};

/// Most operations at once.
const OPERATIONS_MAX: usize = 64;

/// One step of an operation.
struct Step {
    id: String,
    /// None at its end.
    outcome: Option<Outcome>,
}

/// Who is at the other end.
enum Peer {
    /// It has not said.
    Stranger,
    /// It was acknowledged, with a key or without.
    Known(Option<Box<Caller>>),
}

/// The state of a socket.
pub(super) struct Session {
    server: Arc<Server>,
    credentials: Credentials,
    peer: Peer,
    /// Ready when the credential, which was accepted, is refused.
    refused: BoxFuture<'static, ()>,
    steps: SelectAll<Abortable<BoxStream<'static, Step>>>,
    running: HashMap<String, AbortHandle>,
}

impl Session {
    /// A socket that was opened with `credentials` in its headers.
    pub(super) fn new(server: Arc<Server>, credentials: Credentials) -> Self {
        Self {
            server,
            credentials,
            peer: Peer::Stranger,
            refused: Box::pin(pending()),
            steps: SelectAll::new(),
            running: HashMap::new(),
        }
    }

    pub(super) fn is_acknowledged(&self) -> bool {
        matches!(self.peer, Peer::Known(_))
    }

    /// Takes one message. What it answers is to be sent; an error closes the socket.
    pub(super) async fn hear(&mut self, message: Message) -> Result<Option<Message>, Close> {
        let text = match &message {
            Message::Text(text) => text.as_str(),
            Message::Binary(_) => return Err(Close::bad_message("send text, not binary messages")),
            // Pings are answered below us.
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => return Ok(None),
        };
        match Incoming::parse(text)? {
            Incoming::Init { .. } if self.is_acknowledged() => Err(Close::SECOND_INIT),
            Incoming::Init { payload } => self.begin(payload.as_deref()).await.map(Some),
            Incoming::Ping { payload } => Ok(Some(Outgoing::Pong { payload: payload.as_deref() }.into_message())),
            Incoming::Pong => Ok(None),
            Incoming::Subscribe { id, payload } => self.subscribe(id, &payload),
            Incoming::Complete { id } => {
                // Of one that has just ended the client may not know yet.
                if let Some(operation) = self.running.remove(&id) {
                    operation.abort();
                }
                Ok(None)
            }
        }
    }

    async fn begin(&mut self, payload: Option<&RawValue>) -> Result<Message, Close> {
        let payload = match payload {
            Some(payload) => serde_json::from_str(payload.get()).map_err(Close::bad_message)?,
            None => Value::Null,
        };
        let credentials = std::mem::take(&mut self.credentials);
        let credentials = credentials.with_connection_init(&payload).map_err(Close::forbidden)?;
        let caller = match self.server.authenticator.authenticate(&credentials).await {
            Ok(caller) => caller,
            Err(AuthenticateError::Database(error)) => {
                tracing::error!(error = &error as &dyn std::error::Error, "failed to look a key up");
                return Err(Close::INTERNAL);
            }
            Err(error) => return Err(Close::forbidden(error)),
        };
        if caller.is_some() {
            let server = self.server.clone();
            self.refused = Box::pin(async move { server.authenticator.refused(&credentials).await });
        }
        self.peer = Peer::Known(caller.map(Box::new));
        Ok(Outgoing::ConnectionAck.into_message())
    }

    /// Starts an operation. What is wrong with the document concerns only this operation; what is not a request at all
    /// closes the socket.
    fn subscribe(&mut self, id: String, payload: &RawValue) -> Result<Option<Message>, Close> {
        let Peer::Known(caller) = &self.peer else { return Err(Close::SUBSCRIBED_TOO_EARLY) };
        if self.running.contains_key(&id) {
            return Err(Close::duplicate(&id));
        }
        let operation = Parameters::from_json(payload.get().as_bytes())
            .and_then(|parameters| parameters.operation(&self.server.documents));
        let operation = match operation {
            Ok(_) if self.running.len() >= OPERATIONS_MAX => {
                let message = format!("a socket runs at most {OPERATIONS_MAX} operations at once");
                let refusal = Refusal::new(Kind::Unavailable, "THROTTLED", message);
                return Ok(Some(Outgoing::refusal(&id, &refusal).into_message()));
            }
            Ok(operation) => operation,
            Err(Refusal { kind: Kind::Malformed, errors, .. }) => {
                return Err(Close::bad_message(errors.first().map_or("", |error| &error.message)));
            }
            Err(refusal) => return Ok(Some(Outgoing::refusal(&id, &refusal).into_message())),
        };
        let request_id = RequestId::fresh(&self.server);
        let span = self.server.state.tracer.operation(&request_id.0);
        let outcomes = run::stream(self.server.clone(), operation, caller.as_deref().cloned(), request_id, span);
        let (of_outcome, of_end) = (id.clone(), id.clone());
        let steps = outcomes
            .map(move |outcome| Step { id: of_outcome.clone(), outcome: Some(outcome) })
            .chain(once(async move { Step { id: of_end, outcome: None } }));
        let (handle, registration) = AbortHandle::new_pair();
        self.steps.push(Abortable::new(steps.boxed(), registration));
        self.running.insert(id, handle);
        Ok(None)
    }

    /// The next message of an operation; waits for ever while none runs. An error closes the socket.
    pub(super) async fn next_answer(&mut self) -> Result<Message, Close> {
        let Step { id, outcome } = tokio::select! {
            () = &mut self.refused => return Err(Close::forbidden("the key no longer works")),
            Some(step) = self.steps.next() => step,
            else => pending().await,
        };
        Ok(match outcome {
            Some(Ok(executed)) => Outgoing::Next { id: &id, payload: &executed }.into_message(),
            Some(Err(refusal)) => {
                // An `error` is the last of its operation; a `complete` must not follow.
                if let Some(operation) = self.running.remove(&id) {
                    operation.abort();
                }
                Outgoing::refusal(&id, &refusal).into_message()
            }
            None => {
                self.running.remove(&id);
                Outgoing::Complete { id: &id }.into_message()
            }
        })
    }
}
