//! Confirming subscriptions: an endpoint shows that it wants what it is going to be sent.

use angarium_dispatcher::{Asked, Cancel};
use angarium_entity::api_key::Scope;
use angarium_entity::change_log::Change as Logged;
use angarium_entity::confirmation::{self, RESEND_AFTER, SENT_MAX, SENT_WITHIN, TOKEN_LIFETIME, Token};
use angarium_entity::workspace::{self, SubscriptionConfirmation};
use angarium_entity::{EndpointId, SubscriptionId, Timestamp, WorkspaceId, delivery, endpoint, subscription};
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, DatabaseTransaction, DbErr, EntityTrait as _, IntoActiveModel as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, QueryTrait as _, Select, Set,
};

use super::{ErrorCode, change_of, take};
use crate::app::reach::Reach;
use crate::app::{AppError, Path, Problem, Refusal, logged};
use crate::{AppState, Caller};

const CONFIRMED: &str = "The subscription is confirmed.";

/// Why a token confirms nothing.
#[derive(Debug, thiserror::Error)]
pub enum ConfirmError {
    /// Never made, or of a subscription that is gone.
    #[error("The confirmation token is unknown.")]
    Unknown,
    /// Replaced by a newer one, or used for a URL that is no longer the endpoint's.
    #[error("The confirmation token works no more: a newer message has taken its place.")]
    Replaced,
    /// Too old.
    #[error("The confirmation token has expired. Ask for another message.")]
    Expired,
    /// It has done its work.
    #[error("The subscription is confirmed already.")]
    AlreadyConfirmed,
    /// Anything else.
    #[error(transparent)]
    App(#[from] AppError),
}

impl From<DbErr> for ConfirmError {
    fn from(error: DbErr) -> Self {
        Self::App(error.into())
    }
}

impl ConfirmError {
    /// The code that a client can tell it by; none for what is nobody's business.
    pub fn code(&self) -> Option<(ErrorCode, &'static str)> {
        match self {
            Self::Unknown | Self::Replaced => Some((ErrorCode::TokenInvalid, "TOKEN_INVALID")),
            Self::Expired => Some((ErrorCode::TokenExpired, "TOKEN_EXPIRED")),
            Self::AlreadyConfirmed => Some((ErrorCode::AlreadyConfirmed, "ALREADY_CONFIRMED")),
            Self::App(_) => None,
        }
    }
}

/// Confirms a subscription on behalf of a caller who was handed the token.
///
/// # Errors
/// [`Refusal`].
pub async fn confirm_by(
    state: &AppState,
    caller: &Caller,
    token: &str,
) -> Result<subscription::Model, Refusal<ErrorCode>> {
    caller.require(Scope::WebhookSubscribe)?;
    confirm(state, Reach::of(caller)?, token).await.map_err(|error| match (error.code(), error) {
        (_, ConfirmError::App(error)) => Refusal::Error(error),
        (Some((code, _)), error) => {
            let message = match error {
                ConfirmError::Expired => "is too old; ask for another message",
                ConfirmError::AlreadyConfirmed => "was used, and the subscription is confirmed",
                ConfirmError::Replaced => "works no more; take that of the newest message",
                ConfirmError::Unknown | ConfirmError::App(_) => "is unknown",
            };
            Problem { code, message: message.to_owned(), field: Path::argument("token") }.into()
        }
        (None, error) => Refusal::Error(AppError::Inconsistent(error.to_string())),
    })
}

/// Confirms the subscription within `reach` that `token` was made for: it matches every event whose publish starts after
/// this has answered.
///
/// # Errors
/// [`ConfirmError`]; nothing is changed then.
pub async fn confirm(state: &AppState, reach: Reach, token: &str) -> Result<subscription::Model, ConfirmError> {
    let seen = find(state, token).await?;
    if matches!(reach, Reach::One(workspace) if workspace != seen.workspace_id) {
        return Err(ConfirmError::Unknown);
    }
    let now = state.now();
    let transaction = state.db.begin().await?;
    workspace::bump_config_version(&transaction, seen.workspace_id).await?;
    let row = confirmation::Entity::find_by_id(seen.event_id).one(&transaction).await?.ok_or(ConfirmError::Unknown)?;
    let target = subscription::Entity::of(row.workspace_id).filter(subscription::Column::Id.eq(row.subscription_id));
    let before = target.clone().one(&transaction).await?;
    judge(&row, before.as_ref(), now)?;
    if !confirmation::end(&transaction, row.event_id, true, now).await? {
        return Err(ConfirmError::Replaced);
    }
    let after = target.one(&transaction).await?.ok_or(ConfirmError::Unknown)?;
    logged::commit(state, transaction, now, [(after.workspace_id, change_of(&after))]).await?;
    state.dispatcher.endpoint_changed(after.endpoint_id);
    stop_sending(state, &row).await?;
    Ok(after)
}

/// A message whose attempts have failed, although its link was opened, need not be sent again. One that runs comes to
/// its end.
async fn stop_sending(state: &AppState, row: &confirmation::Model) -> Result<(), DbErr> {
    use delivery::{Column, Status};
    let waiting = delivery::Entity::of(row.workspace_id)
        .filter(Column::EventId.eq(row.event_id))
        .filter(Column::Status.eq(Status::Retrying))
        .one(state.db.read())
        .await?;
    let Some(waiting) = waiting else { return Ok(()) };
    if state.dispatcher.in_flight(&[(waiting.endpoint_id, waiting.id)]).await != [true] {
        state.dispatcher.cancel(row.workspace_id, Cancel::Delivery(waiting.id), CONFIRMED).await?;
    }
    Ok(())
}

/// Tells what [`confirm`] would do with a token, and does nothing.
///
/// # Errors
/// [`ConfirmError`].
pub async fn look(state: &AppState, token: &str) -> Result<(), ConfirmError> {
    let row = find(state, token).await?;
    let target = subscription::Entity::of(row.workspace_id).filter(subscription::Column::Id.eq(row.subscription_id));
    judge(&row, target.one(state.db.read()).await?.as_ref(), state.now())
}

async fn find(state: &AppState, token: &str) -> Result<confirmation::Model, ConfirmError> {
    let token = Token::parse(token).ok_or(ConfirmError::Unknown)?;
    let by_token = confirmation::Column::TokenHash.eq(token.hash());
    let found = confirmation::Entity::find().filter(by_token).one(state.db.read()).await?;
    found.ok_or(ConfirmError::Unknown)
}

fn judge(
    row: &confirmation::Model,
    subscription: Option<&subscription::Model>,
    now: Timestamp,
) -> Result<(), ConfirmError> {
    let subscription = subscription.ok_or(ConfirmError::Unknown)?;
    if row.used && subscription.confirmed_at.is_some() {
        return Err(ConfirmError::AlreadyConfirmed);
    }
    if row.expires_at.is_some_and(|end| end <= now) {
        return Err(ConfirmError::Expired);
    }
    if row.ended_at.is_some() || !subscription.is_pending() { Err(ConfirmError::Replaced) } else { Ok(()) }
}

/// Sends another message with another token.
///
/// # Errors
/// [`Refusal`].
pub async fn resend(state: &AppState, caller: &Caller, id: &str) -> Result<subscription::Model, Refusal<ErrorCode>> {
    use confirmation::{Column, Entity};
    caller.require(Scope::WebhookSubscribe)?;
    let refused = |code, message: String| Err(Problem { code, message, field: Path::argument("id") }.into());
    let transaction = state.db.begin().await?;
    let mut row = take(&transaction, Reach::of(caller)?, id).await??;
    let now = state.now();
    if !row.is_pending() {
        return refused(ErrorCode::AlreadyConfirmed, "is confirmed, or needs no confirmation".to_owned());
    }
    if row.is_expired(now) {
        return refused(ErrorCode::Expired, "is expired; renew it first".to_owned());
    }
    let sent = Entity::find()
        .filter(Column::SubscriptionId.eq(row.id))
        .filter(Column::CreatedAt.gt(now - SENT_WITHIN))
        .order_by_desc(Column::CreatedAt)
        .limit(SENT_MAX as u64)
        .all(&transaction)
        .await?;
    if let Some(oldest) = sent.get(SENT_MAX - 1) {
        let message =
            format!("was sent {SENT_MAX} messages within a day; ask again after {}", oldest.created_at + SENT_WITHIN);
        return refused(ErrorCode::LimitReached, message);
    }
    if let Some(again) = sent.first().map(|last| last.created_at + RESEND_AFTER).filter(|again| *again > now) {
        return refused(ErrorCode::LimitReached, format!("was sent a message a moment ago; ask again after {again}"));
    }
    let endpoint = endpoint::Entity::find_by_id(row.endpoint_id).one(&transaction).await?;
    let lost = || AppError::Inconsistent(format!("{} has no endpoint", row.id));
    let url = endpoint.ok_or_else(lost)?.url;
    let mut changed = row.clone().into_active_model();
    changed.confirmation_expires_at = Set(token_end(row.confirmation, now));
    changed.updated_at = Set(now);
    row = changed.update(&transaction).await?;
    let asked = ask(state, &transaction, &[&row], row.endpoint_id, &url, now).await?;
    logged::commit(state, transaction, now, [(row.workspace_id, change_of(&row))]).await?;
    state.dispatcher.send_confirmations(asked).await?;
    Ok(row)
}

/// Until when a token that is made now works, where there is one.
pub(super) fn token_end(mode: SubscriptionConfirmation, now: Timestamp) -> Option<Timestamp> {
    (mode == SubscriptionConfirmation::Link).then(|| now + TOKEN_LIFETIME)
}

/// How the workspace wants its subscriptions confirmed now.
pub(super) async fn mode(
    db: &DatabaseTransaction,
    workspace: WorkspaceId,
) -> Result<SubscriptionConfirmation, AppError> {
    let found = workspace::Entity::find_by_id(workspace).one(db).await?;
    let lost = || AppError::Inconsistent(format!("{workspace} does not exist"));
    Ok(found.ok_or_else(lost)?.subscription_confirmation)
}

/// Writes a message for each of `rows` that has to be confirmed; what was sent for them before works no more.
pub(super) async fn ask(
    state: &AppState,
    db: &DatabaseTransaction,
    rows: &[&subscription::Model],
    endpoint: EndpointId,
    url: &str,
    now: Timestamp,
) -> Result<Asked, DbErr> {
    let pending = rows.iter().filter(|row| row.is_pending());
    let messages =
        pending.filter_map(|row| confirmation::ask(row, url, &state.public_url, &state.sealer, now)).collect();
    let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
    state.dispatcher.ask_for_confirmation(db, endpoint, &ids, messages).await
}

/// Has a subscription confirmed anew, in the way that its workspace wants it now.
pub(super) async fn start_anew(
    db: &DatabaseTransaction,
    row: subscription::Model,
    mode: SubscriptionConfirmation,
    now: Timestamp,
) -> Result<subscription::Model, DbErr> {
    let version = row.version + 1;
    let mut changed = row.into_active_model();
    changed.confirmation = Set(mode);
    changed.confirmed_at = Set(None);
    changed.confirmation_expires_at = Set(token_end(mode, now));
    changed.version = Set(version);
    changed.updated_at = Set(now);
    changed.update(db).await
}

/// Tells why no other URL is asked now, where one of `rows`, all of this workspace, was sent [`SENT_MAX`] messages within
/// a day.
pub(in crate::app) async fn refuse_asking(
    db: &DatabaseTransaction,
    workspace: WorkspaceId,
    rows: Select<subscription::Entity>,
    now: Timestamp,
) -> Result<Result<(), String>, AppError> {
    use confirmation::{Column, Entity};
    if mode(db, workspace).await? == SubscriptionConfirmation::None {
        return Ok(Ok(()));
    }
    let asked_out: Option<SubscriptionId> = Entity::find()
        .select_only()
        .column(Column::SubscriptionId)
        .filter(Column::SubscriptionId.in_subquery(rows.select_only().column(subscription::Column::Id).into_query()))
        .filter(Column::CreatedAt.gt(now - SENT_WITHIN))
        .group_by(Column::SubscriptionId)
        .having(Expr::cust("COUNT(*)").gte(i64::try_from(SENT_MAX).unwrap_or(i64::MAX)))
        .into_tuple()
        .one(db)
        .await?;
    Ok(asked_out.map_or(Ok(()), |id| {
        Err(format!("would have {id} confirmed anew, which was sent {SENT_MAX} messages within a day"))
    }))
}

/// The subscriptions of an endpoint.
pub(in crate::app) fn subscribed_to(workspace: WorkspaceId, endpoint: EndpointId) -> Select<subscription::Entity> {
    subscription::Entity::of(workspace).filter(subscription::Column::EndpointId.eq(endpoint))
}

/// Has every subscription of an endpoint that moves to `url` confirmed anew.
pub(in crate::app) async fn moved(
    state: &AppState,
    db: &DatabaseTransaction,
    endpoint: &endpoint::Model,
) -> Result<(Asked, Vec<Logged>), AppError> {
    let now = state.now();
    let mode = mode(db, endpoint.workspace_id).await?;
    let rows = subscribed_to(endpoint.workspace_id, endpoint.id).all(db).await?;
    let mut changed = Vec::new();
    for row in rows {
        if mode != SubscriptionConfirmation::None || row.confirmation != SubscriptionConfirmation::None {
            changed.push(start_anew(db, row, mode, now).await?);
        }
    }
    let rows: Vec<&subscription::Model> = changed.iter().collect();
    let asked = ask(state, db, &rows, endpoint.id, &endpoint.url, now).await?;
    Ok((asked, changed.iter().map(change_of).collect()))
}
