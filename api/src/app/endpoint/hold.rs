//! Holding an endpoint, and letting it go.

use angarium_entity::api_key::Scope;
use angarium_entity::change_log::EndpointChange;
use angarium_entity::endpoint::{self, Status};
use angarium_entity::endpoint_health;
use angarium_entity::event_type::reserved::Notice;
use sea_orm::{ActiveModelTrait as _, IntoActiveModel as _, Set};

use super::{ErrorCode, REASON_LEN_MAX, take};
use crate::app::reach::Reach;
use crate::app::{Path, Problems, Refusal, logged};
use crate::{AppState, Caller};

/// Holds the deliveries to an endpoint.
///
/// # Errors
/// [`Refusal`].
pub async fn pause(
    state: &AppState,
    caller: &Caller,
    id: &str,
    reason: Option<String>,
) -> Result<endpoint::Model, Refusal<ErrorCode>> {
    let mut problems = Problems::default();
    let reason = problems.optional_text(&Path::argument("reason"), reason, REASON_LEN_MAX);
    set_status(state, caller, id, Status::Paused, reason, problems).await
}

/// Delivers again to an endpoint that was paused or suspended.
///
/// # Errors
/// [`Refusal`].
pub async fn resume(state: &AppState, caller: &Caller, id: &str) -> Result<endpoint::Model, Refusal<ErrorCode>> {
    set_status(state, caller, id, Status::Active, None, Problems::default()).await
}

/// A status is no setting: `version`, and with it what an old attempt shows, stays as it is.
async fn set_status(
    state: &AppState,
    caller: &Caller,
    id: &str,
    status: Status,
    reason: Option<String>,
    mut problems: Problems<ErrorCode>,
) -> Result<endpoint::Model, Refusal<ErrorCode>> {
    caller.require(Scope::WebhookSubscribe)?;
    let transaction = state.db.begin().await?;
    let found = match take(&transaction, Reach::of(caller)?, id).await? {
        Ok(found) => Some(found),
        Err(problem) => {
            problems.push(problem);
            None
        }
    };
    let found = problems.unless_any(found).map_err(Refusal::Problems)?;
    let (now, held_since) = (state.now(), found.held_since);
    let recovers = found.status == Status::Suspended && status == Status::Active;
    let mut changed = found.into_active_model();
    changed.status = Set(status);
    // Who pauses what is suspended lets nothing wait anew.
    changed.held_since = Set((status != Status::Active).then(|| held_since.unwrap_or(now)));
    changed.status_reason = Set(reason);
    if status == Status::Active {
        // Whoever resumes an endpoint does not want to wait for what its receiver once asked for.
        changed.held_until = Set(None);
    }
    changed.updated_at = Set(now);
    let endpoint = changed.update(&transaction).await?;
    if status == Status::Active {
        endpoint_health::start_afresh(&transaction, endpoint.id, endpoint.workspace_id, endpoint.updated_at).await?;
    }
    let notices = recovers.then(|| Notice::endpoint_recovered(&endpoint, now)).into_iter().collect();
    let raised = state.dispatcher.raise(&transaction, notices).await?;
    let change = EndpointChange::of_status(endpoint.id).into();
    logged::commit(state, transaction, endpoint.updated_at, [(endpoint.workspace_id, change)]).await?;
    state.dispatcher.endpoint_changed(endpoint.id);
    state.dispatcher.tell(raised);
    Ok(endpoint)
}
