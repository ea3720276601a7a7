//! What a newcomer pastes first: a document that subscribes the inbox and publishes to it, and the same for a shell.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use angarium_entity::api_key::ApiKeySecret;
use serde_json::json;

/// URLs and documents for a server at one address.
#[derive(Clone, Debug)]
pub struct Example {
    base: String,
}

impl Example {
    /// For the server at `address`; one that listens everywhere is called on this machine.
    pub fn at(address: SocketAddr) -> Self {
        let ip = match address.ip() {
            ip if !ip.is_unspecified() => ip,
            ip if ip.is_ipv4() => Ipv4Addr::LOCALHOST.into(),
            _ => Ipv6Addr::LOCALHOST.into(),
        };
        Self { base: format!("http://{}", SocketAddr::new(ip, address.port())) }
    }

    /// Where the server is.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The inbox that the example subscribes.
    pub fn inbox_url(&self) -> String {
        self.url("/dev/inbox/in")
    }

    /// Subscribes the inbox and publishes to it. The mutations of a document run one after the other.
    pub fn document(&self) -> String {
        format!(
            r#"mutation Example {{
  webhookSubscriptionCreate(
    input: {{ name: "Example", eventTypes: ["sms.outbound"], endpoint: {{ url: "{}" }} }}
  ) {{
    webhookSubscription {{ id status }}
    signingSecret
    userErrors {{ code message field }}
  }}
  eventPublish(
    input: {{ eventType: "sms.outbound", payload: {{ text: "Hello from Angarium", to: "+15550100" }} }}
  ) {{
    event {{ id }}
    userErrors {{ code message field }}
  }}
}}
"#,
            self.inbox_url()
        )
    }

    /// The same as a command for a shell.
    pub fn command(&self, key: &ApiKeySecret) -> String {
        let document = self.document().split_whitespace().collect::<Vec<_>>().join(" ");
        let body = json!({ "query": document }).to_string();
        format!(
            "curl -s {} -H 'content-type: application/json' -H 'x-api-key: {}' -d {}",
            self.url("/graphql"),
            key.reveal(),
            quoted(&body),
        )
    }
}

/// `text` as one word of a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_document_parses_and_survives_its_way_through_a_shell() {
        let example = Example::at(([0, 0, 0, 0], 8080).into());
        assert_eq!(example.inbox_url(), "http://127.0.0.1:8080/dev/inbox/in");
        assert!(async_graphql::parser::parse_query(example.document()).is_ok());

        let command = example.command(&ApiKeySecret::generate()).replacen("curl -s", "printf '%s\\n'", 1);
        let output = Command::new("sh").args(["-c", &command]).output().expect("there is a shell");
        let words = String::from_utf8(output.stdout).expect("text");
        let body = words.lines().last().expect("a body");
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert!(body["query"].as_str().is_some_and(|query| async_graphql::parser::parse_query(query).is_ok()));
    }

    #[test]
    fn a_quotation_mark_is_kept_from_the_shell() {
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
