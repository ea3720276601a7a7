//! Secrets at rest: sealed with XChaCha20-Poly1305 under a key from the configuration.
//!
//! Shape   the first 4 bytes of the SHA-256 of the key (which key sealed it), a random nonce of 24 bytes, then the
//!         ciphertext with its tag of 16 bytes. The context, such as the ID of the endpoint, is authenticated, so a
//!         sealed value that is copied to another row does not open there.
//! Source  draft-irtf-cfrg-xchacha-03; RFC 8439 for the construction underneath.

use std::fmt;

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

/// Seals and opens secrets under one key.
#[derive(Clone)]
pub struct Sealer {
    cipher: XChaCha20Poly1305,
    key_id: [u8; KEY_ID_LEN],
}

impl Sealer {
    /// A sealer under `key`.
    pub fn new(key: &[u8; KEY_LEN]) -> Self {
        let digest = Sha256::digest(key);
        Self { cipher: XChaCha20Poly1305::new(&(*key).into()), key_id: [digest[0], digest[1], digest[2], digest[3]] }
    }

    /// A sealer under the key that `text` holds in base64.
    ///
    /// # Errors
    /// [`SealError::Key`] unless that is 32 bytes.
    pub fn from_base64(text: &str) -> Result<Self, SealError> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| SealError::Key)?;
        Ok(Self::new(&bytes.try_into().map_err(|_| SealError::Key)?))
    }

    /// A fresh random key in the form that [`Sealer::from_base64`] reads.
    pub fn generate_key() -> String {
        STANDARD.encode(rand::random::<[u8; KEY_LEN]>())
    }

    /// Seals `secret`; it opens only with the same `context`.
    pub fn seal(&self, secret: &[u8], context: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = rand::random();
        let payload = Payload { msg: secret, aad: context };
        let sealed =
            self.cipher.encrypt(&XNonce::from(nonce), payload).expect("secrets are far below the limit of the cipher");
        [&self.key_id[..], &nonce[..], &sealed[..]].concat()
    }

    /// Opens what [`Sealer::seal`] made with the same `context`.
    ///
    /// # Errors
    /// [`SealError::OtherKey`] or [`SealError::Damaged`].
    pub fn open(&self, sealed: &[u8], context: &[u8]) -> Result<Vec<u8>, SealError> {
        let (key_id, rest) = sealed.split_at_checked(KEY_ID_LEN).ok_or(SealError::Damaged)?;
        if key_id != self.key_id {
            return Err(SealError::OtherKey);
        }
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Damaged)?;
        let payload = Payload { msg: ciphertext, aad: context };
        self.cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| SealError::Damaged)
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
    fn a_key_is_thirty_two_bytes_in_base64() {
        assert!(Sealer::from_base64(&Sealer::generate_key()).is_ok());
        for wrong in ["", "short", "AAAA", "!"] {
            assert_eq!(Sealer::from_base64(wrong).err(), Some(SealError::Key), "{wrong}");
        }
    }
}
