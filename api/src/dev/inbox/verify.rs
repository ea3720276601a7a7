//! Verifying a delivery as any receiver would, from the texts of the schemes: on purpose not with the code that signs.
//!
//! Source  <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>,
//!         <https://docs.stripe.com/webhooks#verify-manually>,
//!         <https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries>,
//!         <https://shopify.dev/docs/apps/build/webhooks/subscribe/https>

use angarium_entity::endpoint::SignatureScheme;
use angarium_entity::signing_secret::SigningSecret;
use angarium_entity::{EndpointId, endpoint, signing_secret};
use axum::http::Uri;
use axum::http::header::{HOST, HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use ring::signature::{ED25519, UnparsedPublicKey};
use sea_orm::{ColumnTrait as _, DbErr, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _};
use sha2::Sha256;

use crate::AppState;

/// Most endpoints with the inbox's URL whose secrets are tried, the newest first.
const ENDPOINTS_MAX: u64 = 500;

/// Whether a secret of an endpoint with this URL signed the request.
pub(super) async fn is_signed(state: &AppState, headers: &HeaderMap, uri: &Uri, body: &[u8]) -> Result<bool, DbErr> {
    let request = Signed { headers, body };
    let url = format!("http://{}{uri}", request.header(HOST.as_str()).unwrap_or_default());
    for row in secrets(state, &url).await? {
        if row.open(&state.sealer).is_ok_and(|secret| request.is_by(&secret, row.public_key.as_deref())) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn secrets(state: &AppState, url: &str) -> Result<Vec<signing_secret::Model>, DbErr> {
    let endpoints: Vec<EndpointId> = endpoint::Entity::find()
        .filter(endpoint::Column::Url.eq(url))
        .order_by_desc(endpoint::Column::Id)
        .limit(ENDPOINTS_MAX)
        .select_only()
        .column(endpoint::Column::Id)
        .into_tuple()
        .all(state.db.read())
        .await?;
    let of_them = signing_secret::Column::EndpointId.is_in(endpoints);
    signing_secret::Entity::find().filter(of_them).all(state.db.read()).await
}

/// A request that may be signed.
pub(crate) struct Signed<'a> {
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
}

impl Signed<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(HeaderValue::to_str).and_then(Result::ok)
    }

    /// Whether one of its signatures is of `secret`. Its age does not matter: the inbox is there to look at.
    pub(crate) fn is_by(&self, secret: &SigningSecret, public_key: Option<&str>) -> bool {
        let is_mac = |content: &[u8], mac: &[u8]| {
            let mut own = Hmac::<Sha256>::new_from_slice(&secret.key()).expect("HMAC takes keys of any length");
            own.update(content);
            own.verify_slice(mac).is_ok()
        };
        let verified = match secret.scheme() {
            SignatureScheme::None => None,
            SignatureScheme::StandardWebhooks | SignatureScheme::TwoSecret => {
                self.standard("v1,").map(|(content, macs)| macs.iter().any(|mac| is_mac(&content, mac)))
            }
            SignatureScheme::Ed25519 => self.standard("v1a,").zip(public_key).map(|((content, signatures), key)| {
                let key = key.strip_prefix("whpk_").and_then(|key| STANDARD.decode(key).ok()).unwrap_or_default();
                let key = UnparsedPublicKey::new(&ED25519, key);
                signatures.iter().any(|signature| key.verify(&content, signature).is_ok())
            }),
            SignatureScheme::Stripe => self.header("stripe-signature").map(|value| {
                let parts: Vec<_> = value.split(',').filter_map(|part| part.split_once('=')).collect();
                let seconds = parts.iter().find(|(name, _)| *name == "t").map_or("", |(_, seconds)| seconds);
                let content = [seconds.as_bytes(), b".", self.body].concat();
                let macs = parts.iter().filter(|(name, _)| *name == "v1").filter_map(|(_, hex)| unhex(hex));
                macs.into_iter().any(|mac| is_mac(&content, &mac))
            }),
            SignatureScheme::Github => self
                .header("x-hub-signature-256")
                .and_then(|value| unhex(value.strip_prefix("sha256=")?))
                .map(|mac| is_mac(self.body, &mac)),
            SignatureScheme::Shopify => self
                .header("x-shopify-hmac-sha256")
                .and_then(|value| STANDARD.decode(value).ok())
                .map(|mac| is_mac(self.body, &mac)),
        };
        verified.unwrap_or(false)
    }

    /// What Standard Webhooks signs, and the signatures of this version.
    fn standard(&self, version: &str) -> Option<(Vec<u8>, Vec<Vec<u8>>)> {
        let (id, seconds) = (self.header("webhook-id")?, self.header("webhook-timestamp")?);
        let content = [id.as_bytes(), b".", seconds.as_bytes(), b".", self.body].concat();
        let signatures = self.header("webhook-signature")?.split(' ');
        let signatures = signatures.filter_map(|text| STANDARD.decode(text.strip_prefix(version)?).ok());
        Some((content, signatures.collect()))
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok())).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks_exact(2).map(|pair| (pair[0] << 4) | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANDARD_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const STANDARD_SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const STANDARD_BODY: &str = r#"{"test": 2432232314}"#;

    fn is_by(scheme: SignatureScheme, secret: &str, headers: &[(&'static str, &str)], body: &str) -> bool {
        let secret = SigningSecret::of_caller(scheme, secret).expect("a secret");
        let headers = headers.iter().map(|(name, value)| {
            (axum::http::HeaderName::from_static(name), HeaderValue::from_str(value).expect("a header value"))
        });
        let headers = headers.collect();
        Signed { headers: &headers, body: body.as_bytes() }.is_by(&secret, secret.public_key().as_deref())
    }

    fn is_standard(secret: &str, signatures: &str, body: &str) -> bool {
        let (id, seconds) = (("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"), ("webhook-timestamp", "1614265330"));
        let scheme =
            if secret.starts_with("whsk_") { SignatureScheme::Ed25519 } else { SignatureScheme::StandardWebhooks };
        is_by(scheme, secret, &[id, seconds, ("webhook-signature", signatures)], body)
    }

    #[test]
    fn the_published_vectors_verify_and_a_changed_byte_does_not() {
        assert!(is_standard(STANDARD_SECRET, STANDARD_SIGNATURE, STANDARD_BODY));
        let several = format!("v1a,AAAA v1,AAAA {STANDARD_SIGNATURE}");
        assert!(is_standard(STANDARD_SECRET, &several, STANDARD_BODY));
        assert!(!is_standard(STANDARD_SECRET, STANDARD_SIGNATURE, &STANDARD_BODY[1..]));
        assert!(!is_standard(STANDARD_SECRET, "v1,", STANDARD_BODY));
        assert!(!is_standard("sixteen-letters!", STANDARD_SIGNATURE, STANDARD_BODY));

        let key = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
        let signature = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==";
        assert!(is_standard(key, signature, STANDARD_BODY) && !is_standard(key, signature, "{}"));
    }

    #[test]
    fn the_forms_of_github_shopify_and_stripe_verify_and_another_body_does_not() {
        let github = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let stripe = "t=1492774577,v1=00,v1=799c4ba7bb339f3c8601adfd112f0e477c930a268be1243d341abb8286501c2f";
        for (scheme, secret, header, body) in [
            (SignatureScheme::Github, "It's a Secret to Everybody", ("x-hub-signature-256", github), "Hello, World!"),
            (SignatureScheme::Stripe, "whsec_test_secret", ("stripe-signature", stripe), r#"{"id":"evt_1"}"#),
        ] {
            assert!(is_by(scheme, secret, &[header], body), "{scheme:?}");
            assert!(!is_by(scheme, secret, &[header], "{}") && !is_by(scheme, secret, &[], body), "{scheme:?}");
        }
        assert_eq!([unhex("0aFF"), unhex("0"), unhex("zz")], [Some(vec![10, 255]), None, None]);
    }
}
