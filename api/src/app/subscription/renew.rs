//! A later end for a subscription.

use angarium_entity::api_key::Scope;
use angarium_entity::{subscription, workspace};
use sea_orm::{ActiveModelTrait as _, EntityTrait as _, IntoActiveModel as _, Set};

use super::check::check_lifetime;
use super::{ErrorCode, change_of, take};
use crate::app::reach::Reach;
use crate::app::{AppError, Path, Problems, Refusal, logged};
use crate::{AppState, Caller};

/// Lets a subscription end `expires_in` from now, in ISO 8601: by default, and at most, the longest lifetime of its
/// workspace. Where there is none, it must be given.
///
/// # Errors
/// [`Refusal`].
pub async fn renew(
    state: &AppState,
    caller: &Caller,
    id: &str,
    expires_in: Option<&str>,
) -> Result<subscription::Model, Refusal<ErrorCode>> {
    caller.require(Scope::WebhookSubscribe)?;
    let (field, now) = (Path::argument("expiresIn"), state.now());
    let transaction = state.db.begin().await?;
    let before = take(&transaction, Reach::of(caller)?, id).await??;
    let workspace = workspace::Entity::find_by_id(before.workspace_id).one(&transaction).await?;
    let longest = workspace.ok_or(AppError::WorkspaceGone)?.max_subscription_lifetime();
    let mut problems = Problems::default();
    if expires_in.is_none() && longest.is_none() {
        problems.add(ErrorCode::Blank, &field, "is missing, and the workspace has no longest lifetime to take instead");
    }
    let end = check_lifetime(&field, expires_in, longest, now, &mut problems);
    let end = problems.unless_any(end).map_err(Refusal::Problems)?;
    let version = before.version + 1;
    let mut changed = before.into_active_model();
    changed.expires_at = Set(Some(end));
    changed.expiry_due_at = Set(subscription::expiry_due_at(Some(end), now));
    changed.expired_at = Set(None);
    changed.version = Set(version);
    changed.updated_at = Set(now);
    let row = changed.update(&transaction).await?;
    logged::commit(state, transaction, now, [(row.workspace_id, change_of(&row))]).await?;
    state.dispatcher.endpoint_changed(row.endpoint_id);
    Ok(row)
}
