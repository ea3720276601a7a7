//! What the log keeps of a delivery that was deleted: enough for every filter of a live stream to decide whether it is
//! meant, since its row tells nobody any more.

use sea_orm::ActiveEnum;
use serde::{Deserialize, Serialize};

use crate::delivery::{self, Status, Trigger};
use crate::{DeliveryId, EndpointId, EventId, ReplayId, SubscriptionId, Timestamp, WorkspaceId};

/// A delivery that was deleted, as it was last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedDelivery {
    /// The delivery.
    #[serde(rename = "x")]
    pub delivery_id: DeliveryId,
    /// Its event.
    #[serde(rename = "v")]
    pub event_id: EventId,
    /// Its endpoint.
    #[serde(rename = "e")]
    pub endpoint_id: EndpointId,
    /// Its subscription.
    #[serde(rename = "s")]
    pub subscription_id: SubscriptionId,
    /// The replay that made it.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub replay_id: Option<ReplayId>,
    /// Its last status, by its stored name.
    #[serde(rename = "n")]
    pub status: String,
    /// Why it existed, by its stored name.
    #[serde(rename = "t")]
    pub trigger: String,
    /// Name of its event's type.
    #[serde(rename = "y")]
    pub event_type: String,
    /// HTTP status of the latest response.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub response_status_code: Option<i32>,
    /// When it was made.
    #[serde(rename = "c")]
    pub created_at: Timestamp,
    /// When its latest attempt started.
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    pub last_attempt_at: Option<Timestamp>,
    /// When its next attempt was due.
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<Timestamp>,
}

impl From<&delivery::Model> for DeletedDelivery {
    fn from(row: &delivery::Model) -> Self {
        Self {
            delivery_id: row.id,
            event_id: row.event_id,
            endpoint_id: row.endpoint_id,
            subscription_id: row.subscription_id,
            replay_id: row.replay_id,
            status: row.status.name().to_owned(),
            trigger: row.trigger.to_value(),
            event_type: row.event_type.clone(),
            response_status_code: row.response_status_code,
            created_at: row.created_at,
            last_attempt_at: row.last_attempt_at,
            next_attempt_at: row.next_attempt_at,
        }
    }
}

impl DeletedDelivery {
    /// The row as far as filters ask for it; none where a later version wrote words that this one does not know.
    pub fn row(&self, workspace_id: WorkspaceId) -> Option<delivery::Model> {
        Some(delivery::Model {
            id: self.delivery_id,
            workspace_id,
            event_id: self.event_id,
            endpoint_id: self.endpoint_id,
            subscription_id: self.subscription_id,
            shard: 0,
            seq: 0,
            status: Status::try_from_value(&self.status).ok()?,
            status_reason: None,
            trigger: Trigger::try_from_value(&self.trigger).ok()?,
            replay_id: self.replay_id,
            event_type: self.event_type.clone(),
            attempt_count: 0,
            round: 1,
            round_attempts: 0,
            next_attempt_at: self.next_attempt_at,
            last_attempt_at: self.last_attempt_at,
            response_status_code: self.response_status_code,
            created_at: self.created_at,
            updated_at: self.created_at,
            completed_at: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Change, Changes};
    use super::*;

    #[test]
    fn what_was_deleted_is_told_apart_and_keeps_what_filters_ask_for() {
        let now = Timestamp::from_millis(1);
        let deleted = DeletedDelivery {
            delivery_id: DeliveryId::new(now),
            event_id: EventId::new(now),
            endpoint_id: EndpointId::new(now),
            subscription_id: SubscriptionId::new(now),
            replay_id: None,
            status: "RETRYING".to_owned(),
            trigger: "EVENT".to_owned(),
            event_type: "invoice.paid".to_owned(),
            response_status_code: Some(503),
            created_at: now,
            last_attempt_at: Some(now),
            next_attempt_at: None,
        };
        let packed = serde_json::to_value(Changes(vec![deleted.clone().into()])).expect("it is written");
        let read: Changes = serde_json::from_value(packed).expect("it is read");
        assert_eq!(read.0, [Change::DeletedDelivery(deleted.clone())]);
        let row = deleted.row(WorkspaceId::new(now)).expect("its words are known");
        assert_eq!(DeletedDelivery::from(&row), deleted);
        assert_eq!(DeletedDelivery { status: "NEW".to_owned(), ..deleted }.row(WorkspaceId::new(now)), None);
    }
}
