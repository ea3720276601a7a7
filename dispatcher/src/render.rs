//! What a request says: its body and headers. The same for the first sending and for showing it a year later.

use std::borrow::Cow;

use angarium_entity::endpoint::{BodyFormat, RequestHeader, SignatureScheme};
use angarium_entity::event_type::is_reserved;
use angarium_entity::json::StringList;
use angarium_entity::subscription::payload_fields;
use angarium_entity::{Timestamp, event};
use url::Url;

/// `user-agent` of every request.
pub const USER_AGENT: &str = concat!("Angarium/", env!("CARGO_PKG_VERSION"));

/// The body, byte for byte as it is signed and sent. The payload, or what `fields` keep of it, goes in as it was
/// published, never encoded again. What the server itself tells goes out whole: `fields` are for what is published.
pub fn body(format: BodyFormat, event: &event::Model, fields: Option<&StringList>) -> String {
    let payload = match fields.filter(|_| !is_reserved(&event.event_type)) {
        Some(fields) => Cow::Owned(payload_fields::cut(&event.payload, &fields.0)),
        None => Cow::Borrowed(event.payload.as_str()),
    };
    let (event_type, time) = (&event.event_type, event.occurred_at);
    // Nothing that goes in here has a character that JSON escapes.
    match format {
        BodyFormat::Raw => payload.into_owned(),
        BodyFormat::Envelope => format!(r#"{{"type":"{event_type}","timestamp":"{time}","data":{payload}}}"#),
        BodyFormat::CloudEvents => format!(
            r#"{{"specversion":"1.0","id":"{}","source":"urn:uuid:{}","type":"{event_type}","time":"{time}","datacontenttype":"application/json","data":{payload}}}"#,
            event.id, event.workspace_id.0,
        ),
    }
}

/// The header that carries the signature, or signatures during a rotation.
pub fn signature_header(scheme: SignatureScheme) -> Option<&'static str> {
    match scheme {
        SignatureScheme::None => None,
        SignatureScheme::Ed25519 | SignatureScheme::StandardWebhooks | SignatureScheme::TwoSecret => {
            Some("webhook-signature")
        }
        SignatureScheme::Github => Some("x-hub-signature-256"),
        SignatureScheme::Shopify => Some("x-shopify-hmac-sha256"),
        SignatureScheme::Stripe => Some("stripe-signature"),
    }
}

/// What the headers of a request are made of.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// What it tells of.
    pub event: &'a event::Model,
    /// Where it goes.
    pub url: &'a Url,
    /// What the body looks like.
    pub body_format: BodyFormat,
    /// Bytes of the body.
    pub body_len: usize,
    /// Extra headers of the endpoint.
    pub own: &'a [RequestHeader],
    /// When the attempt started.
    pub started_at: Timestamp,
    /// How it is signed.
    pub scheme: SignatureScheme,
    /// The signature, which does not cover the headers of tracing.
    pub signature: Option<&'a str>,
    /// `traceparent`, if the receiver is told what trace this belongs to.
    pub trace_parent: Option<&'a str>,
    /// The `tracestate` that goes with it.
    pub trace_state: Option<&'a str>,
}

impl Head<'_> {
    /// All headers, in the order in which they are sent. The HTTP client adds none of its own.
    pub fn headers(&self) -> Vec<RequestHeader> {
        let accept = (!self.own.iter().any(|header| header.name == "accept")).then_some(("accept", "*/*".to_owned()));
        let content_type = match self.body_format {
            BodyFormat::CloudEvents => "application/cloudevents+json; charset=utf-8",
            BodyFormat::Envelope | BodyFormat::Raw => "application/json",
        };
        let ours = [
            ("content-type", content_type.to_owned()),
            ("content-length", self.body_len.to_string()),
            ("user-agent", USER_AGENT.to_owned()),
            ("webhook-id", self.event.id.to_string()),
            ("webhook-timestamp", self.started_at.seconds().to_string()),
            ("webhook-event-type", self.event.event_type.clone()),
        ];
        let signature = signature_header(self.scheme).zip(self.signature).map(|(name, value)| (name, value.to_owned()));
        let trace_state = self.trace_parent.and(self.trace_state);
        let trace = [("traceparent", self.trace_parent), ("tracestate", trace_state)];
        let trace = trace.into_iter().filter_map(|(name, value)| Some((name, value?.to_owned())));
        std::iter::once(("host", host(self.url)))
            .chain(accept)
            .chain(ours)
            .chain(signature)
            .chain(trace)
            .map(|(name, value)| RequestHeader { name: name.to_owned(), value, secret: false })
            .chain(self.own.iter().cloned())
            .collect()
    }
}

