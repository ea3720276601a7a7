//! The messages of live streams.

use angarium_entity::{attempt, endpoint, event, replay, subscription};
use async_graphql::{Enum, ID, Interface, Object};

use crate::app::delivery::updates::{self, Kind, Message, Present};
use crate::graphql::node;
use crate::graphql::object::enums::DeliveryStatus;
use crate::graphql::object::{Delivery, DeliveryAttempt, Event, Replay, WebhookEndpoint, WebhookSubscription};
use crate::graphql::scalar::DateTime;

/// Why a live message was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub(crate) enum LiveUpdateKind {
    /// The end of the snapshot or of the replay of missed changes; carries no object.
    CaughtUp,
    /// Something changed.
    Change,
    /// Part of the initial state.
    Snapshot,
}

impl From<Kind> for LiveUpdateKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::CaughtUp => Self::CaughtUp,
            Kind::Change => Self::Change,
            Kind::Snapshot => Self::Snapshot,
        }
    }
}

/// One message of a live stream.
#[derive(Interface)]
#[graphql(
    field(
        name = "cursor",
        ty = "&str",
        desc = "Pass as `after` to resume just after this message. Cursors stay valid for 24 hours."
    ),
    field(name = "kind", ty = "LiveUpdateKind", desc = "Why this message was sent."),
    field(name = "occurred_at", ty = "DateTime", desc = "When the change happened.")
)]
pub(crate) enum LiveUpdate {
    Delivery(DeliveryUpdate),
    Attempt(DeliveryAttemptUpdate),
    Event(EventUpdate),
    Replay(ReplayUpdate),
    Endpoint(WebhookEndpointUpdate),
    Subscription(WebhookSubscriptionUpdate),
}

/// A message of `deliveryUpdated`.
pub(crate) struct DeliveryUpdate(pub(super) Message<updates::DeliveryUpdate>);

/// A live message about a delivery.
#[Object]
impl DeliveryUpdate {
    /// See LiveUpdate.
    pub(crate) async fn cursor(&self) -> &str {
        &self.0.cursor
    }

    /// Set when the delivery was deleted. `where` is compared with what the delivery was last.
    async fn deleted_delivery_id(&self) -> Option<ID> {
        match &self.0.item.as_ref()?.delivery {
            Present::Row(_) => None,
            Present::Deleted(id) => Some(node::id(id)),
        }
    }

    /// The delivery after the change; null when deleted or CAUGHT_UP.
    async fn delivery(&self) -> Option<Delivery> {
        match &self.0.item.as_ref()?.delivery {
            Present::Row(row) => Some(Delivery(row.as_ref().clone())),
            Present::Deleted(_) => None,
        }
    }

    /// See LiveUpdate.
    pub(crate) async fn kind(&self) -> LiveUpdateKind {
        self.0.kind.into()
    }

    /// See LiveUpdate.
    pub(crate) async fn occurred_at(&self) -> DateTime {
        self.0.at.into()
    }

    /// Status before the change, of a deleted delivery its last; null for a new delivery, in a snapshot, and where
    /// changes were told together after a gap.
    async fn previous_status(&self) -> Option<DeliveryStatus> {
        self.0.item.as_ref()?.previous_status.map(Into::into)
    }
}

/// A message of `deliveryAttemptCompleted`.
pub(crate) struct DeliveryAttemptUpdate(pub(super) Message<attempt::Model>);

/// A live message about an attempt.
#[Object]
impl DeliveryAttemptUpdate {
    /// The attempt; null when `kind` is CAUGHT_UP.
    async fn attempt(&self) -> Option<DeliveryAttempt> {
        self.0.item.clone().map(Into::into)
    }

    /// See LiveUpdate.
    pub(crate) async fn cursor(&self) -> &str {
        &self.0.cursor
    }

    /// See LiveUpdate.
    pub(crate) async fn kind(&self) -> LiveUpdateKind {
        self.0.kind.into()
    }

    /// See LiveUpdate.
    pub(crate) async fn occurred_at(&self) -> DateTime {
        self.0.at.into()
    }
}

/// A message of `eventPublished`.
pub(crate) struct EventUpdate(pub(super) Message<event::Model>);

/// A live message about an event.
#[Object]
impl EventUpdate {
    /// See LiveUpdate.
    pub(crate) async fn cursor(&self) -> &str {
        &self.0.cursor
    }

    /// The event; null when `kind` is CAUGHT_UP.
    async fn event(&self) -> Option<Event> {
        self.0.item.clone().map(Into::into)
    }

    /// See LiveUpdate.
    pub(crate) async fn kind(&self) -> LiveUpdateKind {
        self.0.kind.into()
    }

    /// See LiveUpdate.
    pub(crate) async fn occurred_at(&self) -> DateTime {
        self.0.at.into()
    }
}

/// A message of `replayProgressed`.
pub(crate) struct ReplayUpdate(pub(super) Message<replay::Model>);

/// A live message about a replay.
#[Object]
impl ReplayUpdate {
    /// See LiveUpdate.
    pub(crate) async fn cursor(&self) -> &str {
        &self.0.cursor
    }

    /// See LiveUpdate.
    pub(crate) async fn kind(&self) -> LiveUpdateKind {
        self.0.kind.into()
    }

    /// See LiveUpdate.
    pub(crate) async fn occurred_at(&self) -> DateTime {
        self.0.at.into()
    }

    /// The replay after the change; null when `kind` is CAUGHT_UP.
    async fn replay(&self) -> Option<Replay> {
        self.0.item.clone().map(Into::into)
    }
}

/// A message about a row that stays when it is deleted, as long as its stream may have to tell of that.
macro_rules! row_update {
    ($about:tt, $name:ident, $module:ident, $object:ident, $field:ident, $described:tt,
     $deleted_id:ident, $deleted:tt) => {
        #[doc = $about]
        pub(crate) struct $name(pub(super) Message<$module::Model>);

        impl $name {
            /// Its row, if that is deleted or is not.
            fn row(&self, is_deleted: bool) -> Option<&$module::Model> {
                self.0.item.as_ref().filter(|row| row.deleted_at.is_some() == is_deleted)
            }
        }

        #[doc = $about]
        #[Object]
        impl $name {
            /// See LiveUpdate.
            pub(crate) async fn cursor(&self) -> &str {
                &self.0.cursor
            }

            #[doc = $deleted]
            async fn $deleted_id(&self) -> Option<ID> {
                self.row(true).map(|row| node::id(&row.id))
            }

            /// See LiveUpdate.
            pub(crate) async fn kind(&self) -> LiveUpdateKind {
                self.0.kind.into()
            }

            /// See LiveUpdate.
            pub(crate) async fn occurred_at(&self) -> DateTime {
                self.0.at.into()
            }

            #[doc = $described]
            async fn $field(&self) -> Option<$object> {
                self.row(false).cloned().map(Into::into)
            }
        }
    };
}

row_update!(
    "A live message about an endpoint.",
    WebhookEndpointUpdate,
    endpoint,
    WebhookEndpoint,
    webhook_endpoint,
    "The endpoint after the change; null when deleted or CAUGHT_UP.",
    deleted_webhook_endpoint_id,
    "Set when the endpoint was deleted."
);
row_update!(
    "A live message about a webhook subscription.",
    WebhookSubscriptionUpdate,
    subscription,
    WebhookSubscription,
    webhook_subscription,
    "The subscription after the change; null when deleted or CAUGHT_UP.",
    deleted_webhook_subscription_id,
    "Set when the subscription was deleted."
);
