//! Changing a tenant.

use std::time::Duration;

use angarium_entity::api_key::Scope;
use angarium_entity::workspace::{self, EXTERNAL_ID_LEN_MAX};
use angarium_entity::{EndpointId, WorkspaceId, endpoint};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, DbErr, IntoActiveModel as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, Set,
};

use super::{ErrorCode, NAME_LEN_MAX, Settings, WorkspaceRef, find, refusal};
use crate::app::{Change, Path, Problem, Problems, Refusal};
use crate::{AppState, Caller};

/// Endpoints that are told of a change at a time.
const TOLD_MAX: u64 = 1_000;
/// Pause between them.
const PAUSE: Duration = Duration::from_millis(50);

/// What to change.
#[derive(Clone, Debug, Default)]
pub struct Patch {
    /// Display name.
    pub name: Change<String>,
    /// The operator's own identifier.
    pub external_id: Change<String>,
    /// What its subscriptions and deliveries keep to.
    pub settings: Settings,
}

/// Changes a workspace. Its external identifier is the operator's to change.
///
/// # Errors
/// [`Refusal`].
pub async fn update(
    state: &AppState,
    caller: &Caller,
    id: &str,
    patch: Patch,
) -> Result<workspace::Model, Refusal<ErrorCode>> {
    caller.require(Scope::WorkspaceWrite)?;
    if !patch.external_id.is_keep() {
        caller.require(Scope::Admin)?;
    }
    let not_found = || Problem::not_found(ErrorCode::NotFound, Path::argument("id"));
    let seen = find(state, caller, &WorkspaceRef::Id(id.to_owned())).await?.ok_or_else(not_found)?;
    let transaction = state.db.begin().await?;
    let before = workspace::take(&transaction, seen.id).await?.ok_or_else(not_found)?;
    let after = patch.apply(&before).map_err(Refusal::Problems)?;
    if after == before {
        return Ok(before);
    }
    let is_told = after.retry_policy != before.retry_policy
        || after.suspend_after_ms != before.suspend_after_ms
        || after.rules != before.rules;
    let mut changed = before.into_active_model();
    changed.name = Set(after.name);
    changed.external_id = Set(after.external_id);
    changed.retry_policy = Set(after.retry_policy);
    changed.hold_max_ms = Set(after.hold_max_ms);
    changed.retention_ms = Set(after.retention_ms);
    changed.suspend_after_ms = Set(after.suspend_after_ms);
    changed.max_subscription_lifetime_ms = Set(after.max_subscription_lifetime_ms);
    changed.rules = Set(after.rules);
    changed.secret_visibility = Set(after.secret_visibility);
    changed.subscription_confirmation = Set(after.subscription_confirmation);
    changed.updated_at = Set(state.now());
    let row = changed.update(&transaction).await.map_err(refusal)?;
    transaction.commit().await?;
    state.known_keys.forget();
    if is_told {
        tokio::spawn(tell_endpoints(state.clone(), row.id));
    }
    Ok(row)
}

impl Patch {
    fn apply(self, before: &workspace::Model) -> Result<workspace::Model, Vec<Problem<ErrorCode>>> {
        let input = Path::argument("input");
        let mut problems = Problems::default();
        let name = problems.not_cleared(&input.at("name"), self.name).flatten();
        let name = match name {
            Some(name) => problems.text(&input.at("name"), name, NAME_LEN_MAX),
            None => Some(before.name.clone()),
        };
        let field = input.at("externalId");
        let present = before.external_id.as_ref();
        let external_id = problems.changed_text(&field, self.external_id, present, EXTERNAL_ID_LEN_MAX);
        super::check_external_id(&mut problems, &field, external_id.as_deref());
        let mut after = workspace::Model { external_id, ..before.clone() };
        self.settings.apply(&mut after, &mut problems);
        after.name = problems.unless_any(name)?;
        Ok(after)
    }
}

/// Every endpoint may have a subscription that inherits the policy, or a URL that the rules forbid. In steps: there may
/// be many.
pub(super) async fn tell_endpoints(state: AppState, workspace: WorkspaceId) {
    let mut last = None;
    loop {
        match next_endpoints(&state, workspace, last).await {
            Ok(endpoints) if endpoints.is_empty() => return,
            Ok(endpoints) => {
                last = endpoints.last().copied();
                for endpoint in endpoints {
                    state.dispatcher.endpoint_changed(endpoint);
                }
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(%workspace, error, "failed to tell endpoints of new settings");
                return;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn next_endpoints(
    state: &AppState,
    workspace: WorkspaceId,
    after: Option<EndpointId>,
) -> Result<Vec<EndpointId>, DbErr> {
    use endpoint::Column;
    let mut select = endpoint::Entity::of(workspace).select_only().column(Column::Id);
    if let Some(after) = after {
        select = select.filter(Column::Id.gt(after));
    }
    select.order_by_asc(Column::Id).limit(TOLD_MAX).into_tuple().all(state.db.read()).await
}
