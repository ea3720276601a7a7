//! Signatures of requests, and who signs when.
//!
//! Standard Webhooks  HMAC-SHA-256 over `{id}.{timestamp}.{body}`, in base64 behind `v1,`; Ed25519 behind `v1a,`.
//!                    Several signatures, one for each valid secret, are separated by spaces.
//!                    Source: Standard Webhooks 1.0.0, "Signature scheme".
//! Stripe             HMAC-SHA-256 over `{timestamp}.{body}` in hex: `t={timestamp},v1={hex}`, and one more `v1` for each
//!                    further secret. Source: <https://docs.stripe.com/webhooks#verify-manually>
//! GitHub, Shopify    HMAC-SHA-256 over the body, `sha256={hex}` or base64. There is room for one signature, so during a
//!                    rotation's overlap the old secret signs on, and the new one from its end: the receiver has the
//!                    overlap for taking up the new secret, and never meets one that it cannot know.
//!                    Source: <https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries>,
//!                    <https://shopify.dev/docs/apps/build/webhooks/subscribe/https>

use std::fmt::Write as _;
use std::sync::Arc;

use angarium_entity::Timestamp;
use angarium_entity::endpoint::SignatureScheme;
use angarium_entity::sealer::{SealError, Sealer};
use angarium_entity::signing_secret::{self, SigningSecret};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use ring::signature::Ed25519KeyPair;
use sha2::Sha256;

/// Signs for one endpoint, with keys that are ready for use.
#[derive(Clone, Debug)]
pub struct Signer {
    scheme: SignatureScheme,
    /// The newest first: receivers that look at one signature only look at the first.
    keys: Vec<Key>,
}

/// Why there is no signer for the rows.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SignerError {
    /// The rows are sealed under another key, or damaged.
    #[error("a signing secret of the endpoint does not open")]
    Sealed(#[from] SealError),
    /// A request that should be signed is never sent without a signature.
    #[error("the endpoint signs its requests and has no secret")]
    NoSecret,
}

#[derive(Clone, Debug)]
struct Key {
    material: Material,
    /// Until when it signs.
    expires_at: Option<Timestamp>,
}

#[derive(Clone, Debug)]
enum Material {
    Hmac(Box<Hmac<Sha256>>),
    Ed25519(Arc<Ed25519KeyPair>),
}

impl Signer {
    /// A signer with the secrets of an endpoint, in any order.
    ///
    /// # Errors
    /// [`SignerError`].
    pub fn new(
        scheme: SignatureScheme,
        secrets: &[signing_secret::Model],
        sealer: &Sealer,
    ) -> Result<Self, SignerError> {
        let mut secrets: Vec<_> = secrets.iter().filter(|secret| secret.scheme == scheme).collect();
        secrets.sort_unstable_by_key(|secret| std::cmp::Reverse((secret.created_at, secret.id)));
        let mut keys = Vec::with_capacity(secrets.len());
        for secret in secrets {
            keys.push(Key { material: Material::of(&secret.open(sealer)?), expires_at: secret.expires_at });
        }
        if scheme != SignatureScheme::None && keys.iter().all(|key| key.expires_at.is_some()) {
            return Err(SignerError::NoSecret);
        }
        Ok(Self { scheme, keys })
    }

    /// A signer with one secret that never ends.
    #[cfg(feature = "benching")]
    pub fn with(scheme: SignatureScheme, secret: &SigningSecret) -> Self {
        Self { scheme, keys: vec![Key { material: Material::of(secret), expires_at: None }] }
    }

    /// The value of the signature header for an attempt at `at`; none when requests are not signed.
    pub fn sign(&self, id: &str, at: Timestamp, body: &str) -> Option<String> {
        let seconds = at.seconds().to_string();
        let mut valid = self.keys.iter().filter(|key| key.expires_at.is_none_or(|end| at < end));
        let standard = |version: &str, key: &Key| {
            format!("{version},{}", STANDARD.encode(key.sign(&[id, ".", &seconds, ".", body])))
        };
        match self.scheme {
            SignatureScheme::None => None,
            SignatureScheme::StandardWebhooks | SignatureScheme::TwoSecret => {
                Some(valid.map(|key| standard("v1", key)).collect::<Vec<_>>().join(" "))
            }
            SignatureScheme::Ed25519 => Some(valid.map(|key| standard("v1a", key)).collect::<Vec<_>>().join(" ")),
            SignatureScheme::Stripe => {
                let signatures = valid.map(|key| format!(",v1={}", hex(&key.sign(&[&seconds, ".", body]))));
                Some(format!("t={seconds}{}", signatures.collect::<String>()))
            }
            SignatureScheme::Github => valid.next_back().map(|oldest| format!("sha256={}", hex(&oldest.sign(&[body])))),
            SignatureScheme::Shopify => valid.next_back().map(|oldest| STANDARD.encode(oldest.sign(&[body]))),
        }
    }
}

impl Material {
    fn of(secret: &SigningSecret) -> Self {
        match secret.key_pair() {
            Some(pair) => Self::Ed25519(Arc::new(pair)),
            None => Self::hmac(&secret.key()),
        }
    }

