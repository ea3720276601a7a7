//! The settings that a change of subscriptions and endpoints keeps to.

use angarium_entity::workspace::rules::{CompiledRules, PatternError};
use angarium_entity::workspace::{self, Model};
use angarium_entity::{
    WorkspaceId,
    workspace::{Column, Entity},
};
use sea_orm::{ColumnTrait as _, DatabaseTransaction, QueryFilter as _};

use crate::app::AppError;

/// The workspace as it is now that nobody else changes it, its subscriptions or its endpoints until the transaction
/// ends, with its rules.
pub(in crate::app) async fn take(
    db: &DatabaseTransaction,
    id: WorkspaceId,
) -> Result<(Model, CompiledRules), AppError> {
    let row = workspace::take(db, id).await?.ok_or(AppError::WorkspaceGone)?;
    let rules = row.rules.compile().map_err(|error| broken(id, &error))?;
    Ok((row, rules))
}

/// The rules of a workspace that is taken already.
pub(in crate::app) async fn rules_of(db: &DatabaseTransaction, id: WorkspaceId) -> Result<CompiledRules, AppError> {
    let row = Entity::live().filter(Column::Id.eq(id)).one(db).await?.ok_or(AppError::WorkspaceGone)?;
    row.rules.compile().map_err(|error| broken(id, &error))
}

fn broken(id: WorkspaceId, error: &PatternError) -> AppError {
    AppError::Inconsistent(format!("a rule of {id} {error}"))
}
