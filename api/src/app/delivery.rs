//! Deliveries: reading them, trying one again, stopping and deleting one.

use angarium_dispatcher::{Cancel, RetryError};
use angarium_entity::api_key::Scope;
use angarium_entity::confirmation::{SENT_MAX, SENT_WITHIN};
use angarium_entity::event_type::reserved::SUBSCRIPTION_CONFIRMATION;
use angarium_entity::{AttemptId, DeliveryId, Timestamp, attempt, confirmation, delivery, endpoint, subscription};
use async_graphql::Enum;
use sea_orm::{ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter};

use super::reach::{Reach, within};
use super::{AppError, Path, Problem, Refusal};
use crate::{AppState, Caller};

mod list;
mod stats;
pub mod updates;

pub use list::{Filter, Parent, Sort};
pub use stats::{Bucket, Question, Stats, stats};

/// Kinds of problem with delivery input. New values may be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(name = "DeliveryErrorCode")]
pub enum ErrorCode {
    /// The filter needs a range of at most 30 days, or chooses more than a replay takes.
    FilterTooBroad,
    /// The value is malformed.
    Invalid,
    /// A limit of the workspace is reached.
    LimitReached,
    /// The delivery reached a final status, or the replay has ended.
    NotCancelable,
    /// No such object in this workspace.
    NotFound,
    /// The delivery is pending, in flight or has no payload or endpoint any more.
    NotRetryable,
    /// The subscription was deleted.
    SubscriptionGone,
    /// The list is too long.
    TooMany,
}

const CANCELED: &str = "Canceled by a caller.";

/// What holds a delivery, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The kind.
    pub reason: HoldReason,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
}

/// Kinds of hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(name = "DeliveryHoldReason")]
pub enum HoldReason {
    /// The circuit breaker of the endpoint is open; `until` is null while its probe is awaited.
    CircuitOpen,
    /// The endpoint is paused by its owner.
    EndpointPaused,
    /// The endpoint is suspended by the server.
    EndpointSuspended,
    /// An earlier delivery of a STRICT endpoint is not final.
    Line,
    /// The rate limit of the endpoint.
    RateLimit,
    /// The endpoint asked to wait (`Retry-After`).
    RetryAfter,
    /// The subscription is disabled.
    SubscriptionDisabled,
    /// The subscription waits for its endpoint to confirm it.
    SubscriptionUnconfirmed,
}

/// All that a delivery may have to wait for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Around<'a> {
    /// The endpoint; none once deleted.
    pub endpoint: Option<&'a endpoint::Model>,
    /// The subscription; none once deleted.
    pub subscription: Option<&'a subscription::Model>,
    /// Where its STRICT line begins.
    pub front: Option<Front>,
    /// Until when the endpoint waits for its rate limit.
    pub limited_until: Option<Timestamp>,
    /// When the circuit breaker of the endpoint lets the next probe through; none while it is closed.
    pub probe_at: Option<Timestamp>,
    /// Whether a request of the delivery is running.
    pub in_flight: bool,
}

/// Where a STRICT line begins: the places of its first deliveries, those of disabled subscriptions left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Front {
    /// The first that was tried and failed.
    pub begun: Option<i64>,
    /// The first that waits to be tried again, or was asked for by hand.
    pub again: Option<i64>,
    /// The first that was never tried.
    pub fresh: Option<i64>,
}

impl Front {
    /// Whether another delivery has to be final before this one starts.
    fn is_before(self, delivery: &delivery::Model) -> bool {
        let head = self.begun.or_else(|| [self.again, self.fresh].into_iter().flatten().min());
        head.is_some_and(|head| head != delivery.seq)
    }
}

