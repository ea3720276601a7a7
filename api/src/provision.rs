//! Workspaces and keys made from the command line, where there is no caller yet.

use angarium_entity::api_key::{self, ApiKeySecret, Scope, Scopes};
use angarium_entity::{ApiKeyId, Database, Timestamp, WorkspaceId, workspace};
use sea_orm::{ColumnTrait as _, Condition, DbErr, EntityTrait as _, IntoActiveModel as _, QueryFilter as _, SqlErr};

use crate::app::workspace::{Draft, ErrorCode, NAME_LEN_MAX, check};
use crate::app::{Path, Problem, Problems};

/// Why nothing was made.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// A name or an identifier that cannot be.
    #[error("{0}")]
    Input(String),
    /// Another workspace has the external identifier.
    #[error("there is a workspace with the external identifier `{0}` already")]
    Taken(String),
    /// No such workspace.
    #[error("there is no workspace `{0}`")]
    UnknownWorkspace(String),
    /// A key of a workspace that could do more than that workspace.
    #[error("only a key of no workspace may hold {}; leave --workspace out", .0.name())]
    Operators(Scope),
    /// A key of no workspace that is not an administrator's.
    #[error("a key without a workspace is an administrator's: give it the scope ADMIN, or name a workspace")]
    NotAdmin,
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] DbErr),
}

impl From<Vec<Problem<ErrorCode>>> for ProvisionError {
    fn from(problems: Vec<Problem<ErrorCode>>) -> Self {
        let sentences = problems.into_iter().map(|problem| {
            let field = problem.field.into_steps().pop().unwrap_or_default();
            format!("{field} {}", problem.message)
        });
        Self::Input(sentences.collect::<Vec<_>>().join("; "))
    }
}

/// Every scope that a key of a workspace may hold.
pub fn workspace_scopes() -> Scopes {
    Scopes::new(Scope::ALL.into_iter().filter(|scope| !is_operators(*scope)))
}

fn is_operators(scope: Scope) -> bool {
    matches!(scope, Scope::Admin | Scope::EventTypeWrite)
}

/// Makes a workspace.
///
/// # Errors
/// [`ProvisionError`].
pub async fn create_workspace(
    db: &Database,
    now: Timestamp,
    name: &str,
    external_id: Option<&str>,
) -> Result<workspace::Model, ProvisionError> {
    let draft = Draft { external_id: external_id.map(str::to_owned), ..Draft::named(name) };
    let row = check(draft, now)?;
    let inserted = workspace::Entity::insert(row.clone().into_active_model()).exec_without_returning(db.write()).await;
    match (inserted, external_id) {
        (Ok(_), _) => Ok(row),
        (Err(error), Some(id)) if matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) => {
            Err(ProvisionError::Taken(id.to_owned()))
        }
        (Err(error), _) => Err(error.into()),
    }
}

/// The workspace with this ID or external identifier.
///
/// # Errors
/// [`ProvisionError`].
pub async fn find_workspace(db: &Database, named: &str) -> Result<workspace::Model, ProvisionError> {
    let found = workspace::Entity::live().filter(named_workspace(named)).one(db.read()).await?;
    found.ok_or_else(|| ProvisionError::UnknownWorkspace(named.to_owned()))
}

/// The workspace that is not deleted whose ID is `named`, or, if that is no ID, whose external identifier it is.
pub(crate) fn named_workspace(named: &str) -> Condition {
    Condition::all().add(workspace::Column::DeletedAt.is_null()).add(match named.parse::<WorkspaceId>() {
        Ok(id) => workspace::Column::Id.eq(id),
        Err(_) => workspace::Column::ExternalId.eq(named),
    })
}

/// Stores a key: a workspace's, or an administrator's when it has none.
///
/// # Errors
/// [`ProvisionError`].
pub async fn create_key(
    db: &Database,
    now: Timestamp,
    workspace: Option<WorkspaceId>,
    name: &str,
    scopes: Scopes,
    secret: &ApiKeySecret,
) -> Result<api_key::Model, ProvisionError> {
    match (workspace, scopes.iter().find(|scope| is_operators(*scope))) {
        (Some(_), Some(scope)) => return Err(ProvisionError::Operators(scope)),
        (None, _) if !scopes.allow(Scope::Admin) => return Err(ProvisionError::NotAdmin),
        _ => {}
    }
    let mut problems = Problems::default();
    let name = problems.text(&Path::argument("name"), name.to_owned(), NAME_LEN_MAX);
    let row = api_key::Model {
        id: ApiKeyId::new(now),
        workspace_id: workspace,
        name: problems.unless_any(name)?,
        prefix: secret.prefix().to_owned(),
        hash: secret.hash().to_vec(),
        scopes,
        created_at: now,
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
    };
    api_key::Entity::insert(row.clone().into_active_model()).exec_without_returning(db.write()).await?;
    Ok(row)
}
