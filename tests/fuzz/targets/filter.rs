//! Filters over payloads: whatever somebody writes ends within its budget, and says the same the second time.

#![no_main]

use angarium_entity::subscription::cel::{EvaluationError, Filter, STEPS_MAX, Steps, Subject};
use angarium_entity::subscription::payload_fields;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (filter, payload) = text.split_once('\0').unwrap_or((text, r#"{"a":[1,2.5,"x",null,{"b":true}],"n":1e400}"#));
    // Only what is JSON is ever published.
    if serde_json::from_str::<serde::de::IgnoredAny>(payload).is_ok() {
        let cut = payload_fields::cut(payload, &[filter.to_owned()]);
        assert!(cut.len() <= payload.len().max(2), "{cut}");
    }
    let filter = match Filter::parse(filter) {
        Ok(filter) => filter,
        Err(error) => {
            assert!(error.line >= 1 && error.column >= 1 && !error.message.is_empty(), "{error:?}");
            return;
        }
    };
    let subject = Subject::new("invoice.paid", &["vip".to_owned()], payload);
    let (mut first, mut second) = (Steps::default(), Steps::default());
    let verdict = filter.matches(&subject, &mut first);
    assert_eq!(filter.matches(&subject, &mut second), verdict);
    assert_eq!(first, second);
    assert!(first.spent() <= STEPS_MAX || verdict == Err(EvaluationError::Steps), "{first:?} {verdict:?}");
});
