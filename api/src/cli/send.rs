//! `angarium send`: publishes an event.

use std::error::Error;
use std::io::{Read as _, stdin};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::client::{CallError, Client, refusal};
use super::say;
use crate::config::{Client as Settings, Variables};

/// Largest payload that is read; the server takes less.
const PAYLOAD_BYTES_MAX: u64 = 4 * 1024 * 1024;
const PUBLISH: &str = "mutation($input: EventPublishInput!) { \
    eventPublish(input: $input) { duplicate event { id } userErrors { message } } }";

/// The event.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Its event type, such as `invoice.paid`
    event_type: String,
    /// File with its payload, JSON; `-` is standard input
    #[arg(default_value = "-", value_name = "FILE")]
    payload: PathBuf,
    /// A channel it belongs to; may be repeated
    #[arg(long = "channel", value_name = "NAME")]
    channels: Vec<String>,
    /// Makes it safe to send again
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Deliver no earlier than this instant, such as `2030-01-01T00:00:00Z`
    #[arg(long, value_name = "INSTANT")]
    deliver_at: Option<String>,
    /// When it happened; otherwise now
    #[arg(long, value_name = "INSTANT")]
    occurred_at: Option<String>,
    /// ID or external identifier of its workspace, with an administrator's key
    #[arg(long, value_name = "ID")]
    workspace: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, thiserror::Error)]
enum PayloadError {
    #[error("failed to read the payload from {}", .0.display())]
    Read(PathBuf, #[source] std::io::Error),
    #[error("the payload is larger than {PAYLOAD_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the payload is not JSON")]
    Malformed(#[source] serde_json::Error),
}

pub(super) async fn run(variables: Variables, arguments: Arguments) -> Result<(), Box<dyn Error + Send + Sync>> {
    let settings = Settings::of(variables)?;
    settings.log.start();
    let payload = payload(&arguments.payload)?;
    let mut input = json!({ "eventType": arguments.event_type, "payload": payload, "channels": arguments.channels });
    let options = [
        ("idempotencyKey", arguments.idempotency_key),
        ("deliverAt", arguments.deliver_at),
        ("occurredAt", arguments.occurred_at),
    ];
    for (name, value) in options {
        if let Some(value) = value {
            input[name] = value.into();
        }
    }
    let client = Client::new(&settings, arguments.workspace.as_deref())?;
    let data = client.call(PUBLISH, json!({ "input": input })).await?;
    let published = &data["eventPublish"];
    if let Some(message) = refusal(&published["userErrors"]) {
        return Err(CallError::Refused(message).into());
    }
    if arguments.json {
        say(json!({ "id": published["event"]["id"], "duplicate": published["duplicate"] }));
    } else {
        say(published["event"]["id"].as_str().unwrap_or_default());
    }
    Ok(())
}

/// Key order and every digit of a number stay as they are in the file.
fn payload(path: &Path) -> Result<Value, PayloadError> {
    let mut text = String::new();
    let reading = |text: &mut String| {
        if path.as_os_str() == "-" {
            stdin().lock().take(PAYLOAD_BYTES_MAX + 1).read_to_string(text)
        } else {
            std::fs::File::open(path)?.take(PAYLOAD_BYTES_MAX + 1).read_to_string(text)
        }
    };
    reading(&mut text).map_err(|error| PayloadError::Read(path.to_owned(), error))?;
    if text.len() as u64 > PAYLOAD_BYTES_MAX {
        return Err(PayloadError::TooLarge);
    }
    serde_json::from_str(&text).map_err(PayloadError::Malformed)
}
