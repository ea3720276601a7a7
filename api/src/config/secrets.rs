//! The operator's key, and the key that seals secrets at rest.

use std::fmt;

use angarium_entity::api_key::ApiKeySecret;
use angarium_entity::sealer::Sealer;

use super::reader::Reader;

pub(super) const ADMIN_KEY: &str = "ANGARIUM_ADMIN_KEY";
pub(super) const ENCRYPTION_KEY: &str = "ANGARIUM_ENCRYPTION_KEY";

/// What must not be known to others. Prints none of it.
#[derive(Clone)]
pub struct Secrets {
    /// SHA-256 of the operator's own key, which may do everything in every workspace.
    ///
    /// `ANGARIUM_ADMIN_KEY`, `sk_live_` and 64 hex digits. `dev` makes one.
    pub admin_key_hash: [u8; 32],
    /// Seals signing secrets in the database.
    ///
    /// `ANGARIUM_ENCRYPTION_KEY`, 32 bytes in base64. `dev` makes one.
    pub sealer: Sealer,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(…)")
    }
}

/// What was set.
pub(super) struct Given {
    admin_key: Option<ApiKeySecret>,
    sealer: Option<Sealer>,
}

impl Given {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let admin_key = |text: &str| {
            ApiKeySecret::parse(text).ok_or_else(|| "must be `sk_live_` and 64 lower-case hex digits".to_owned())
        };
        let sealer = |text: &str| Sealer::from_base64(text).map_err(|_| "must be 32 bytes in base64".to_owned());
        Self { admin_key: reader.read(ADMIN_KEY, admin_key), sealer: reader.read(ENCRYPTION_KEY, sealer) }
    }

    pub(super) fn require(self, reader: &mut Reader) -> Option<Secrets> {
        let remedy = "make one with `echo sk_live_$(openssl rand -hex 32)`";
        let admin_key = reader.require(ADMIN_KEY, self.admin_key, remedy);
        let remedy = "make one with `openssl rand -base64 32`, and keep it: without it no stored secret opens again";
        let sealer = reader.require(ENCRYPTION_KEY, self.sealer, remedy);
        Some(Secrets { admin_key_hash: admin_key?.hash(), sealer: sealer? })
    }
}
