//! Verifying a delivery as any receiver would, from the text of Standard Webhooks: on purpose not with the code that
//! signs.
//!
//! Source  <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use angarium_entity::{EndpointId, endpoint, signing_secret};
use axum::http::Uri;
use axum::http::header::{HOST, HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sea_orm::{ColumnTrait as _, DbErr, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _};
use sha2::Sha256;

use crate::AppState;

/// Most endpoints with the inbox's URL whose secrets are tried, the newest first.
const ENDPOINTS_MAX: u64 = 500;

/// Whether a secret of an endpoint with this URL signed the request.
pub(super) async fn is_signed(state: &AppState, headers: &HeaderMap, uri: &Uri, body: &[u8]) -> Result<bool, DbErr> {
    let text = |name: &str| headers.get(name).map(HeaderValue::to_str).and_then(Result::ok);
    let (Some(id), Some(timestamp), Some(signatures)) =
        (text("webhook-id"), text("webhook-timestamp"), text("webhook-signature"))
    else {
        return Ok(false);
    };
    let content = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
    let host = text(HOST.as_str()).unwrap_or_default();
    let url = format!("http://{host}{uri}");
    for secret in secrets(state, &url).await? {
        if let Ok(secret) = secret.open(&state.sealer)
            && is_signed_with(&secret.key(), &content, signatures)
        {
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

/// Whether one of the `signatures`, separated by spaces, is of `key`.
fn is_signed_with(key: &[u8], content: &[u8], signatures: &str) -> bool {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(content);
    signatures
        .split(' ')
        .filter_map(|signature| STANDARD.decode(signature.strip_prefix("v1,")?).ok())
        .any(|signature| mac.clone().verify_slice(&signature).is_ok())
}

#[cfg(test)]
mod tests {
    use angarium_entity::signing_secret::SigningSecret;

    use super::*;

    #[test]
    fn the_published_vector_verifies_and_a_changed_byte_does_not() {
        let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
        let content = br#"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}"#;
        let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert!(is_signed_with(&secret.key(), content, signature));
        assert!(is_signed_with(&secret.key(), content, &format!("v1a,AAAA v1,AAAA {signature}")));
        assert!(!is_signed_with(&secret.key(), &content[1..], signature));
        assert!(!is_signed_with(&secret.key(), content, "v1,") && !is_signed_with(b"other", content, signature));
    }
}
