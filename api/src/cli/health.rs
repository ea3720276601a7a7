//! `angarium health`: asks a node how it is, for those who can only run a program, such as a container engine.

use std::error::Error;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use url::Url;

use super::client::http;
use super::say;
use crate::config::{Http, Variables};

/// Longest wait for the answer. A node gives its database two seconds.
const TIMEOUT: Duration = Duration::from_secs(4);

/// Whom to ask, and what.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// A server, such as `http://127.0.0.1:8080`; otherwise the one that listens at `ANGARIUM_LISTEN` on this machine
    #[arg(value_name = "URL")]
    url: Option<Url>,
    /// Whether it lives, not whether it is ready for requests
    #[arg(long)]
    live: bool,
}

#[derive(Debug, thiserror::Error)]
enum HealthError {
    #[error("the port that ANGARIUM_LISTEN leaves to the system is not known; name a URL")]
    AnyPort,
    #[error("failed to make the HTTP client")]
    Client(#[source] reqwest::Error),
    #[error("failed to ask {0}")]
    Ask(Url, #[source] reqwest::Error),
    #[error("not {0}: {1}")]
    Unwell(&'static str, String),
}

pub(super) async fn run(variables: Variables, arguments: Arguments) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut url = match arguments.url {
        Some(url) => url,
        None => own(Http::of(variables)?.listen)?,
    };
    let word = if arguments.live { "live" } else { "ready" };
    url.set_path(&format!("{}/health/{word}", url.path().trim_end_matches('/')));
    let client = http().no_proxy().timeout(TIMEOUT).build().map_err(HealthError::Client)?;
    let failed = |error| HealthError::Ask(url.clone(), error);
    let response = client.get(url.clone()).send().await.map_err(failed)?;
    let status = response.status();
    if !status.is_success() {
        let body = response.text().await.map_err(failed)?;
        return Err(HealthError::Unwell(word, reasons(&body).unwrap_or_else(|| status.to_string())).into());
    }
    say(word);
    Ok(())
}

/// A server that listens at `address`, as this machine reaches it.
fn own(address: SocketAddr) -> Result<Url, HealthError> {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        ip if ip.is_ipv4() => Ipv4Addr::LOCALHOST.into(),
        _ => Ipv6Addr::LOCALHOST.into(),
    };
    if address.port() == 0 {
        return Err(HealthError::AnyPort);
    }
    Ok(Url::parse(&format!("http://{}", SocketAddr::new(ip, address.port()))).expect("an address makes a URL"))
}

/// What a node says of why it is not ready.
fn reasons(body: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    let reasons: Vec<_> = body["reasons"].as_array()?.iter().filter_map(Value::as_str).collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_listens_everywhere_is_asked_on_this_machine() {
        for (listens, asked) in [
            ("0.0.0.0:8080", "http://127.0.0.1:8080/"),
            ("[::]:80", "http://[::1]/"),
            ("10.0.0.7:1", "http://10.0.0.7:1/"),
        ] {
            assert_eq!(own(listens.parse().expect("an address")).expect("a URL").as_str(), asked);
        }
        assert!(matches!(own(([127, 0, 0, 1], 0).into()), Err(HealthError::AnyPort)));
    }
}