    fn hmac(key: &[u8]) -> Self {
        Self::Hmac(Box::new(Hmac::new_from_slice(key).expect("HMAC takes a key of any length")))
    }
}

impl Key {
    fn sign(&self, parts: &[&str]) -> Vec<u8> {
        match &self.material {
            Material::Hmac(mac) => {
                let mut mac = mac.clone();
                for part in parts {
                    mac.update(part.as_bytes());
                }
                mac.finalize().into_bytes().to_vec()
            }
            Material::Ed25519(pair) => pair.sign(parts.concat().as_bytes()).as_ref().to_vec(),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes every write");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &str = r#"{"test": 2432232314}"#;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn signer(scheme: SignatureScheme, keys: impl IntoIterator<Item = (Material, Option<Timestamp>)>) -> Signer {
        let keys = keys.into_iter().map(|(material, expires_at)| Key { material, expires_at }).collect();
        Signer { scheme, keys }
    }

    fn of_text(scheme: SignatureScheme, text: &str) -> Signer {
        let secret = SigningSecret::of_caller(scheme, text).expect("a good secret");
        signer(scheme, [(Material::of(&secret), None)])
    }

    /// The vectors that Svix and Standard Webhooks publish.
    #[test]
    fn the_published_vectors_of_standard_webhooks_are_met() {
        let signer = of_text(SignatureScheme::StandardWebhooks, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signature = signer.sign(ID, at(1_614_265_330), BODY);
        assert_eq!(signature.as_deref(), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
        let key = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
        let signature = of_text(SignatureScheme::Ed25519, key).sign(ID, at(1_614_265_330), BODY);
        let expected = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==";
        assert_eq!(signature.as_deref(), Some(expected));
    }

    /// The first is of GitHub's documentation.
    #[test]
    fn the_vectors_of_github_shopify_and_stripe_are_met() {
        let github = of_text(SignatureScheme::Github, "It's a Secret to Everybody");
        let expected = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert_eq!(github.sign(ID, at(1), "Hello, World!").as_deref(), Some(expected));
        let shopify = signer(SignatureScheme::Shopify, [(Material::hmac(b"hush"), None)]);
        let expected = "VnKUjZsLuN5iZWjn5EntcBVCF9kMN43LglzCE1/GSeY=";
        assert_eq!(shopify.sign(ID, at(1), r#"{"id":1}"#).as_deref(), Some(expected));
        let stripe = of_text(SignatureScheme::Stripe, "whsec_test_secret");
        let expected = "t=1492774577,v1=799c4ba7bb339f3c8601adfd112f0e477c930a268be1243d341abb8286501c2f";
        assert_eq!(stripe.sign(ID, at(1_492_774_577), r#"{"id":"evt_1"}"#).as_deref(), Some(expected));
    }

    #[test]
    fn two_secrets_sign_as_one_of_both_texts() {
        let secret = SigningSecret::of_caller(SignatureScheme::TwoSecret, "sixteen-letters!").expect("long enough");
        let both = format!("sixteen-letters!{}", secret.reveal());
        let signature = signer(SignatureScheme::TwoSecret, [(Material::of(&secret), None)]).sign(ID, at(9), BODY);
        assert_eq!(signature, of_text(SignatureScheme::StandardWebhooks, &both).sign(ID, at(9), BODY));
    }

    #[test]
    fn during_a_rotation_every_secret_signs_or_else_the_oldest() {
        let keys = || [(Material::hmac(b"new"), None), (Material::hmac(b"old"), Some(at(10)))];
        let only =
            |scheme, key: &[u8], second| signer(scheme, [(Material::hmac(key), None)]).sign(ID, at(second), BODY);
        for (scheme, seam) in [(SignatureScheme::StandardWebhooks, " "), (SignatureScheme::Stripe, ",")] {
            let both = signer(scheme, keys()).sign(ID, at(9), BODY).expect("signed");
            let (new, old) = (only(scheme, b"new", 9).expect("signed"), only(scheme, b"old", 9).expect("signed"));
            assert_eq!(both, format!("{new}{seam}{}", old.trim_start_matches("t=9,")));
            assert_eq!(signer(scheme, keys()).sign(ID, at(10), BODY), only(scheme, b"new", 10));
        }
        for scheme in [SignatureScheme::Github, SignatureScheme::Shopify] {
            assert_eq!(signer(scheme, keys()).sign(ID, at(9), BODY), only(scheme, b"old", 9));
            assert_eq!(signer(scheme, keys()).sign(ID, at(10), BODY), only(scheme, b"new", 10));
        }
        assert_eq!(signer(SignatureScheme::None, []).sign(ID, at(1), BODY), None);
    }

    #[test]
    fn nothing_that_should_be_signed_goes_out_without_a_signature() {
        let sealer = Sealer::new(&[1; 32]);
        let none = Signer::new(SignatureScheme::StandardWebhooks, &[], &sealer).expect_err("there is no secret");
        assert_eq!(none, SignerError::NoSecret);
        assert!(Signer::new(SignatureScheme::None, &[], &sealer).is_ok());
    }
}
