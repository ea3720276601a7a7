//! Secrets that callers bring along, and what is signed with them.

#![no_main]

use angarium_dispatcher::signature::Signer;
use angarium_entity::endpoint::SignatureScheme as Scheme;
use angarium_entity::sealer::Sealer;
use angarium_entity::signing_secret::{Model, SigningSecret};
use angarium_entity::{EndpointId, Timestamp};
use libfuzzer_sys::fuzz_target;

const SCHEMES: [Scheme; 7] =
    [Scheme::StandardWebhooks, Scheme::Ed25519, Scheme::Stripe, Scheme::Github, Scheme::Shopify, Scheme::TwoSecret, Scheme::None];

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let scheme = SCHEMES[usize::from(*first) % SCHEMES.len()];
    let Ok(secret) = SigningSecret::of_caller(scheme, text) else { return };
    assert!(scheme != Scheme::None);
    assert_eq!(format!("{secret:?}"), "whsec_…redacted");
    assert!(secret.hint().chars().count() == 4 && secret.key().len() >= 12);
    let (sealer, now) = (Sealer::new(&[7; 32]), Timestamp::from_millis(1_614_265_330_000));
    let row = Model::seal(&secret, EndpointId::new(now), &sealer, now);
    assert_eq!(row.open(&sealer).as_ref(), Ok(&secret));
    assert_eq!(secret.renewed().scheme(), scheme);
    let signer = Signer::new(scheme, &[row], &sealer).expect("there is a secret");
    let signature = signer.sign("evt_1", now, text).expect("it is signed");
    assert!(signature.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '), "{signature}");
    let other = signer.sign("evt_1", now, &format!("{text} "));
    assert_ne!(other.as_deref(), Some(signature.as_str()));
});
