//! Conditions on lists. All that are given must hold; a list means one of its entries, and takes at most 100. A text
//! is as long as what it is compared with can be.

use angarium_entity::endpoint::url;
use angarium_entity::event::CHANNEL_LEN_MAX;
use angarium_entity::idempotency_key;
use angarium_entity::subscription::OWNER_ID_LEN_MAX;
use async_graphql::{ID, InputObject};

use crate::app::event_type::SERVICE_LEN_MAX;
use crate::app::filter::{bounded, bounded_text, check_search, type_name};
use crate::app::subscription::Status;
use crate::app::workspace::NAME_LEN_MAX;
use crate::app::{AppError, delivery, endpoint, event, event_type, subscription};
use crate::graphql::node::{parse, parse_all};
use crate::graphql::object::enums::{
    DeliveryStatus, DeliveryTrigger, WebhookEndpointHealthStatus, WebhookEndpointStatus,
};
use crate::graphql::page::DateTimeRange;
use crate::graphql::scalar::{EventTypeName, EventTypePattern};

/// Conditions on webhook subscriptions; all given ones must hold. In the list of a workspace that has more than 10,000,
/// all but `ids`, `endpointId`, `name` and `ownerId` need one of these, `createdAt` only in another order than by it; else
/// FILTER_TOO_BROAD. Live streams need none of that.
#[derive(Clone, Debug, Default, InputObject)]
pub(crate) struct WebhookSubscriptionWhere {
    /// Exactly this name, at most 256 characters.
    name: Option<String>,
    /// Exactly this owner, at most 256 characters.
    owner_id: Option<String>,
    /// Created in this range.
    created_at: Option<DateTimeRange>,
    /// Switched on or off by the owner.
    enabled: Option<bool>,
    /// Delivers to this endpoint.
    endpoint_id: Option<ID>,
    /// Subscribed to this event type, directly or by pattern; a name, and no pattern.
    event_type: Option<EventTypeName>,
    /// Expires in this range.
    expires_at: Option<DateTimeRange>,
    /// One of these IDs, at most 100.
    ids: Option<Vec<ID>>,
    /// Subscribed to this channel by name, at most 128 characters.
    channel: Option<String>,
    /// Text in name, description or URL, 3 to 256 characters. Letters of every script are found in upper and lower case,
    /// one by one; `ä` finds `Ä`, and `ß` does not find `SS`.
    search: Option<String>,
    /// Subscribed to an event type of this service, at most 128 characters.
    service: Option<String>,
    /// One of these statuses.
    status: Option<Vec<Status>>,
}

impl WebhookSubscriptionWhere {
    /// Reads it.
    pub(crate) fn parse(self) -> Result<subscription::Filter, AppError> {
        Ok(subscription::Filter {
            name: bounded_text("name", self.name, NAME_LEN_MAX)?,
            owner_id: bounded_text("ownerId", self.owner_id, OWNER_ID_LEN_MAX)?,
            created_at: DateTimeRange::parse(self.created_at.as_ref())?,
            enabled: self.enabled,
            endpoint_ids: one(self.endpoint_id.as_ref()),
            event_type: type_name("eventType", self.event_type.map(|name| name.0))?,
            expires_at: DateTimeRange::parse(self.expires_at.as_ref())?,
            ids: many(self.ids)?,
            channel: bounded_text("channel", self.channel, CHANNEL_LEN_MAX)?,
            search: searched(self.search)?,
            service: bounded_text("service", self.service, SERVICE_LEN_MAX)?,
            status: bounded("status", self.status)?,
        })
    }
}

