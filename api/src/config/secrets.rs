//! The operator's key, and the key that seals secrets at rest.

use std::fmt;

use angarium_entity::api_key::ApiKeySecret;
use angarium_entity::sealer::Sealer;

use super::reader::{Reader, list};
use super::setting::{ADMIN_KEY, ENCRYPTION_KEY, PREVIOUS_ENCRYPTION_KEYS};

/// What must not be known to others. Prints none of it.
#[derive(Clone)]
pub struct Secrets {
    /// SHA-256 of the operator's own key, which may do everything in every workspace: [`ADMIN_KEY`].
    pub admin_key_hash: [u8; 32],
    /// Seals signing secrets in the database: [`ENCRYPTION_KEY`]. Those of [`PREVIOUS_ENCRYPTION_KEYS`] still open what was
    /// sealed under them, until `angarium reencrypt` has sealed it anew.
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
        let sealers = |text: &str| {
            list(text, |text| {
                Sealer::from_base64(text).map_err(|_| "must be keys of 32 bytes in base64, with commas".to_owned())
            })
        };
        let admin_key = reader.read(&ADMIN_KEY, admin_key);
        let current = reader.read(&ENCRYPTION_KEY, sealer);
        let previous = reader.read(&PREVIOUS_ENCRYPTION_KEYS, sealers).unwrap_or_default();
        Self { admin_key, sealer: current.map(|sealer| sealer.with_previous(previous)) }
    }

    pub(super) fn require(self, reader: &mut Reader) -> Option<Secrets> {
        let remedy = "make one with `echo sk_live_$(openssl rand -hex 32)`";
        let admin_key = reader.require(&ADMIN_KEY, self.admin_key, remedy);
        let sealer = require_sealer(reader, self.sealer);
        Some(Secrets { admin_key_hash: admin_key?.hash(), sealer: sealer? })
    }

    /// Of the secrets only the sealer.
    pub(super) fn require_sealer(self, reader: &mut Reader) -> Option<Sealer> {
        require_sealer(reader, self.sealer)
    }
}

fn require_sealer(reader: &mut Reader, sealer: Option<Sealer>) -> Option<Sealer> {
    let remedy = "make one with `openssl rand -base64 32`, and keep it: without it no stored secret opens again";
    reader.require(&ENCRYPTION_KEY, sealer, remedy)
}
