//! The subscription root.

use async_graphql::{Context, Enum, ID, Interface, Object, Result, Subscription};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::{Stream, StreamExt as _};

use super::context::CallContext as _;
use super::input::DeliveryWhere;
use super::object::Delivery;
use super::object::enums::DeliveryStatus;
use super::scalar::DateTime;
use crate::app::delivery::updates::{Update, updates};

const CURSOR_VERSION: u8 = 1;

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

/// One message of a live stream.
#[derive(Interface)]
#[graphql(
    field(name = "cursor", ty = "String", desc = "Opaque place of this message in the stream."),
    field(name = "kind", ty = "LiveUpdateKind", desc = "Why this message was sent."),
    field(name = "occurred_at", ty = "DateTime", desc = "When the change happened.")
)]
pub(crate) enum LiveUpdate {
    Delivery(DeliveryUpdate),
}

/// A change that was told.
pub(crate) struct DeliveryUpdate(Update);

/// A live message about a delivery.
#[Object]
impl DeliveryUpdate {
    /// See LiveUpdate.
    pub(crate) async fn cursor(&self) -> String {
        cursor(self.0.seq, self.0.index)
    }

    /// Set when the delivery was deleted.
    async fn deleted_delivery_id(&self) -> Option<ID> {
        None
    }

    /// The delivery after the change; null when deleted or CAUGHT_UP.
    async fn delivery(&self) -> Option<Delivery> {
        Some(Delivery(self.0.delivery.clone()))
    }

    /// See LiveUpdate.
    pub(crate) async fn kind(&self) -> LiveUpdateKind {
        LiveUpdateKind::Change
    }

    /// See LiveUpdate.
    pub(crate) async fn occurred_at(&self) -> DateTime {
        self.0.at.into()
    }

    /// Status before the change; null for a new delivery, and where changes were told together after a gap.
    async fn previous_status(&self) -> Option<DeliveryStatus> {
        self.0.previous_status.map(Into::into)
    }
}

/// A version byte, the number of the row and the place in it, most significant byte first.
fn cursor(seq: i64, index: usize) -> String {
    let mut bytes = vec![CURSOR_VERSION];
    bytes.extend(seq.to_be_bytes());
    bytes.extend(u32::try_from(index).unwrap_or(u32::MAX).to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The subscription root: live streams over graphql-transport-ws or text/event-stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subscription;

/// The subscription root: live streams over graphql-transport-ws or text/event-stream.
#[Subscription]
impl Subscription {
    /// Status changes of deliveries. Needs DELIVERY_READ.
    async fn delivery_updated(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            name = "where",
            desc = "Keep only deliveries that match every given condition; `status` matches the status before or after the change."
        )]
        filter: Option<DeliveryWhere>,
    ) -> Result<impl Stream<Item = Result<DeliveryUpdate>> + use<>> {
        let filter = filter.unwrap_or_default().parse()?;
        let stream = updates(ctx.app()?, ctx.caller()?, filter).await?;
        Ok(stream.map(|update| Ok(DeliveryUpdate(update?))))
    }
}
