//! Rules that send events to an endpoint.

use std::collections::HashSet;

use angarium_entity::api_key::Scope;
use angarium_entity::change_log::{self, Change, SubscriptionChange};
use angarium_entity::creation_key::Object;
use angarium_entity::workspace::rules::CompiledRules;
use angarium_entity::{
    EndpointId, SubscriptionId, WorkspaceId, endpoint, subscription, subscription_revision, workspace,
};
use async_graphql::Enum;
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, IntoActiveModel, QueryFilter,
    QuerySelect as _,
};
use uuid::Uuid;

use super::creation::{self, Beginning, Begun, Once, ShownSecret};
use super::problem::CommonCode;
use super::reach::{Reach, within};
use super::retry_policy::RetryPolicyDraft;
use super::{AppError, Path, Problem, Problems, Refusal, logged};
use crate::app::endpoint::{self as endpoints, NewEndpoint};
use crate::{AppState, Caller};

mod check;
mod confirm;
mod delete;
mod list;
mod preview;
mod renew;
mod status;
mod switch;
mod test_event;
mod update;

pub use confirm::{ConfirmError, confirm, confirm_by, look, resend};
pub use delete::delete;
pub use list::{Filter, Sort, of_endpoint};
pub use preview::{Preview, PreviewDraft, preview};
pub use renew::renew;
pub use status::{Status, explain};
pub use switch::switch;
pub use test_event::send_test;
pub use update::{EndpointChange, Patch, Updated, update};

pub(in crate::app) use confirm::{moved, refuse_asking, subscribed_to};

/// Kinds of problem with webhook subscription input. New values may be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(name = "WebhookSubscriptionErrorCode")]
pub enum ErrorCode {
    /// The subscription is confirmed, or needs no confirmation.
    AlreadyConfirmed,
    /// The value is empty.
    Blank,
    /// The object was changed meanwhile; see `expectedVersion`.
    Conflict,
    /// The subscription is expired; renew it first.
    Expired,
    /// The CEL expression is wrong; see the message.
    FilterInvalid,
    /// The lifetime exceeds the workspace maximum.
    ExpiryTooLong,
    /// The header is set by the server or not allowed.
    HeaderForbidden,
    /// The idempotency key was used with another input.
    IdempotencyMismatch,
    /// The value is malformed.
    Invalid,
    /// The workspace has as many subscriptions, or endpoints, as it may, or a confirmation was asked for too often.
    LimitReached,
    /// No such object in this workspace.
    NotFound,
    /// The payload does not satisfy the schema of the event type.
    PayloadInvalid,
    /// The retry policy is out of bounds.
    RetryPolicyInvalid,
    /// The secret is too short.
    SecretWeak,
    /// The value must be unique and is in use.
    Taken,
    /// The confirmation token is too old; ask for another.
    TokenExpired,
    /// The confirmation token is unknown or used, or another has taken its place.
    TokenInvalid,
    /// The value is too long.
    TooLong,
    /// The list is too long.
    TooMany,
    /// An event type is not in the catalogue or is archived.
    UnknownEventType,
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

impl From<endpoints::ErrorCode> for ErrorCode {
    fn from(code: endpoints::ErrorCode) -> Self {
        match code {
            endpoints::ErrorCode::Blank => Self::Blank,
            endpoints::ErrorCode::HeaderForbidden => Self::HeaderForbidden,
            endpoints::ErrorCode::IdempotencyMismatch => Self::IdempotencyMismatch,
            // Of the last four none is about what an endpoint looks like, which is all that is checked for a subscription.
            endpoints::ErrorCode::Invalid
            | endpoints::ErrorCode::Conflict
            | endpoints::ErrorCode::DeliveriesWaiting
            | endpoints::ErrorCode::InUse
            | endpoints::ErrorCode::NotSigned => Self::Invalid,
            endpoints::ErrorCode::LimitReached => Self::LimitReached,
            endpoints::ErrorCode::NotFound => Self::NotFound,
            endpoints::ErrorCode::SecretWeak => Self::SecretWeak,
            endpoints::ErrorCode::Taken => Self::Taken,
            endpoints::ErrorCode::TooLong => Self::TooLong,
            endpoints::ErrorCode::TooMany => Self::TooMany,
            endpoints::ErrorCode::UrlForbidden => Self::UrlForbidden,
            endpoints::ErrorCode::UrlNotHttps => Self::UrlNotHttps,
        }
    }
}

/// A subscription to create, as given.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Display name.
    pub name: Option<String>,
    /// Note for people.
    pub description: Option<String>,
    /// Who owns it.
    pub owner_id: Option<String>,
    /// Where its events go.
    pub endpoint: EndpointDraft,
    /// Names and patterns of event types.
    pub event_types: Vec<String>,
    /// Channels whose events match.
    pub channels: Option<Vec<String>>,
    /// Condition on an event, in CEL.
    pub filter: Option<String>,
    /// Top-level payload fields to send.
    pub payload_fields: Option<Vec<String>>,
    /// Caller-defined data, as compact JSON text.
    pub metadata: Option<String>,
    /// When failed deliveries are tried again.
    pub retry_policy: Option<RetryPolicyDraft>,
    /// The service of the event types.
    pub service: Option<String>,
    /// Start switched on.
    pub enabled: bool,
    /// Lifetime from now, in ISO 8601.
    pub expires_in: Option<String>,
}

