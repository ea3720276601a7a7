//! Publishing, and reading what was published.

use std::time::Duration;

use angarium_dispatcher::{Cancel, NewEvent, PublishError, Published, is_connection_lost};
use angarium_entity::api_key::Scope;
use angarium_entity::event::{self, CHANNEL_LEN_MAX, CHANNELS_MAX, PAYLOAD_BYTES_MAX};
use angarium_entity::event_type::{NAME_LEN_MAX, is_reserved, is_valid_name};
use angarium_entity::idempotency_key;
use angarium_entity::{EventId, Timestamp, TraceContext};
use async_graphql::Enum;
use sea_orm::{ColumnTrait as _, QueryFilter as _};

use super::problem::CommonCode;
use super::reach::{Reach, within};
use super::workspace::{self, WorkspaceRef};
use super::{AppError, Path, Problem, Problems, Refusal, event_type};
use crate::app::event_type::Catalogue;
use crate::{AppState, Caller};

mod list;
mod traced;

pub use list::{Filter, Sort};

/// How far ahead an event can be published.
pub const DELIVER_AHEAD_MAX: Duration = Duration::from_hours(30 * 24);
/// How often an event is checked again because the catalogue has changed meanwhile.
const CHECKS_MAX: usize = 8;
/// Events of a batch that are checked before others get their turn on the thread.
const CHECKED_AT_ONCE: usize = 16;
const CANCELED: &str = "The deliveries of the event were canceled by a caller.";

/// Kinds of problem with event input. New values may be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(name = "EventErrorCode")]
pub enum ErrorCode {
    /// The value is empty.
    Blank,
    /// The instant is more than 30 days ahead.
    DeliverAtTooFar,
    /// The idempotency key was used within the last 48 hours with an event that was deleted since.
    EventGone,
    /// The idempotency key was used with another event type, payload or channels.
    IdempotencyMismatch,
    /// The value is malformed.
    Invalid,
    /// No such object in this workspace.
    NotFound,
    /// The payload does not satisfy the schema of the event type.
    PayloadInvalid,
    /// The payload is too large.
    PayloadTooLarge,
    /// Event types of `angarium.*` are published by the server only.
    Reserved,
    /// The value is too long.
    TooLong,
    /// The list is too long.
    TooMany,
    /// The event type is not in the catalogue.
    UnknownEventType,
}

impl CommonCode for ErrorCode {
    const BLANK: Self = Self::Blank;
    const INVALID: Self = Self::Invalid;
    const TOO_LONG: Self = Self::TooLong;
}

/// An event to publish, as given.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Name of its type.
    pub event_type: String,
    /// The payload, as compact JSON text.
    pub payload: String,
    /// Channels that it belongs to.
    pub channels: Vec<String>,
    /// Deliver no earlier, in RFC 3339.
    pub deliver_at: Option<String>,
    /// When it happened, in RFC 3339.
    pub occurred_at: Option<String>,
    /// Makes the publish safe to repeat.
    pub idempotency_key: Option<String>,
    /// Its workspace; the caller's when absent.
    pub workspace: Option<WorkspaceRef>,
    /// What asks for it.
    pub trace: Option<TraceContext>,
}

/// What became of one event of a batch.
pub type Outcome = Result<Published, Vec<Problem<ErrorCode>>>;

/// Publishes one event. When this answers, it and its deliveries are committed.
///
/// # Errors
/// [`Refusal`].
pub async fn publish(state: &AppState, caller: &Caller, mut draft: Draft) -> Result<Published, Refusal<ErrorCode>> {
    caller.require(Scope::EventPublish)?;
    let span = traced::begin(&state.tracer, &mut draft);
    let published = publish_one(state, caller, draft).await;
    traced::end(span, &published);
    published
}

