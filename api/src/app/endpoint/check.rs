//! What an endpoint may look like.

use std::collections::HashSet;

use angarium_entity::endpoint::header::{self, HeaderError};
use angarium_entity::endpoint::url::{self, UrlError};
use angarium_entity::endpoint::{MASK, RequestHeader, TIMEOUT};
use angarium_entity::workspace::rules::{CompiledRules, Forbidden};

use super::{
    AppState, DESCRIPTION_LEN_MAX, Draft, Duration, ErrorCode, HeaderDraft, IN_FLIGHT_DEFAULT, IN_FLIGHT_MAX,
    NAME_LEN_MAX, NewEndpoint, Ordering, Path, Problems, RATE_LIMIT_MAX, SecretError, SignatureScheme, SigningSecret,
    TIMEOUT_RANGE,
};
use crate::app::duration;

impl Draft {
    /// Checks everything and tells all that is wrong. `field` is where the draft was given.
    pub fn check(
        self,
        state: &AppState,
        rules: &CompiledRules,
        field: &Path,
        problems: &mut Problems<ErrorCode>,
    ) -> Option<NewEndpoint> {
        let name = problems.optional_text(&field.at("name"), self.name, NAME_LEN_MAX);
        let description = problems.optional_text(&field.at("description"), self.description, DESCRIPTION_LEN_MAX);
        let url = check_url(state, rules, &field.at("url"), &self.url, problems);
        let headers = check_headers(&field.at("headers"), self.headers, &[], problems);
        let max_in_flight = check_in_flight(&field.at("maxInFlight"), self.ordering, self.max_in_flight, problems);
        let rate_limit = check_rate_limit(&field.at("rateLimitPerSecond"), self.rate_limit, problems);
        let timeout = match self.timeout {
            Some(text) => check_timeout(&field.at("timeout"), &text, problems),
            None => Some(TIMEOUT),
        };
        let secret = check_secret(&field.at("signing").at("secret"), self.scheme, self.secret, problems);
        Some(NewEndpoint {
            name,
            description,
            url: url?,
            headers: headers?,
            body_format: self.body_format,
            ordering: self.ordering,
            max_in_flight: max_in_flight?,
            on_exhausted: self.on_exhausted,
            rate_limit: rate_limit?,
            timeout: timeout?,
            secret: secret?,
        })
    }
}

pub(super) fn check_url(
    state: &AppState,
    rules: &CompiledRules,
    field: &Path,
    text: &str,
    problems: &mut Problems<ErrorCode>,
) -> Option<String> {
    let url = match url::parse(text, state.limits.allow_http) {
        Ok(url) => url,
        Err(error) => {
            let code = match error {
                UrlError::Blank => ErrorCode::Blank,
                UrlError::TooLong => ErrorCode::TooLong,
                UrlError::NotHttps => ErrorCode::UrlNotHttps,
                UrlError::Malformed(_) | UrlError::Scheme(_) | UrlError::Userinfo | UrlError::Fragment => {
                    ErrorCode::Invalid
                }
            };
            problems.add(code, field, error.to_string());
            return None;
        }
    };
    if let Err(error) = state.dispatcher.check_url(&url) {
        problems.add(ErrorCode::UrlForbidden, field, format!("cannot be delivered to: {error}"));
        return None;
    }
    if let Err(forbidden) = rules.check_url(text) {
        let code = match forbidden {
            Forbidden::UrlTooLong(_) => ErrorCode::TooLong,
            Forbidden::Url(_) | Forbidden::EventType(_) => ErrorCode::Invalid,
        };
        problems.add(code, field, forbidden.to_string());
        return None;
    }
    Some(text.to_owned())
}

/// Checks a list of headers. `present` are those of the endpoint, whose values may be kept.
pub(super) fn check_headers(
    field: &Path,
    given: Vec<HeaderDraft>,
    present: &[RequestHeader],
    problems: &mut Problems<ErrorCode>,
) -> Option<Vec<RequestHeader>> {
    if given.len() > header::COUNT_MAX {
        problems.add(ErrorCode::TooMany, field, format!("holds more than {} headers", header::COUNT_MAX));
        return None;
    }
    let mut seen = HashSet::new();
    let mut headers = Vec::with_capacity(given.len());
    let count = given.len();
    for (index, draft) in given.into_iter().enumerate() {
        let field = field.item(index);
        let name = check_name(&field.at("name"), &draft.name, &mut seen, problems);
        let kept = name.as_ref().and_then(|name| present.iter().find(|header| header.name == *name));
        let value = check_value(&field.at("value"), draft.value.as_deref(), kept, problems);
        // A secret that is kept stays one: whoever keeps it may not know it.
        let secret = draft.secret || (draft.value.is_none() && kept.is_some_and(|header| header.secret));
        headers.extend(name.zip(value).map(|(name, value)| RequestHeader { name, value, secret }));
    }
    if headers.iter().map(|header| header.name.len() + header.value.len()).sum::<usize>() > header::BYTES_MAX {
        problems.add(ErrorCode::TooLong, field, format!("is longer than {} bytes in all", header::BYTES_MAX));
        return None;
    }
    (headers.len() == count).then_some(headers)
}

