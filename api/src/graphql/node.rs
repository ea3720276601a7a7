//! Global IDs: the prefix says what an object is.

use std::str::FromStr;

use async_graphql::{Context, ID, Interface, Result};

use super::context::CallContext as _;
use super::object::{
    ApiKey, Delivery, DeliveryAttempt, Event, EventType, Replay, WebhookEndpoint, WebhookSubscription, Workspace,
};
use crate::app;
use crate::app::workspace::WorkspaceRef;

/// An object with a global ID.
#[derive(Interface)]
#[expect(clippy::large_enum_variant, reason = "made for one answer and gone with it")]
#[graphql(field(
    name = "id",
    ty = "ID",
    desc = "Global ID: a type prefix and a UUIDv7 in base32, such as `sub_01jd2x3k9me8w9v7z3n5q0r4ty`. Treat it as opaque."
))]
pub(crate) enum Node {
    ApiKey(ApiKey),
    Delivery(Delivery),
    DeliveryAttempt(DeliveryAttempt),
    Event(Event),
    EventType(EventType),
    Replay(Replay),
    WebhookEndpoint(WebhookEndpoint),
    WebhookSubscription(WebhookSubscription),
    Workspace(Workspace),
}

/// The text form of an ID.
pub(crate) fn id(id: &impl ToString) -> ID {
    ID(id.to_string())
}

/// Reads an ID. What is no ID of the wanted kind is none: nobody has such an object.
pub(crate) fn parse<I: FromStr>(id: &ID) -> Option<I> {
    id.parse().ok()
}

/// Reads a list of IDs, leaving out what is none.
pub(crate) fn parse_all<I: FromStr>(ids: &[ID]) -> Vec<I> {
    ids.iter().filter_map(parse).collect()
}

/// The object with this ID, if there is one and the caller can see it.
pub(crate) async fn find(ctx: &Context<'_>, id: &ID) -> Result<Option<Node>> {
    let (state, caller) = (ctx.app()?, ctx.caller()?);
    macro_rules! find {
        ($find:path, $object:ident) => {
            match parse(id) {
                Some(id) => $find(state, caller, id).await?.map(|row| Node::$object($object::from(row))),
                None => None,
            }
        };
    }
    Ok(match id.split_once('_').map(|(prefix, _)| prefix) {
        Some("ws") => {
            let named = WorkspaceRef::Id(id.to_string());
            app::workspace::find(state, caller, &named).await?.map(|row| Node::Workspace(Workspace(row)))
        }
        Some("ety") => match parse(id) {
            Some(id) => app::event_type::find_by_id(state, id).await?.map(|row| Node::EventType(EventType(row))),
            None => None,
        },
        Some("key") => find!(app::api_key::find, ApiKey),
        Some("ep") => find!(app::endpoint::find, WebhookEndpoint),
        Some("sub") => find!(app::subscription::find, WebhookSubscription),
        Some("evt") => find!(app::event::find, Event),
        Some("dlv") => find!(app::delivery::find, Delivery),
        Some("att") => find!(app::delivery::find_attempt, DeliveryAttempt),
        Some("rpl") => find!(app::replay::find, Replay),
        _ => None,
    })
}
