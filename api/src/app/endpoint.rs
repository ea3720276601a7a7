//! HTTP destinations.

use std::time::Duration;

use angarium_entity::api_key::Scope;
use angarium_entity::change_log::EndpointChange;
use angarium_entity::creation_key::Object;
use angarium_entity::endpoint::{
    self, BodyFormat, IN_FLIGHT_MAX, Ordering, RATE_LIMIT_MAX, RequestHeader, RequestHeaders, SignatureScheme, Status,
    StrictExhaustion, TIMEOUT_RANGE,
};
use angarium_entity::signing_secret::{self, SecretError, SigningSecret};
use angarium_entity::{EndpointId, WorkspaceId, endpoint_revision, shard, workspace};
use async_graphql::Enum;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, IntoActiveModel, QueryFilter};
use uuid::Uuid;

use super::creation::{self, Beginning, Begun, Once, ShownSecret};
use super::problem::CommonCode;
use super::reach::{Reach, within};
use super::workspace::NAME_LEN_MAX;
use super::{AppError, Path, Problem, Problems, Refusal, logged};
use crate::app::event_type::DESCRIPTION_LEN_MAX;
use crate::{AppState, Caller};

mod check;
mod delete;
mod hold;
mod list;
mod rotate;
pub(super) mod update;

pub(super) use delete::mark as mark_deleted;
pub use delete::{delete, discard};
pub use hold::{pause, resume};
pub use list::{Filter, Sort};
pub use rotate::rotate;
pub use update::{Patch, SigningDraft, Updated, update};

/// Most characters of the reason for a pause.
pub const REASON_LEN_MAX: usize = 1024;
/// `maxInFlight` of an endpoint without an order that asks for none.
pub const IN_FLIGHT_DEFAULT: i32 = 16;

/// Kinds of problem with webhook endpoint input. New values may be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(name = "WebhookEndpointErrorCode")]
pub enum ErrorCode {
    /// The value is empty.
    Blank,
    /// The object was changed meanwhile; see `expectedVersion`.
    Conflict,
    /// Deliveries wait for the endpoint; discard them first.
    DeliveriesWaiting,
    /// The header is set by the server or not allowed.
    HeaderForbidden,
    /// The idempotency key was used with another input.
    IdempotencyMismatch,
    /// The value is malformed.
    Invalid,
    /// Subscriptions still use the endpoint.
    InUse,
    /// The workspace has as many endpoints as it may, or a confirmation was asked for too often.
    LimitReached,
    /// No such object in this workspace.
    NotFound,
    /// The endpoint has no secret to rotate.
    NotSigned,
    /// The secret is too short.
    SecretWeak,
    /// The value must be unique and is in use.
    Taken,
    /// The value is too long.
    TooLong,
    /// The list is too long.
    TooMany,
    /// The URL points to an address that is not allowed.
    UrlForbidden,
    /// The URL must use https.
    UrlNotHttps,
}

impl CommonCode for ErrorCode {
    const BLANK: Self = Self::Blank;
    const INVALID: Self = Self::Invalid;
    const TOO_LONG: Self = Self::TooLong;
}

/// A request header, as given.
#[derive(Clone)]
pub struct HeaderDraft {
    /// Its name.
    pub name: String,
    /// Its value; none keeps the present one.
    pub value: Option<String>,
    /// Whether nobody is shown it.
    pub secret: bool,
}

impl std::fmt::Debug for HeaderDraft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("HeaderDraft");
        shown.field("name", &self.name).field("secret", &self.secret).finish_non_exhaustive()
    }
}

