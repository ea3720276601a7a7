//! The text form of a secret, which each scheme reads in its own way.
//!
//! `STANDARD_WEBHOOKS`  `whsec_` and base64, or else the bytes of the text
//! `ED25519`            `whsk_` and the base64 of 64 bytes: the seed, then its public key
//! `GITHUB`, `SHOPIFY`, `STRIPE`  the bytes of the text, a prefix such as `whsec_` included
//! `TWO_SECRET`         the bytes of the caller's text and then those of the server's

use std::fmt::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use crate::endpoint::SignatureScheme;

/// Bytes of a generated secret.
const GENERATED_LEN: usize = 32;
/// Fewest bytes of a caller's own secret.
const LEN_MIN: usize = 12;
/// Most bytes of a caller's own secret.
const LEN_MAX: usize = 256;
/// Fewest different bytes of a caller's own secret: `aaaaaaaaaaaa` and `123123123123` are none.
const DIFFERENT_MIN: usize = 4;
/// Bytes of an Ed25519 seed.
const SEED_LEN: usize = 32;
/// Random bytes of the server's half of a `TWO_SECRET`, and the characters that they make.
const SERVER_LEN: (usize, usize) = (12, 16);
const SECRET_PREFIX: &str = "whsec_";
const PRIVATE_PREFIX: &str = "whsk_";
const PUBLIC_PREFIX: &str = "whpk_";

/// A secret in its text form. Prints as `whsec_…redacted`.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret {
    scheme: SignatureScheme,
    text: String,
}

/// Why a caller's own secret is refused.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum SecretError {
    /// Fewer than 12 bytes.
    #[error("is too short: a secret has {LEN_MIN} to {LEN_MAX} bytes")]
    TooShort,
    /// The same few bytes again and again.
    #[error("is too simple: a secret has at least {DIFFERENT_MIN} different bytes")]
    TooSimple,
    /// More than 256 bytes.
    #[error("is too long: a secret has {LEN_MIN} to {LEN_MAX} bytes")]
    TooLong,
    /// `whsec_` and then something other than base64.
    #[error("starts with `whsec_` and so must go on in base64")]
    NotBase64,
    /// Not an Ed25519 key pair.
    #[error("is not an Ed25519 private key: `whsk_` and the base64 of its seed of 32 bytes and its public key of 32")]
    NotPrivateKey,
    /// A control character, which no receiver's configuration would keep.
    #[error("holds a control character, such as a line break")]
    Control,
    /// The scheme has no secret.
    #[error("cannot be given with the scheme NONE")]
    NotSigned,
    /// Half of it is the caller's.
    #[error("is missing: the scheme TWO_SECRET signs with a secret of yours, followed by one of the server")]
    Missing,
}

impl SigningSecret {
    /// A new secret for a scheme that needs nothing of the caller.
    ///
    /// # Errors
    /// [`SecretError::NotSigned`] or [`SecretError::Missing`].
    pub fn generate(scheme: SignatureScheme) -> Result<Self, SecretError> {
        let random: [u8; GENERATED_LEN] = rand::random();
        let text = match scheme {
            SignatureScheme::StandardWebhooks => format!("{SECRET_PREFIX}{}", STANDARD.encode(random)),
            SignatureScheme::Ed25519 => private_text(&random),
            SignatureScheme::Github | SignatureScheme::Shopify => hex(&random),
            SignatureScheme::Stripe => format!("{SECRET_PREFIX}{}", hex(&random)),
            SignatureScheme::TwoSecret => return Err(SecretError::Missing),
            SignatureScheme::None => return Err(SecretError::NotSigned),
        };
        Ok(Self { scheme, text })
    }

