//! Who is calling, and what they may do.

use angarium_entity::api_key::{self, Scope, Scopes};
use angarium_entity::{ApiKeyId, WorkspaceId, workspace};

/// An authenticated caller.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The key of the call, or the one that made its access token; none for the operator's own from the configuration.
    pub key: Option<api_key::Model>,
    /// What it may do.
    pub scopes: Scopes,
    /// The workspace that the call acts on: the key's own, or the one that an administrator named.
    pub workspace: Option<workspace::Model>,
    /// Whether the call came with an access token.
    pub by_token: bool,
}

/// The caller lacks a permission.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the key lacks the scope {}", .0.name())]
pub struct Forbidden(pub Scope);

/// An administrator did not say which workspace is meant.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("name a workspace with the header `Angarium-Workspace`")]
pub struct WorkspaceRequired;

impl Caller {
    /// Whether the caller holds `scope`.
    ///
    /// # Errors
    /// [`Forbidden`].
    pub fn require(&self, scope: Scope) -> Result<(), Forbidden> {
        if self.scopes.allow(scope) { Ok(()) } else { Err(Forbidden(scope)) }
    }

    /// The workspace that the call acts on.
    ///
    /// # Errors
    /// [`WorkspaceRequired`].
    pub fn workspace(&self) -> Result<&workspace::Model, WorkspaceRequired> {
        self.workspace.as_ref().ok_or(WorkspaceRequired)
    }

    /// Its ID.
    ///
    /// # Errors
    /// [`WorkspaceRequired`].
    pub fn workspace_id(&self) -> Result<WorkspaceId, WorkspaceRequired> {
        self.workspace().map(|workspace| workspace.id)
    }

    /// The key to name as the maker of things.
    pub fn key_id(&self) -> Option<ApiKeyId> {
        self.key.as_ref().map(|key| key.id)
    }

    /// Whether this is an operator's key.
    pub fn is_admin(&self) -> bool {
        self.scopes.allow(Scope::Admin)
    }
}
