//! Ending a tenant.

use angarium_entity::api_key::Scope;
use angarium_entity::{WorkspaceId, workspace};
use sea_orm::{ActiveModelTrait as _, IntoActiveModel as _, Set};

use super::update::tell_endpoints;
use super::{ErrorCode, WorkspaceRef, find};
use crate::app::{Path, Problem, Refusal};
use crate::{AppState, Caller};

/// Deletes a workspace. From now on nobody sees it, its keys are refused, and nothing more is sent; its rows go in the
/// background, and a restart goes on with them.
///
/// # Errors
/// [`Refusal`].
pub async fn delete(state: &AppState, caller: &Caller, id: &str) -> Result<WorkspaceId, Refusal<ErrorCode>> {
    caller.require(Scope::Admin)?;
    let not_found = || Problem::not_found(ErrorCode::NotFound, Path::argument("id"));
    let seen = find(state, caller, &WorkspaceRef::Id(id.to_owned())).await?.ok_or_else(not_found)?;
    let transaction = state.db.begin().await?;
    let row = workspace::take(&transaction, seen.id).await?.ok_or_else(not_found)?;
    let (id, now) = (row.id, state.now());
    let mut changed = row.into_active_model();
    changed.deleted_at = Set(Some(now));
    changed.updated_at = Set(now);
    // It may be given to another workspace at once.
    changed.external_id = Set(None);
    changed.update(&transaction).await?;
    transaction.commit().await?;
    state.known_keys.forget();
    tokio::spawn(tell_endpoints(state.clone(), id));
    Ok(id)
}