/// Where the events of a new subscription go.
#[derive(Clone, Debug)]
pub enum EndpointDraft {
    /// An endpoint made for it, with default settings.
    Url(String),
    /// An endpoint made for it.
    Create(Box<endpoints::Draft>),
    /// One that exists, by its ID in the text form.
    Id(String),
}

/// The same, checked.
enum EndpointChoice {
    New(Box<NewEndpoint>),
    Existing(EndpointId),
}

/// A stored subscription.
#[derive(Clone, Debug)]
pub struct Created {
    /// The row.
    pub subscription: subscription::Model,
    /// The endpoint that was made with it.
    pub endpoint: Option<endpoint::Model>,
    /// The secret of that endpoint, shown only now.
    pub secret: Option<ShownSecret>,
}

/// Creates a subscription in the caller's workspace, with its endpoint if it has none yet, in one transaction; with an
/// idempotency key once.
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
    let hidden = match &draft.endpoint {
        EndpointDraft::Create(endpoint) => endpoint.hidden(),
        EndpointDraft::Url(_) | EndpointDraft::Id(_) => Vec::new(),
    };
    let claim = creation::claim(caller, Object::Subscription, idempotency_key, &draft, &hidden, &mut problems)?;
    // The workspace is locked, so that nobody deletes the endpoint or changes the rules meanwhile.
    let Begun { transaction, workspace, rules } = match creation::begin(state, workspace_id, claim.as_ref()).await? {
        Beginning::Earlier(created) => return Ok(created),
        Beginning::Now(begun) => *begun,
    };
    let checked = check::check(&transaction, state, (&workspace, &rules), draft, problems).await?;
    let (endpoint, secret, url) = match checked.endpoint {
        EndpointChoice::New(new) => {
            let created = endpoints::insert(&transaction, state, caller, workspace_id, *new, true).await?;
            let url = created.endpoint.url.clone();
            (Some(created.endpoint), created.secret, url)
        }
        EndpointChoice::Existing(id) => {
            (None, None, require_endpoint(&transaction, workspace_id, id, &rules).await?.url)
        }
    };
    let mut row = checked.row;
    row.workspace_id = workspace_id;
    row.created_by = caller.key_id();
    row.confirmation = confirm::mode(&transaction, workspace_id).await?;
    row.confirmation_expires_at = confirm::token_end(row.confirmation, row.created_at);
    if let Some(endpoint) = &endpoint {
        row.endpoint_id = endpoint.id;
    }
    workspace::count(&transaction, workspace_id, workspace::Column::SubscriptionCount, 1).await?;
    subscription::Entity::insert(row.clone().into_active_model()).exec_without_returning(&transaction).await?;
    insert_revision(&transaction, &row).await?;
    let asked = confirm::ask(state, &transaction, &[&row], row.endpoint_id, &url, row.created_at).await?;
    if let Some(claim) = claim {
        claim.keep(&transaction, state, row.id.0, secret.as_ref()).await?;
    }
    let made = endpoint.as_ref().map(|endpoint| change_log::EndpointChange::of(endpoint.id).into());
    let changes = made.into_iter().chain([change_of(&row)]).map(|change| (workspace_id, change));
    logged::commit(state, transaction, row.created_at, changes).await?;
    state.dispatcher.endpoint_changed(row.endpoint_id);
    state.dispatcher.send_confirmations(asked).await?;
    Ok(Created { subscription: row, endpoint, secret })
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
        let is_it = subscription::Column::Id.eq(SubscriptionId(id));
        let found = subscription::Entity::of(workspace_id).filter(is_it).one(db).await?;
        Ok(found.map(|subscription| Self { subscription, endpoint: None, secret }))
    }
}