/// An endpoint to create, as given.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Display name.
    pub name: Option<String>,
    /// Note for people.
    pub description: Option<String>,
    /// Destination.
    pub url: String,
    /// Extra request headers.
    pub headers: Vec<HeaderDraft>,
    /// What a request body looks like.
    pub body_format: BodyFormat,
    /// In which order deliveries go out.
    pub ordering: Ordering,
    /// Most requests in flight at once.
    pub max_in_flight: Option<i32>,
    /// What a STRICT line does when its head fails for good.
    pub on_exhausted: StrictExhaustion,
    /// Most requests per second; no limit when absent.
    pub rate_limit: Option<i32>,
    /// Time allowed for one request, in ISO 8601; the default when absent.
    pub timeout: Option<String>,
    /// How requests are signed.
    pub scheme: SignatureScheme,
    /// The caller's own secret; one is made when absent.
    pub secret: Option<String>,
}

impl Draft {
    /// What it says and does not print, or might not.
    pub(super) fn hidden(&self) -> Vec<&str> {
        let values = self.headers.iter().filter_map(|header| header.value.as_deref());
        values.chain(self.secret.as_deref()).collect()
    }

    /// An endpoint for `url` with default settings.
    pub fn for_url(url: String) -> Self {
        Self {
            name: None,
            description: None,
            url,
            headers: Vec::new(),
            body_format: BodyFormat::Envelope,
            ordering: Ordering::Fifo,
            max_in_flight: None,
            on_exhausted: StrictExhaustion::Skip,
            rate_limit: None,
            timeout: None,
            scheme: SignatureScheme::StandardWebhooks,
            secret: None,
        }
    }
}

/// An endpoint that was checked and can be stored.
#[derive(Clone, Debug)]
pub struct NewEndpoint {
    name: Option<String>,
    description: Option<String>,
    url: String,
    headers: Vec<RequestHeader>,
    body_format: BodyFormat,
    ordering: Ordering,
    max_in_flight: i32,
    on_exhausted: StrictExhaustion,
    rate_limit: Option<i32>,
    timeout: Duration,
    /// None when unsigned.
    secret: Option<SigningSecret>,
}

/// A stored endpoint, and its secret, which is shown only now.
#[derive(Clone, Debug)]
pub struct Created {
    /// The row.
    pub endpoint: endpoint::Model,
    /// None when unsigned.
    pub secret: Option<ShownSecret>,
}

/// Creates an endpoint in the caller's workspace; with an idempotency key once.
///
/// # Errors
/// [`Refusal`].
pub async fn create(
    state: &AppState,
    caller: &Caller,
    draft: Draft,
    idempotency_key: Option<String>,
) -> Result<Created, Refusal<ErrorCode>> {
    caller.require(Scope::WebhookSubscribe)?;
    let workspace_id = caller.workspace_id()?;
    let mut problems = Problems::default();
    let claim = creation::claim(caller, Object::Endpoint, idempotency_key, &draft, &draft.hidden(), &mut problems)?;
    let Begun { transaction, workspace, rules } = match creation::begin(state, workspace_id, claim.as_ref()).await? {
        Beginning::Earlier(created) => return Ok(created),
        Beginning::Now(begun) => *begun,
    };
    check_count(state, &workspace, &Path::argument("input"), &mut problems);
    let new = draft.check(state, &rules, &Path::argument("input"), &mut problems);
    let new = problems.unless_any(new).map_err(Refusal::Problems)?;
    let created = insert(&transaction, state, caller, workspace_id, new, false).await?;
    if let Some(claim) = claim {
        claim.keep(&transaction, state, created.endpoint.id.0, created.secret.as_ref()).await?;
    }
    let change = EndpointChange::of(created.endpoint.id).into();
    logged::commit(state, transaction, created.endpoint.created_at, [(workspace_id, change)]).await?;
    state.dispatcher.endpoint_changed(created.endpoint.id);
    Ok(created)
}

impl Once for Created {
    type Code = ErrorCode;

    const MISMATCH: ErrorCode = ErrorCode::IdempotencyMismatch;

    async fn again(
        db: &impl ConnectionTrait,
        workspace_id: WorkspaceId,
        id: Uuid,
        secret: Option<ShownSecret>,
    ) -> Result<Option<Self>, DbErr> {
        let found = endpoint::Entity::of(workspace_id).filter(by_id(EndpointId(id))).one(db).await?;
        Ok(found.map(|endpoint| Self { endpoint, secret }))
    }
}

