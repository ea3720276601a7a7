//! How far a caller can see.

use angarium_entity::WorkspaceId;

use super::AppError;
use crate::Caller;

/// The workspaces in which an object is looked for by its ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Only this one.
    One(WorkspaceId),
    /// Every one that is not deleted: an administrator who named none.
    All,
}

impl Reach {
    /// That of `caller`.
    ///
    /// # Errors
    /// [`AppError::WorkspaceRequired`] for a caller that is in no workspace and no administrator.
    pub fn of(caller: &Caller) -> Result<Self, AppError> {
        match &caller.workspace {
            Some(workspace) => Ok(Self::One(workspace.id)),
            None if caller.is_admin() => Ok(Self::All),
            None => Ok(Self::One(caller.workspace_id()?)),
        }
    }
}

/// The rows of a table with tenants that are within a reach: where a search by ID starts.
macro_rules! within {
    ($entity:ident, $reach:expr) => {
        match $reach {
            $crate::app::reach::Reach::One(workspace) => $entity::Entity::of(workspace),
            $crate::app::reach::Reach::All => sea_orm::QueryFilter::filter(
                <$entity::Entity as sea_orm::EntityTrait>::find(),
                sea_orm::ColumnTrait::not_in_subquery(
                    &$entity::Column::WorkspaceId,
                    angarium_entity::workspace::deleted(),
                ),
            ),
        }
    };
}
pub(crate) use within;
