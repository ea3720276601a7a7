//! Secrets that sign deliveries. Stored sealed; an endpoint has one, and during a rotation's overlap more.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sea_orm::entity::prelude::*;

use crate::sealer::{SealError, Sealer};
use crate::{EndpointId, Timestamp};

/// Bytes of a generated secret.
pub const GENERATED_LEN: usize = 32;
/// Fewest bytes of a caller's own secret.
pub const LEN_MIN: usize = 12;
/// Most bytes of a caller's own secret.
pub const LEN_MAX: usize = 256;
const PREFIX: &str = "whsec_";

/// A row: a sealed secret and until when it signs.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "signing_secret")]
pub struct Model {
    /// Key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The endpoint whose requests it signs.
    pub endpoint_id: EndpointId,
    /// The text form, sealed with the endpoint's ID as context.
    pub sealed: Vec<u8>,
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
            sealed: sealer.seal(secret.reveal().as_bytes(), endpoint_id.0.as_bytes()),
            hint: secret.hint(),
            created_at: now,
            expires_at: None,
        }
    }

    /// Opens the secret.
    ///
    /// # Errors
    /// [`SealError`] when the configured key is another one or the row was damaged.
    pub fn open(&self, sealer: &Sealer) -> Result<SigningSecret, SealError> {
        let text = sealer.open(&self.sealed, self.endpoint_id.0.as_bytes())?;
        String::from_utf8(text).map(SigningSecret).map_err(|_| SealError::Damaged)
    }
}

/// A secret in its text form. Prints as `whsec_…redacted`.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret(String);

/// Why a caller's own secret is refused.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum SecretError {
    /// Fewer than 12 bytes.
    #[error("is too short: a secret has {LEN_MIN} to {LEN_MAX} bytes; leave it out to have one generated")]
    TooShort,
    /// More than 256 bytes.
    #[error("is too long: a secret has {LEN_MIN} to {LEN_MAX} bytes")]
    TooLong,
    /// `whsec_` and then something other than base64.
    #[error("starts with `whsec_` and so must go on in base64")]
    NotBase64,
}

impl SigningSecret {
    /// `whsec_` and 32 random bytes in base64, as Standard Webhooks writes them.
    pub fn generate() -> Self {
        Self(format!("{PREFIX}{}", STANDARD.encode(rand::random::<[u8; GENERATED_LEN]>())))
    }

    /// A caller's own secret: `whsec_…` is base64, anything else is taken as its bytes; 12 to 256 of them.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let secret = Self(text.to_owned());
        if text.starts_with(PREFIX) && secret.decoded().is_none() {
            return Err(SecretError::NotBase64);
        }
        match secret.key().len() {
            ..LEN_MIN => Err(SecretError::TooShort),
            LEN_MIN..=LEN_MAX => Ok(secret),
            _ => Err(SecretError::TooLong),
        }
    }

    /// The bytes that key the HMAC.
    pub fn key(&self) -> Vec<u8> {
        self.decoded().unwrap_or_else(|| self.0.as_bytes().to_vec())
    }

    /// The text form, for its owner.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Last four characters of the text form.
    pub fn hint(&self) -> String {
        let skipped = self.0.chars().count().saturating_sub(4);
        self.0.chars().skip(skipped).collect()
    }

    fn decoded(&self) -> Option<Vec<u8>> {
        self.0.strip_prefix(PREFIX).and_then(|rest| STANDARD.decode(rest).ok())
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("whsec_…redacted")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_secret_is_thirty_two_bytes_and_never_prints_itself() {
        let secret = SigningSecret::generate();
        assert_eq!(secret.key().len(), 32);
        assert_eq!(format!("{secret:?}"), "whsec_…redacted");
        assert!(secret.reveal().ends_with(&secret.hint()) && secret.hint().len() == 4);
    }

    #[test]
    fn a_callers_secret_is_base64_after_whsec_and_bytes_otherwise() {
        assert_eq!(SigningSecret::parse("whsec_AAAAAAAAAAAAAAAAAAAA").map(|s| s.key()), Ok(vec![0; 15]));
        assert_eq!(SigningSecret::parse("sixteen-letters!").map(|s| s.key()), Ok(b"sixteen-letters!".to_vec()));
        assert_eq!(SigningSecret::parse("whsec_not base64"), Err(SecretError::NotBase64));
        assert_eq!(SigningSecret::parse("short"), Err(SecretError::TooShort));
        assert_eq!(SigningSecret::parse("whsec_AAAA"), Err(SecretError::TooShort));
        assert_eq!(SigningSecret::parse(&"x".repeat(257)), Err(SecretError::TooLong));
    }

    #[test]
    fn a_sealed_row_opens_to_the_same_secret() {
        let (sealer, now) = (Sealer::new(&[1; 32]), Timestamp::from_millis(1));
        let secret = SigningSecret::generate();
        let row = Model::seal(&secret, EndpointId::new(now), &sealer, now);
        assert_eq!(row.open(&sealer), Ok(secret.clone()));
        assert!(!row.sealed.windows(8).any(|part| part == &secret.reveal().as_bytes()[6..14]));
    }
}