/// What holds an open delivery although it may be due. What a person has to end comes first.
pub fn held_by(delivery: &delivery::Model, around: Around<'_>, now: Timestamp) -> Option<Hold> {
    if !delivery.status.is_open() {
        return None;
    }
    let Around { endpoint, subscription, .. } = around;
    let hold = |reason| Some(Hold { reason, until: None });
    match endpoint.map(|endpoint| endpoint.status) {
        Some(endpoint::Status::Paused) => return hold(HoldReason::EndpointPaused),
        Some(endpoint::Status::Suspended) => return hold(HoldReason::EndpointSuspended),
        Some(endpoint::Status::Active) | None => {}
    }
    // What asks for the confirmation goes out in any case.
    match subscription.filter(|_| delivery.event_type != SUBSCRIPTION_CONFIRMATION) {
        Some(subscription) if !subscription.enabled => return hold(HoldReason::SubscriptionDisabled),
        Some(subscription) if subscription.is_pending() => return hold(HoldReason::SubscriptionUnconfirmed),
        _ => {}
    }
    if let Some(until) = endpoint.and_then(|endpoint| endpoint.held_until).filter(|until| *until > now) {
        return Some(Hold { reason: HoldReason::RetryAfter, until: Some(until) });
    }
    if around.in_flight || delivery.next_attempt_at.is_some_and(|at| at > now) {
        return None;
    }
    if let Some(at) = around.probe_at {
        return Some(Hold { reason: HoldReason::CircuitOpen, until: Some(at).filter(|at| *at > now) });
    }
    if around.front.is_some_and(|front| front.is_before(delivery)) {
        return hold(HoldReason::Line);
    }
    let until = around.limited_until.filter(|until| *until > now)?;
    Some(Hold { reason: HoldReason::RateLimit, until: Some(until) })
}

/// Tries a delivery again now.
///
/// # Errors
/// [`Refusal`].
pub async fn retry(state: &AppState, caller: &Caller, id: &str) -> Result<delivery::Model, Refusal<ErrorCode>> {
    caller.require(Scope::DeliveryWrite)?;
    let row = look(state, caller, id).await?;
    refuse_gone(state, &row).await?;
    state.dispatcher.retry(row.workspace_id, row.id).await.map_err(|error| match error {
        RetryError::NotFound => Problem::not_found(ErrorCode::NotFound, Path::argument("id")).into(),
        RetryError::NotRetryable(_) => {
            Problem { code: ErrorCode::NotRetryable, message: error.to_string(), field: Path::argument("id") }.into()
        }
        RetryError::Database(error) => Refusal::Error(error.into()),
    })
}

/// Stops an open delivery. A request that runs is recorded when it ends, and decides nothing any more.
///
/// # Errors
/// [`Refusal`].
pub async fn cancel(state: &AppState, caller: &Caller, id: &str) -> Result<delivery::Model, Refusal<ErrorCode>> {
    caller.require(Scope::DeliveryWrite)?;
    let row = look(state, caller, id).await?;
    let count = state.dispatcher.cancel(row.workspace_id, Cancel::Delivery(row.id), CANCELED).await?;
    let row = look(state, caller, id).await?;
    if count == 0 {
        let message = format!("is {}, which is final", row.status.name());
        return Err(Problem { code: ErrorCode::NotCancelable, message, field: Path::argument("id") }.into());
    }
    Ok(row)
}

/// Deletes a delivery with its attempts, and answers its ID.
///
/// # Errors
/// [`Refusal`].
pub async fn delete(state: &AppState, caller: &Caller, id: &str) -> Result<DeliveryId, Refusal<ErrorCode>> {
    caller.require(Scope::DeliveryWrite)?;
    let row = look(state, caller, id).await?;
    if state.dispatcher.delete_delivery(row.workspace_id, row.id).await? {
        return Ok(row.id);
    }
    Err(Problem::not_found(ErrorCode::NotFound, Path::argument("id")).into())
}

async fn look(state: &AppState, caller: &Caller, id: &str) -> Result<delivery::Model, Refusal<ErrorCode>> {
    let not_found = || Problem::not_found(ErrorCode::NotFound, Path::argument("id"));
    let id: DeliveryId = id.parse().map_err(|_| not_found())?;
    let select = within!(delivery, Reach::of(caller)?).filter(delivery::Column::Id.eq(id));
    Ok(select.one(state.db.read()).await?.ok_or_else(not_found)?)
}

