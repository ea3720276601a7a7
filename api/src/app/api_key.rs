//! Credentials.

use angarium_entity::api_key::{self, ApiKeySecret, Scope, Scopes};
use angarium_entity::{ApiKeyId, Timestamp, WorkspaceId, workspace as tenant};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, ExprTrait as _, IntoActiveModel, PaginatorTrait as _, QueryFilter, Select};
use uuid::Uuid;

use super::list::{Listed, SortValue};
use super::workspace::{self, ErrorCode, NAME_LEN_MAX, WorkspaceRef};
use super::{AppError, Path, Problem, Problems, Refusal};
use crate::app::reach::Reach;
use crate::{AppState, Caller};

/// A key to create.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Display name.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it stops working, in RFC 3339.
    pub expires_at: Option<String>,
    /// Its workspace; the caller's when absent.
    pub workspace: Option<WorkspaceRef>,
}

/// Creates a key. The key itself is shown only here.
///
/// # Errors
/// [`Refusal`].
pub async fn create(
    state: &AppState,
    caller: &Caller,
    draft: Draft,
) -> Result<(api_key::Model, ApiKeySecret), Refusal<ErrorCode>> {
    require_key(caller)?;
    caller.require(Scope::WorkspaceWrite)?;
    let (input, now) = (Path::argument("input"), state.now());
    let mut problems = Problems::default();
    let name = problems.text(&input.at("name"), draft.name, NAME_LEN_MAX);
    let expires_at = draft.expires_at.and_then(|text| check_expiry(&mut problems, &input.at("expiresAt"), &text, now));
    check_scopes(&mut problems, &input.at("scopes"), caller, &draft.scopes);
    let workspace_id = check_workspace(state, caller, &draft.scopes, draft.workspace.as_ref(), &mut problems).await?;
    let transaction = state.db.begin().await?;
    if let Some(workspace) = workspace_id {
        // First, so that nobody makes another key meanwhile.
        tenant::take(&transaction, workspace).await?.ok_or(AppError::WorkspaceGone)?;
        let most = state.limits.api_keys_max;
        if working(workspace, now).count(&transaction).await? >= most as u64 {
            let message = format!("is one more than the {most} API keys that a workspace may have; revoke one first");
            problems.add(ErrorCode::LimitReached, &input, message);
        }
    }
    let name = problems.unless_any(name).map_err(Refusal::Problems)?;
    let (row, secret) = make(workspace_id, name, Scopes::new(draft.scopes), expires_at, now);
    api_key::Entity::insert(row.clone().into_active_model()).exec_without_returning(&transaction).await?;
    transaction.commit().await?;
    Ok((row, secret))
}

/// Credentials are made by a key: what an access token made would outlive it.
pub(super) fn require_key(caller: &Caller) -> Result<(), AppError> {
    if caller.by_token { Err(AppError::ByToken) } else { Ok(()) }
}

/// The workspace of a credential with these scopes.
pub(super) async fn check_workspace(
    state: &AppState,
    caller: &Caller,
    scopes: &[Scope],
    named: Option<&WorkspaceRef>,
    problems: &mut Problems<ErrorCode>,
) -> Result<Option<WorkspaceId>, AppError> {
    let field = Path::argument("input").at("workspace");
    if scopes.contains(&Scope::Admin) {
        if named.is_some() {
            problems.add(ErrorCode::Invalid, &field, "cannot be given: ADMIN acts on every workspace");
        }
        return Ok(None);
    }
    let found = workspace::target(state, caller, named).await?;
    if found.is_none() {
        problems.add(ErrorCode::NotFound, &field, "does not exist");
    }
    Ok(found)
}

/// The keys of a workspace that are neither revoked nor expired.
fn working(workspace: WorkspaceId, now: Timestamp) -> Select<api_key::Entity> {
    use api_key::Column;
    api_key::Entity::find()
        .filter(Column::WorkspaceId.eq(workspace))
        .filter(Column::RevokedAt.is_null())
        .filter(Column::ExpiresAt.is_null().or(Column::ExpiresAt.gt(now)))
}

/// A fresh key and its row, not yet stored.
pub fn make(
    workspace_id: Option<WorkspaceId>,
    name: String,
    scopes: Scopes,
    expires_at: Option<Timestamp>,
    now: Timestamp,
) -> (api_key::Model, ApiKeySecret) {
    let secret = ApiKeySecret::generate();
    let row = api_key::Model {
        id: ApiKeyId::new(now),
        workspace_id,
        name,
        prefix: secret.prefix().to_owned(),
        hash: secret.hash().to_vec(),
        scopes,
        created_at: now,
        expires_at,
        revoked_at: None,
        last_used_at: None,
    };
    (row, secret)
}