/// Conditions on webhook endpoints; all given ones must hold. In the list of a workspace that has more than 10,000, all
/// but `ids` and `name` need one of these, `createdAt` only in another order than by it; else FILTER_TOO_BROAD. Live
/// streams need none of that.
#[derive(Clone, Debug, Default, InputObject)]
pub(crate) struct WebhookEndpointWhere {
    /// Has a subscription to this channel by name, at most 128 characters.
    channel: Option<String>,
    /// Exactly this name, at most 256 characters.
    name: Option<String>,
    /// One of these statuses.
    status: Option<Vec<WebhookEndpointStatus>>,
    /// Exactly this URL, at most 2083 characters.
    url: Option<String>,
    /// Created in this range.
    created_at: Option<DateTimeRange>,
    /// One of these IDs, at most 100.
    ids: Option<Vec<ID>>,
    /// One of these health summaries.
    health: Option<Vec<WebhookEndpointHealthStatus>>,
    /// Text in name, description or URL, 3 to 256 characters. Letters of every script are found in upper and lower case,
    /// one by one; `ä` finds `Ä`, and `ß` does not find `SS`.
    search: Option<String>,
}

impl WebhookEndpointWhere {
    /// Reads it.
    pub(crate) fn parse(self) -> Result<endpoint::Filter, AppError> {
        Ok(endpoint::Filter {
            channel: bounded_text("channel", self.channel, CHANNEL_LEN_MAX)?,
            name: bounded_text("name", self.name, NAME_LEN_MAX)?,
            status: remote(bounded("status", self.status)?),
            url: bounded_text("url", self.url, url::LEN_MAX)?,
            created_at: DateTimeRange::parse(self.created_at.as_ref())?,
            ids: many(self.ids)?,
            health: remote(bounded("health", self.health)?),
            search: searched(self.search)?,
        })
    }
}

/// Conditions on event types; all given ones must hold. In a catalogue of more than 10,000 `search` and `archived: true`
/// need `service`; else FILTER_TOO_BROAD.
#[derive(Clone, Debug, InputObject)]
pub(crate) struct EventTypeWhere {
    /// Whether archived; null for both.
    #[graphql(default_with = "Some(false)")]
    archived: Option<bool>,
    /// Text in name or description, 3 to 256 characters. Letters of every script are found in upper and lower case, one
    /// by one; `ä` finds `Ä`, and `ß` does not find `SS`.
    search: Option<String>,
    /// Emitted by this service, at most 128 characters.
    service: Option<String>,
}

impl Default for EventTypeWhere {
    fn default() -> Self {
        Self { archived: Some(false), search: None, service: None }
    }
}

impl EventTypeWhere {
    /// Reads it.
    pub(crate) fn parse(self) -> Result<event_type::Filter, AppError> {
        Ok(event_type::Filter {
            archived: self.archived,
            search: searched(self.search)?,
            service: bounded_text("service", self.service, SERVICE_LEN_MAX)?,
        })
    }
}

/// Conditions on events; all given ones must hold. In lists, `channel` and patterns need `ids`, `idempotencyKey` or a
/// `createdAt` range of at most 7 days (up to now, when it has no end); else FILTER_TOO_BROAD. Live streams read only
/// what happens and need none of that.
#[derive(Clone, Debug, Default, InputObject)]
pub(crate) struct EventWhere {
    /// Accepted in this range.
    created_at: Option<DateTimeRange>,
    /// One of these event types, at most 100; patterns allowed.
    event_type: Option<Vec<EventTypePattern>>,
    /// Has this idempotency key, at most 256 characters.
    idempotency_key: Option<String>,
    /// One of these IDs, at most 100.
    ids: Option<Vec<ID>>,
    /// Belongs to this channel, at most 128 characters.
    channel: Option<String>,
    /// Whether sent as a test.
    test: Option<bool>,
}

impl EventWhere {
    /// Reads it.
    pub(crate) fn parse(self) -> Result<event::Filter, AppError> {
        Ok(event::Filter {
            created_at: DateTimeRange::parse(self.created_at.as_ref())?,
            event_types: patterns(self.event_type)?,
            idempotency_key: bounded_text("idempotencyKey", self.idempotency_key, idempotency_key::LEN_MAX)?,
            ids: many(self.ids)?,
            channel: bounded_text("channel", self.channel, CHANNEL_LEN_MAX)?,
            test: self.test,
        })
    }
}