/// Stores an endpoint with its first revision and its secret, in the caller's transaction.
pub(super) async fn insert(
    db: &impl ConnectionTrait,
    state: &AppState,
    caller: &Caller,
    workspace_id: WorkspaceId,
    new: NewEndpoint,
    inline: bool,
) -> Result<Created, DbErr> {
    let now = state.now();
    let id = EndpointId::new(now);
    let endpoint = endpoint::Model {
        id,
        workspace_id,
        shard: shard::of(id, shard::COUNT),
        name: new.name,
        description: new.description,
        url: new.url,
        headers: RequestHeaders::seal(&new.headers, &RequestHeaders::default(), id, &state.sealer),
        body_format: new.body_format,
        ordering: new.ordering,
        on_exhausted: new.on_exhausted,
        max_in_flight: new.max_in_flight,
        rate_limit_per_second: new.rate_limit,
        timeout_ms: i32::try_from(new.timeout.as_millis()).unwrap_or(i32::MAX),
        signature_scheme: new.secret.as_ref().map_or(SignatureScheme::None, SigningSecret::scheme),
        inline,
        status: Status::Active,
        status_reason: None,
        held_since: None,
        held_until: None,
        version: 1,
        created_by: caller.key_id(),
        created_at: now,
        updated_at: now,
        deleted_at: None,
    };
    let revision = endpoint_revision::Model::from(&endpoint).into_active_model();
    endpoint::Entity::insert(endpoint.clone().into_active_model()).exec_without_returning(db).await?;
    endpoint_revision::Entity::insert(revision).exec_without_returning(db).await?;
    workspace::count(db, workspace_id, workspace::Column::EndpointCount, 1).await?;
    if let Some(secret) = &new.secret {
        let sealed = signing_secret::Model::seal(secret, id, &state.sealer, now).into_active_model();
        signing_secret::Entity::insert(sealed).exec_without_returning(db).await?;
    }
    Ok(Created { endpoint, secret: new.secret.map(|secret| ShownSecret::new(secret.reveal())) })
}

/// Whether the workspace may have another endpoint.
pub(super) fn check_count(
    state: &AppState,
    workspace: &workspace::Model,
    field: &Path,
    problems: &mut Problems<ErrorCode>,
) {
    let most = state.limits.endpoints_max;
    if usize::try_from(workspace.endpoint_count).is_ok_and(|count| count >= most) {
        let message = format!("is one more than the {most} endpoints that a workspace may have; delete one first");
        problems.add(ErrorCode::LimitReached, field, message);
    }
}

/// The endpoint with this ID as it is now that nobody else changes the workspace's subscriptions and endpoints, until
/// the transaction ends.
async fn take(
    db: &DatabaseTransaction,
    reach: Reach,
    id: &str,
) -> Result<Result<endpoint::Model, Problem<ErrorCode>>, DbErr> {
    let not_found = || Problem::not_found(ErrorCode::NotFound, Path::argument("id"));
    let Ok(id) = id.parse() else { return Ok(Err(not_found())) };
    let select = within!(endpoint, reach).filter(by_id(id));
    let Some(seen) = select.clone().one(db).await? else { return Ok(Err(not_found())) };
    workspace::bump_config_version(db, seen.workspace_id).await?;
    Ok(select.one(db).await?.ok_or_else(not_found))
}

/// The endpoint with this ID, if the caller can see it.
///
/// # Errors
/// [`AppError`].
pub async fn find(state: &AppState, caller: &Caller, id: EndpointId) -> Result<Option<endpoint::Model>, AppError> {
    caller.require(Scope::WebhookRead)?;
    Ok(within!(endpoint, Reach::of(caller)?).filter(by_id(id)).one(state.db.read()).await?)
}

fn by_id(id: EndpointId) -> sea_orm::sea_query::Expr {
    use sea_orm::ColumnTrait as _;
    endpoint::Column::Id.eq(id)
}
