//! From a credential to a [`Caller`].
//!
//! Keys are looked up by their SHA-256. What was found is believed for [`FRESH`], so that a busy key costs one query a
//! second and a revoked key stops within that second on every node; streams ask again every [`RECHECK`]. The node that
//! revokes a key forgets what it has read, and so it stops there at once. The clock is asked each time: an expired key
//! stops at once.

mod credentials;
mod memo;

use std::time::Duration;

use angarium_entity::api_key::{self, ApiKeySecret, Scope, Scopes};
use angarium_entity::{Timestamp, workspace};
use sea_orm::{ColumnTrait as _, DbErr, EntityTrait as _, ExprTrait as _, QueryFilter as _};
use subtle::ConstantTimeEq as _;
use tokio::sync::Notify;

pub use credentials::{Credentials, CredentialsError};
use memo::Memo;

use crate::provision::named_workspace;
use crate::{AppState, Caller};

/// How long what was read is believed.
const FRESH: Duration = Duration::from_secs(1);
/// How often a stream makes sure that its key still works. With [`FRESH`] below the five seconds that we promise.
const RECHECK: Duration = Duration::from_secs(3);
/// How exact `last_used_at` is.
const USE_RECORDED_EVERY: Duration = Duration::from_secs(60);

/// Why a call is refused.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticateError {
    /// There is something, but not one key.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// No such key, or it was revoked or has expired.
    #[error("the API key is unknown, revoked or expired")]
    Refused,
    /// A workspace's own key with the name of another one.
    #[error("the key belongs to another workspace than the one named")]
    OtherWorkspace,
    /// An administrator named none that exists.
    #[error("there is no workspace `{0}`")]
    UnknownWorkspace(String),
    /// Nobody knows.
    #[error("the key could not be looked up")]
    Database(#[from] DbErr),
}

/// Looks keys up.
#[derive(Debug)]
pub struct Authenticator {
    state: AppState,
}

/// What was read of keys and workspaces a moment ago.
#[derive(Debug)]
pub struct KnownKeys {
    keys: Memo<[u8; 32], Known>,
    workspaces: Memo<String, workspace::Model>,
    /// Streams that make sure of their key.
    forgotten: Notify,
}

impl Default for KnownKeys {
    fn default() -> Self {
        Self { keys: Memo::new(FRESH), workspaces: Memo::new(FRESH), forgotten: Notify::new() }
    }
}

impl KnownKeys {
    /// Forgets all of it: a key or a workspace has changed. Call it after the commit.
    pub fn forget(&self) {
        self.keys.clear();
        self.workspaces.clear();
        self.forgotten.notify_waiters();
    }
}

/// A key with the workspace that it belongs to.
#[derive(Clone, Debug)]
struct Known {
    key: api_key::Model,
    workspace: Option<workspace::Model>,
}

impl Authenticator {
    /// One that reads the database of `state`.
    pub fn new(state: AppState) -> Self {
        Self { state }
    }

    /// Who is calling; nobody in particular when there is no credential.
    ///
    /// # Errors
    /// [`AuthenticateError`].
    pub async fn authenticate(&self, credentials: &Credentials) -> Result<Option<Caller>, AuthenticateError> {
        let Some(key) = &credentials.key else { return Ok(None) };
        let hash = ApiKeySecret::parse(key).ok_or(AuthenticateError::Refused)?.hash();
        let named = credentials.workspace.as_deref();
        if self.state.admin_key_hash.is_some_and(|admin| bool::from(admin.ct_eq(&hash))) {
            let workspace = self.workspace(named).await?;
            return Ok(Some(Caller { key: None, scopes: Scopes::new([Scope::Admin]), workspace }));
        }
        let known = self.known(hash).await?.ok_or(AuthenticateError::Refused)?;
        if !known.key.works_at(self.state.now()) {
            return Err(AuthenticateError::Refused);
        }
        let scopes = known.key.scopes.clone();
        let workspace = if scopes.allow(Scope::Admin) && named.is_some() {
            self.workspace(named).await?
        } else if named.is_none_or(|named| known.workspace.as_ref().is_some_and(|own| is_named(own, named))) {
            known.workspace
        } else {
            return Err(AuthenticateError::OtherWorkspace);
        };
        Ok(Some(Caller { key: Some(known.key), scopes, workspace }))
    }

