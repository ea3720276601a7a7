//! Changes that live streams tell of.

use std::collections::BTreeMap;

use angarium_entity::change_log::{self, Change};
use angarium_entity::{Timestamp, WorkspaceId};
use sea_orm::{DatabaseTransaction, DbErr};

use crate::AppState;

/// Commits a transaction with what it changed, one row of the log for each workspace, and wakes whoever watches.
pub(super) async fn commit(
    state: &AppState,
    transaction: DatabaseTransaction,
    at: Timestamp,
    changes: impl IntoIterator<Item = (WorkspaceId, Change)>,
) -> Result<(), DbErr> {
    let mut by_workspace: BTreeMap<WorkspaceId, Vec<Change>> = BTreeMap::new();
    for (workspace, change) in changes {
        by_workspace.entry(workspace).or_default().push(change);
    }
    let mut logged = Vec::with_capacity(by_workspace.len());
    for (workspace, changes) in by_workspace {
        logged.push(change_log::append(&transaction, at, workspace, changes).await?);
    }
    transaction.commit().await?;
    for workspace in logged {
        state.dispatcher.logged(workspace);
    }
    Ok(())
}
