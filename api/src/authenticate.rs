//! From a credential to a [`Caller`].
//!
//! Keys are looked up by their SHA-256. What was found is believed for [`FRESH`], so that a busy key costs one query a
//! second and a revoked key stops within that second on every node; streams ask again every [`RECHECK`]. The node that
//! revokes a key forgets what it has read, and so it stops there at once. The clock is asked each time: an expired key
//! stops at once.
//!
//! An access token says itself what it may do; its maker is looked up like any key, so that it ends with it.

mod credentials;
mod memo;

use std::hash::Hash;
use std::time::Duration;

use angarium_entity::access_token::{self, AccessToken, Maker};
use angarium_entity::api_key::{self, ApiKeySecret, Scope, Scopes};
use angarium_entity::{ApiKeyId, Timestamp, workspace};
use sea_orm::{ColumnTrait as _, DbErr, EntityTrait as _, ExprTrait as _, QueryFilter as _, Select};
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
    #[error("the API key or access token is unknown, revoked or expired")]
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
    makers: Memo<ApiKeyId, Known>,
    workspaces: Memo<String, workspace::Model>,
    /// Streams that make sure of their key.
    forgotten: Notify,
}

impl Default for KnownKeys {
    fn default() -> Self {
        Self {
            keys: Memo::new(FRESH),
            makers: Memo::new(FRESH),
            workspaces: Memo::new(FRESH),
            forgotten: Notify::new(),
        }
    }
}

impl KnownKeys {
    /// Forgets all of it: a key or a workspace has changed. Call it after the commit.
    pub fn forget(&self) {
        self.keys.clear();
        self.makers.clear();
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
        if key.starts_with(access_token::PREFIX) {
            return self.by_token(key, credentials.workspace.as_deref()).await.map(Some);
        }
        let hash = ApiKeySecret::parse(key).ok_or(AuthenticateError::Refused)?.hash();
        let named = credentials.workspace.as_deref();
        if self.state.admin_key_hash.is_some_and(|admin| bool::from(admin.ct_eq(&hash))) {
            let workspace = self.workspace(named).await?;
            return Ok(Some(Caller { key: None, scopes: Scopes::new([Scope::Admin]), workspace, by_token: false }));
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
        Ok(Some(Caller { key: Some(known.key), scopes, workspace, by_token: false }))
    }

    /// Who is calling with an access token, which works while it lasts and its maker does.
    async fn by_token(&self, text: &str, named: Option<&str>) -> Result<Caller, AuthenticateError> {
        let token = AccessToken::open(text, &self.state.sealer).ok_or(AuthenticateError::Refused)?;
        let now = self.state.now();
        if token.expires_at <= now {
            return Err(AuthenticateError::Refused);
        }
        let (key, of_maker) = match token.maker {
            Maker::Operator(hash) if self.state.admin_key_hash == Some(hash) => (None, Scopes::new([Scope::Admin])),
            Maker::Operator(_) => return Err(AuthenticateError::Refused),
            Maker::Key(id) => {
                let known = self.maker(id).await?.filter(|known| known.key.works_at(now));
                let key = known.ok_or(AuthenticateError::Refused)?.key;
                let scopes = key.scopes.clone();
                (Some(key), scopes)
            }
        };
        let scopes = Scopes::new(token.scopes.iter().filter(|scope| of_maker.allow(*scope)));
        let workspace = match token.workspace_id {
            None => self.workspace(named.filter(|_| scopes.allow(Scope::Admin))).await?,
            Some(id) => match self.workspace(Some(&id.to_string())).await {
                Ok(Some(own)) if named.is_none_or(|named| is_named(&own, named)) => Some(own),
                Ok(_) => return Err(AuthenticateError::OtherWorkspace),
                Err(AuthenticateError::UnknownWorkspace(_)) => return Err(AuthenticateError::Refused),
                Err(error) => return Err(error),
            },
        };
        Ok(Caller { key, scopes, workspace, by_token: true })
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
        let select = api_key::Entity::find().filter(api_key::Column::Hash.eq(&hash[..]));
        self.read(&self.state.known_keys.keys, hash, select).await
    }

    async fn maker(&self, id: ApiKeyId) -> Result<Option<Known>, DbErr> {
        self.read(&self.state.known_keys.makers, id, api_key::Entity::find_by_id(id)).await
    }

    async fn read<K: Copy + Eq + Hash>(
        &self,
        keys: &Memo<K, Known>,
        by: K,
        select: Select<api_key::Entity>,
    ) -> Result<Option<Known>, DbErr> {
        if let Some(known) = keys.get(&by) {
            return Ok(Some(known));
        }
        let age = keys.age();
        let db = self.state.db.read();
        let Some(key) = select.one(db).await? else { return Ok(None) };
        let workspace = match key.workspace_id {
            Some(id) => match workspace::Entity::live().filter(workspace::Column::Id.eq(id)).one(db).await? {
                Some(workspace) => Some(workspace),
                // It is deleted, and its keys with it.
                None => return Ok(None),
            },
            None => None,
        };
        self.record_use(&key);
        let known = Known { key, workspace };
        keys.put(age, by, known.clone());
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
        let found = workspace::Entity::live().filter(named_workspace(named)).one(self.state.db.read()).await?;
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
