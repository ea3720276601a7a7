//! What a request says: its body and headers. The same for the first sending and for showing it a year later.

use angarium_entity::endpoint::{BodyFormat, Headers};
use angarium_entity::{Timestamp, event};

/// `user-agent` of every request.
pub const USER_AGENT: &str = concat!("Angarium/", env!("CARGO_PKG_VERSION"));
/// Header that carries the signature, or signatures during a rotation.
pub const SIGNATURE_HEADER: &str = "webhook-signature";

/// The body, byte for byte as it is signed and sent. The payload goes in as it was published, never encoded again.
pub fn body(format: BodyFormat, event: &event::Model) -> String {
    match format {
        BodyFormat::Raw => event.payload.clone(),
        // An event type has no character that JSON escapes.
        BodyFormat::Envelope => {
            format!(r#"{{"type":"{}","timestamp":"{}","data":{}}}"#, event.event_type, event.occurred_at, event.payload)
        }
    }
}

/// The headers in the order in which they are sent; `host` and `content-length` are the HTTP client's.
pub fn headers(
    event: &event::Model,
    endpoint_headers: &Headers,
    started_at: Timestamp,
    signature: Option<&str>,
) -> Vec<(String, String)> {
    let own = [
        ("content-type", "application/json".to_owned()),
        ("user-agent", USER_AGENT.to_owned()),
        ("webhook-id", event.id.to_string()),
        ("webhook-timestamp", started_at.seconds().to_string()),
        ("webhook-event-type", event.event_type.clone()),
    ];
    own.into_iter()
        .chain(signature.map(|signature| (SIGNATURE_HEADER, signature.to_owned())))
        .map(|(name, value)| (name.to_owned(), value))
        .chain(endpoint_headers.0.iter().map(|header| (header.name.clone(), header.value.clone())))
        .collect()
}

#[cfg(test)]
mod tests {
    use angarium_entity::json::StringList;
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
        }
    }

    #[test]
    fn an_envelope_holds_the_payload_to_the_letter() {
        let payload = r#"{"z": 1.0, "a":12345678901234567890123}"#;
        assert_eq!(
            body(BodyFormat::Envelope, &event(payload)),
            format!(r#"{{"type":"sms.outbound","timestamp":"2021-02-25T15:02:10.250Z","data":{payload}}}"#)
        );
        assert_eq!(body(BodyFormat::Raw, &event(payload)), payload);
    }

    #[test]
    fn headers_name_the_event_and_the_second_of_the_attempt() {
        let event = event("{}");
        let sent = headers(&event, &Headers::default(), Timestamp::from_millis(5_999), Some("v1,abc"));
        let value = |name: &str| sent.iter().find(|header| header.0 == name).map(|header| header.1.as_str());
        assert_eq!(value("webhook-id"), Some(event.id.to_string().as_str()));
        assert_eq!(value("webhook-timestamp"), Some("5"));
        assert_eq!(value("webhook-signature"), Some("v1,abc"));
        assert_eq!(value("webhook-event-type"), Some("sms.outbound"));
    }
}
