//! Credentials. Only the SHA-256 of a key is stored; its 256 random bits need no slower hash.

use std::fmt;

use sea_orm::FromJsonQueryResult;
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{ApiKeyId, Timestamp, WorkspaceId};

/// What every key starts with.
pub const PREFIX: &str = "sk_live_";
/// Random bytes of a key, written as twice as many hex digits.
pub const RANDOM_LEN: usize = 32;
/// Characters of a key that are kept to recognise it.
pub const SHOWN_LEN: usize = 12;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "api_key")]
pub struct Model {
    /// Key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ApiKeyId,
    /// The workspace that it acts on; null for an administrator's.
    pub workspace_id: Option<WorkspaceId>,
    /// Display name.
    pub name: String,
    /// First characters of the key.
    pub prefix: String,
    /// SHA-256 of the whole key, unique.
    pub hash: Vec<u8>,
    /// What it may do.
    pub scopes: Scopes,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working; null for never.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked; null while it works.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// Whether it is accepted at `now`.
    pub fn works_at(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

/// A permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Scope {
    /// Everything, in every workspace.
    Admin,
    /// Read deliveries and attempts.
    DeliveryRead,
    /// Retry, cancel and delete deliveries; replay events.
    DeliveryWrite,
    /// Publish and delete events.
    EventPublish,
    /// Read events.
    EventRead,
    /// Change the catalogue. Only administrators hold it.
    EventTypeWrite,
    /// Read API keys and who created what.
    WorkspaceRead,
    /// Create and revoke API keys; change the workspace.
    WorkspaceWrite,
    /// Read subscriptions and endpoints.
    WebhookRead,
    /// Read signing secrets, where the workspace allows it.
    WebhookSecretRead,
    /// Create, change and delete subscriptions and endpoints.
    WebhookSubscribe,
}

impl Scope {
    /// Every permission, in the order of their names.
    pub const ALL: [Self; 11] = [
        Self::Admin,
        Self::DeliveryRead,
        Self::DeliveryWrite,
        Self::EventPublish,
        Self::EventRead,
        Self::EventTypeWrite,
        Self::WorkspaceRead,
        Self::WorkspaceWrite,
        Self::WebhookRead,
        Self::WebhookSecretRead,
        Self::WebhookSubscribe,
    ];

    /// The name, as in GraphQL.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "ADMIN",
            Self::DeliveryRead => "DELIVERY_READ",
            Self::DeliveryWrite => "DELIVERY_WRITE",
            Self::EventPublish => "EVENT_PUBLISH",
            Self::EventRead => "EVENT_READ",
            Self::EventTypeWrite => "EVENT_TYPE_WRITE",
            Self::WorkspaceRead => "WORKSPACE_READ",
            Self::WorkspaceWrite => "WORKSPACE_WRITE",
            Self::WebhookRead => "WEBHOOK_READ",
            Self::WebhookSecretRead => "WEBHOOK_SECRET_READ",
            Self::WebhookSubscribe => "WEBHOOK_SUBSCRIBE",
        }
    }
}

/// What a key may do. [`Scope::Admin`] holds every other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, FromJsonQueryResult)]
#[serde(transparent)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// Sorted, each once.
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Self {
        let mut scopes: Vec<_> = scopes.into_iter().collect();
        scopes.sort_unstable();
        scopes.dedup();
        Self(scopes)
    }

    /// Whether `scope` is held.
    pub fn allow(&self, scope: Scope) -> bool {
        self.0.contains(&scope) || self.0.contains(&Scope::Admin)
    }

    /// As given.
    pub fn iter(&self) -> impl Iterator<Item = Scope> + '_ {
        self.0.iter().copied()
    }
}

/// A whole key. Prints as its first characters.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKeySecret(String);

impl ApiKeySecret {
    /// A fresh random key.
    pub fn generate() -> Self {
        use fmt::Write as _;
        let mut text = PREFIX.to_owned();
        for byte in rand::random::<[u8; RANDOM_LEN]>() {
            write!(text, "{byte:02x}").expect("a String takes every write");
        }
        Self(text)
    }

    /// `sk_live_` and 64 lower-case hex digits, or nothing.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(PREFIX)?;
        let well_formed =
            digits.len() == 2 * RANDOM_LEN && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        well_formed.then(|| Self(text.to_owned()))
    }

    /// The key itself, for its owner.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The first characters, to recognise it.
    pub fn prefix(&self) -> &str {
        &self.0[..SHOWN_LEN]
    }

    /// What is stored.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }
}

impl fmt::Debug for ApiKeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", self.prefix())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_sk_live_and_sixty_four_hex_digits() {
        let key = ApiKeySecret::generate();
        assert_eq!(key.reveal().len(), 72);
        assert_eq!(ApiKeySecret::parse(key.reveal()), Some(key.clone()));
        assert_eq!(format!("{key:?}").chars().count(), SHOWN_LEN + 1);
        for wrong in ["", "sk_live_", "sk_test_00", &key.reveal().to_uppercase(), &format!("{}0", key.reveal())] {
            assert_eq!(ApiKeySecret::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn admin_holds_every_scope_and_others_only_their_own() {
        assert!(Scope::ALL.iter().all(|&scope| Scopes::new([Scope::Admin]).allow(scope)));
        let reader = Scopes::new([Scope::EventRead, Scope::EventRead]);
        assert!(reader.allow(Scope::EventRead) && !reader.allow(Scope::EventPublish) && !reader.allow(Scope::Admin));
        assert_eq!(reader.iter().count(), 1);
    }

    #[test]
    fn stored_names_are_those_of_graphql() {
        for scope in Scope::ALL {
            assert_eq!(serde_json::to_string(&scope).ok(), Some(format!("\"{}\"", scope.name())));
        }
    }
}
