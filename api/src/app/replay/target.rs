//! Which past events are sent again: kept with the replay as it was given, and read again by its job.

use std::time::Duration;

use angarium_dispatcher::Candidates;
use angarium_entity::delivery::Status;
use angarium_entity::event_type::reserved::SUBSCRIPTION_CONFIRMATION;
use angarium_entity::{EventId, Timestamp, WorkspaceId, event, replay};
use sea_orm::{ColumnTrait as _, DbBackend, QueryFilter as _};
use serde::{Deserialize, Serialize};

use crate::AppState;
use crate::app::delivery::ErrorCode;
use crate::app::filter::{LIST_MAX, TimeRange, parse_patterns};
use crate::app::{AppError, Path, Problem, Problems, delivery, event as events};

/// Longest range of `createdAt`.
const RANGE_MAX: Duration = Duration::from_hours(30 * 24);

/// Past events, chosen in one way.
#[derive(Clone, Debug)]
pub enum Target {
    /// Those of these deliveries.
    Deliveries(delivery::Filter),
    /// These.
    EventIds(Vec<String>),
    /// Every one that matches.
    Events(events::Filter),
}

/// A target as it is kept.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Kept {
    Deliveries(delivery::Filter),
    Events(events::Filter),
}

impl Target {
    /// The text that is kept of it; none when something is wrong with it.
    pub(super) async fn check(
        self,
        state: &AppState,
        workspace: WorkspaceId,
        field: &Path,
        problems: &mut Problems<ErrorCode>,
    ) -> Result<Option<String>, AppError> {
        let kept = match self {
            Self::Deliveries(filter) => {
                let field = field.at("deliveries");
                check_range(filter.created_at, state.now(), &field, problems);
                check_patterns(filter.event_types.as_deref(), &field, problems);
                Kept::Deliveries(filter)
            }
            Self::Events(filter) => {
                let field = field.at("events");
                check_range(filter.created_at, state.now(), &field, problems);
                check_patterns(filter.event_types.as_deref(), &field, problems);
                Kept::Events(filter)
            }
            Self::EventIds(texts) => {
                let ids = check_events(state, workspace, &field.at("eventIds"), &texts, problems).await?;
                Kept::Events(events::Filter { ids: Some(ids), ..events::Filter::default() })
            }
        };
        let text = serde_json::to_string(&kept).map_err(|error| AppError::Inconsistent(error.to_string()))?;
        Ok(Some(text))
    }
}

fn check_range(range: TimeRange, now: Timestamp, field: &Path, problems: &mut Problems<ErrorCode>) {
    let length = TimeRange { lt: range.lt.or(Some(now)), ..range }.length();
    if length.is_none_or(|length| length > RANGE_MAX) {
        let message = "needs a `gte`, at most 30 days before `lt`, or before now when there is no `lt`";
        problems.add(ErrorCode::FilterTooBroad, &field.at("createdAt"), message);
    }
}

fn check_patterns(texts: Option<&[String]>, field: &Path, problems: &mut Problems<ErrorCode>) {
    if let Some(Err(AppError::BadInput(message))) = texts.map(parse_patterns) {
        problems.add(ErrorCode::Invalid, &field.at("eventType"), message);
    }
}

async fn check_events(
    state: &AppState,
    workspace: WorkspaceId,
    field: &Path,
    texts: &[String],
    problems: &mut Problems<ErrorCode>,
) -> Result<Vec<EventId>, AppError> {
    if texts.is_empty() {
        problems.add(ErrorCode::Invalid, field, "is empty; name at least one event");
    }
    if texts.len() > LIST_MAX {
        problems.add(ErrorCode::TooMany, field, format!("holds more than {LIST_MAX} events"));
        return Ok(Vec::new());
    }
    let ids: Vec<Option<EventId>> = texts.iter().map(|text| text.parse().ok()).collect();
    let found = event::Entity::of(workspace)
        .filter(event::Column::Id.is_in(ids.iter().flatten().copied()))
        .all(state.db.read())
        .await?;
    for (index, id) in ids.iter().enumerate() {
        match found.iter().find(|row| Some(row.id) == *id) {
            None => problems.push(Problem::not_found(ErrorCode::NotFound, field.item(index))),
            Some(row) if row.test => {
                problems.add(ErrorCode::Invalid, &field.item(index), "is a test event, which is not sent again");
            }
            Some(row) if row.event_type == SUBSCRIPTION_CONFIRMATION => {
                let message =
                    "asks for a confirmation and is not sent again; `webhookSubscriptionConfirmationResend` asks anew";
                problems.add(ErrorCode::Invalid, &field.item(index), message);
            }
            Some(_) => {}
        }
    }
    Ok(ids.into_iter().flatten().collect())
}

/// What a replay chooses, for its job.
///
/// # Errors
/// What does not read, for the log.
pub fn read(backend: DbBackend, replay: &replay::Model) -> Result<Candidates, String> {
    let kept: Kept = serde_json::from_str(&replay.target).map_err(|error| error.to_string())?;
    let workspace = replay.workspace_id;
    let candidates = match kept {
        Kept::Events(filter) => {
            let by_index =
                events::Filter { created_at: filter.created_at, ids: filter.ids.clone(), ..events::Filter::default() };
            by_index
                .select(backend, workspace)
                .and_then(|by_index| Ok(Candidates::Events { by_index, meant: filter.select(backend, workspace)? }))
        }
        Kept::Deliveries(filter) => {
            // A list of statuses with SUCCEEDED in it is no range of an index.
            let status = filter.status.clone().filter(|list| !list.contains(&Status::Succeeded));
            let by_index = delivery::Filter {
                created_at: filter.created_at,
                ids: filter.ids.clone(),
                endpoint_ids: filter.endpoint_ids.clone(),
                event_ids: filter.event_ids.clone(),
                replay_ids: filter.replay_ids.clone(),
                subscription_ids: filter.subscription_ids.clone(),
                status,
                ..delivery::Filter::default()
            };
            by_index
                .all_of(backend, workspace)
                .and_then(|by_index| Ok(Candidates::Deliveries { by_index, meant: filter.all_of(backend, workspace)? }))
        }
    };
    candidates.map_err(|error| error.to_string())
}
