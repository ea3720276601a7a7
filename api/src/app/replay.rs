//! Replays: past events are sent again.

use angarium_dispatcher::{NewReplay, REPLAY_RATE_MAX, REPLAYS_RUNNING_MAX, ReplayError};
use angarium_entity::api_key::Scope;
use angarium_entity::{ReplayId, SubscriptionId, WorkspaceId, replay, subscription};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, Select};
use uuid::Uuid;

use super::delivery::ErrorCode;
use super::filter::LIST_MAX;
use super::list::{Listed, SortValue};
use super::reach::{Reach, within};
use super::{AppError, Path, Problem, Problems, Refusal};
use crate::{AppState, Caller};

mod target;

pub use target::{Target, read as read_target};

/// A replay to start, as given.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Which past events.
    pub target: Target,
    /// Subscriptions to send to; absent means every one that matches.
    pub subscription_ids: Option<Vec<String>>,
    /// Deliveries made per second at most.
    pub rate_per_second: Option<i32>,
    /// Only count.
    pub dry_run: bool,
}

/// What became of a draft.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It runs.
    Started(Box<replay::Model>),
    /// So many events match; nothing was stored.
    Counted(u64),
}

/// Starts a replay, or counts what it would send.
///
/// # Errors
/// [`Refusal`].
pub async fn create(state: &AppState, caller: &Caller, draft: Draft) -> Result<Outcome, Refusal<ErrorCode>> {
    caller.require(Scope::DeliveryWrite)?;
    let workspace_id = caller.workspace_id()?;
    let (input, mut problems) = (Path::argument("input"), Problems::default());
    let field = input.at("ratePerSecond");
    if draft.rate_per_second.is_some_and(|rate| !(1..=REPLAY_RATE_MAX).contains(&rate)) {
        problems.add(
            ErrorCode::Invalid,
            &field,
            format!("is not from 1 to {REPLAY_RATE_MAX}; leave it out for no limit"),
        );
    }
    let field = input.at("subscriptionIds");
    let subscription_ids = match draft.subscription_ids {
        Some(ids) => Some(check_subscriptions(state, workspace_id, &field, &ids, &mut problems).await?),
        None => None,
    };
    let target = draft.target.check(state, workspace_id, &input.at("target"), &mut problems).await?;
    let target = problems.unless_any(target).map_err(Refusal::Problems)?;
    let new = NewReplay {
        workspace_id,
        target,
        subscription_ids,
        rate_per_second: draft.rate_per_second,
        created_by: caller.key.as_ref().map(|key| key.id),
    };
    let outcome = if draft.dry_run {
        state.dispatcher.count_replay(new).await.map(Outcome::Counted)
    } else {
        state.dispatcher.start_replay(new).await.map(|row| Outcome::Started(Box::new(row)))
    };
    outcome.map_err(|error| match error {
        ReplayError::TooBroad => {
            let message = format!("chooses {}; choose a smaller range", "more than a replay takes");
            Problem { code: ErrorCode::FilterTooBroad, message, field: input.at("target") }.into()
        }
        ReplayError::LimitReached => {
            let message = format!("{REPLAYS_RUNNING_MAX} replays run already; wait for one of them, or cancel it");
            Problem { code: ErrorCode::LimitReached, message, field: Path::default() }.into()
        }
        ReplayError::Database(error) => Refusal::Error(error.into()),
        error => Refusal::Error(AppError::Dispatcher(Box::new(error))),
    })
}

async fn check_subscriptions(
    state: &AppState,
    workspace: WorkspaceId,
    field: &Path,
    texts: &[String],
    problems: &mut Problems<ErrorCode>,
) -> Result<Vec<SubscriptionId>, AppError> {
    if texts.is_empty() {
        problems.add(ErrorCode::Invalid, field, "is empty; leave it out to send to every matching subscription");
    }
    if texts.len() > LIST_MAX {
        problems.add(ErrorCode::TooMany, field, format!("holds more than {LIST_MAX} subscriptions"));
        return Ok(Vec::new());
    }
    let ids: Vec<Option<SubscriptionId>> = texts.iter().map(|text| text.parse().ok()).collect();
    // Those that were deleted, too.
    let found = subscription::Entity::find()
        .filter(subscription::Column::WorkspaceId.eq(workspace))
        .filter(subscription::Column::Id.is_in(ids.iter().flatten().copied()))
        .all(state.db.read())
        .await?;
    for (index, id) in ids.iter().enumerate() {
        match found.iter().find(|row| Some(row.id) == *id) {
            None => problems.push(Problem::not_found(ErrorCode::NotFound, field.item(index))),
            Some(row) if row.deleted_at.is_some() => {
                problems.add(ErrorCode::SubscriptionGone, &field.item(index), "was deleted");
            }
            Some(_) => {}
        }
    }
    Ok(ids.into_iter().flatten().collect())
}

/// Stops a running replay. What it has made already goes on.
///
/// # Errors
/// [`Refusal`].
pub async fn cancel(state: &AppState, caller: &Caller, id: &str) -> Result<replay::Model, Refusal<ErrorCode>> {
    caller.require(Scope::DeliveryWrite)?;
    let field = Path::argument("id");
    let not_found = || Problem::not_found(ErrorCode::NotFound, field.clone());
    let id: ReplayId = id.parse().map_err(|_| not_found())?;
    let select = within!(replay, Reach::of(caller)?).filter(replay::Column::Id.eq(id));
    let row = select.one(state.db.read()).await?.ok_or_else(not_found)?;
    state.dispatcher.cancel_replay(row.workspace_id, id).await.map_err(|error| match error {
        ReplayError::NotFound => not_found().into(),
        ReplayError::NotRunning => {
            let message = "has ended and cannot be canceled".to_owned();
            Problem { code: ErrorCode::NotCancelable, message, field: field.clone() }.into()
        }
        ReplayError::Database(error) => Refusal::Error(error.into()),
        error => Refusal::Error(AppError::Dispatcher(Box::new(error))),
    })
}

/// The replay with this ID, if the caller can see it.
///
/// # Errors
/// [`AppError`].
pub async fn find(state: &AppState, caller: &Caller, id: ReplayId) -> Result<Option<replay::Model>, AppError> {
    caller.require(Scope::DeliveryRead)?;
    let select = within!(replay, Reach::of(caller)?).filter(replay::Column::Id.eq(id));
    Ok(select.one(state.db.read()).await?)
}

/// The replays of the caller's workspace.
///
/// # Errors
/// [`AppError`].
pub fn list(caller: &Caller) -> Result<Select<replay::Entity>, AppError> {
    caller.require(Scope::DeliveryRead)?;
    Ok(replay::Entity::of(caller.workspace_id()?))
}

impl Listed for replay::Entity {
    type Sort = ();

    fn sort_name((): ()) -> &'static str {
        "CREATED_AT"
    }

    fn sort_expr((): ()) -> Expr {
        Expr::col((Self, replay::Column::CreatedAt))
    }

    fn sort_value((): (), row: &replay::Model) -> SortValue {
        SortValue::Number(row.created_at.millis())
    }

    fn id_column() -> replay::Column {
        replay::Column::Id
    }

    fn id(row: &replay::Model) -> Uuid {
        row.id.uuid()
    }
}