async fn publish_one(state: &AppState, caller: &Caller, draft: Draft) -> Result<Published, Refusal<ErrorCode>> {
    let field = Path::argument("input");
    for _ in 0..CHECKS_MAX {
        let catalogue = state.event_types.look_up(state.db.read(), [draft.event_type.as_str()]).await?;
        let checked = check(state, caller, draft.clone(), &field, &catalogue).await?;
        if is_invalid(&checked) && !state.event_types.is_current(state.db.read(), &catalogue).await? {
            state.event_types.forget();
            continue;
        }
        let new = checked.map_err(Refusal::Problems)?;
        match state.dispatcher.publish(new).await {
            Err(PublishError::CatalogueChanged) => state.event_types.forget(),
            published => return settle(published, &field)?.map_err(Refusal::Problems),
        }
    }
    Err(catalogue_restless().into())
}

/// Publishes events together. Each is taken or refused on its own; the outcomes have the order of the drafts.
///
/// # Errors
/// [`Refusal`], when there are too many, or when the server fails.
pub async fn publish_batch(
    state: &AppState,
    caller: &Caller,
    mut drafts: Vec<Draft>,
) -> Result<Vec<Outcome>, Refusal<ErrorCode>> {
    caller.require(Scope::EventPublish)?;
    let inputs = Path::argument("inputs");
    let batch_max = state.limits.batch_max;
    if drafts.len() > batch_max {
        let message = format!("holds more than {batch_max} events");
        return Err(Problem { code: ErrorCode::TooMany, message, field: inputs }.into());
    }
    let spans = traced::begin_all(&state.tracer, &mut drafts);
    let published = publish_all(state, caller, &drafts, &inputs).await;
    traced::end_all(spans, &published);
    published
}

async fn publish_all(
    state: &AppState,
    caller: &Caller,
    drafts: &[Draft],
    inputs: &Path,
) -> Result<Vec<Outcome>, Refusal<ErrorCode>> {
    for _ in 0..CHECKS_MAX {
        let names = drafts.iter().map(|draft| draft.event_type.as_str());
        let catalogue = state.event_types.look_up(state.db.read(), names).await?;
        let mut checked = Vec::with_capacity(drafts.len());
        for (index, draft) in drafts.iter().enumerate() {
            let field = inputs.item(index);
            checked.push(match check(state, caller, draft.clone(), &field, &catalogue).await {
                // The others say where they belong.
                Err(AppError::WorkspaceRequired(_)) => Err(vec![nowhere(field.at("workspace"))]),
                other => other?,
            });
            if index % CHECKED_AT_ONCE == CHECKED_AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
        }
        let is_any_invalid = checked.iter().any(is_invalid);
        if is_any_invalid && !state.event_types.is_current(state.db.read(), &catalogue).await? {
            state.event_types.forget();
            continue;
        }
        let new = checked.iter().filter_map(|outcome| outcome.as_ref().ok().cloned()).collect();
        let published = state.dispatcher.publish_batch(new).await;
        // They were checked by one version, so that none of them is published then.
        if published.iter().any(|result| matches!(result, Err(PublishError::CatalogueChanged))) {
            state.event_types.forget();
            continue;
        }
        return settle_batch(checked, published, inputs);
    }
    Err(catalogue_restless().into())
}

/// What an operator is told of an event of a batch that names no workspace.
fn nowhere(field: Path) -> Problem<ErrorCode> {
    let message = "is missing; a key of the operator says where each event belongs".to_owned();
    Problem { code: ErrorCode::Blank, message, field }
}

/// Whether a schema forbids the payload.
fn is_invalid(checked: &Result<NewEvent, Vec<Problem<ErrorCode>>>) -> bool {
    let Err(problems) = checked else { return false };
    problems.iter().any(|problem| problem.code == ErrorCode::PayloadInvalid)
}

/// The outcomes of a batch, of which the dispatcher has seen those that passed the checks.
fn settle_batch(
    checked: Vec<Result<NewEvent, Vec<Problem<ErrorCode>>>>,
    published: Vec<Result<Published, PublishError>>,
    inputs: &Path,
) -> Result<Vec<Outcome>, Refusal<ErrorCode>> {
    let mut published = published.into_iter();
    checked
        .into_iter()
        .enumerate()
        .map(|(index, outcome)| match outcome {
            Ok(_) => match published.next() {
                Some(result) => settle(result, &inputs.item(index)).map_err(Refusal::Error),
                None => Err(AppError::Inconsistent("the dispatcher lost an event of a batch".to_owned()).into()),
            },
            Err(problems) => Ok(Err(problems)),
        })
        .collect()
}

