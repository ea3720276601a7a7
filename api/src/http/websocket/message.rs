//! Messages of `graphql-transport-ws`, in and out.

use async_graphql::Response as Executed;
use axum::extract::ws::Message;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::close::Close;
use crate::http::answer::{Refusal, json};

/// Longest ID of an operation; clients use UUIDs or numbers.
const ID_LEN_MAX: usize = 256;

/// What a client sends.
#[derive(Debug)]
pub(super) enum Incoming {
    Init { payload: Option<Box<RawValue>> },
    Ping { payload: Option<Box<RawValue>> },
    Pong,
    Subscribe { id: String, payload: Box<RawValue> },
    Complete { id: String },
}

impl Incoming {
    /// Reads a text message.
    pub(super) fn parse(text: &str) -> Result<Self, Close> {
        #[derive(Deserialize)]
        struct Envelope {
            #[serde(rename = "type")]
            ty: String,
            id: Option<String>,
            payload: Option<Box<RawValue>>,
        }
        // Serde would also read a struct from an array, one member after the other.
        if !text.trim_start().starts_with('{') {
            return Err(Close::bad_message("not a JSON object"));
        }
        let Envelope { ty, id, payload } = serde_json::from_str(text).map_err(Close::bad_message)?;
        let named = || match id {
            Some(id) if (1..=ID_LEN_MAX).contains(&id.len()) => Ok(id),
            _ => Err(Close::bad_message(format_args!("an `id` of 1 to {ID_LEN_MAX} bytes is needed"))),
        };
        match ty.as_str() {
            "connection_init" => Ok(Self::Init { payload: object(payload)? }),
            "ping" => Ok(Self::Ping { payload: object(payload)? }),
            "pong" => object(payload).map(|_| Self::Pong),
            "subscribe" => {
                let payload = payload.ok_or_else(|| Close::bad_message("`subscribe` needs a payload"))?;
                Ok(Self::Subscribe { id: named()?, payload })
            }
            "complete" => Ok(Self::Complete { id: named()? }),
            other => Err(Close::bad_message(format_args!("unknown type `{other}`"))),
        }
    }
}

/// The payload if it is an object; null is as good as none.
fn object(payload: Option<Box<RawValue>>) -> Result<Option<Box<RawValue>>, Close> {
    match payload {
        Some(payload) if payload.get().starts_with('{') => Ok(Some(payload)),
        Some(payload) if payload.get() != "null" => Err(Close::bad_message("the payload is not an object")),
        _ => Ok(None),
    }
}

/// What the server sends.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Outgoing<'a> {
    ConnectionAck,
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        payload: Option<&'a RawValue>,
    },
    Next {
        id: &'a str,
        payload: &'a Executed,
    },
    Error {
        id: &'a str,
        payload: &'a [async_graphql::ServerError],
    },
    Complete {
        id: &'a str,
    },
}

impl Outgoing<'_> {
    pub(super) fn refusal<'a>(id: &'a str, refusal: &'a Refusal) -> Outgoing<'a> {
        Outgoing::Error { id, payload: &refusal.errors }
    }

    pub(super) fn into_message(self) -> Message {
        Message::Text(json(&self).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_protocol_knows_is_read() {
        assert!(matches!(Incoming::parse(r#"{"type":"connection_init"}"#), Ok(Incoming::Init { payload: None })));
        let with_payload = Incoming::parse(r#" {"payload":{"apiKey":"k"},"type":"connection_init","x":1}"#);
        assert!(matches!(with_payload, Ok(Incoming::Init { payload: Some(_) })));
        assert!(matches!(Incoming::parse(r#"{"type":"ping","payload":null}"#), Ok(Incoming::Ping { payload: None })));
        assert!(matches!(Incoming::parse(r#"{"type":"complete","id":"1"}"#), Ok(Incoming::Complete { .. })));
        let subscribe = Incoming::parse(r#"{"type":"subscribe","id":"1","payload":{"query":"{a}"}}"#);
        assert!(matches!(subscribe, Ok(Incoming::Subscribe { .. })));
    }

    #[test]
    fn anything_else_is_a_bad_message() {
        let long = format!(r#"{{"type":"complete","id":"{}"}}"#, "x".repeat(ID_LEN_MAX + 1));
        for text in [
            "",
            "hello",
            "[]",
            r#"["ping"]"#,
            "{}",
            r#"{"type":1}"#,
            r#"{"type":"start","id":"1"}"#,
            r#"{"type":"ping","payload":"x"}"#,
            r#"{"type":"connection_init","payload":[]}"#,
            r#"{"type":"subscribe","id":"1"}"#,
            r#"{"type":"subscribe","payload":{}}"#,
            r#"{"type":"complete","id":""}"#,
            r#"{"type":"complete","id":1}"#,
            &long,
        ] {
            let close = Incoming::parse(text).expect_err(text);
            assert_eq!(close.into_frame().code, 4400, "{text}");
        }
    }

    #[test]
    fn what_is_sent_has_its_type() {
        let text = |message: Outgoing<'_>| json(&message);
        assert_eq!(text(Outgoing::ConnectionAck), r#"{"type":"connection_ack"}"#);
        assert_eq!(text(Outgoing::Pong { payload: None }), r#"{"type":"pong"}"#);
        assert_eq!(text(Outgoing::Complete { id: "1" }), r#"{"type":"complete","id":"1"}"#);
        let executed = Executed::new(async_graphql::Value::Boolean(true));
        assert_eq!(
            text(Outgoing::Next { id: "1", payload: &executed }),
            r#"{"type":"next","id":"1","payload":{"data":true}}"#
        );
    }
}
