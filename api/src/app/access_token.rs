//! Short-lived credentials for browsers.

use std::time::Duration;

use angarium_entity::Timestamp;
use angarium_entity::access_token::{AccessToken, Maker};
use angarium_entity::api_key::{Scope, Scopes};

use super::api_key::{check_scopes, check_workspace};
use super::workspace::{ErrorCode, WorkspaceRef};
use super::{Path, Problems, Refusal, duration};
use crate::{AppState, Caller};

/// Shortest and longest life.
const LIFETIME_MIN: Duration = Duration::from_mins(1);
const LIFETIME_MAX: Duration = Duration::from_hours(24);

/// A token to create.
#[derive(Clone, Debug)]
pub struct Draft {
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Its life from now, in ISO 8601.
    pub expires_in: String,
    /// Its workspace; the caller's when absent.
    pub workspace: Option<WorkspaceRef>,
}

/// Creates a token, and tells when it ends: never later than the key that makes it.
///
/// # Errors
/// [`Refusal`].
pub async fn create(
    state: &AppState,
    caller: &Caller,
    draft: Draft,
) -> Result<(String, Timestamp), Refusal<ErrorCode>> {
    super::api_key::require_key(caller)?;
    let input = Path::argument("input");
    let mut problems = Problems::default();
    let lifetime = check_lifetime(&mut problems, &input.at("expiresIn"), &draft.expires_in);
    check_scopes(&mut problems, &input.at("scopes"), caller, &draft.scopes);
    let workspace_id = check_workspace(state, caller, &draft.scopes, draft.workspace.as_ref(), &mut problems).await?;
    let lifetime = problems.unless_any(lifetime).map_err(Refusal::Problems)?;
    let maker = match (&caller.key, state.admin_key_hash) {
        (Some(key), _) => Maker::Key(key.id),
        (None, Some(hash)) => Maker::Operator(hash),
        (None, None) => return Err(super::AppError::Unauthenticated.into()),
    };
    let end = state.now() + lifetime;
    let expires_at = caller.key.as_ref().and_then(|key| key.expires_at).map_or(end, |of_key| of_key.min(end));
    let token = AccessToken { maker, workspace_id, scopes: Scopes::new(draft.scopes), expires_at };
    Ok((token.seal(&state.sealer), expires_at))
}

fn check_lifetime(problems: &mut Problems<ErrorCode>, field: &Path, text: &str) -> Option<Duration> {
    match duration::parse(text) {
        Ok(lifetime) if (LIFETIME_MIN..=LIFETIME_MAX).contains(&lifetime) => return Some(lifetime),
        Ok(_) => problems.add(ErrorCode::Invalid, field, "is not from 1 minute (`PT1M`) to 24 hours (`PT24H`)"),
        Err(error) => problems.add(ErrorCode::Invalid, field, format!("is {error}")),
    }
    None
}
