//! Receivers of webhooks: real HTTP servers with a script.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;

use crate::MOMENT;

/// What a receiver does with a request.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Answer {
    /// Only a status.
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: String::new() }
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// With a body.
    #[must_use]
    pub fn body(mut self, body: &str) -> Self {
        body.clone_into(&mut self.body);
        self
    }
}

/// A request that came in.
#[derive(Clone, Debug)]
pub struct Received {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body as text.
    pub body: String,
}

impl Received {
    /// A header as text; empty when missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The payload in the envelope.
    pub fn data(&self) -> serde_json::Value {
        let mut body: serde_json::Value = serde_json::from_str(&self.body).expect("the body is JSON");
        body["data"].take()
    }

    /// Whether the official library of Standard Webhooks verifies it, its age included.
    pub fn is_verified_by_the_official_library(&self, secret: &str) -> bool {
        let verifier = standardwebhooks::Webhook::new(secret).expect("a secret of the standard");
        verifier.verify(self.body.as_bytes(), &self.headers).is_ok()
    }

    /// Whether one of its signatures is what the official library makes. For tests that have moved their clock, and
    /// with it the age that the library would judge.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let signer = standardwebhooks::Webhook::new(secret).expect("a secret of the standard");
        self.carries_signature_of(&signer)
    }

    /// The same for a secret that is taken by its bytes, as one without `whsec_` is.
    pub fn is_signed_with_bytes(&self, secret: &[u8]) -> bool {
        let signer = standardwebhooks::Webhook::from_bytes(secret.to_vec()).expect("a secret");
        self.carries_signature_of(&signer)
    }

    fn carries_signature_of(&self, signer: &standardwebhooks::Webhook) -> bool {
        let timestamp = self.header("webhook-timestamp").parse().expect("seconds");
        let signature = signer.sign(self.header("webhook-id"), timestamp, self.body.as_bytes()).expect("it signs");
        self.header("webhook-signature").split(' ').any(|one| one == signature)
    }
}

#[derive(Debug, Default)]
struct Shared {
    answers: Mutex<VecDeque<Answer>>,
    received: Mutex<Vec<Received>>,
    taken: Mutex<Vec<Received>>,
    running: Mutex<(usize, usize)>,
    arrived: Notify,
    gate: Mutex<Option<Arc<Semaphore>>>,
    otherwise: Mutex<Option<u16>>,
}

/// A running receiver. Answers 204 once its script is used up, unless it is told otherwise.
#[derive(Debug)]
pub struct Receiver {
    url: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

impl Receiver {
    /// Starts one on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/in", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared::default());
        let router = Router::new().fallback(receive).with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("the receiver serves") });
        Self { url, shared, server }
    }

    /// What it answers, in order.
    #[must_use]
    pub fn answer(self, answers: impl IntoIterator<Item = Answer>) -> Self {
        self.shared.answers.lock().expect("no test panics here").extend(answers);
        self
    }

    /// Statuses that it answers, in order.
    #[must_use]
    pub fn answer_statuses(self, statuses: impl IntoIterator<Item = u16>) -> Self {
        self.answer(statuses.into_iter().map(Answer::status))
    }

    /// What it answers from now on, once its script is used up.
    pub fn answer_from_now_on(&self, status: u16) {
        *self.shared.otherwise.lock().expect("no test panics here") = Some(status);
    }

    /// From now on requests hang until they are let go.
    pub fn hang(&self) {
        *self.shared.gate.lock().expect("no test panics here") = Some(Arc::new(Semaphore::new(0)));
    }

    /// Lets `count` hanging requests go on.
    pub fn let_go(&self, count: usize) {
        if let Some(gate) = self.shared.gate.lock().expect("no test panics here").as_ref() {
            gate.add_permits(count);
        }
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What came in so far.
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().expect("no test panics here").clone()
    }

    /// What it has answered with 2xx so far, in the order of its answers.
    pub fn taken(&self) -> Vec<Received> {
        self.shared.taken.lock().expect("no test panics here").clone()
    }

    /// Most requests that ran at the same time.
    pub fn most_at_once(&self) -> usize {
        self.shared.running.lock().expect("no test panics here").1
    }

    /// Waits until `count` requests have come in and answers them.
    ///
    /// # Panics
    /// When more came, or too few in time.
    pub async fn expect_requests(&self, count: usize) -> Vec<Received> {
        let enough = async {
            loop {
                let arrived = self.shared.arrived.notified();
                let received = self.received();
                if received.len() >= count {
                    return received;
                }
                let _ = tokio::time::timeout(Duration::from_millis(50), arrived).await;
            }
        };
        let received = tokio::time::timeout(MOMENT, enough).await;
        let received = received.unwrap_or_else(|_| panic!("{} of {count} requests came", self.received().len()));
        assert_eq!(received.len(), count, "too many requests came");
        received
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn receive(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: String) -> Response {
    {
        let mut running = shared.running.lock().expect("no test panics here");
        running.0 += 1;
        running.1 = running.1.max(running.0);
    }
    let request = Received { headers, body };
    shared.received.lock().expect("no test panics here").push(request.clone());
    shared.arrived.notify_waiters();
    let gate = shared.gate.lock().expect("no test panics here").clone();
    if let Some(gate) = gate {
        gate.acquire().await.expect("the gate is never closed").forget();
    }
    shared.running.lock().expect("no test panics here").0 -= 1;
    let answer = shared.answers.lock().expect("no test panics here").pop_front();
    let otherwise = shared.otherwise.lock().expect("no test panics here").unwrap_or(204);
    let answer = answer.unwrap_or_else(|| Answer::status(otherwise));
    if (200..300).contains(&answer.status) {
        shared.taken.lock().expect("no test panics here").push(request);
    }
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(*name, value);
    }
    response.body(Body::from(answer.body)).expect("the script is right")
}
