//! Messages that ask an endpoint to confirm a subscription, and what confirms it.
//!
//! At rest  of a token there is its SHA-256, and the message as it is sent is kept sealed beside its event, for the
//!          attempts that may follow. The payload of the event, which is what the API shows, has [`MASK`] in the place
//!          of everything that proves something: whoever may read deliveries cannot confirm by that.
//! Bound    the seal opens only for the subscription and the URL that the message was made for, so that no retry,
//!          replay or change of settings carries it anywhere else.
//! Once     a subscription has at most one message that is not ended. It ends by being used, or replaced by a newer
//!          one, or with the time of its token, or with its subscription.
//! Kept     a row stays for [`KEPT`] after its end, so that whoever comes late with a token is told what became of it.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::event_type::reserved;
use crate::sealer::{SealError, Sealer};
use crate::workspace::SubscriptionConfirmation;
use crate::{EventId, SubscriptionId, Timestamp, WorkspaceId, event, subscription};

/// How long a token is good for.
pub const TOKEN_LIFETIME: Duration = Duration::from_hours(24);
/// Shortest time between two messages that a caller asks for.
pub const RESEND_AFTER: Duration = Duration::from_mins(1);
/// Most messages of a subscription within [`SENT_WITHIN`], those that nobody asked for included.
pub const SENT_MAX: usize = 10;
/// See [`SENT_MAX`].
pub const SENT_WITHIN: Duration = Duration::from_hours(24);
/// How long what has ended is remembered.
pub const KEPT: Duration = Duration::from_hours(30 * 24);
/// In place of what proves something.
pub const MASK: &str = "***";

const TOKEN_LEN: usize = 32;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "confirmation")]
pub struct Model {
    /// The event that carries the message.
    #[sea_orm(primary_key, auto_increment = false)]
    pub event_id: EventId,
    /// Its tenant.
    pub workspace_id: WorkspaceId,
    /// What is to be confirmed.
    pub subscription_id: SubscriptionId,
    /// SHA-256 of the token; null for a challenge, which comes back at once or not at all.
    pub token_hash: Option<Vec<u8>>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the token stops working; null for a challenge.
    pub expires_at: Option<Timestamp>,
    /// When it was used, replaced or over; null while it can confirm.
    pub ended_at: Option<Timestamp>,
    /// Whether it has confirmed the subscription.
    pub used: bool,
}

/// No relations: rows are read by token and by subscription.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What opens a link: 32 random bytes, written in 43 letters.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A fresh one.
    pub fn generate() -> Self {
        Self(URL_SAFE_NO_PAD.encode(rand::random::<[u8; TOKEN_LEN]>()))
    }

    /// Reads one; none if it cannot be any.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = (text.len() <= 2 * TOKEN_LEN).then(|| URL_SAFE_NO_PAD.decode(text).ok()).flatten()?;
        (bytes.len() == TOKEN_LEN).then(|| Self(text.to_owned()))
    }

    /// What is kept of it.
    pub fn hash(&self) -> Vec<u8> {
        Sha256::digest(&self.0).to_vec()
    }

    /// In the clear.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A message that was made and not stored yet.
#[derive(Clone, Debug)]
pub struct Message {
    /// The event that carries it, as the API shows it.
    pub event: event::Model,
    /// What is kept of it to confirm by.
    pub row: Model,
}

/// Makes a message that asks the endpoint at `url` to confirm `subscription` in the way that it has to be; none where it
/// has not. `public_url` is how this server is reached, without a slash at its end.
pub fn ask(
    subscription: &subscription::Model,
    url: &str,
    public_url: &str,
    sealer: &Sealer,
    now: Timestamp,
) -> Option<Message> {
    let id = EventId::new(now);
    let described = reserved::describe(subscription);
    let (token, expires_at, clear, masked) = match subscription.confirmation {
        SubscriptionConfirmation::None => return None,
        SubscriptionConfirmation::Link => {
            let (token, end) = (Token::generate(), now + TOKEN_LIFETIME);
            let data = |token: &str| {
                json!({
                    "confirmationUrl": format!("{public_url}/confirm/{token}"),
                    "token": token,
                    "expiresAt": end.to_string(),
                    "subscription": described,
                })
            };
            let (clear, masked) = (data(token.reveal()), data(MASK));
            (Some(token), Some(end), clear, masked)
        }
        SubscriptionConfirmation::Challenge => {
            let data = |challenge: &str| json!({ "challenge": challenge, "subscription": described });
            (None, None, data(Token::generate().reveal()), data(MASK))
        }
    };
    let sealed = sealer.seal(clear.to_string().as_bytes(), &context(id, subscription.id, url));
    let event = event::Model {
        id,
        workspace_id: subscription.workspace_id,
        event_type: reserved::SUBSCRIPTION_CONFIRMATION.to_owned(),
        payload: masked.to_string(),
        channels: crate::json::StringList::default(),
        idempotency_key: None,
        occurred_at: now,
        test: false,
        created_at: now,
        sealed: Some(sealed),
        trace_parent: None,
        trace_state: None,
    };
    let row = Model {
        event_id: id,
        workspace_id: subscription.workspace_id,
        subscription_id: subscription.id,
        token_hash: token.as_ref().map(Token::hash),
        created_at: now,
        expires_at,
        ended_at: None,
        used: false,
    };
    Some(Message { event, row })
}

/// A message as it is sent.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The event with its payload in the clear.
    pub event: event::Model,
    /// What a 2xx answer has to echo.
    pub challenge: Option<String>,
}

