//! Writing what is not written in groups.

use sea_orm::entity::prelude::*;
use sea_orm::{ConnectionTrait, IntoActiveModel as _, NotSet};

use super::{ActiveModel, Change, Changes, Entity, Model};
use crate::{Timestamp, WorkspaceId};

/// Appends what `db`, a transaction, changes in a workspace as one row, and answers that workspace. After the commit the
/// dispatcher is told of it, which wakes the live streams; if that is forgotten or never happens, they find it by
/// themselves.
///
/// # Errors
/// Those of the database.
pub async fn append(
    db: &impl ConnectionTrait,
    at: Timestamp,
    workspace_id: WorkspaceId,
    changes: impl IntoIterator<Item = Change>,
) -> Result<WorkspaceId, DbErr> {
    let row = Model { seq: 0, workspace_id, at, changes: Changes(changes.into_iter().collect()) };
    let new = ActiveModel { seq: NotSet, ..row.into_active_model() };
    Entity::insert(new).exec_without_returning(db).await?;
    Ok(workspace_id)
}