    /// A caller's own secret, of 12 to 256 bytes that are not all alike, in the form of its scheme. With `TWO_SECRET` the server adds its half.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn of_caller(scheme: SignatureScheme, text: &str) -> Result<Self, SecretError> {
        if scheme == SignatureScheme::None {
            return Err(SecretError::NotSigned);
        }
        let secret = Self { scheme, text: text.to_owned() };
        if scheme == SignatureScheme::Ed25519 {
            return secret.key_pair().map(|_| secret).ok_or(SecretError::NotPrivateKey);
        }
        if scheme == SignatureScheme::StandardWebhooks && text.starts_with(SECRET_PREFIX) && secret.decoded().is_none()
        {
            return Err(SecretError::NotBase64);
        }
        if text.chars().any(char::is_control) {
            return Err(SecretError::Control);
        }
        let key = secret.key();
        let different = key.iter().collect::<std::collections::HashSet<_>>().len();
        match key.len() {
            ..LEN_MIN => Err(SecretError::TooShort),
            LEN_MIN..=LEN_MAX if different < DIFFERENT_MIN => Err(SecretError::TooSimple),
            LEN_MIN..=LEN_MAX if scheme == SignatureScheme::TwoSecret => Ok(Self::with_server_half(text)),
            LEN_MIN..=LEN_MAX => Ok(secret),
            _ => Err(SecretError::TooLong),
        }
    }

    /// Another secret in its place. Of a `TWO_SECRET` the caller's half stays.
    #[must_use]
    pub fn renewed(&self) -> Self {
        Self::generate(self.scheme).unwrap_or_else(|_| Self::with_server_half(self.halves().0))
    }

    fn with_server_half(callers: &str) -> Self {
        let random: [u8; SERVER_LEN.0] = rand::random();
        let text = format!("{callers}{}", URL_SAFE_NO_PAD.encode(random));
        Self { scheme: SignatureScheme::TwoSecret, text }
    }

    /// What was stored as [`SigningSecret::text`]; none when that is no secret of the scheme.
    pub(super) fn stored(scheme: SignatureScheme, text: String) -> Option<Self> {
        let secret = Self { scheme, text };
        let whole = match scheme {
            SignatureScheme::Ed25519 => secret.key_pair().is_some(),
            SignatureScheme::TwoSecret => secret.text.is_char_boundary(secret.text.len().saturating_sub(SERVER_LEN.1)),
            _ => true,
        };
        whole.then_some(secret)
    }

    /// The text form, whole.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// What it signs with.
    pub fn scheme(&self) -> SignatureScheme {
        self.scheme
    }

    /// What its owner is shown: the text form, of a `TWO_SECRET` only the server's half.
    pub fn reveal(&self) -> &str {
        match self.scheme {
            SignatureScheme::TwoSecret => self.halves().1,
            _ => &self.text,
        }
    }

    /// Last four characters of the text form.
    pub fn hint(&self) -> String {
        let skipped = self.text.chars().count().saturating_sub(4);
        self.text.chars().skip(skipped).collect()
    }

    /// The bytes that key the HMAC.
    pub fn key(&self) -> Vec<u8> {
        self.decoded().unwrap_or_else(|| self.text.as_bytes().to_vec())
    }

    /// The key pair of an ED25519 secret.
    pub fn key_pair(&self) -> Option<Ed25519KeyPair> {
        let rest = self.text.strip_prefix(PRIVATE_PREFIX).filter(|_| self.scheme == SignatureScheme::Ed25519)?;
        let bytes = STANDARD.decode(rest).ok()?;
        let (seed, public) = bytes.split_at_checked(SEED_LEN)?;
        Ed25519KeyPair::from_seed_and_public_key(seed, public).ok()
    }

    /// What a receiver verifies with, where that is not the secret itself.
    pub fn public_key(&self) -> Option<String> {
        let pair = self.key_pair()?;
        Some(format!("{PUBLIC_PREFIX}{}", STANDARD.encode(pair.public_key())))
    }

    fn decoded(&self) -> Option<Vec<u8>> {
        let rest = self.text.strip_prefix(SECRET_PREFIX);
        rest.filter(|_| self.scheme == SignatureScheme::StandardWebhooks).and_then(|rest| STANDARD.decode(rest).ok())
    }

    /// The caller's half and the server's.
    fn halves(&self) -> (&str, &str) {
        self.text.split_at_checked(self.text.len().saturating_sub(SERVER_LEN.1)).unwrap_or((&self.text, ""))
    }
}

fn private_text(seed: &[u8; SEED_LEN]) -> String {
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("a seed is any 32 bytes");
    format!("{PRIVATE_PREFIX}{}", STANDARD.encode([&seed[..], pair.public_key().as_ref()].concat()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes every write");
        text
    })
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("whsec_…redacted")
    }
}

#[cfg(test)]
mod tests {
    use super::SignatureScheme::{Ed25519, Github, None as Unsigned, Shopify, StandardWebhooks, Stripe, TwoSecret};
    use super::*;

    const PRIVATE: &str =
        "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";

    #[test]
    fn a_generated_secret_is_thirty_two_bytes_and_never_prints_itself() {
        let secret = SigningSecret::generate(StandardWebhooks).expect("generated");
        assert_eq!(secret.key().len(), 32);
        assert_eq!(format!("{secret:?}"), "whsec_…redacted");
        assert!(secret.reveal().ends_with(&secret.hint()) && secret.hint().len() == 4);
        for (scheme, len) in [(Ed25519, 5 + 88), (Github, 64), (Shopify, 64), (Stripe, 6 + 64)] {
            let secret = SigningSecret::generate(scheme).expect("generated");
            assert_eq!(secret.reveal().len(), len, "{scheme:?}");
            assert_eq!(SigningSecret::of_caller(scheme, secret.reveal()), Ok(secret));
        }
        assert_eq!(SigningSecret::generate(TwoSecret), Err(SecretError::Missing));
        assert_eq!(SigningSecret::generate(Unsigned), Err(SecretError::NotSigned));
    }

