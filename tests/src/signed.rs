//! Verifying a request by hand, from the texts of the schemes. What their official libraries say is another test.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{hmac, signature};

use crate::RawRequest;

impl RawRequest {
    /// Whether one of its signatures in the form of `scheme` is of `key`: of ED25519 the public key, `whpk_…`; else the
    /// bytes that key the HMAC.
    ///
    /// # Panics
    /// When the scheme has no signature.
    pub fn is_signed(&self, scheme: &str, key: &str) -> bool {
        let hex = |text: &str| {
            (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("hex")).collect()
        };
        let base64 = |text: &str| STANDARD.decode(text).expect("base64");
        let standard = [self.header("webhook-id"), self.header("webhook-timestamp"), &self.body].join(".");
        let versioned = |version: &str| -> Vec<Vec<u8>> {
            let signatures = self.header("webhook-signature").split(' ');
            signatures.map(|text| base64(text.strip_prefix(version).expect("only this version"))).collect()
        };
        let (signatures, content): (Vec<Vec<u8>>, String) = match scheme {
            "STANDARD_WEBHOOKS" | "TWO_SECRET" => (versioned("v1,"), standard),
            "ED25519" => (versioned("v1a,"), standard),
            "STRIPE" => {
                let mut parts = self.header("stripe-signature").split(',');
                let seconds = parts.next().and_then(|part| part.strip_prefix("t=")).expect("the time is first");
                let signatures = parts.map(|part| hex(part.strip_prefix("v1=").expect("version 1"))).collect();
                (signatures, format!("{seconds}.{}", self.body))
            }
            "GITHUB" => {
                let text = self.header("x-hub-signature-256").strip_prefix("sha256=").expect("its algorithm is told");
                (vec![hex(text)], self.body.clone())
            }
            "SHOPIFY" => (vec![base64(self.header("x-shopify-hmac-sha256"))], self.body.clone()),
            other => panic!("{other} has no signature"),
        };
        if scheme == "ED25519" {
            let key = base64(key.strip_prefix("whpk_").expect("a public key"));
            let key = signature::UnparsedPublicKey::new(&signature::ED25519, key);
            return signatures.iter().any(|signature| key.verify(content.as_bytes(), signature).is_ok());
        }
        let key = match key.strip_prefix("whsec_") {
            Some(rest) if scheme == "STANDARD_WEBHOOKS" => base64(rest),
            _ => key.as_bytes().to_vec(),
        };
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        signatures.iter().any(|signature| hmac::verify(&key, content.as_bytes(), signature).is_ok())
    }
}
