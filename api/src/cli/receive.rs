//! `angarium receive`: a receiver to play with. It takes what is posted to it, verifies it and shows it; nothing is kept
//! longer than it runs.
//!
//! `POST /<any path>`      takes a delivery; answers 204, or the status of `?status=503`
//! `GET /`                 shows the latest; `/received.json` the same for programs
//! `/health/{live,ready}`  for `angarium health`

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use angarium_entity::endpoint::SignatureScheme;
use angarium_entity::signing_secret::{SecretError, SigningSecret};
use angarium_entity::{Clock as _, SystemClock};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{OriginalUri, Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use clap::Args;
use serde_json::json;
use tokio::net::TcpListener;

use super::{say, serve};
use crate::config::{Http, PublicUrl, Variables};
use crate::dev::{Inbox, Received, Signed, Wish, cap_body, show_as_json, show_as_page};
use crate::http::{Origins, Served, Stopping, connections};

/// Longest wait at the end for what is being answered.
const ANSWERS_TIME_MAX: Duration = Duration::from_secs(2);
const ADVICE: &str = "Deliveries are taken at any path.";

/// Where, and by which secrets.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Address and port to listen at
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// The secret of an endpoint, `whsec_…`; may be repeated. Without any, one is made and printed
    #[arg(long = "secret", value_name = "SECRET")]
    secrets: Vec<String>,
    /// Print a JSON object on each line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, thiserror::Error)]
enum ReceiveError {
    #[error("the secret cannot be used")]
    Secret(#[source] SecretError),
    #[error("failed to listen at {0}")]
    Listen(SocketAddr, #[source] std::io::Error),
}

struct Receiver {
    inbox: Inbox,
    secrets: Vec<SigningSecret>,
    origins: Origins,
    json: bool,
}

pub(super) async fn run(variables: Variables, arguments: Arguments) -> Result<(), Box<dyn Error + Send + Sync>> {
    // It needs no setting, but tells of one that is wrong as every command does.
    Http::of(variables)?;
    let scheme = SignatureScheme::StandardWebhooks;
    let given = arguments.secrets.iter().map(|text| SigningSecret::of_caller(scheme, text));
    let mut secrets: Vec<_> = given.collect::<Result<_, _>>().map_err(ReceiveError::Secret)?;
    let made = if secrets.is_empty() {
        secrets.push(SigningSecret::generate(scheme).map_err(ReceiveError::Secret)?);
        secrets.first().map(|secret| secret.reveal().to_owned())
    } else {
        None
    };
    let failed = |error| ReceiveError::Listen(arguments.listen, error);
    let listener = TcpListener::bind(arguments.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let origins = Origins::new(None, address);
    let receiver = Arc::new(Receiver { inbox: Inbox::new(), secrets, origins, json: arguments.json });
    let (served, stopping) = (Served::starting("it begins to listen"), Stopping::new());
    served.replace(routes(receiver));
    introduce(address, made.as_deref(), arguments.json);
    tokio::select! {
        () = connections::serve(listener, served, stopping.clone()) => {}
        () = serve::told_to_stop() => {}
    }
    stopping.begin();
    stopping.all_closed(ANSWERS_TIME_MAX).await;
    Ok(())
}

fn introduce(address: SocketAddr, made: Option<&str>, json: bool) {
    let url = Arc::<str>::from(PublicUrl::of(address));
    if json {
        say(json!({ "url": &*url, "secret": made }));
    } else {
        let with = made.map_or_else(|| "the given secrets".to_owned(), |secret| format!("the secret {secret}"));
        say(format_args!("receiving at {url}, and verifying with {with}"));
        say("Ctrl-C ends it");
    }
}

fn routes(receiver: Arc<Receiver>) -> Router {
    // What arrived is shown to nobody who came by somebody else's name.
    let own_host_only = from_fn_with_state(receiver.clone(), own_host_only);
    Router::new()
        .route("/", get(show).layer(own_host_only.clone()).post(receive))
        .route("/received.json", get(list).layer(own_host_only).post(receive))
        .route("/health/live", get(async || StatusCode::OK))
        .route("/health/ready", get(async || StatusCode::OK))
        .route("/{*path}", post(receive))
        .layer(cap_body())
        .with_state(receiver)
}

async fn own_host_only(State(receiver): State<Arc<Receiver>>, request: Request, next: Next) -> Response {
    if receiver.origins.is_own_host(request.headers()) {
        return next.run(request).await;
    }
    (StatusCode::MISDIRECTED_REQUEST, "open the receiver as localhost, with the port that it listens at\n")
        .into_response()
}

async fn show(State(receiver): State<Arc<Receiver>>) -> Response {
    show_as_page(&receiver.inbox, ADVICE)
}

async fn list(State(receiver): State<Arc<Receiver>>) -> Response {
    show_as_json(&receiver.inbox)
}

async fn receive(
    State(receiver): State<Arc<Receiver>>,
    OriginalUri(uri): OriginalUri,
    Query(wish): Query<Wish>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let status = match wish.status() {
        Ok(status) => status,
        Err(wrong) => return (StatusCode::BAD_REQUEST, wrong).into_response(),
    };
    let signed = Signed { headers: &headers, body: &body };
    let verified = receiver.secrets.iter().any(|secret| signed.is_by(secret, None));
    let received = Received::new(SystemClock.now(), &uri, &headers, &body, verified, status);
    tell(&received, receiver.json);
    receiver.inbox.put(received);
    status.into_response()
}

fn tell(received: &Received, json: bool) {
    let Received { path, webhook_id, event_type, verified, status, .. } = received;
    if json {
        say(json!({
            "path": path, "event": webhook_id, "eventType": event_type, "verified": verified, "status": status,
        }));
    } else {
        let word = if *verified { "verified" } else { "NOT VERIFIED" };
        let text = |text: &Option<String>| text.as_deref().unwrap_or("-").escape_default().to_string();
        say(format_args!("{status}  {}  {}  {path}  {word}", text(event_type), text(webhook_id)));
    }
}