/// The entry of the log for a subscription that was made, changed or deleted.
fn change_of(row: &subscription::Model) -> Change {
    SubscriptionChange { subscription_id: row.id }.into()
}

async fn insert_revision(db: &impl ConnectionTrait, row: &subscription::Model) -> Result<(), DbErr> {
    let revision = subscription_revision::Model::from(row).into_active_model();
    subscription_revision::Entity::insert(revision).exec_without_returning(db).await.map(drop)
}

/// Where the events of these subscriptions go and ever went: who has to know of what changes in them.
async fn endpoints_of(
    db: &impl ConnectionTrait,
    ids: impl IntoIterator<Item = SubscriptionId>,
) -> Result<HashSet<EndpointId>, DbErr> {
    use subscription_revision::Column;
    let select = subscription_revision::Entity::find().filter(Column::SubscriptionId.is_in(ids));
    let endpoints = select.select_only().column(Column::EndpointId).distinct();
    Ok(endpoints.into_tuple::<EndpointId>().all(db).await?.into_iter().collect())
}

async fn require_endpoint(
    db: &impl ConnectionTrait,
    workspace_id: WorkspaceId,
    id: EndpointId,
    rules: &CompiledRules,
) -> Result<endpoint::Model, Refusal<ErrorCode>> {
    let found = endpoint::Entity::of(workspace_id).filter(endpoint::Column::Id.eq(id)).one(db).await?;
    let mut problems = Problems::default();
    check::check_existing(&Path::argument("input").at("endpoint").at("id"), found.as_ref(), rules, &mut problems);
    problems.unless_any(found).map_err(Refusal::Problems)
}

/// The subscription with this ID as it is now that nobody else changes the workspace's subscriptions and endpoints,
/// until the transaction ends.
async fn take(
    db: &DatabaseTransaction,
    reach: Reach,
    id: &str,
) -> Result<Result<subscription::Model, Problem<ErrorCode>>, DbErr> {
    let not_found = || Problem::not_found(ErrorCode::NotFound, Path::argument("id"));
    let Ok(id) = id.parse::<SubscriptionId>() else { return Ok(Err(not_found())) };
    let select = within!(subscription, reach).filter(subscription::Column::Id.eq(id));
    let Some(seen) = select.clone().one(db).await? else { return Ok(Err(not_found())) };
    workspace::bump_config_version(db, seen.workspace_id).await?;
    Ok(select.one(db).await?.ok_or_else(not_found))
}

/// The subscription with this ID, if the caller can see it.
///
/// # Errors
/// [`AppError`].
pub async fn find(
    state: &AppState,
    caller: &Caller,
    id: SubscriptionId,
) -> Result<Option<subscription::Model>, AppError> {
    caller.require(Scope::WebhookRead)?;
    let select = within!(subscription, Reach::of(caller)?).filter(subscription::Column::Id.eq(id));
    Ok(select.one(state.db.read()).await?)
}
