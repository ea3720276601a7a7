//! Why a use case did not do what it was asked.

use std::time::Duration;

use angarium_dispatcher::is_connection_lost;
use angarium_entity::api_key::Scope;
use sea_orm::sqlx::error::DatabaseError;
use sea_orm::{DbErr, RuntimeErr};

use super::problem::Problem;
use crate::caller::{Forbidden, WorkspaceRequired};

/// A failure that the person who fills in the form cannot put right.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The call came without a key.
    #[error("send an API key, as `X-API-Key: …` or `Authorization: Bearer …`")]
    Unauthenticated,
    /// The key may not do this.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The call came with an access token, where only a key will do.
    #[error("an access token makes no credentials; call with the API key itself")]
    ByToken,
    /// An administrator did not say which workspace is meant.
    #[error(transparent)]
    WorkspaceRequired(#[from] WorkspaceRequired),
    /// The workspace of the key is gone.
    #[error("the workspace of the key was deleted")]
    WorkspaceGone,
    /// An argument is out of its bounds or malformed.
    #[error("{0}")]
    BadInput(String),
    /// The filter would have to read everything.
    #[error("{0}")]
    FilterTooBroad(String),
    /// What a live stream is asked to tell of is not there, or not for this caller.
    #[error("{0}")]
    NotFound(String),
    /// A live stream cannot be resumed from so long ago.
    #[error("`after` is older than what is kept of changes; read the present state, then start without it")]
    CursorExpired,
    /// More waits than may.
    #[error("too many events wait to be committed; try again in {} ms", retry_after.as_millis())]
    Overloaded {
        /// When to try again.
        retry_after: Duration,
    },
    /// The server is going down.
    #[error("the server is stopping; try again")]
    Stopping,
    /// The database is not there.
    #[error(
        "the database does not answer; try again in a moment. Whether anything was changed is not known: send the same \
         `idempotencyKey`, where there was one"
    )]
    DatabaseAway(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database failed.
    #[error("the database failed")]
    Database(#[source] DbErr),
    /// The dispatcher did not get an answer from the database.
    #[error("the dispatcher failed")]
    Dispatcher(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The rows contradict each other.
    #[error("{0}")]
    Inconsistent(String),
}

impl AppError {
    /// The code that a client can tell it by; none for what is our own fault and nobody else's business.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Self::Unauthenticated | Self::WorkspaceGone => Some("UNAUTHENTICATED"),
            Self::Forbidden(_) | Self::ByToken => Some("FORBIDDEN"),
            Self::WorkspaceRequired(_) => Some("WORKSPACE_REQUIRED"),
            Self::BadInput(_) => Some("BAD_USER_INPUT"),
            Self::FilterTooBroad(_) => Some("FILTER_TOO_BROAD"),
            Self::NotFound(_) => Some("NOT_FOUND"),
            Self::CursorExpired => Some("CURSOR_EXPIRED"),
            Self::Overloaded { .. } => Some("OVERLOADED"),
            Self::Stopping | Self::DatabaseAway(_) => Some("UNAVAILABLE"),
            Self::Database(_) | Self::Dispatcher(_) | Self::Inconsistent(_) => None,
        }
    }

    /// The scope that is missing.
    pub fn forbidden(scope: Scope) -> Self {
        Self::Forbidden(Forbidden(scope))
    }
}

impl From<DbErr> for AppError {
    /// PostgreSQL has no NUL in a text and says so of one that a filter or a cursor holds: that is the caller's.
    ///
    /// Source: error code 22021, `character_not_in_repertoire`.
    fn from(error: DbErr) -> Self {
        let inner = match &error {
            DbErr::Query(RuntimeErr::SqlxError(inner)) | DbErr::Exec(RuntimeErr::SqlxError(inner)) => Some(inner),
            _ => None,
        };
        let code = inner.and_then(|inner| inner.as_database_error()).and_then(DatabaseError::code);
        if code.is_some_and(|code| code == "22021") {
            return Self::BadInput("a text holds a NUL character, which nothing here does".to_owned());
        }
        if is_connection_lost(&error) { Self::DatabaseAway(Box::new(error)) } else { Self::Database(error) }
    }
}

/// Why a use case changed nothing.
#[derive(Debug)]
pub enum Refusal<C> {
    /// What a person can put right.
    Problems(Vec<Problem<C>>),
    /// Anything else.
    Error(AppError),
}

impl<C, E: Into<AppError>> From<E> for Refusal<C> {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

impl<C> From<Problem<C>> for Refusal<C> {
    fn from(problem: Problem<C>) -> Self {
        Self::Problems(vec![problem])
    }
}