/// Tells what is wrong with a draft, or makes it ready for the dispatcher.
async fn check(
    state: &AppState,
    caller: &Caller,
    draft: Draft,
    field: &Path,
    catalogue: &Catalogue,
) -> Result<Result<NewEvent, Vec<Problem<ErrorCode>>>, AppError> {
    let mut problems = Problems::default();
    let schema = catalogue.schema(&draft.event_type);
    check_type(&field.at("eventType"), &draft.event_type, schema.is_some(), &mut problems);
    if draft.payload.len() > PAYLOAD_BYTES_MAX {
        let message = format!("has {} bytes; at most {PAYLOAD_BYTES_MAX} are taken", draft.payload.len());
        problems.add(ErrorCode::PayloadTooLarge, &field.at("payload"), message);
    } else if let Some(Some(schema)) = schema {
        let found = event_type::violations(schema, &draft.payload).await;
        event_type::tell(ErrorCode::PayloadInvalid, &field.at("payload"), found, &mut problems);
    }
    let channels = check_channels(&field.at("channels"), draft.channels, &mut problems);
    let occurred_at = check_instant(&field.at("occurredAt"), draft.occurred_at, &mut problems);
    let deliver_at = check_instant(&field.at("deliverAt"), draft.deliver_at, &mut problems);
    if deliver_at.is_some_and(|at| at > state.now() + DELIVER_AHEAD_MAX) {
        problems.add(ErrorCode::DeliverAtTooFar, &field.at("deliverAt"), "is more than 30 days ahead");
    }
    let idempotency_key =
        problems.optional_text(&field.at("idempotencyKey"), draft.idempotency_key, idempotency_key::LEN_MAX);
    let workspace_id = workspace::target(state, caller, draft.workspace.as_ref()).await?;
    if workspace_id.is_none() {
        problems.add(ErrorCode::NotFound, &field.at("workspace"), "does not exist");
    }
    let new = workspace_id.map(|workspace_id| NewEvent {
        workspace_id,
        event_type: draft.event_type,
        payload: draft.payload,
        channels,
        catalogue_version: catalogue.version,
        occurred_at,
        idempotency_key,
        deliver_at,
        trace: draft.trace,
    });
    Ok(problems.unless_any(new))
}

fn check_type(field: &Path, name: &str, is_known: bool, problems: &mut Problems<ErrorCode>) {
    if name.is_empty() {
        problems.add(ErrorCode::Blank, field, "is empty");
    } else if name.len() > NAME_LEN_MAX {
        problems.add(ErrorCode::TooLong, field, format!("is longer than {NAME_LEN_MAX} characters"));
    } else if !is_valid_name(name) {
        problems.add(ErrorCode::Invalid, field, "holds other characters than `A-Z a-z 0-9 . _ -`");
    } else if is_reserved(name) {
        problems.add(ErrorCode::Reserved, field, "is published by the server only");
    } else if !is_known {
        problems.add(ErrorCode::UnknownEventType, field, format!("`{name}` is not in the catalogue"));
    }
}

fn check_instant(field: &Path, text: Option<String>, problems: &mut Problems<ErrorCode>) -> Option<Timestamp> {
    match Timestamp::parse_rfc3339(&text?) {
        Ok(instant) => Some(instant),
        Err(message) => {
            problems.add(ErrorCode::Invalid, field, format!("is {message}"));
            None
        }
    }
}