fn check_name(
    field: &Path,
    given: &str,
    seen: &mut HashSet<String>,
    problems: &mut Problems<ErrorCode>,
) -> Option<String> {
    let code = match header::parse_name(given) {
        Ok(name) if seen.insert(name.clone()) => return Some(name),
        Ok(_) => {
            problems.add(ErrorCode::Taken, field, "must be unique, and is given twice");
            return None;
        }
        Err(HeaderError::Reserved) => (ErrorCode::HeaderForbidden, HeaderError::Reserved),
        Err(error) => (ErrorCode::Invalid, error),
    };
    problems.add(code.0, field, code.1.to_string());
    None
}

fn check_value(
    field: &Path,
    given: Option<&str>,
    kept: Option<&RequestHeader>,
    problems: &mut Problems<ErrorCode>,
) -> Option<String> {
    match (given, kept) {
        (Some(MASK), _) => {
            let message = "is the mask of a secret value: leave it out to keep that, or give another";
            problems.add(ErrorCode::Invalid, field, message);
        }
        (Some(value), _) => match header::check_value(value) {
            Ok(()) => return Some(value.to_owned()),
            Err(error) => problems.add(ErrorCode::Invalid, field, error.to_string()),
        },
        (None, Some(kept)) => return Some(kept.value.clone()),
        (None, None) => problems.add(ErrorCode::Blank, field, "is missing, and there is no value of this name to keep"),
    }
    None
}

pub(super) fn check_in_flight(
    field: &Path,
    ordering: Ordering,
    given: Option<i32>,
    problems: &mut Problems<ErrorCode>,
) -> Option<i32> {
    let most = i32::from(IN_FLIGHT_MAX);
    match (ordering, given) {
        (Ordering::Fifo | Ordering::Strict, None | Some(1)) => return Some(1),
        (Ordering::Fifo | Ordering::Strict, Some(_)) => {
            problems.add(ErrorCode::Invalid, field, "is more than 1 only with ordering NONE");
        }
        (Ordering::None, None) => return Some(IN_FLIGHT_DEFAULT),
        (Ordering::None, Some(given)) if (1..=most).contains(&given) => return Some(given),
        (Ordering::None, Some(_)) => problems.add(ErrorCode::Invalid, field, format!("is not from 1 to {most}")),
    }
    None
}

/// The outer option is whether it can go on, the inner one the limit.
#[expect(clippy::option_option, reason = "two questions, answered once and taken apart at once")]
pub(super) fn check_rate_limit(
    field: &Path,
    given: Option<i32>,
    problems: &mut Problems<ErrorCode>,
) -> Option<Option<i32>> {
    if given.is_none_or(|given| (1..=RATE_LIMIT_MAX).contains(&given)) {
        return Some(given);
    }
    problems.add(ErrorCode::Invalid, field, format!("is not from 1 to {RATE_LIMIT_MAX}"));
    None
}

pub(super) fn check_timeout(field: &Path, text: &str, problems: &mut Problems<ErrorCode>) -> Option<Duration> {
    match duration::parse(text) {
        Ok(timeout) if TIMEOUT_RANGE.contains(&timeout) => return Some(timeout),
        Ok(_) => problems.add(ErrorCode::Invalid, field, "is not from 1 to 60 seconds"),
        Err(error) => problems.add(ErrorCode::Invalid, field, error.to_string()),
    }
    None
}

