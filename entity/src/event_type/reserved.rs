//! The types of events that Angarium itself publishes, and what they say.
//!
//! Each is written in the transaction of the change it tells of, into the workspace concerned. None is ever raised
//! about the delivery of one, nor of what only such deliveries did to their endpoint, so that no event of Angarium's leads
//! to another.

use serde_json::{Value, json};

use crate::{DeliveryId, EndpointId, EventId, SubscriptionId, Timestamp, WorkspaceId, endpoint, subscription};

/// The service that they belong to in the catalogue.
pub const SERVICE: &str = "angarium";

/// Asks an endpoint to confirm a subscription. Sent to that endpoint alone, whatever it is subscribed to.
pub const SUBSCRIPTION_CONFIRMATION: &str = "angarium.subscription.confirmation";
/// A subscription ends within a day.
pub const SUBSCRIPTION_EXPIRING: &str = "angarium.subscription.expiring";
/// A subscription has ended.
pub const SUBSCRIPTION_EXPIRED: &str = "angarium.subscription.expired";
/// The server holds the deliveries to an endpoint.
pub const ENDPOINT_SUSPENDED: &str = "angarium.endpoint.suspended";
/// An endpoint that was suspended is delivered to again.
pub const ENDPOINT_RECOVERED: &str = "angarium.endpoint.recovered";
/// A delivery was given up.
pub const DELIVERY_EXHAUSTED: &str = "angarium.delivery.exhausted";

/// An entry of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct Reserved {
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub description: &'static str,
    /// An example payload, as compact JSON text.
    pub sample_payload: &'static str,
}

/// All of them, by name.
pub const ALL: [Reserved; 6] = [
    Reserved {
        name: DELIVERY_EXHAUSTED,
        description: "A delivery was given up: every attempt of its retry policy failed, or it was held for too long. \
                      Never raised for tests, nor for deliveries of `angarium.*` events.",
        sample_payload: r#"{"delivery":{"id":"dlv_01kabc0000e0080000000000a1","eventId":"evt_01kabc0000e0080000000000a2","eventType":"invoice.paid","endpointId":"ep_01kabc0000e0080000000000a3","subscriptionId":"sub_01kabc0000e0080000000000a4","workspaceId":"ws_01kabc0000e0080000000000a5","attemptCount":10},"reason":"All 10 attempts that the retry policy allows have failed.","exhaustedAt":"2026-11-21T09:30:00.000Z"}"#,
    },
    Reserved {
        name: ENDPOINT_RECOVERED,
        description: "An endpoint that was suspended is delivered to again; what waited goes out in order.",
        sample_payload: r#"{"endpoint":{"id":"ep_01kabc0000e0080000000000a3","name":"Billing","workspaceId":"ws_01kabc0000e0080000000000a5"},"recoveredAt":"2026-11-21T09:30:00.000Z"}"#,
    },
    Reserved {
        name: ENDPOINT_SUSPENDED,
        description: "The server holds the deliveries to an endpoint, because it answered 410 Gone or failed for too \
                      long. They wait until it is resumed or, unless it answered 410, until one succeeds.",
        sample_payload: r#"{"endpoint":{"id":"ep_01kabc0000e0080000000000a3","name":"Billing","workspaceId":"ws_01kabc0000e0080000000000a5"},"reason":"The endpoint answered 410 Gone: it wants no more deliveries. Resume it to try again.","suspendedAt":"2026-11-21T09:30:00.000Z"}"#,
    },
    Reserved {
        name: SUBSCRIPTION_CONFIRMATION,
        description: "Asks an endpoint to confirm a subscription. Sent to the endpoint of that subscription only, where \
                      the workspace wants subscriptions confirmed; subscribing to it has no effect.",
        sample_payload: r#"{"confirmationUrl":"***","token":"***","expiresAt":"2026-11-22T09:30:00.000Z","subscription":{"id":"sub_01kabc0000e0080000000000a4","name":"Billing","eventTypes":["invoice.*"],"channels":null,"ownerId":null,"workspaceId":"ws_01kabc0000e0080000000000a5","expiresAt":null}}"#,
    },
    Reserved {
        name: SUBSCRIPTION_EXPIRED,
        description: "A subscription has ended: it matches no more events, and what waited of it is canceled. Renewing \
                      it makes it match again.",
        sample_payload: r#"{"subscription":{"id":"sub_01kabc0000e0080000000000a4","name":"Billing","eventTypes":["invoice.*"],"channels":null,"ownerId":null,"workspaceId":"ws_01kabc0000e0080000000000a5","expiresAt":"2026-11-21T09:30:00.000Z"}}"#,
    },
    Reserved {
        name: SUBSCRIPTION_EXPIRING,
        description: "A subscription ends in 24 hours; renew it to keep it. Not raised for one that was given 24 hours \
                      or less.",
        sample_payload: r#"{"subscription":{"id":"sub_01kabc0000e0080000000000a4","name":"Billing","eventTypes":["invoice.*"],"channels":null,"ownerId":null,"workspaceId":"ws_01kabc0000e0080000000000a5","expiresAt":"2026-11-22T09:30:00.000Z"}}"#,
    },
];

/// Something that Angarium has to tell the subscribers of a workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The workspace concerned.
    pub workspace_id: WorkspaceId,
    /// One of the names above.
    pub event_type: &'static str,
    /// What it says, as compact JSON text.
    pub payload: String,
}

