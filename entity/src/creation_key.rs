//! Keys that make creating an object safe to repeat, for 24 hours.

use std::time::Duration;

use sea_orm::entity::prelude::*;
use uuid::Uuid;

use crate::sealer::{SealError, Sealer};
use crate::{ApiKeyId, Timestamp, WorkspaceId};

/// How long a key is remembered.
pub const KEPT: Duration = Duration::from_hours(24);
/// Most characters of a key.
pub const LEN_MAX: usize = 256;

/// What is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(24))")]
pub enum Object {
    /// An endpoint.
    #[sea_orm(string_value = "ENDPOINT")]
    Endpoint,
    /// A subscription.
    #[sea_orm(string_value = "SUBSCRIPTION")]
    Subscription,
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "creation_key")]
pub struct Model {
    /// The tenant that used it.
    #[sea_orm(primary_key, auto_increment = false)]
    pub workspace_id: WorkspaceId,
    /// What was created with it: each kind has keys of its own.
    #[sea_orm(primary_key, auto_increment = false)]
    pub object: Object,
    /// The key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: String,
    /// SHA-256 of the input: the same key with another is refused.
    pub fingerprint: Vec<u8>,
    /// The object that it created.
    pub object_id: Uuid,
    /// The signing secret as it was shown then, sealed; null when none was.
    pub secret: Option<Vec<u8>>,
    /// The API key that used it; null for the operator's own. Only to this one the secret is shown again.
    pub created_by: Option<ApiKeyId>,
    /// Since when.
    pub created_at: Timestamp,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// Whether it is remembered at `now`.
    pub fn is_kept_at(&self, now: Timestamp) -> bool {
        now < self.created_at + KEPT
    }

    /// Seals the secret of the object `id`.
    pub fn seal(secret: &str, id: Uuid, sealer: &Sealer) -> Vec<u8> {
        sealer.seal(secret.as_bytes(), &context(id))
    }

    /// The secret under the sealer's current key; none if it is under that already, or none was shown.
    ///
    /// # Errors
    /// Those of [`Sealer::reseal`].
    pub fn reseal(&self, sealer: &Sealer) -> Result<Option<Vec<u8>>, SealError> {
        let Some(sealed) = &self.secret else { return Ok(None) };
        sealer.reseal(sealed, &context(self.object_id))
    }

    /// The secret, if one was shown.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn open_secret(&self, sealer: &Sealer) -> Result<Option<String>, SealError> {
        let Some(sealed) = &self.secret else { return Ok(None) };
        let opened = sealer.open(sealed, &context(self.object_id))?;
        String::from_utf8(opened).map(Some).map_err(|_| SealError::Damaged)
    }
}

fn context(id: Uuid) -> Vec<u8> {
    [b"creation_key".as_slice(), id.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_only_for_its_object_and_a_key_is_kept_for_a_day() {
        let (sealer, id) = (Sealer::new(&[7; 32]), Uuid::from_u128(1));
        let mut row = Model {
            workspace_id: WorkspaceId::new(Timestamp::from_millis(1)),
            object: Object::Endpoint,
            key: "k".to_owned(),
            fingerprint: Vec::new(),
            object_id: id,
            secret: Some(Model::seal("whsec_x", id, &sealer)),
            created_by: None,
            created_at: Timestamp::from_millis(1_000),
        };
        assert_eq!(row.open_secret(&sealer), Ok(Some("whsec_x".to_owned())));
        assert!(
            row.is_kept_at(Timestamp::from_millis(86_400_999)) && !row.is_kept_at(Timestamp::from_millis(86_401_000))
        );
        row.object_id = Uuid::from_u128(2);
        assert_eq!(row.open_secret(&sealer), Err(SealError::Damaged));
    }
}
