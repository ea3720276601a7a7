//! Signatures of requests.
//!
//! Source  Standard Webhooks 1.0.0, "Signature scheme": HMAC-SHA-256 over `{id}.{timestamp}.{body}`, in base64 behind
//!         `v1,`; several signatures, one for each valid secret, are separated by spaces.

use angarium_entity::signing_secret::SigningSecret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The value of `webhook-signature` for these secrets; empty without any.
pub(crate) fn standard_webhooks(secrets: &[SigningSecret], id: &str, timestamp: i64, body: &str) -> String {
    let signatures: Vec<_> = secrets.iter().map(|secret| sign(&secret.key(), id, timestamp, body)).collect();
    signatures.join(" ")
}

fn sign(key: &[u8], id: &str, timestamp: i64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body.as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector that Svix and Standard Webhooks publish.
    #[test]
    fn the_published_vector_is_met() {
        let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a good secret");
        let signature =
            standard_webhooks(&[secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn during_a_rotation_every_secret_signs() {
        let secrets = [SigningSecret::generate(), SigningSecret::generate()];
        let both = standard_webhooks(&secrets, "evt_1", 1, "{}");
        let each: Vec<_> =
            secrets.iter().map(|secret| standard_webhooks(std::slice::from_ref(secret), "evt_1", 1, "{}")).collect();
        assert_eq!(both, each.join(" "));
    }
}
