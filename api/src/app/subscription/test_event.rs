//! Trying a subscription out.

use std::sync::Arc;

use angarium_dispatcher::NewTest;
use angarium_entity::api_key::Scope;
use angarium_entity::event::PAYLOAD_BYTES_MAX;
use angarium_entity::event_type::{is_reserved, reserved};
use angarium_entity::subscription::event_filter::Pattern;
use angarium_entity::{SubscriptionId, TraceContext, delivery, event, subscription};
use sea_orm::{ColumnTrait as _, QueryFilter as _};

use super::ErrorCode;
use crate::app::reach::{Reach, within};
use crate::app::{AppError, Path, Problem, Problems, Refusal, event as events, event_type};
use crate::{AppState, Caller};

/// Sends a test event to one subscription: past filter, line and pause, once. Without a type it is the first that the
/// subscription names; without a payload it is the sample of the type, or `{}`.
///
/// # Errors
/// [`Refusal`].
pub async fn send_test(
    state: &AppState,
    caller: &Caller,
    id: &str,
    event_type: Option<String>,
    payload: Option<String>,
    trace: Option<TraceContext>,
) -> Result<(event::Model, delivery::Model), Refusal<ErrorCode>> {
    caller.require(Scope::WebhookSubscribe)?;
    let refused = |code, message: &str, field: &str| {
        Refusal::from(Problem { code, message: message.to_owned(), field: Path::argument(field) })
    };
    let not_found = || Problem::not_found(ErrorCode::NotFound, Path::argument("id"));
    let id: SubscriptionId = id.parse().map_err(|_| not_found())?;
    let select = within!(subscription, Reach::of(caller)?).filter(subscription::Column::Id.eq(id));
    let row = select.one(state.db.read()).await?.ok_or_else(not_found)?;
    if row.is_expired(state.now()) {
        return Err(refused(ErrorCode::Expired, "is expired; renew it first", "id"));
    }
    if row.is_pending() {
        return Err(refused(ErrorCode::Invalid, "is not confirmed by its endpoint yet", "id"));
    }
    let is_name = |text: &&String| matches!(Pattern::parse(text), Ok(Pattern::Exact(_)));
    let Some(name) = event_type.or_else(|| row.event_types.0.iter().find(is_name).cloned()) else {
        let message = "is missing, and the subscription has only patterns";
        return Err(refused(ErrorCode::Blank, message, "eventType"));
    };
    let found = event_type::find(state, &name).await?;
    let Some(found) = found else {
        return Err(refused(ErrorCode::UnknownEventType, "is not in the catalogue", "eventType"));
    };
    if name == reserved::SUBSCRIPTION_CONFIRMATION {
        let message =
            "asks for a confirmation and cannot be tried out; `webhookSubscriptionConfirmationResend` sends it";
        return Err(refused(ErrorCode::Invalid, message, "eventType"));
    }
    if payload.is_some() && is_reserved(&name) {
        let message = "cannot be given for a type of `angarium.*`, whose payloads are the server's";
        return Err(refused(ErrorCode::Invalid, message, "payload"));
    }
    if payload.as_ref().is_some_and(|payload| payload.len() > PAYLOAD_BYTES_MAX) {
        let message = format!("is longer than {PAYLOAD_BYTES_MAX} bytes");
        return Err(refused(ErrorCode::TooLong, &message, "payload"));
    }
    let payload = payload.or(found.sample_payload).unwrap_or_else(|| "{}".to_owned());
    if let Some(text) = found.schema {
        let schema = state.event_types.compile(text).await?.map_err(|_| {
            AppError::Inconsistent(format!("the stored schema of the event type `{}` does not compile", found.name))
        })?;
        let mut problems = Problems::default();
        let violations = event_type::violations(&schema, &payload).await;
        event_type::tell(ErrorCode::PayloadInvalid, &Path::argument("payload"), violations, &mut problems);
        problems.unless_any(Some(())).map_err(Refusal::Problems)?;
    }
    let mut span = state.tracer.publish(trace);
    let test = NewTest {
        workspace_id: row.workspace_id,
        subscription_id: row.id,
        endpoint_id: row.endpoint_id,
        event_type: found.name,
        payload,
        trace: span.context(),
    };
    let (event, delivery) = state.dispatcher.test(test).await.map_err(events::unpublished)?;
    span.published(&event, false);
    Ok((Arc::unwrap_or_clone(event), delivery))
}
