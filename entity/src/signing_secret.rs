//! Secrets that sign deliveries. Stored sealed; an endpoint has one, and during a rotation's overlap more.

use sea_orm::entity::prelude::*;

use crate::endpoint::SignatureScheme;
use crate::sealer::{SealError, Sealer};
use crate::{EndpointId, Timestamp};

mod secret;

pub use secret::{SecretError, SigningSecret};

/// A row: a sealed secret and until when it signs.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "signing_secret")]
pub struct Model {
    /// Key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The endpoint whose requests it signs.
    pub endpoint_id: EndpointId,
    /// What it signs with. Those of an earlier scheme of the endpoint have ended.
    pub scheme: SignatureScheme,
    /// The text form, sealed with the endpoint's ID as context.
    pub sealed: Vec<u8>,
    /// What a receiver verifies with, where that is not the secret itself: `whpk_` and base64.
    pub public_key: Option<String>,
    /// Last four characters of the text form.
    pub hint: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it signs beside its successor; null for the current one.
    pub expires_at: Option<Timestamp>,
}

/// No relations: secrets are read by endpoint.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// Seals `secret` for a new row.
    pub fn seal(secret: &SigningSecret, endpoint_id: EndpointId, sealer: &Sealer, now: Timestamp) -> Self {
        Self {
            id: crate::id::new_uuid(now),
            endpoint_id,
            scheme: secret.scheme(),
            sealed: sealer.seal(secret.text().as_bytes(), endpoint_id.0.as_bytes()),
            public_key: secret.public_key(),
            hint: secret.hint(),
            created_at: now,
            expires_at: None,
        }
    }

    /// The secret under the sealer's current key; none if it is under that already.
    ///
    /// # Errors
    /// Those of [`Sealer::reseal`].
    pub fn reseal(&self, sealer: &Sealer) -> Result<Option<Vec<u8>>, SealError> {
        sealer.reseal(&self.sealed, self.endpoint_id.0.as_bytes())
    }

    /// Opens the secret.
    ///
    /// # Errors
    /// [`SealError`] when the configured key is another one or the row was damaged.
    pub fn open(&self, sealer: &Sealer) -> Result<SigningSecret, SealError> {
        let text = sealer.open(&self.sealed, self.endpoint_id.0.as_bytes())?;
        let text = String::from_utf8(text).map_err(|_| SealError::Damaged)?;
        SigningSecret::stored(self.scheme, text).ok_or(SealError::Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_row_opens_to_the_same_secret() {
        let (sealer, now) = (Sealer::new(&[1; 32]), Timestamp::from_millis(1));
        for scheme in [SignatureScheme::StandardWebhooks, SignatureScheme::Ed25519, SignatureScheme::Github] {
            let secret = SigningSecret::generate(scheme).expect("it needs nothing of the caller");
            let row = Model::seal(&secret, EndpointId::new(now), &sealer, now);
            assert_eq!(row.open(&sealer), Ok(secret.clone()));
            assert!(!row.sealed.windows(8).any(|part| part == &secret.reveal().as_bytes()[6..14]));
            assert_eq!(row.public_key.is_some(), scheme == SignatureScheme::Ed25519);
        }
    }
}