fn host(url: &Url) -> String {
    let name = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"))
}

#[cfg(test)]
mod tests {
    use angarium_entity::{EventId, WorkspaceId};

    use super::*;

    fn event(payload: &str) -> event::Model {
        let at = Timestamp::from_millis(1_614_265_330_250);
        event::Model {
            id: EventId::new(at),
            workspace_id: WorkspaceId::new(at),
            event_type: "sms.outbound".to_owned(),
            payload: payload.to_owned(),
            channels: StringList::default(),
            idempotency_key: None,
            occurred_at: at,
            test: false,
            created_at: at,
            sealed: None,
            trace_parent: None,
            trace_state: None,
        }
    }

    #[test]
    fn every_format_holds_the_payload_to_the_letter() {
        let payload = r#"{"z": 1.0, "a":12345678901234567890123}"#;
        let event = event(payload);
        assert_eq!(
            body(BodyFormat::Envelope, &event, None),
            format!(r#"{{"type":"sms.outbound","timestamp":"2021-02-25T15:02:10.250Z","data":{payload}}}"#)
        );
        assert_eq!(body(BodyFormat::Raw, &event, None), payload);
        let fields = StringList(vec!["a".to_owned()]);
        assert_eq!(body(BodyFormat::Raw, &event, Some(&fields)), r#"{"a":12345678901234567890123}"#);
        let own = event::Model { event_type: "angarium.endpoint.suspended".to_owned(), ..event.clone() };
        assert_eq!(body(BodyFormat::Raw, &own, Some(&fields)), payload, "what the server tells is whole");
        let (id, workspace) = (event.id, event.workspace_id.0);
        assert_eq!(
            body(BodyFormat::CloudEvents, &event, None),
            format!(
                r#"{{"specversion":"1.0","id":"{id}","source":"urn:uuid:{workspace}","type":"sms.outbound","time":"2021-02-25T15:02:10.250Z","datacontenttype":"application/json","data":{payload}}}"#
            )
        );
    }

    #[test]
    fn headers_name_the_event_and_the_second_of_the_attempt() {
        let (event, url) = (event("{}"), Url::parse("https://[::1]:8443/in").expect("a URL"));
        let own = [RequestHeader { name: "accept".to_owned(), value: "text/plain".to_owned(), secret: true }];
        let mut head = Head {
            event: &event,
            url: &url,
            body_format: BodyFormat::Envelope,
            body_len: 2,
            own: &[],
            started_at: Timestamp::from_millis(5_999),
            scheme: SignatureScheme::StandardWebhooks,
            signature: Some("v1,abc"),
            trace_parent: None,
            trace_state: Some("a=1"),
        };
        let expected = [
            ("host", "[::1]:8443"),
            ("accept", "*/*"),
            ("content-type", "application/json"),
            ("content-length", "2"),
            ("user-agent", USER_AGENT),
            ("webhook-id", &event.id.to_string()),
            ("webhook-timestamp", "5"),
            ("webhook-event-type", "sms.outbound"),
            ("webhook-signature", "v1,abc"),
        ];
        let header = |(name, value): (&str, &str)| RequestHeader {
            name: name.to_owned(),
            value: value.to_owned(),
            secret: false,
        };
        assert_eq!(head.headers(), expected.map(header));
        let default_port = Url::parse("https://example.com:443/").expect("a URL");
        (head.own, head.url, head.scheme) = (&own, &default_port, SignatureScheme::Stripe);
        let values = |head: Head<'_>, names: [&str; 3]| {
            names.map(|name| {
                let named = head.headers().into_iter().filter(|header| header.name == name);
                named.map(|header| header.value).collect::<Vec<_>>().join(";")
            })
        };
        assert_eq!(values(head, ["host", "accept", "stripe-signature"]), ["example.com", "text/plain", "v1,abc"]);
        let trace = ["traceparent", "tracestate", "x"];
        assert_eq!(values(head, trace), ["", "", ""], "a state means nothing without its parent");
        head.trace_parent = Some("00-1-2-01");
        assert_eq!(values(head, trace), ["00-1-2-01", "a=1", ""]);
    }
}
