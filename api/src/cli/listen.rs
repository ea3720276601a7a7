//! `angarium listen`: forwards the deliveries of a workspace to a URL on the developer's own machine, while they happen.
//!
//! What       each new delivery, once, and again when somebody retries one that had come to its end; also those whose
//!            endpoint is down or paused, since a delivery is forwarded when it comes to be and not when it is sent.
//! Signed     by Standard Webhooks, with a secret of our own: that of the endpoint belongs to its owner. The body is the one
//!            that the endpoint gets.
//! Once       nothing is tried again here, and the answer changes nothing on the server. A connection that breaks is made
//!            again and resumed with the last cursor, so that nothing is left out.

mod socket;

use std::collections::{HashSet, VecDeque};
use std::error::Error;
use std::time::{Duration, Instant};

use angarium_entity::endpoint::SignatureScheme;
use angarium_entity::signing_secret::SigningSecret;
use angarium_entity::{Clock as _, SystemClock};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use url::Url;

use self::socket::{Socket, SocketError};
use super::client::http;
use super::{say, sentence, serve};
use crate::config::{Client as Settings, Variables};

/// Longest wait for the answer of the local URL.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(30);
/// First and longest pause before a broken connection is made again.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// Deliveries that are remembered, so that none is forwarded twice after a gap.
const REMEMBERED_MAX: usize = 10_000;
const UPDATES: &str = "subscription($after: String, $where: DeliveryWhere) { deliveryUpdated(after: $after, where: $where) { \
    cursor kind previousStatus delivery { id status body eventTypeName event { id } endpoint { bodyFormat } } } }";

/// What is forwarded, and where to.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Where deliveries are forwarded to, such as `http://localhost:3000/webhooks`
    #[arg(value_name = "URL")]
    forward_to: Url,
    /// Only those of this subscription
    #[arg(long, value_name = "ID")]
    subscription: Option<String>,
    /// Only those of these event types, with commas; `invoice.*` is a pattern
    #[arg(long, value_name = "TYPES", value_delimiter = ',')]
    event_types: Vec<String>,
    /// ID or external identifier of the workspace, with an administrator's key
    #[arg(long, value_name = "ID")]
    workspace: Option<String>,
    /// The secret to sign with, `whsec_…`; otherwise one is made and printed
    #[arg(long, value_name = "SECRET")]
    secret: Option<String>,
    /// Print a JSON object on each line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, thiserror::Error)]