/// What has no subscription or no endpoint any more would never be sent.
async fn refuse_gone(state: &AppState, row: &delivery::Model) -> Result<(), Refusal<ErrorCode>> {
    let refused =
        |code, message: &str| Err(Problem { code, message: message.to_owned(), field: Path::argument("id") }.into());
    let live = subscription::Entity::of(row.workspace_id).filter(subscription::Column::Id.eq(row.subscription_id));
    match live.one(state.db.read()).await? {
        None => return refused(ErrorCode::SubscriptionGone, "is of a subscription that was deleted"),
        Some(live) if live.is_expired(state.now()) => {
            return refused(ErrorCode::NotRetryable, "is of a subscription that is expired; renew that first");
        }
        Some(_) => {}
    }
    if row.event_type == SUBSCRIPTION_CONFIRMATION {
        refuse_asking(state, row).await?;
    }
    let live = endpoint::Entity::of(row.workspace_id).filter(endpoint::Column::Id.eq(row.endpoint_id));
    if live.one(state.db.read()).await?.is_none() {
        return refused(ErrorCode::NotRetryable, "was to an endpoint that was deleted");
    }
    Ok(())
}

/// A message that asks for a confirmation goes out by hand as often a day as others may, and not again where it arrived.
async fn refuse_asking(state: &AppState, row: &delivery::Model) -> Result<(), Refusal<ErrorCode>> {
    use attempt::{Column, Trigger};
    let refused = |code, message: String| Err(Problem { code, message, field: Path::argument("id") }.into());
    let instead = "`webhookSubscriptionConfirmationResend` sends another";
    let message = confirmation::Entity::find_by_id(row.event_id).one(state.db.read()).await?;
    // Whether or not a sweep has ended it yet.
    let is_over = |end: Timestamp| end <= state.now();
    if message.is_none_or(|message| message.ended_at.is_some() || message.expires_at.is_some_and(is_over)) {
        return refused(ErrorCode::NotRetryable, format!("is of a message that confirms nothing any more; {instead}"));
    }
    if row.status == delivery::Status::Succeeded {
        return refused(ErrorCode::NotRetryable, format!("is of a message that arrived; {instead}"));
    }
    let now = state.now();
    let by_hand = attempt::Entity::find()
        .filter(Column::DeliveryId.eq(row.id))
        .filter(Column::Trigger.eq(Trigger::Manual))
        .filter(Column::StartedAt.gt(now - SENT_WITHIN))
        .count(state.db.read())
        .await?;
    if by_hand >= SENT_MAX as u64 {
        return refused(ErrorCode::LimitReached, format!("was asked for {SENT_MAX} times within a day"));
    }
    Ok(())
}

/// The delivery with this ID, if the caller can see it.
///
/// # Errors
/// [`AppError`].
pub async fn find(state: &AppState, caller: &Caller, id: DeliveryId) -> Result<Option<delivery::Model>, AppError> {
    caller.require(Scope::DeliveryRead)?;
    let select = within!(delivery, Reach::of(caller)?).filter(delivery::Column::Id.eq(id));
    Ok(select.one(state.db.read()).await?)
}

/// The attempt with this ID, if the caller can see it.
///
/// # Errors
/// [`AppError`].
pub async fn find_attempt(
    state: &AppState,
    caller: &Caller,
    id: AttemptId,
) -> Result<Option<attempt::Model>, AppError> {
    caller.require(Scope::DeliveryRead)?;
    let mut select = attempt::Entity::find_by_id(id);
    if let Reach::One(workspace) = Reach::of(caller)? {
        select = select.filter(attempt::Column::WorkspaceId.eq(workspace));
    }
    Ok(select.one(state.db.read()).await?)
}