/// Conditions on deliveries; all given ones must hold. In lists, `responseStatusCode`, `trigger`, `channel` and patterns
/// need an endpoint, subscription, event, replay or IDs, or a `createdAt` range of at most 7 days (up to now, when it
/// has no end); else FILTER_TOO_BROAD. Live streams read only what happens and need none of that.
#[derive(Clone, Debug, Default, InputObject)]
pub(crate) struct DeliveryWhere {
    /// The event belongs to this channel, at most 128 characters.
    channel: Option<String>,
    /// Last attempt in this range; a list needs `endpointId` or `subscriptionId` with it.
    last_attempt_at: Option<DateTimeRange>,
    /// Next attempt in this range; a list needs `endpointId` or `subscriptionId` with it.
    next_attempt_at: Option<DateTimeRange>,
    /// Created by this replay.
    replay_id: Option<ID>,
    /// Created in this range.
    created_at: Option<DateTimeRange>,
    /// Goes to this endpoint.
    endpoint_id: Option<ID>,
    /// Carries this event.
    event_id: Option<ID>,
    /// One of these event types, at most 100; patterns allowed.
    event_type: Option<Vec<EventTypePattern>>,
    /// One of these IDs, at most 100.
    ids: Option<Vec<ID>>,
    /// One of these HTTP statuses of the latest response.
    response_status_code: Option<Vec<i32>>,
    /// One of these statuses.
    status: Option<Vec<DeliveryStatus>>,
    /// Belongs to this subscription.
    subscription_id: Option<ID>,
    /// One of these triggers.
    trigger: Option<Vec<DeliveryTrigger>>,
}

impl DeliveryWhere {
    /// Reads it.
    pub(crate) fn parse(self) -> Result<delivery::Filter, AppError> {
        Ok(delivery::Filter {
            channel: bounded_text("channel", self.channel, CHANNEL_LEN_MAX)?,
            last_attempt_at: DateTimeRange::parse(self.last_attempt_at.as_ref())?,
            next_attempt_at: DateTimeRange::parse(self.next_attempt_at.as_ref())?,
            replay_ids: one(self.replay_id.as_ref()),
            created_at: DateTimeRange::parse(self.created_at.as_ref())?,
            endpoint_ids: one(self.endpoint_id.as_ref()),
            event_ids: one(self.event_id.as_ref()),
            subscription_ids: one(self.subscription_id.as_ref()),
            event_types: patterns(self.event_type)?,
            ids: many(self.ids)?,
            response_status_codes: bounded("responseStatusCode", self.response_status_code)?,
            status: remote(bounded("status", self.status)?),
            triggers: remote(bounded("trigger", self.trigger)?),
        })
    }
}

fn searched(text: Option<String>) -> Result<Option<String>, AppError> {
    text.as_deref().map_or(Ok(()), check_search)?;
    Ok(text)
}

/// An ID that is none of the wanted kind matches nothing, like one that nobody has.
fn one<I: std::str::FromStr>(id: Option<&ID>) -> Option<Vec<I>> {
    id.map(|id| parse(id).into_iter().collect())
}

fn many<I: std::str::FromStr>(ids: Option<Vec<ID>>) -> Result<Option<Vec<I>>, AppError> {
    Ok(bounded("ids", ids)?.map(|ids| parse_all(&ids)))
}

fn patterns(patterns: Option<Vec<EventTypePattern>>) -> Result<Option<Vec<String>>, AppError> {
    Ok(bounded("eventType", patterns)?.map(|patterns| patterns.into_iter().map(|pattern| pattern.0).collect()))
}

fn remote<G: Into<E>, E>(values: Option<Vec<G>>) -> Option<Vec<E>> {
    values.map(|values| values.into_iter().map(Into::into).collect())
}