enum ListenError {
    #[error("failed to make a signing secret")]
    Secret(#[source] angarium_entity::signing_secret::SecretError),
    #[error("failed to make the HTTP client")]
    Client(#[source] reqwest::Error),
    #[error("deliveries can be forwarded to an http:// or https:// URL only")]
    Scheme,
    #[error("the key may not read what is delivered; it needs DELIVERY_READ and EVENT_READ")]
    NoBody,
}

pub(super) async fn run(variables: Variables, arguments: Arguments) -> Result<(), Box<dyn Error + Send + Sync>> {
    let settings = Settings::of(variables)?;
    settings.log.start();
    if !matches!(arguments.forward_to.scheme(), "http" | "https") {
        return Err(ListenError::Scheme.into());
    }
    let scheme = SignatureScheme::StandardWebhooks;
    let secret = match &arguments.secret {
        Some(text) => SigningSecret::of_caller(scheme, text),
        None => SigningSecret::generate(scheme),
    };
    let mut listener = Listener {
        http: http().timeout(FORWARD_TIMEOUT).build().map_err(ListenError::Client)?,
        secret: secret.map_err(ListenError::Secret)?,
        cursor: None,
        seen: Seen::default(),
        arguments,
    };
    tokio::select! {
        ended = listener.listen(&settings) => ended,
        () = serve::told_to_stop() => Ok(()),
    }
}

struct Listener {
    http: reqwest::Client,
    secret: SigningSecret,
    /// Of the last message.
    cursor: Option<String>,
    seen: Seen,
    arguments: Arguments,
}

/// A delivery as the stream tells of it.
struct Told<'a> {
    delivery: &'a str,
    event: &'a str,
    event_type: &'a str,
    body: &'a str,
    media_type: &'static str,
}

impl Listener {
    /// Forwards until the server refuses to tell us more.
    async fn listen(&mut self, settings: &Settings) -> Result<(), Box<dyn Error + Send + Sync>> {
        let mut pause = PAUSE_MIN;
        let mut is_introduced = false;
        loop {
            let filter = self.filter();
            let variables = json!({ "after": self.cursor, "where": filter });
            let workspace = self.arguments.workspace.as_deref();
            match Socket::open(settings, workspace, UPDATES, &variables).await {
                Ok(mut socket) => {
                    pause = PAUSE_MIN;
                    if !std::mem::replace(&mut is_introduced, true) {
                        self.introduce();
                    }
                    loop {
                        match socket.next().await {
                            Ok(data) => self.take(&data["deliveryUpdated"]).await?,
                            Err(error) if error.is_final() => return Err(error.into()),
                            Err(error) => {
                                Self::tell_of_break(&error);
                                break;
                            }
                        }
                    }
                }
                Err(error) if error.is_final() || !is_introduced => return Err(error.into()),
                Err(error) => Self::tell_of_break(&error),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn filter(&self) -> Value {
        let mut filter = json!({});
        if let Some(subscription) = &self.arguments.subscription {
            filter["subscriptionId"] = subscription.as_str().into();
        }
        if !self.arguments.event_types.is_empty() {
            filter["eventType"] = json!(self.arguments.event_types);
        }
        filter
    }

    fn introduce(&self) {
        let (to, secret) = (&self.arguments.forward_to, self.secret.reveal());
        if self.arguments.json {
            say(json!({ "forwardTo": to.as_str(), "secret": secret }));
        } else {
            say(format_args!("forwarding to {to}, signed with {secret}"));
            say("Ctrl-C ends it");
        }
    }

    fn tell_of_break(error: &SocketError) {
        // The log goes to standard error, and what is forwarded to standard output.
        tracing::warn!(error = sentence(error), "the stream broke; it is resumed");
    }

    async fn take(&mut self, message: &Value) -> Result<(), ListenError> {
        if let Some(cursor) = message["cursor"].as_str() {
            self.cursor = Some(cursor.to_owned());
        }
        let (delivery, previous) = (&message["delivery"], message["previousStatus"].as_str());
        let (Some(id), Some(status)) = (delivery["id"].as_str(), delivery["status"].as_str()) else { return Ok(()) };
        let is_new = previous.is_none() && self.seen.note(id);
        let is_asked_again = status == "RETRYING" && previous.is_some_and(|status| !is_open(status));
        if !is_new && !is_asked_again {
            return Ok(());
        }
        let (Some(event), Some(body)) = (delivery["event"]["id"].as_str(), delivery["body"].as_str()) else {
            return Err(ListenError::NoBody);
        };
        let media_type = match delivery["endpoint"]["bodyFormat"].as_str() {
            Some("CLOUDEVENTS") => "application/cloudevents+json; charset=utf-8",
            _ => "application/json",
        };
        let event_type = delivery["eventTypeName"].as_str().unwrap_or_default();
        self.forward(&Told { delivery: id, event, event_type, body, media_type }).await;
        Ok(())
    }

    async fn forward(&self, told: &Told<'_>) {
        let seconds = SystemClock.now().millis() / 1000;
        let signature = sign(&self.secret, told.event, seconds, told.body);
        let request = self
            .http
            .post(self.arguments.forward_to.clone())
            .header("content-type", told.media_type)
            .header("user-agent", angarium_dispatcher::render::USER_AGENT)
            .header("webhook-id", told.event)
            .header("webhook-timestamp", seconds.to_string())
            .header("webhook-signature", signature)
            .header("webhook-event-type", told.event_type)
            .body(told.body.to_owned());
        let started = Instant::now();
        let answer = request.send().await.map(|response| response.status().as_u16());
        let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (status, error) = match answer {
            Ok(status) => (Some(status), None),
            Err(error) => (None, Some(sentence(&error))),
        };
        if self.arguments.json {
            say(json!({
                "delivery": told.delivery, "event": told.event, "eventType": told.event_type,
                "status": status, "error": error, "durationMs": took_ms,
            }));
        } else {
            let answer = status.map(|status| status.to_string()).or(error).unwrap_or_default();
            say(format_args!("{answer}  {}  {}  {took_ms} ms", told.event_type, told.delivery));
        }
    }
}

fn is_open(status: &str) -> bool {
    matches!(status, "PENDING" | "RETRYING")
}

/// The signature of Standard Webhooks, `v1`.
fn sign(secret: &SigningSecret, id: &str, seconds: i64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret.key()).expect("HMAC takes a key of any length");
    for part in [id, ".", &seconds.to_string(), ".", body] {
        mac.update(part.as_bytes());
    }
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

/// Deliveries that were forwarded lately.
#[derive(Debug, Default)]
struct Seen {
    ids: HashSet<String>,
    order: VecDeque<String>,
}

impl Seen {
    /// Answers whether it is new.
    fn note(&mut self, id: &str) -> bool {
        if !self.ids.insert(id.to_owned()) {
            return false;
        }
        self.order.push_back(id.to_owned());
        if self.order.len() > REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_vector_of_standard_webhooks_is_met() {
        let secret =
            SigningSecret::of_caller(SignatureScheme::StandardWebhooks, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signature =
            sign(&secret.expect("a secret"), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_delivery_is_new_once() {
        let mut seen = Seen::default();
        assert!(seen.note("a") && seen.note("b") && !seen.note("a"));
        for id in 0..REMEMBERED_MAX {
            seen.note(&id.to_string());
        }
        assert_eq!((seen.ids.len(), seen.order.len(), seen.note("a")), (REMEMBERED_MAX, REMEMBERED_MAX, true));
    }
}