    #[test]
    fn a_callers_secret_is_base64_after_whsec_and_bytes_otherwise() {
        let parse = |text: &str| SigningSecret::of_caller(StandardWebhooks, text).map(|secret| secret.key());
        assert_eq!(parse("whsec_AAECAwQFBgcICQoLDA0O"), Ok((0..15).collect()));
        for simple in ["whsec_AAAAAAAAAAAAAAAAAAAA", "aaaaaaaaaaaaaaaa", "123123123123123"] {
            assert_eq!(parse(simple), Err(SecretError::TooSimple), "{simple}");
        }
        assert_eq!(parse("sixteen-letters!"), Ok(b"sixteen-letters!".to_vec()));
        assert_eq!(parse("whsec_not base64"), Err(SecretError::NotBase64));
        assert_eq!(parse("whsec_AAAA"), Err(SecretError::TooShort));
        assert_eq!(parse("a line and\nanother"), Err(SecretError::Control));
        for scheme in [Github, Shopify, Stripe] {
            let own = SigningSecret::of_caller(scheme, "whsec_not base64").map(|secret| secret.key());
            assert_eq!(own, Ok(b"whsec_not base64".to_vec()), "{scheme:?} takes the text as it is");
        }
        for scheme in [StandardWebhooks, Github, Shopify, Stripe, TwoSecret] {
            assert_eq!(SigningSecret::of_caller(scheme, "short"), Err(SecretError::TooShort), "{scheme:?}");
            assert_eq!(SigningSecret::of_caller(scheme, &"x".repeat(257)), Err(SecretError::TooLong), "{scheme:?}");
        }
        assert_eq!(SigningSecret::of_caller(Unsigned, "sixteen-letters!"), Err(SecretError::NotSigned));
    }

    #[test]
    fn a_callers_secret_has_twelve_to_256_bytes_of_which_four_differ() {
        let twelve = "abcdabcdabcd";
        let most = "0123456789abcdef".repeat(16);
        let encoded = |bytes: &[u8]| format!("whsec_{}", STANDARD.encode(bytes));
        for scheme in [StandardWebhooks, Github, Shopify, Stripe, TwoSecret] {
            let check = |text: &str| SigningSecret::of_caller(scheme, text).map(|_| ());
            assert_eq!((check(twelve), check(&most)), (Ok(()), Ok(())), "{scheme:?}");
            assert_eq!(check(&twelve[1..]), Err(SecretError::TooShort), "{scheme:?}");
            assert_eq!(check(&format!("{most}0")), Err(SecretError::TooLong), "{scheme:?}");
            assert_eq!(check("abcabcabcabc"), Err(SecretError::TooSimple), "{scheme:?}");
            assert_eq!(check("äöüßäö"), Ok(()), "{scheme:?} counts bytes");
        }
        // What is decoded counts, not the text.
        let check = |bytes: &[u8]| SigningSecret::of_caller(StandardWebhooks, &encoded(bytes)).map(|_| ());
        assert_eq!((check(twelve.as_bytes()), check(most.as_bytes())), (Ok(()), Ok(())));
        assert_eq!(check(&twelve.as_bytes()[1..]), Err(SecretError::TooShort));
        assert_eq!(check(&[most.as_bytes(), b"0"].concat()), Err(SecretError::TooLong));
        assert_eq!(check(&[0, 1, 2].repeat(9)), Err(SecretError::TooSimple));
    }

    #[test]
    fn an_ed25519_key_must_fit_its_public_half() {
        let secret = SigningSecret::of_caller(Ed25519, PRIVATE).expect("the published key");
        assert_eq!(secret.public_key().as_deref(), Some("whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="));
        let swapped = PRIVATE.replace("whsk_6X", "whsk_7X");
        for wrong in [swapped.as_str(), "whsk_AAAA", "whsk_?", PRIVATE.trim_start_matches("whsk_"), "sixteen-letters!"]
        {
            assert_eq!(SigningSecret::of_caller(Ed25519, wrong), Err(SecretError::NotPrivateKey), "{wrong}");
        }
    }

    #[test]
    fn a_two_secret_is_the_callers_and_sixteen_characters_of_the_server() {
        let secret = SigningSecret::of_caller(TwoSecret, "sixteen-letters!").expect("long enough");
        let server = secret.reveal().to_owned();
        assert_eq!(server.len(), 16);
        assert!(server.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{server}");
        assert_eq!(secret.key(), format!("sixteen-letters!{server}").into_bytes());
        let renewed = secret.renewed();
        assert_ne!(renewed.reveal(), server);
        assert!(renewed.key().starts_with(b"sixteen-letters!") && renewed.key().len() == 32);
        assert_eq!(SigningSecret::stored(TwoSecret, secret.text().to_owned()), Some(secret));
    }
}