fn check_expiry(problems: &mut Problems<ErrorCode>, field: &Path, text: &str, now: Timestamp) -> Option<Timestamp> {
    match Timestamp::parse_rfc3339(text) {
        Ok(instant) if instant > now => Some(instant),
        Ok(_) => {
            problems.add(ErrorCode::Invalid, field, "is in the past");
            None
        }
        Err(message) => {
            problems.add(ErrorCode::Invalid, field, format!("is {message}"));
            None
        }
    }
}

/// Nobody gives away what they do not hold; what is the operator's stays with the operator.
pub(super) fn check_scopes(problems: &mut Problems<ErrorCode>, field: &Path, caller: &Caller, scopes: &[Scope]) {
    if scopes.is_empty() {
        problems.add(ErrorCode::Blank, field, "is empty; without a scope nothing could be done");
    }
    for (index, scope) in scopes.iter().enumerate() {
        let is_operators = matches!(scope, Scope::Admin | Scope::EventTypeWrite);
        if !caller.scopes.allow(*scope) || (is_operators && !caller.is_admin()) {
            let message = format!("asks for {}, which the caller may not give", scope.name());
            problems.add(ErrorCode::ScopeEscalation, &field.item(index), message);
        }
    }
}

/// Revokes a key: at once on this node, and within five seconds on the others. Doing it again changes nothing.
///
/// # Errors
/// [`Refusal`].
pub async fn revoke(state: &AppState, caller: &Caller, id: &str) -> Result<api_key::Model, Refusal<ErrorCode>> {
    caller.require(Scope::WorkspaceWrite)?;
    let reach = Reach::of(caller)?;
    let not_found = || Problem::not_found(ErrorCode::NotFound, Path::argument("id"));
    let id: ApiKeyId = id.parse().map_err(|_| not_found())?;
    let within_reach = api_key::Column::Id.eq(id).and(match reach {
        Reach::One(workspace) => api_key::Column::WorkspaceId.eq(workspace),
        Reach::All => api_key::Column::Id.is_not_null(),
    });
    api_key::Entity::update_many()
        .col_expr(api_key::Column::RevokedAt, Expr::value(state.now()))
        .filter(within_reach.clone())
        .filter(api_key::Column::RevokedAt.is_null())
        .exec(state.db.write())
        .await?;
    state.known_keys.forget();
    let row = api_key::Entity::find().filter(within_reach).one(state.db.write()).await?;
    Ok(row.ok_or_else(not_found)?)
}

/// The key with this ID, if the caller can see it.
///
/// # Errors
/// [`AppError`].
pub async fn find(state: &AppState, caller: &Caller, id: ApiKeyId) -> Result<Option<api_key::Model>, AppError> {
    // A page sees nothing of the key behind its token.
    if caller.by_token || caller.key_id() != Some(id) {
        caller.require(Scope::WorkspaceRead)?;
    }
    let mut select = api_key::Entity::find_by_id(id);
    if let Reach::One(workspace) = Reach::of(caller)? {
        select = select.filter(api_key::Column::WorkspaceId.eq(workspace));
    }
    Ok(select.one(state.db.read()).await?)
}

/// The keys of a workspace.
///
/// # Errors
/// [`AppError::Forbidden`].
pub fn list(caller: &Caller, workspace: WorkspaceId) -> Result<Select<api_key::Entity>, AppError> {
    caller.require(Scope::WorkspaceRead)?;
    Ok(api_key::Entity::find().filter(api_key::Column::WorkspaceId.eq(workspace)))
}

impl Listed for api_key::Entity {
    type Sort = ();

    fn sort_name((): ()) -> &'static str {
        "CREATED_AT"
    }

    fn sort_expr((): ()) -> Expr {
        Expr::col((Self, api_key::Column::CreatedAt))
    }

    fn sort_value((): (), row: &api_key::Model) -> SortValue {
        SortValue::Number(row.created_at.millis())
    }

    fn id_column() -> api_key::Column {
        api_key::Column::Id
    }

    fn id(row: &api_key::Model) -> Uuid {
        row.id.uuid()
    }
}