/// A delivery that was given up.
#[derive(Clone, Copy, Debug)]
pub struct Exhausted<'a> {
    /// Its tenant.
    pub workspace_id: WorkspaceId,
    /// The delivery.
    pub delivery_id: DeliveryId,
    /// Its event, and the name of that event's type.
    pub event: (EventId, &'a str),
    /// Its endpoint.
    pub endpoint_id: EndpointId,
    /// Its subscription.
    pub subscription_id: SubscriptionId,
    /// Attempts made.
    pub attempt_count: i32,
    /// Why, for people.
    pub reason: Option<&'a str>,
}

impl Notice {
    /// `subscription` ends within a day.
    pub fn subscription_expiring(subscription: &subscription::Model) -> Self {
        let payload = json!({ "subscription": describe(subscription) });
        Self::new(subscription.workspace_id, SUBSCRIPTION_EXPIRING, &payload)
    }

    /// `subscription` has ended.
    pub fn subscription_expired(subscription: &subscription::Model) -> Self {
        let payload = json!({ "subscription": describe(subscription) });
        Self::new(subscription.workspace_id, SUBSCRIPTION_EXPIRED, &payload)
    }

    /// The server has suspended `endpoint`, whose row says so already, at `at`.
    pub fn endpoint_suspended(endpoint: &endpoint::Model, at: Timestamp) -> Self {
        let payload = json!({
            "endpoint": describe_endpoint(endpoint),
            "reason": endpoint.status_reason,
            "suspendedAt": at.to_string(),
        });
        Self::new(endpoint.workspace_id, ENDPOINT_SUSPENDED, &payload)
    }

    /// `endpoint` was suspended, and is delivered to again since `at`.
    pub fn endpoint_recovered(endpoint: &endpoint::Model, at: Timestamp) -> Self {
        let payload = json!({ "endpoint": describe_endpoint(endpoint), "recoveredAt": at.to_string() });
        Self::new(endpoint.workspace_id, ENDPOINT_RECOVERED, &payload)
    }

    /// A delivery was given up at `at`. None for what nothing is ever raised about: deliveries of Angarium's own events.
    pub fn delivery_exhausted(delivery: &Exhausted<'_>, at: Timestamp) -> Option<Self> {
        let (event_id, event_type) = delivery.event;
        let payload = json!({
            "delivery": {
                "id": delivery.delivery_id.to_string(),
                "eventId": event_id.to_string(),
                "eventType": event_type,
                "endpointId": delivery.endpoint_id.to_string(),
                "subscriptionId": delivery.subscription_id.to_string(),
                "workspaceId": delivery.workspace_id.to_string(),
                "attemptCount": delivery.attempt_count,
            },
            "reason": delivery.reason,
            "exhaustedAt": at.to_string(),
        });
        (!super::is_reserved(event_type)).then(|| Self::new(delivery.workspace_id, DELIVERY_EXHAUSTED, &payload))
    }

    fn new(workspace_id: WorkspaceId, event_type: &'static str, payload: &Value) -> Self {
        Self { workspace_id, event_type, payload: payload.to_string() }
    }
}

/// A subscription as events tell of it.
pub fn describe(subscription: &subscription::Model) -> Value {
    json!({
        "id": subscription.id.to_string(),
        "name": subscription.name,
        "eventTypes": subscription.event_types.0,
        "channels": subscription.channels.as_ref().map(|channels| &channels.0),
        "ownerId": subscription.owner_id,
        "workspaceId": subscription.workspace_id.to_string(),
        "expiresAt": subscription.expires_at.map(|end| end.to_string()),
    })
}

/// Without its URL, which is for those who may read endpoints and may hold a credential.
fn describe_endpoint(endpoint: &endpoint::Model) -> Value {
    json!({
        "id": endpoint.id.to_string(),
        "name": endpoint.name,
        "workspaceId": endpoint.workspace_id.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{is_reserved, is_valid_name};
    use super::*;

    #[test]
    fn the_catalogue_of_reserved_types_is_in_order_and_its_samples_are_compact_json() {
        assert!(ALL.is_sorted_by_key(|entry| entry.name));
        for entry in ALL {
            assert!(is_valid_name(entry.name) && is_reserved(entry.name), "{}", entry.name);
            let sample: Value = serde_json::from_str(entry.sample_payload).expect("JSON");
            assert_eq!(sample.to_string(), entry.sample_payload);
        }
    }

    #[test]
    fn nothing_is_raised_about_the_delivery_of_a_reserved_event() {
        let at = Timestamp::from_millis(1_614_265_330_250);
        let notice = |event_type| {
            let delivery = Exhausted {
                workspace_id: WorkspaceId::new(at),
                delivery_id: DeliveryId::new(at),
                event: (EventId::new(at), event_type),
                endpoint_id: EndpointId::new(at),
                subscription_id: SubscriptionId::new(at),
                attempt_count: 3,
                reason: Some("It is over."),
            };
            Notice::delivery_exhausted(&delivery, at)
        };
        assert!(notice(DELIVERY_EXHAUSTED).is_none() && notice(ENDPOINT_SUSPENDED).is_none());
        let told = notice("invoice.paid").expect("it is told");
        assert_eq!(told.event_type, DELIVERY_EXHAUSTED);
        let payload: Value = serde_json::from_str(&told.payload).expect("JSON");
        let sample: Value = serde_json::from_str(ALL[0].sample_payload).expect("JSON");
        let keys = |value: &Value| value.as_object().map(|map| map.keys().cloned().collect::<Vec<_>>());
        assert_eq!(keys(&payload), keys(&sample));
        assert_eq!(keys(&payload["delivery"]), keys(&sample["delivery"]));
    }
}
