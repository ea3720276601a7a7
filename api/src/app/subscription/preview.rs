//! What a subscription would be sent, without sending it.

use angarium_dispatcher::render;
use angarium_dispatcher::signature::Signer;
use angarium_entity::api_key::Scope;
use angarium_entity::endpoint::{MASK, SignatureScheme};
use angarium_entity::event::PAYLOAD_BYTES_MAX;
use angarium_entity::json::StringList;
use angarium_entity::subscription::cel::{self, EvaluationError, Filter, Steps, Subject};
use angarium_entity::subscription::event_filter::Pattern;
use angarium_entity::{EventId, SubscriptionId, endpoint, event, signing_secret, subscription};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use tokio::sync::Semaphore;

use crate::app::reach::{Reach, within};
use crate::app::{AppError, event_type};
use crate::{AppState, Caller};

/// In place of a signature that the caller may not have.
const PLACEHOLDER: &str = MASK;
/// Filters that are tried at once, by all callers together.
const TRIED_AT_ONCE: usize = 1;
static TRIED: Semaphore = Semaphore::const_new(TRIED_AT_ONCE);

/// What to try, as given.
#[derive(Clone, Debug)]
pub struct PreviewDraft {
    /// The subscription.
    pub id: SubscriptionId,
    /// Name of the event type; the first that the subscription names when absent.
    pub event_type: Option<String>,
    /// A filter instead of the stored one.
    pub filter: Option<String>,
    /// The payload, as compact JSON text; the sample of the type, or `{}`, when absent.
    pub payload: Option<String>,
}

/// What would be sent.
#[derive(Clone, Debug)]
pub struct Preview {
    /// Where.
    pub endpoint: endpoint::Model,
    /// An event that is not stored.
    pub event: event::Model,
    /// Top-level payload fields to send.
    pub payload_fields: Option<StringList>,
    /// The signature header, or what stands for it.
    pub signature: Option<String>,
    /// What the filter says.
    pub verdict: Result<bool, EvaluationError>,
}

/// Renders the request that a subscription would be sent now, if the caller can see the subscription. Stores and sends
/// nothing.
///
/// # Errors
/// [`AppError`]: among others `BAD_USER_INPUT` for a filter that is none, and for a type that is missing or unknown.
pub async fn preview(state: &AppState, caller: &Caller, draft: PreviewDraft) -> Result<Option<Preview>, AppError> {
    caller.require(Scope::WebhookRead)?;
    let select = within!(subscription, Reach::of(caller)?).filter(subscription::Column::Id.eq(draft.id));
    let Some(row) = select.one(state.db.read()).await? else { return Ok(None) };
    let filter = match draft.filter.as_ref().or(row.filter.as_ref()) {
        Some(text) => Some(read(text)?),
        None => None,
    };
    let is_name = |text: &&String| matches!(Pattern::parse(text), Ok(Pattern::Exact(_)));
    let name = draft.event_type.or_else(|| row.event_types.0.iter().find(is_name).cloned());
    let name = name.ok_or_else(|| bad("`eventType` is missing, and the subscription has only patterns; name one"))?;
    let found = event_type::find(state, &name).await?;
    let found = found.ok_or_else(|| bad("`eventType` is not in the catalogue"))?;
    if draft.payload.as_ref().is_some_and(|payload| payload.len() > PAYLOAD_BYTES_MAX) {
        return Err(AppError::BadInput(format!("`payload` is longer than {PAYLOAD_BYTES_MAX} bytes")));
    }
    let select = endpoint::Entity::of(row.workspace_id).filter(endpoint::Column::Id.eq(row.endpoint_id));
    let lost = || AppError::Inconsistent(format!("{} has no endpoint", row.id));
    let endpoint = select.one(state.db.read()).await?.ok_or_else(lost)?;
    let now = state.now();
    let event = event::Model {
        id: EventId::new(now),
        workspace_id: row.workspace_id,
        event_type: found.name,
        payload: draft.payload.or(found.sample_payload).unwrap_or_else(|| "{}".to_owned()),
        channels: StringList::default(),
        idempotency_key: None,
        occurred_at: now,
        test: true,
        created_at: now,
        sealed: None,
        trace_parent: None,
        trace_state: None,
    };
    let verdict = match filter {
        Some(filter) => ask(filter, &event).await?,
        None => Ok(true),
    };
    let signature = if caller.require(Scope::WebhookSecretRead).is_ok() {
        sign(state, &endpoint, &event, row.payload_fields.as_ref()).await?
    } else {
        (endpoint.signature_scheme != SignatureScheme::None).then(|| PLACEHOLDER.to_owned())
    };
    Ok(Some(Preview { endpoint, event, payload_fields: row.payload_fields, signature, verdict }))
}

fn bad(message: &str) -> AppError {
    AppError::BadInput(message.to_owned())
}

fn read(text: &str) -> Result<Filter, AppError> {
    if text.chars().count() > cel::LEN_MAX {
        return Err(AppError::BadInput(format!("`filter` is longer than {} characters", cel::LEN_MAX)));
    }
    Filter::parse(text).map_err(|error| AppError::BadInput(format!("`filter` is no CEL condition: {error}")))
}

/// Filters that are tried wait for each other, so that however many are, they keep one core busy at most.
async fn ask(filter: Filter, event: &event::Model) -> Result<Result<bool, EvaluationError>, AppError> {
    let (event_type, payload) = (event.event_type.clone(), event.payload.clone());
    let _turn = TRIED.acquire().await.map_err(|_| AppError::Stopping)?;
    let asked = tokio::task::spawn_blocking(move || {
        filter.matches(&Subject::new(&event_type, &[], &payload), &mut Steps::default())
    });
    asked.await.map_err(|died| AppError::Inconsistent(format!("a filter was not tried to its end: {died}")))
}

async fn sign(
    state: &AppState,
    endpoint: &endpoint::Model,
    event: &event::Model,
    fields: Option<&StringList>,
) -> Result<Option<String>, AppError> {
    let select = signing_secret::Entity::find().filter(signing_secret::Column::EndpointId.eq(endpoint.id));
    let secrets = select.all(state.db.read()).await?;
    let signer = Signer::new(endpoint.signature_scheme, &secrets, &state.sealer)
        .map_err(|error| AppError::Inconsistent(format!("{} cannot sign: {error}", endpoint.id)))?;
    let body = render::body(endpoint.body_format, event, fields);
    Ok(signer.sign(&event.id.to_string(), event.created_at, &body))
}