fn check_channels(field: &Path, channels: Vec<String>, problems: &mut Problems<ErrorCode>) -> Vec<String> {
    if channels.len() > CHANNELS_MAX {
        problems.add(ErrorCode::TooMany, field, format!("holds more than {CHANNELS_MAX} channels"));
        return Vec::new();
    }
    let mut kept = Vec::with_capacity(channels.len());
    for (index, channel) in channels.into_iter().enumerate() {
        if let Some(channel) = problems.text(&field.item(index), channel, CHANNEL_LEN_MAX)
            && !kept.contains(&channel)
        {
            kept.push(channel);
        }
    }
    kept
}

/// Sorts the answer of the dispatcher into what its caller can put right and what not.
fn settle(answer: Result<Published, PublishError>, field: &Path) -> Result<Outcome, AppError> {
    let refused =
        |code, field: Path, message: &str| Ok(Err(vec![Problem { code, message: message.to_owned(), field }]));
    match answer {
        Ok(published) => {
            tracing::debug!(event = %published.event.id, duplicate = published.duplicate, "an event was published");
            Ok(Ok(published))
        }
        Err(PublishError::IdempotencyMismatch) => refused(
            ErrorCode::IdempotencyMismatch,
            field.at("idempotencyKey"),
            "was used with another event type, payload or channels",
        ),
        Err(PublishError::EventGone) => refused(
            ErrorCode::EventGone,
            field.at("idempotencyKey"),
            "was used with an event that was deleted since; to publish it again use another key",
        ),
        Err(PublishError::UnknownWorkspace) => refused(ErrorCode::NotFound, field.at("workspace"), "does not exist"),
        Err(error) => Err(unpublished(error)),
    }
}

fn catalogue_restless() -> AppError {
    AppError::Inconsistent(format!("the catalogue changed {CHECKS_MAX} times while an event was being published"))
}

/// Why an event was not published, where its caller is not to blame.
pub(super) fn unpublished(error: PublishError) -> AppError {
    match error {
        PublishError::Overloaded { retry_after } => AppError::Overloaded { retry_after },
        PublishError::Stopping => AppError::Stopping,
        PublishError::Database(error) if is_connection_lost(&error) => AppError::DatabaseAway(Box::new(error)),
        other => AppError::Dispatcher(Box::new(other)),
    }
}

/// Cancels the open deliveries of an event, and answers how many they were.
///
/// # Errors
/// [`Refusal`].
pub async fn cancel(state: &AppState, caller: &Caller, id: &str) -> Result<(event::Model, u64), Refusal<ErrorCode>> {
    caller.require(Scope::DeliveryWrite)?;
    let not_found = || Problem::not_found(ErrorCode::NotFound, Path::argument("id"));
    let id: EventId = id.parse().map_err(|_| not_found())?;
    let select = within!(event, Reach::of(caller)?).filter(event::Column::Id.eq(id));
    let row = select.one(state.db.read()).await?.ok_or_else(not_found)?;
    let count = state.dispatcher.cancel(row.workspace_id, Cancel::Event(id), CANCELED).await?;
    Ok((row, count))
}

/// Deletes an event with its payload and deliveries, and answers its ID.
///
/// # Errors
/// [`Refusal`].
pub async fn delete(state: &AppState, caller: &Caller, id: &str) -> Result<EventId, Refusal<ErrorCode>> {
    caller.require(Scope::EventPublish)?;
    let not_found = || Problem::not_found(ErrorCode::NotFound, Path::argument("id"));
    let id: EventId = id.parse().map_err(|_| not_found())?;
    let select = within!(event, Reach::of(caller)?).filter(event::Column::Id.eq(id));
    let row = select.one(state.db.read()).await?.ok_or_else(not_found)?;
    if state.dispatcher.delete_event(row.workspace_id, id).await? { Ok(id) } else { Err(not_found().into()) }
}

/// The event with this ID, if the caller can see it.
///
/// # Errors
/// [`AppError`].
pub async fn find(state: &AppState, caller: &Caller, id: EventId) -> Result<Option<event::Model>, AppError> {
    caller.require(Scope::EventRead)?;
    let select = within!(event, Reach::of(caller)?).filter(event::Column::Id.eq(id));
    Ok(select.one(state.db.read()).await?)
}
