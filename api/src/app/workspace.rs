//! Tenants.

use std::str::FromStr as _;

use angarium_entity::api_key::Scope;
use angarium_entity::workspace::{
    self, EXTERNAL_ID_LEN_MAX, HOLD_MAX, RETENTION, Rules, SUSPEND_AFTER, SecretVisibility, SubscriptionConfirmation,
};
use angarium_entity::{Timestamp, WorkspaceId};
use async_graphql::Enum;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, DbErr, EntityTrait, IntoActiveModel, QueryFilter, Select, SqlErr};
use uuid::Uuid;

use super::list::{Listed, SortValue};
use super::problem::CommonCode;
use super::reach::Reach;
use super::{AppError, Path, Problem, Problems, Refusal};
use crate::{AppState, Caller};

mod delete;
mod rules;
mod settings;
mod update;

pub(super) use rules::{rules_of, take};

pub use delete::delete;
pub use settings::{RulesDraft, Settings};
pub use update::{Patch, update};

/// Most characters of a display name, here and everywhere.
pub const NAME_LEN_MAX: usize = 256;

/// Kinds of problem with workspace or API key input. New values may be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(name = "WorkspaceErrorCode")]
pub enum ErrorCode {
    /// The value is empty.
    Blank,
    /// The value is malformed.
    Invalid,
    /// A limit of the workspace is reached.
    LimitReached,
    /// No such object in this workspace.
    NotFound,
    /// The key would get permissions that the caller lacks.
    ScopeEscalation,
    /// The external identifier is in use.
    Taken,
    /// The value is too long.
    TooLong,
}

impl CommonCode for ErrorCode {
    const BLANK: Self = Self::Blank;
    const INVALID: Self = Self::Invalid;
    const TOO_LONG: Self = Self::TooLong;
}

/// Names a workspace.
#[derive(Clone, Debug)]
pub enum WorkspaceRef {
    /// By its ID, in the text form.
    Id(String),
    /// By the operator's own identifier.
    ExternalId(String),
}

impl WorkspaceRef {
    fn names(&self, workspace: &workspace::Model) -> bool {
        match self {
            Self::Id(id) => WorkspaceId::from_str(id).is_ok_and(|id| id == workspace.id),
            Self::ExternalId(external_id) => workspace.external_id.as_ref() == Some(external_id),
        }
    }
}

/// A workspace to create.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Display name.
    pub name: String,
    /// The operator's own identifier.
    pub external_id: Option<String>,
    /// What its subscriptions and deliveries keep to; the defaults where nothing is given.
    pub settings: Settings,
}

impl Draft {
    /// A workspace with the default settings.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), external_id: None, settings: Settings::default() }
    }
}

/// Creates a workspace.
///
/// # Errors
/// [`Refusal`].
pub async fn create(state: &AppState, caller: &Caller, draft: Draft) -> Result<workspace::Model, Refusal<ErrorCode>> {
    caller.require(Scope::Admin)?;
    let row = check(draft, state.now()).map_err(Refusal::Problems)?;
    match workspace::Entity::insert(row.clone().into_active_model()).exec_without_returning(state.db.write()).await {
        Ok(_) => Ok(row),
        Err(error) => Err(refusal(error)),
    }
}

/// Of a row that the database did not take.
fn refusal(error: DbErr) -> Refusal<ErrorCode> {
    if matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) {
        let field = Path::argument("input").at("externalId");
        return Problem { code: ErrorCode::Taken, message: "is in use".to_owned(), field }.into();
    }
    error.into()
}