    /// Ready once `credentials`, which were accepted, are refused. While the database is silent they are believed.
    pub async fn refused(&self, credentials: &Credentials) {
        let mut forgotten = Box::pin(self.state.known_keys.forgotten.notified());
        loop {
            tokio::select! {
                () = tokio::time::sleep(RECHECK) => {}
                () = &mut forgotten => {}
            }
            // Before the look-up, so that nothing is missed meanwhile.
            forgotten = Box::pin(self.state.known_keys.forgotten.notified());
            match self.authenticate(credentials).await {
                Ok(_) => {}
                Err(AuthenticateError::Database(error)) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "failed to look a key up again");
                }
                Err(_) => return,
            }
        }
    }

    async fn known(&self, hash: [u8; 32]) -> Result<Option<Known>, DbErr> {
        let keys = &self.state.known_keys.keys;
        if let Some(known) = keys.get(&hash) {
            return Ok(Some(known));
        }
        let age = keys.age();
        let db = self.state.db.read();
        let Some(key) = api_key::Entity::find().filter(api_key::Column::Hash.eq(&hash[..])).one(db).await? else {
            return Ok(None);
        };
        let workspace = match key.workspace_id {
            Some(id) => workspace::Entity::find_by_id(id).one(db).await?,
            None => None,
        };
        self.record_use(&key);
        let known = Known { key, workspace };
        keys.put(age, hash, known.clone());
        Ok(Some(known))
    }

    /// The workspace that an administrator named, by its ID or the operator's own identifier.
    async fn workspace(&self, named: Option<&str>) -> Result<Option<workspace::Model>, AuthenticateError> {
        let Some(named) = named else { return Ok(None) };
        let workspaces = &self.state.known_keys.workspaces;
        if let Some(workspace) = workspaces.get(named) {
            return Ok(Some(workspace));
        }
        let age = workspaces.age();
        let found = workspace::Entity::find().filter(named_workspace(named)).one(self.state.db.read()).await?;
        let workspace = found.ok_or_else(|| AuthenticateError::UnknownWorkspace(named.to_owned()))?;
        workspaces.put(age, named.to_owned(), workspace.clone());
        Ok(Some(workspace))
    }

    /// Notes, aside from the call, that `key` was used, unless that was noted a moment ago.
    fn record_use(&self, key: &api_key::Model) {
        let now = self.state.now();
        if !key.works_at(now) || key.last_used_at.is_some_and(|last| now.since(last) < USE_RECORDED_EVERY) {
            return;
        }
        let (db, id) = (self.state.db.clone(), key.id);
        tokio::spawn(async move {
            // Another node may have noted a later use by now.
            let earlier: Timestamp = now - USE_RECORDED_EVERY;
            let update = api_key::Entity::update_many()
                .col_expr(api_key::Column::LastUsedAt, sea_orm::sea_query::Expr::value(now))
                .filter(api_key::Column::Id.eq(id))
                .filter(api_key::Column::LastUsedAt.is_null().or(api_key::Column::LastUsedAt.lte(earlier)));
            if let Err(error) = update.exec(db.write()).await {
                tracing::warn!(%id, error = &error as &dyn std::error::Error, "failed to note the use of a key");
            }
        });
    }
}

/// Whether `named` is the ID of `workspace` or the operator's own identifier.
fn is_named(workspace: &workspace::Model, named: &str) -> bool {
    workspace.external_id.as_deref() == Some(named) || named.parse() == Ok(workspace.id)
}
