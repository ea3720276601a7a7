//! Another secret, without a moment in which a receiver cannot verify.

use std::time::Duration;

use angarium_entity::api_key::Scope;
use angarium_entity::change_log::EndpointChange;
use angarium_entity::endpoint::{self, SignatureScheme};
use angarium_entity::signing_secret::{self, Column, SigningSecret};
use angarium_entity::{EndpointId, Timestamp};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, DatabaseTransaction, DbErr, EntityTrait as _, ExprTrait as _,
    IntoActiveModel as _, PaginatorTrait as _, QueryFilter as _, Set,
};

use super::check::check_secret;
use super::update::add_revision;
use super::{Created, ErrorCode, take};
use crate::app::creation::ShownSecret;
use crate::app::reach::Reach;
use crate::app::{AppError, Path, Problem, Problems, Refusal, duration, logged};
use crate::{AppState, Caller};

/// Longest time for which an old secret signs beside the new one.
const OVERLAP_MAX: Duration = Duration::from_hours(7 * 24);
/// Most secrets that sign at the same time: each is one more signature in every request.
const SECRETS_MAX: u64 = 8;

/// Replaces the secret of an endpoint; one is generated where none is given. The old one keeps signing for `overlap`,
/// in ISO 8601; without overlap every older secret stops at once.
///
/// # Errors
/// [`Refusal`].
pub async fn rotate(
    state: &AppState,
    caller: &Caller,
    id: &str,
    secret: Option<String>,
    overlap: &str,
) -> Result<Created, Refusal<ErrorCode>> {
    caller.require(Scope::WebhookSubscribe)?;
    let transaction = state.db.begin().await?;
    let before = take(&transaction, Reach::of(caller)?, id).await??;
    let scheme = before.signature_scheme;
    if scheme == SignatureScheme::None {
        let message = "has no secret: its requests are not signed".to_owned();
        return Err(Problem { code: ErrorCode::NotSigned, message, field: Path::argument("id") }.into());
    }
    let mut problems = Problems::default();
    let secret = match secret {
        // The caller's half stays.
        None if scheme == SignatureScheme::TwoSecret => Some(present(&transaction, state, &before).await?.renewed()),
        given => check_secret(&Path::argument("secret"), scheme, given, &mut problems).flatten(),
    };
    let overlap = check_overlap(&Path::argument("overlap"), overlap, &mut problems);
    let (secret, overlap) = problems.unless_any(secret.zip(overlap)).map_err(Refusal::Problems)?;
    let now = state.now();
    replace(&transaction, state, before.id, &secret, (now, overlap)).await?;
    let version = before.version + 1;
    let mut changed = before.into_active_model();
    changed.version = Set(version);
    changed.updated_at = Set(now);
    let endpoint = changed.update(&transaction).await?;
    add_revision(&transaction, &endpoint).await?;
    let change = EndpointChange::of(endpoint.id).into();
    logged::commit(state, transaction, now, [(endpoint.workspace_id, change)]).await?;
    state.dispatcher.endpoint_changed(endpoint.id);
    Ok(Created { endpoint, secret: Some(ShownSecret::new(secret.reveal())) })
}

fn check_overlap(field: &Path, text: &str, problems: &mut Problems<ErrorCode>) -> Option<Duration> {
    match duration::parse(text) {
        Ok(overlap) if overlap <= OVERLAP_MAX => return Some(overlap),
        Ok(_) => problems.add(ErrorCode::Invalid, field, "is longer than 7 days"),
        Err(error) => problems.add(ErrorCode::Invalid, field, error.to_string()),
    }
    None
}

/// The secret that signs without an end.
async fn present(
    db: &DatabaseTransaction,
    state: &AppState,
    endpoint: &endpoint::Model,
) -> Result<SigningSecret, AppError> {
    let of_endpoint = signing_secret::Entity::find().filter(Column::EndpointId.eq(endpoint.id));
    let found = of_endpoint.filter(Column::ExpiresAt.is_null()).one(db).await?;
    let opened = found.map(|row| row.open(&state.sealer));
    match opened {
        Some(Ok(secret)) => Ok(secret),
        Some(Err(error)) => Err(AppError::Inconsistent(format!("a secret of {}: {error}", endpoint.id))),
        None => Err(AppError::Inconsistent(format!("{} has no secret", endpoint.id))),
    }
}

async fn replace(
    db: &DatabaseTransaction,
    state: &AppState,
    endpoint: EndpointId,
    secret: &SigningSecret,
    (now, overlap): (Timestamp, Duration),
) -> Result<(), Refusal<ErrorCode>> {
    let of_endpoint = Column::EndpointId.eq(endpoint);
    forget(db, endpoint, now).await?;
    let signing = signing_secret::Entity::find().filter(of_endpoint.clone()).count(db).await?;
    if overlap.is_zero() {
        retire(db, endpoint, now, now).await?;
    } else if signing < SECRETS_MAX {
        // Those of earlier rotations keep their end.
        signing_secret::Entity::update_many()
            .col_expr(Column::ExpiresAt, Expr::value(now + overlap))
            .filter(of_endpoint)
            .filter(Column::ExpiresAt.is_null())
            .exec(db)
            .await?;
    } else {
        let message = format!("has {signing} secrets that still sign; rotate without overlap to end them");
        return Err(Problem { code: ErrorCode::TooMany, message, field: Path::argument("id") }.into());
    }
    let sealed = signing_secret::Model::seal(secret, endpoint, &state.sealer, now).into_active_model();
    signing_secret::Entity::insert(sealed).exec_without_returning(db).await?;
    Ok(())
}

/// Deletes what has ended and signs nothing. What ends now stays, and with it that there was a rotation.
pub(super) async fn forget(db: &DatabaseTransaction, endpoint: EndpointId, now: Timestamp) -> Result<(), DbErr> {
    signing_secret::Entity::delete_many()
        .filter(Column::EndpointId.eq(endpoint))
        .filter(Column::ExpiresAt.lte(now))
        .exec(db)
        .await
        .map(drop)
}

/// Lets every secret of an endpoint that still signs at `now` end at `end`.
pub(super) async fn retire(
    db: &DatabaseTransaction,
    endpoint: EndpointId,
    now: Timestamp,
    end: Timestamp,
) -> Result<(), DbErr> {
    signing_secret::Entity::update_many()
        .col_expr(Column::ExpiresAt, Expr::value(end))
        .filter(Column::EndpointId.eq(endpoint))
        .filter(Column::ExpiresAt.is_null().or(Column::ExpiresAt.gt(now)))
        .exec(db)
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlap_is_from_nothing_to_a_week() {
        let check = |text| check_overlap(&Path::argument("overlap"), text, &mut Problems::default());
        assert_eq!(check("PT0S"), Some(Duration::ZERO));
        assert_eq!(check("P7D"), Some(OVERLAP_MAX));
        assert_eq!([check("P7DT1S"), check("P1M"), check("")], [None; 3]);
    }
}