/// Checks a draft and makes its row.
///
/// # Errors
/// All that is wrong with it.
pub fn check(draft: Draft, now: Timestamp) -> Result<workspace::Model, Vec<super::Problem<ErrorCode>>> {
    let input = Path::argument("input");
    let mut problems = Problems::default();
    let name = problems.text(&input.at("name"), draft.name, NAME_LEN_MAX);
    let external_id = problems.optional_text(&input.at("externalId"), draft.external_id, EXTERNAL_ID_LEN_MAX);
    check_external_id(&mut problems, &input.at("externalId"), external_id.as_deref());
    let mut row = workspace::Model {
        id: WorkspaceId::new(now),
        external_id,
        name: String::new(),
        retry_policy: None,
        hold_max_ms: settings::millis(HOLD_MAX),
        retention_ms: settings::millis(RETENTION),
        suspend_after_ms: settings::millis(SUSPEND_AFTER),
        max_subscription_lifetime_ms: None,
        rules: Rules::default(),
        secret_visibility: SecretVisibility::Once,
        subscription_confirmation: SubscriptionConfirmation::None,
        config_version: 0,
        endpoint_count: 0,
        subscription_count: 0,
        created_at: now,
        updated_at: now,
        deleted_at: None,
    };
    draft.settings.apply(&mut row, &mut problems);
    row.name = problems.unless_any(name)?;
    Ok(row)
}

fn check_external_id(problems: &mut Problems<ErrorCode>, field: &Path, external_id: Option<&str>) {
    if external_id.is_some_and(|id| !workspace::is_external_id(id)) {
        let message = "is not printable ASCII without a space at its ends, or starts with `ws_` like an ID";
        problems.add(ErrorCode::Invalid, field, message);
    }
}

/// The workspace that `named` means, if the caller can see it.
///
/// # Errors
/// Those of the database.
pub async fn find(
    state: &AppState,
    caller: &Caller,
    named: &WorkspaceRef,
) -> Result<Option<workspace::Model>, AppError> {
    if let Some(own) = &caller.workspace {
        if !named.names(own) {
            return Ok(None);
        }
        // What the caller carries was read a moment ago, or when its socket was opened.
        return Ok(workspace::Entity::live().filter(workspace::Column::Id.eq(own.id)).one(state.db.read()).await?);
    }
    if caller.is_admin() { lookup(state, named).await } else { Ok(None) }
}

/// The workspace that something is made in: the one that is named, or the caller's. Only an administrator may name
/// another than the caller's; for anybody else there is no other.
///
/// # Errors
/// [`AppError::WorkspaceRequired`] when an administrator names none.
pub async fn target(
    state: &AppState,
    caller: &Caller,
    named: Option<&WorkspaceRef>,
) -> Result<Option<WorkspaceId>, AppError> {
    let Some(named) = named else { return Ok(Some(caller.workspace_id()?)) };
    match &caller.workspace {
        Some(own) if named.names(own) => Ok(Some(own.id)),
        _ if caller.is_admin() => Ok(lookup(state, named).await?.map(|workspace| workspace.id)),
        _ => Ok(None),
    }
}

async fn lookup(state: &AppState, named: &WorkspaceRef) -> Result<Option<workspace::Model>, AppError> {
    let select = match named {
        WorkspaceRef::Id(id) => match WorkspaceId::from_str(id) {
            Ok(id) => workspace::Entity::live().filter(workspace::Column::Id.eq(id)),
            Err(_) => return Ok(None),
        },
        WorkspaceRef::ExternalId(id) => workspace::Entity::live().filter(workspace::Column::ExternalId.eq(id.as_str())),
    };
    Ok(select.one(state.db.read()).await?)
}

/// The workspaces that the caller can see.
///
/// # Errors
/// [`AppError`].
pub fn list(caller: &Caller) -> Result<Select<workspace::Entity>, AppError> {
    Ok(match Reach::of(caller)? {
        Reach::One(id) => workspace::Entity::live().filter(workspace::Column::Id.eq(id)),
        Reach::All => workspace::Entity::live(),
    })
}

impl Listed for workspace::Entity {
    type Sort = ();

    fn sort_name((): ()) -> &'static str {
        "CREATED_AT"
    }

    fn sort_expr((): ()) -> Expr {
        Expr::col((Self, workspace::Column::CreatedAt))
    }

    fn sort_value((): (), row: &workspace::Model) -> SortValue {
        SortValue::Number(row.created_at.millis())
    }

    fn id_column() -> workspace::Column {
        workspace::Column::Id
    }

    fn id(row: &workspace::Model) -> Uuid {
        row.id.uuid()
    }
}