/// Opens the message that `event` carries, to be sent to `url` for `subscription`; none if it carries none, or one that is
/// for another subscription, which then goes out as the API shows it.
///
/// # Errors
/// [`SealError`], above all when the URL is not the one that it was made for.
pub fn open(
    sealer: &Sealer,
    event: &event::Model,
    subscription: SubscriptionId,
    url: &str,
) -> Result<Option<Opened>, SealError> {
    let Some(sealed) = &event.sealed else { return Ok(None) };
    let shown: Value = serde_json::from_str(&event.payload).unwrap_or_default();
    if shown["subscription"]["id"].as_str() != Some(subscription.to_string().as_str()) {
        return Ok(None);
    }
    let clear = sealer.open(sealed, &context(event.id, subscription, url))?;
    let payload = String::from_utf8(clear).map_err(|_| SealError::Damaged)?;
    let clear: Value = serde_json::from_str(&payload).map_err(|_| SealError::Damaged)?;
    let challenge = clear["challenge"].as_str().map(ToOwned::to_owned);
    Ok(Some(Opened { event: event::Model { payload, sealed: None, ..event.clone() }, challenge }))
}

/// The message that `event` carries under the sealer's current key; none if it is under that already, or there is none.
/// `urls` are those that it may have been made for.
///
/// # Errors
/// [`SealError`] when it opens for none of them.
pub fn reseal<'a>(
    sealer: &Sealer,
    event: &event::Model,
    subscription: SubscriptionId,
    urls: impl IntoIterator<Item = &'a str>,
) -> Result<Option<Vec<u8>>, SealError> {
    let Some(sealed) = event.sealed.as_ref().filter(|sealed| !sealer.is_current(sealed)) else { return Ok(None) };
    let tried = urls.into_iter().map(|url| sealer.reseal(sealed, &context(event.id, subscription, url)));
    tried.reduce(Result::or).unwrap_or(Err(SealError::Damaged))
}

fn context(event: EventId, subscription: SubscriptionId, url: &str) -> Vec<u8> {
    let url = Url::parse(url).map_or_else(|_| url.to_owned(), String::from);
    format!("{event} {subscription} {url}").into_bytes()
}

/// Whether the body of an answer echoes `challenge`: as plain text, or in JSON as `{"challenge": …}`.
pub fn echoes(body: &str, challenge: &str) -> bool {
    let body = body.trim();
    body == challenge
        || serde_json::from_str::<Value>(body).is_ok_and(|value| {
            value.as_str() == Some(challenge) || value.get("challenge").and_then(Value::as_str) == Some(challenge)
        })
}

/// Ends what is not ended of a subscription that is being deleted.
///
/// # Errors
/// Those of the database.
pub async fn close(db: &impl ConnectionTrait, subscription: SubscriptionId, now: Timestamp) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(Column::EndedAt, Expr::value(now))
        .filter(Column::SubscriptionId.eq(subscription))
        .filter(Column::EndedAt.is_null())
        .exec(db)
        .await
        .map(drop)
}

/// Ends a message that is not ended, and if it was used, marks its subscription as confirmed. Call it in a transaction
/// that has taken the workspace before ([`crate::workspace::bump_config_version`]). Answers whether it did.
///
/// # Errors
/// Those of the database.
pub async fn end(db: &impl ConnectionTrait, event: EventId, used: bool, now: Timestamp) -> Result<bool, DbErr> {
    let ended = Entity::update_many()
        .col_expr(Column::EndedAt, Expr::value(now))
        .col_expr(Column::Used, Expr::value(used))
        .filter(Column::EventId.eq(event))
        .filter(Column::EndedAt.is_null())
        .exec(db)
        .await?;
    if ended.rows_affected == 0 || !used {
        return Ok(ended.rows_affected > 0);
    }
    let Some(row) = Entity::find_by_id(event).one(db).await? else { return Ok(false) };
    let confirmed = subscription::Entity::update_many()
        .col_expr(subscription::Column::ConfirmedAt, Expr::value(now))
        .col_expr(subscription::Column::ConfirmationExpiresAt, Expr::value(Option::<Timestamp>::None))
        .col_expr(subscription::Column::Version, Expr::col(subscription::Column::Version).add(1))
        .col_expr(subscription::Column::UpdatedAt, Expr::value(now))
        .filter(subscription::Column::Id.eq(row.subscription_id))
        .filter(subscription::Column::DeletedAt.is_null())
        .filter(subscription::Column::ConfirmedAt.is_null())
        .exec(db)
        .await?;
    Ok(confirmed.rows_affected > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_only_as_it_was_written_and_does_not_show_itself() {
        let token = Token::generate();
        assert_eq!(token.reveal().len(), 43);
        assert_eq!(Token::parse(token.reveal()), Some(token.clone()));
        assert_eq!(format!("{token:?}"), "Token(…)");
        assert_ne!(token.hash(), Token::generate().hash());
        for wrong in ["", "***", &token.reveal()[1..], &"A".repeat(10_000), "é"] {
            assert_eq!(Token::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_challenge_is_echoed_as_text_or_as_json_and_in_no_other_way() {
        for right in ["abc", " abc\n", r#""abc""#, r#"{"challenge":"abc"}"#, r#"{"ok":true,"challenge":"abc"}"#] {
            assert!(echoes(right, "abc"), "{right}");
        }
        for wrong in [
            "",
            "abcd",
            "x abc",
            r#"{"challenge":"ab"}"#,
            r#"{"challenge":["abc"]}"#,
            r#"["abc"]"#,
            r#"{"challenge":"abc""#,
        ] {
            assert!(!echoes(wrong, "abc"), "{wrong}");
        }
    }
}
