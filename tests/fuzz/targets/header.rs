//! Headers: those that an endpoint asks for, `Retry-After` of an answer, and secrets that an answer sends back.

#![no_main]

use std::time::Duration;

use angarium_dispatcher::fuzzing;
use angarium_entity::Timestamp;
use angarium_entity::endpoint::header;
use http::{HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (name, value) = text.split_once(':').unwrap_or((text, text));
    if let Ok(name) = header::parse_name(name) {
        assert!(HeaderName::from_bytes(name.as_bytes()).is_ok_and(|parsed| parsed.as_str() == name), "{name}");
        assert_eq!(header::parse_name(&name).as_deref(), Ok(name.as_str()));
    }
    if header::check_value(value).is_ok() {
        assert!(HeaderValue::from_str(value).is_ok() && !value.contains(['\r', '\n', '\0']), "{value:?}");
    }
    if let Some(wait) = fuzzing::retry_after(value, Timestamp::from_millis(1_614_265_330_000)) {
        assert!(!wait.is_zero() && wait <= Duration::from_hours(24), "{value:?} {wait:?}");
    }
    if name.len() >= 4 && !name.contains('*') {
        for keep in [value.len(), value.len() / 2] {
            let kept = fuzzing::masked(value.as_bytes(), keep, &[name.as_bytes()]);
            assert!(!kept.windows(name.len()).any(|part| part == name.as_bytes()), "{name:?} {value:?}");
        }
    }
});