/// The outer option is whether it can go on, the inner one whether requests are signed.
#[expect(clippy::option_option, reason = "two questions, answered once and taken apart at once")]
pub(super) fn check_secret(
    field: &Path,
    scheme: SignatureScheme,
    given: Option<String>,
    problems: &mut Problems<ErrorCode>,
) -> Option<Option<SigningSecret>> {
    let checked = match (scheme, given) {
        (SignatureScheme::None, None) => return Some(None),
        (_, Some(text)) => SigningSecret::of_caller(scheme, &text),
        (_, None) => SigningSecret::generate(scheme),
    };
    match checked {
        Ok(secret) => Some(Some(secret)),
        Err(error) => {
            let code = match error {
                SecretError::TooShort | SecretError::TooSimple => ErrorCode::SecretWeak,
                SecretError::TooLong => ErrorCode::TooLong,
                SecretError::Missing => ErrorCode::Blank,
                SecretError::NotBase64 | SecretError::NotPrivateKey | SecretError::Control | SecretError::NotSigned => {
                    ErrorCode::Invalid
                }
            };
            problems.add(code, field, error.to_string());
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told<T>(check: impl FnOnce(&Path, &mut Problems<ErrorCode>) -> Option<T>) -> Result<T, Vec<ErrorCode>> {
        let mut problems = Problems::default();
        let checked = check(&Path::argument("x"), &mut problems);
        problems.unless_any(checked).map_err(|told| told.iter().map(|problem| problem.code).collect())
    }

    #[test]
    fn more_than_one_in_flight_needs_an_endpoint_without_order() {
        assert_eq!(told(|field, told| check_in_flight(field, Ordering::Fifo, None, told)), Ok(1));
        assert_eq!(
            told(|field, told| check_in_flight(field, Ordering::Fifo, Some(2), told)),
            Err(vec![ErrorCode::Invalid])
        );
        assert_eq!(told(|field, told| check_in_flight(field, Ordering::None, Some(64), told)), Ok(64));
        for wrong in [0, 65, -1] {
            assert!(told(|field, told| check_in_flight(field, Ordering::None, Some(wrong), told)).is_err());
        }
    }

    #[test]
    fn a_rate_limit_is_from_1_to_10000_or_absent() {
        for right in [None, Some(1), Some(10_000)] {
            assert_eq!(told(|field, told| check_rate_limit(field, right, told)), Ok(right));
        }
        for wrong in [0, -1, 10_001] {
            let refused = told(|field, told| check_rate_limit(field, Some(wrong), told));
            assert_eq!(refused, Err(vec![ErrorCode::Invalid]));
        }
    }

    #[test]
    fn every_wrong_header_is_told() {
        let given =
            [("x-team", "a"), ("Host", "b"), ("x y", "c"), ("X-Team", "d"), ("x-line", "e\nf"), ("x-mask", MASK)];
        let told = told(|field, told| {
            check_headers(field, given.map(|(name, value)| draft(name, Some(value))).into(), &[], told)
        });
        let expected =
            [ErrorCode::HeaderForbidden, ErrorCode::Invalid, ErrorCode::Taken, ErrorCode::Invalid, ErrorCode::Invalid];
        assert_eq!(told, Err(expected.into()));
        let many = vec![draft("x", Some("y")); 33];
        assert_eq!(
            super::tests::told(|field, told| check_headers(field, many, &[], told)),
            Err(vec![ErrorCode::TooMany])
        );
        let long = vec![draft("x", Some(&"y".repeat(4096)))];
        assert_eq!(
            super::tests::told(|field, told| check_headers(field, long, &[], told)),
            Err(vec![ErrorCode::TooLong])
        );
    }

    fn draft(name: &str, value: Option<&str>) -> HeaderDraft {
        HeaderDraft { name: name.to_owned(), value: value.map(str::to_owned), secret: false }
    }

    #[test]
    fn a_value_is_kept_where_there_is_one_and_a_secret_stays_one() {
        let header = |name: &str, secret| RequestHeader { name: name.to_owned(), value: "v".to_owned(), secret };
        let present = [header("a", true), header("b", false)];
        let hidden = HeaderDraft { secret: true, ..draft("B", None) };
        let kept = told(|field, told| check_headers(field, vec![draft("A", None), hidden], &present, told));
        assert_eq!(kept, Ok(vec![header("a", true), header("b", true)]));
        let missing = told(|field, told| check_headers(field, vec![draft("c", None)], &present, told));
        assert_eq!(missing, Err(vec![ErrorCode::Blank]));
    }

    #[test]
    fn a_secret_is_made_kept_or_refused() {
        let check = |scheme, secret: Option<&str>| {
            told(|field, told| check_secret(field, scheme, secret.map(ToOwned::to_owned), told))
        };
        assert!(check(SignatureScheme::StandardWebhooks, None).is_ok_and(|secret| secret.is_some()));
        assert_eq!(check(SignatureScheme::StandardWebhooks, Some("short")), Err(vec![ErrorCode::SecretWeak]));
        assert_eq!(check(SignatureScheme::Ed25519, Some("sixteen-letters!")), Err(vec![ErrorCode::Invalid]));
        assert_eq!(check(SignatureScheme::TwoSecret, None), Err(vec![ErrorCode::Blank]));
        assert_eq!(check(SignatureScheme::None, Some("sixteen-letters!")), Err(vec![ErrorCode::Invalid]));
        assert_eq!(check(SignatureScheme::None, None), Ok(None));
    }
}
