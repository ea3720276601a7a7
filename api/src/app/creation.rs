//! Creating an object once, however often it is asked for: the keys of `webhookSubscriptionCreate` and
//! `webhookEndpointCreate`.
//!
//! Once     the key is stored in the transaction that creates its object, after the workspace was locked
//!          ([`bump_config_version`](angarium_entity::workspace::bump_config_version)); of two at once the second finds
//!          the first. What is refused stores nothing, so that the key can be used again.
//! Secret   a client that lost the answer needs the secret that was in it: it is kept for as long as the key, sealed, and
//!          shown again only to the API key that created the object.
//! Gone     when the object was deleted meanwhile, the key is free.

use angarium_entity::creation_key::{self, LEN_MAX, Object};
use angarium_entity::workspace::rules::CompiledRules;
use angarium_entity::{ApiKeyId, WorkspaceId, workspace};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait as _, IntoActiveModel as _,
    QueryFilter as _,
};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::problem::CommonCode;
use super::{AppError, Path, Problem, Problems, Refusal};
use crate::{AppState, Caller};

/// A signing secret as its owner is shown it. Prints as nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct ShownSecret(String);

impl ShownSecret {
    /// Shows `text`.
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The secret, for its owner.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for ShownSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ShownSecret(…)")
    }
}

/// A key that came with an input.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    workspace_id: WorkspaceId,
    object: Object,
    key: String,
    fingerprint: [u8; 32],
    created_by: Option<ApiKeyId>,
}

/// What was created with a key before.
enum Earlier {
    /// Nothing, or nothing that still is remembered.
    Nothing,
    /// This, with the same input.
    Object {
        /// ID of the object.
        id: Uuid,
        /// The secret as it was shown.
        secret: Option<ShownSecret>,
    },
    /// Something else.
    Other,
}

/// Checks the key of an input; its problems are told together with those of the input. `hidden` is what the input says
/// and does not print.
pub(super) fn claim<C: CommonCode>(
    caller: &Caller,
    object: Object,
    key: Option<String>,
    input: &impl std::fmt::Debug,
    hidden: &[&str],
    problems: &mut Problems<C>,
) -> Result<Option<Claim>, AppError> {
    let workspace_id = caller.workspace_id()?;
    let Some(key) = problems.optional_text(&Path::argument("idempotencyKey"), key, LEN_MAX) else { return Ok(None) };
    // Every other field of an input is in its debug text, whatever is added to it later. A version that prints it
    // otherwise takes a repeat for another input, and refuses it.
    let fingerprint = Sha256::digest(format!("{input:?} {hidden:?}")).into();
    Ok(Some(Claim { workspace_id, object, key, fingerprint, created_by: caller.key_id() }))
}

/// What a key remembers.
pub(super) trait Once: Sized {
    /// The codes of its problems.
    type Code: Send;

    /// Of a key that was used with another input.
    const MISMATCH: Self::Code;

    /// Finds it again; none when it was deleted.
    fn again(
        db: &impl ConnectionTrait,
        workspace_id: WorkspaceId,
        id: Uuid,
        secret: Option<ShownSecret>,
    ) -> impl Future<Output = Result<Option<Self>, DbErr>> + Send;
}

/// How a creation begins.
pub(super) enum Beginning<T> {
    /// It was created with the same key and input before.
    Earlier(T),
    /// Nobody else changes the subscriptions, endpoints and rules of the workspace until the transaction ends.
    Now(Box<Begun>),
}

/// A creation that was begun.
pub(super) struct Begun {
    pub(super) transaction: DatabaseTransaction,
    pub(super) workspace: workspace::Model,
    pub(super) rules: CompiledRules,
}

/// Begins a creation, unless it was done before: which is looked for without the lock first.
pub(super) async fn begin<T: Once>(
    state: &AppState,
    workspace_id: WorkspaceId,
    claim: Option<&Claim>,
) -> Result<Beginning<T>, Refusal<T::Code>> {
    if let Some(earlier) = repeated(state.db.read(), state, workspace_id, claim).await? {
        return Ok(Beginning::Earlier(earlier));
    }
    let transaction = state.db.begin().await?;
    let (workspace, rules) = super::workspace::take(&transaction, workspace_id).await?;
    if let Some(earlier) = repeated(&transaction, state, workspace_id, claim).await? {
        return Ok(Beginning::Earlier(earlier));
    }
    Ok(Beginning::Now(Box::new(Begun { transaction, workspace, rules })))
}

/// What was created with the same key and input before.
async fn repeated<T: Once>(
    db: &impl ConnectionTrait,
    state: &AppState,
    workspace_id: WorkspaceId,
    claim: Option<&Claim>,
) -> Result<Option<T>, Refusal<T::Code>> {
    let Some(claim) = claim else { return Ok(None) };
    match claim.earlier(db, state).await? {
        Earlier::Nothing => Ok(None),
        Earlier::Other => Err(mismatch(T::MISMATCH).into()),
        Earlier::Object { id, secret } => Ok(T::again(db, workspace_id, id, secret).await?),
    }
}

/// The key was used with another input.
fn mismatch<C>(code: C) -> Problem<C> {
    let message = "was used with another input within the last 24 hours; use a fresh key, or the same input";
    Problem { code, message: message.to_owned(), field: Path::argument("idempotencyKey") }
}

impl Claim {
    /// What was created with the key.
    async fn earlier(&self, db: &impl ConnectionTrait, state: &AppState) -> Result<Earlier, AppError> {
        let Some(row) = creation_key::Entity::find().filter(self.is_own()).one(db).await? else {
            return Ok(Earlier::Nothing);
        };
        if !row.is_kept_at(state.now()) {
            return Ok(Earlier::Nothing);
        }
        if row.fingerprint != self.fingerprint {
            return Ok(Earlier::Other);
        }
        let secret = if row.created_by == self.created_by {
            let opened = row.open_secret(&state.sealer).map_err(|error| AppError::Inconsistent(error.to_string()))?;
            opened.map(ShownSecret)
        } else {
            None
        };
        Ok(Earlier::Object { id: row.object_id, secret })
    }

    /// Remembers in the transaction of the object `id` that it was created with this key.
    pub(super) async fn keep(
        self,
        db: &impl ConnectionTrait,
        state: &AppState,
        id: Uuid,
        secret: Option<&ShownSecret>,
    ) -> Result<(), AppError> {
        creation_key::Entity::delete_many().filter(self.is_own()).exec(db).await?;
        let row = creation_key::Model {
            workspace_id: self.workspace_id,
            object: self.object,
            key: self.key,
            fingerprint: self.fingerprint.to_vec(),
            object_id: id,
            secret: secret.map(|secret| creation_key::Model::seal(secret.reveal(), id, &state.sealer)),
            created_by: self.created_by,
            created_at: state.now(),
        };
        creation_key::Entity::insert(row.into_active_model()).exec_without_returning(db).await?;
        Ok(())
    }

    fn is_own(&self) -> sea_orm::Condition {
        use creation_key::Column;
        sea_orm::Condition::all()
            .add(Column::WorkspaceId.eq(self.workspace_id))
            .add(Column::Object.eq(self.object))
            .add(Column::Key.eq(self.key.as_str()))
    }
}
