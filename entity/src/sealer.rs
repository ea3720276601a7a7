//! Secrets at rest: sealed with XChaCha20-Poly1305 under a key from the configuration.
//!
//! Keys    one seals; it and any number of previous ones open. To rotate, configure a new key and keep the present one
//!         among the previous; seal everything anew ([`Sealer::reseal`], which `angarium reencrypt` calls for every row);
//!         then forget the old key.
//! Shape   the first 4 bytes of the SHA-256 of the key (which key sealed it), a random nonce of 24 bytes, then the
//!         ciphertext with its tag of 16 bytes. The context, such as the ID of the endpoint, is authenticated, so a
//!         sealed value that is copied to another row does not open there.
//! Source  draft-irtf-cfrg-xchacha-03; RFC 8439 for the construction underneath.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};

const KEY_LEN: usize = 32;
const KEY_ID_LEN: usize = 4;
const NONCE_LEN: usize = 24;

/// Why a sealed value did not open, or a key was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SealError {
    /// The configured key has another form.
    #[error("the encryption key must be {KEY_LEN} bytes in base64")]
    Key,
    /// The value was sealed under another key.
    #[error("the value was sealed under another encryption key")]
    OtherKey,
    /// The value was changed, cut, or belongs to something else.
    #[error("the sealed value is damaged or belongs to another object")]
    Damaged,
}

/// Seals secrets under one key, and opens what was sealed under that or a previous one.
#[derive(Clone)]
pub struct Sealer {
    current: Key,
    previous: Arc<[Key]>,
}

#[derive(Clone)]
struct Key {
    cipher: XChaCha20Poly1305,
    id: [u8; KEY_ID_LEN],
}

impl Key {
    fn new(bytes: &[u8; KEY_LEN]) -> Self {
        let digest = Sha256::digest(bytes);
        Self { cipher: XChaCha20Poly1305::new(&(*bytes).into()), id: [digest[0], digest[1], digest[2], digest[3]] }
    }

    fn from_base64(text: &str) -> Result<Self, SealError> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| SealError::Key)?;
        Ok(Self::new(&bytes.try_into().map_err(|_| SealError::Key)?))
    }
}

impl Sealer {
    /// A sealer under `key`.
    pub fn new(key: &[u8; KEY_LEN]) -> Self {
        Self { current: Key::new(key), previous: Arc::default() }
    }

    /// A sealer under the key that `text` holds in base64.
    ///
    /// # Errors
    /// [`SealError::Key`] unless that is 32 bytes.
    pub fn from_base64(text: &str) -> Result<Self, SealError> {
        Ok(Self { current: Key::from_base64(text)?, previous: Arc::default() })
    }

    /// The same, which also opens what was sealed under the keys of `previous`.
    #[must_use]
    pub fn with_previous(self, previous: impl IntoIterator<Item = Self>) -> Self {
        Self { current: self.current, previous: previous.into_iter().map(|sealer| sealer.current).collect() }
    }

    /// A fresh random key in the form that [`Sealer::from_base64`] reads.
    pub fn generate_key() -> String {
        STANDARD.encode(rand::random::<[u8; KEY_LEN]>())
    }

    /// Seals `secret`; it opens only with the same `context`.
    pub fn seal(&self, secret: &[u8], context: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = rand::random();
        let payload = Payload { msg: secret, aad: context };
        let sealed = self.current.cipher.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.expect("secrets are far below the limit of the cipher");
        [&self.current.id[..], &nonce[..], &sealed[..]].concat()
    }

    /// Opens what [`Sealer::seal`] made with the same `context`.
    ///
    /// # Errors
    /// [`SealError::OtherKey`] or [`SealError::Damaged`].
    pub fn open(&self, sealed: &[u8], context: &[u8]) -> Result<Vec<u8>, SealError> {
        let (key_id, rest) = sealed.split_at_checked(KEY_ID_LEN).ok_or(SealError::Damaged)?;
        let mut keys = std::iter::once(&self.current).chain(self.previous.iter());
        let key = keys.find(|key| key.id == key_id).ok_or(SealError::OtherKey)?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Damaged)?;
        let payload = Payload { msg: ciphertext, aad: context };
        key.cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| SealError::Damaged)
    }

    /// Whether something was sealed under the current key.
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        sealed.starts_with(&self.current.id)
    }

    /// What was sealed under a previous key, sealed under the current one; none if it is already.
    ///
    /// # Errors
    /// Those of [`Sealer::open`].
    pub fn reseal(&self, sealed: &[u8], context: &[u8]) -> Result<Option<Vec<u8>>, SealError> {
        if self.is_current(sealed) {
            return Ok(None);
        }
        Ok(Some(self.seal(&self.open(sealed, context)?, context)))
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_secret_opens_only_under_its_key_and_in_its_context() {
        let sealer = Sealer::new(&[7; 32]);
        let sealed = sealer.seal(b"hush", b"ep_1");
        assert_eq!(sealer.open(&sealed, b"ep_1").as_deref(), Ok(&b"hush"[..]));
        assert_eq!(sealer.open(&sealed, b"ep_2"), Err(SealError::Damaged));
        assert_eq!(Sealer::new(&[8; 32]).open(&sealed, b"ep_1"), Err(SealError::OtherKey));
        assert_eq!(sealer.open(&sealed[..10], b"ep_1"), Err(SealError::Damaged));
        assert_ne!(sealed, sealer.seal(b"hush", b"ep_1"));
    }

    #[test]
    fn a_previous_key_opens_and_never_seals() {
        let (old, new) = (Sealer::new(&[7; 32]), Sealer::new(&[8; 32]));
        let sealed = old.seal(b"hush", b"ep_1");
        let both = new.clone().with_previous([Sealer::new(&[9; 32]), old.clone()]);
        assert_eq!(both.open(&sealed, b"ep_1").as_deref(), Ok(&b"hush"[..]));
        assert!(new.is_current(&both.seal(b"hush", b"ep_1")) && !both.is_current(&sealed));
        let resealed = both.reseal(&sealed, b"ep_1").expect("it opens").expect("it is under the old key");
        assert_eq!(new.open(&resealed, b"ep_1").as_deref(), Ok(&b"hush"[..]));
        assert_eq!(both.reseal(&resealed, b"ep_1"), Ok(None));
        assert_eq!(both.reseal(&sealed, b"ep_2"), Err(SealError::Damaged));
        assert_eq!(new.reseal(&sealed, b"ep_1"), Err(SealError::OtherKey));
    }

    #[test]
    fn a_key_is_thirty_two_bytes_in_base64() {
        assert!(Sealer::from_base64(&Sealer::generate_key()).is_ok());
        for wrong in ["", "short", "AAAA", "!"] {
            assert_eq!(Sealer::from_base64(wrong).err(), Some(SealError::Key), "{wrong}");
        }
    }
}
