//! What the subscriptions of a workspace may ask for, on top of the server's own rules.
//!
//! Patterns  in the syntax of RE2, which matches in time linear in the text: no pattern can make a check slow. A match
//!           anywhere in the text is one; `^…$` asks for all of it.
//! Size      of a pattern as text by [`PATTERN_LEN_MAX`], of what it compiles to by [`PATTERN_BYTES_MAX`], so that
//!           `(.{1000}){1000}` is refused rather than compiled.
//! Source    the syntax: <https://github.com/google/re2/wiki/Syntax>, of which the `regex` crate takes all but a few
//!           rare spellings.

use regex::{Regex, RegexBuilder};
use sea_orm::FromJsonQueryResult;
use serde::{Deserialize, Serialize};

use crate::endpoint::url;

/// Most characters of a pattern.
pub const PATTERN_LEN_MAX: usize = 1024;
/// Most bytes of a compiled pattern.
pub const PATTERN_BYTES_MAX: usize = 1024 * 1024;
/// Deepest nesting of a pattern.
const PATTERN_DEPTH_MAX: u32 = 50;

/// The rules of a workspace, as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, FromJsonQueryResult)]
pub struct Rules {
    /// Matches every name and pattern of event types that may be subscribed to; none for any.
    pub event_type_pattern: Option<String>,
    /// Most characters of an endpoint URL, from 1 to [`url::LEN_MAX`].
    pub url_max_length: u16,
    /// Matches every endpoint URL that may be used; none for any.
    pub url_pattern: Option<String>,
}

/// Why a text is no pattern.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum PatternError {
    /// Nothing given.
    #[error("is empty; leave it out to allow everything")]
    Blank,
    /// More than [`PATTERN_LEN_MAX`] characters.
    #[error("is longer than {PATTERN_LEN_MAX} characters")]
    TooLong,
    /// Small as text, but not compiled.
    #[error("compiles to more than {} KiB; use smaller repetitions", PATTERN_BYTES_MAX / 1024)]
    TooLarge,
    /// Anything else.
    #[error("is not a regular expression (RE2): {0}")]
    Malformed(String),
}

/// What a rule forbids.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Forbidden {
    /// A URL that is too long.
    #[error("is longer than the {0} characters that the workspace allows (`rules.urlMaxLength`)")]
    UrlTooLong(u16),
    /// Another URL.
    #[error("does not match `{0}`, which the workspace asks of every URL (`rules.urlPattern`)")]
    Url(String),
    /// An event type, or a pattern of them.
    #[error("does not match `{0}`, which the workspace asks of every event type (`rules.eventTypePattern`)")]
    EventType(String),
}

/// Rules that are ready to be asked.
#[derive(Clone, Debug)]
pub struct CompiledRules {
    event_type: Option<Regex>,
    url_max_length: u16,
    url: Option<Regex>,
}

impl Default for Rules {
    /// Everything that the server allows.
    fn default() -> Self {
        let url_max_length = u16::try_from(url::LEN_MAX).unwrap_or(u16::MAX);
        Self { event_type_pattern: None, url_max_length, url_pattern: None }
    }
}

impl Rules {
    /// Makes them ready.
    ///
    /// # Errors
    /// [`PatternError`], which cannot be of rules that were checked before they were stored.
    pub fn compile(&self) -> Result<CompiledRules, PatternError> {
        let ready = |pattern: Option<&String>| pattern.map(|pattern| compile(pattern)).transpose();
        Ok(CompiledRules {
            event_type: ready(self.event_type_pattern.as_ref())?,
            url_max_length: self.url_max_length,
            url: ready(self.url_pattern.as_ref())?,
        })
    }
}

impl CompiledRules {
    /// Whether an endpoint may have this URL.
    ///
    /// # Errors
    /// [`Forbidden`].
    pub fn check_url(&self, url: &str) -> Result<(), Forbidden> {
        if url.chars().count() > usize::from(self.url_max_length) {
            return Err(Forbidden::UrlTooLong(self.url_max_length));
        }
        match &self.url {
            Some(pattern) if !pattern.is_match(url) => Err(Forbidden::Url(pattern.as_str().to_owned())),
            _ => Ok(()),
        }
    }

    /// Whether this name, or pattern of names, may be subscribed to.
    ///
    /// # Errors
    /// [`Forbidden`].
    pub fn check_event_type(&self, name: &str) -> Result<(), Forbidden> {
        match &self.event_type {
            Some(pattern) if !pattern.is_match(name) => Err(Forbidden::EventType(pattern.as_str().to_owned())),
            _ => Ok(()),
        }
    }
}

/// Reads a pattern.
///
/// # Errors
/// [`PatternError`].
pub fn compile(pattern: &str) -> Result<Regex, PatternError> {
    if pattern.is_empty() {
        return Err(PatternError::Blank);
    }
    if pattern.chars().count() > PATTERN_LEN_MAX {
        return Err(PatternError::TooLong);
    }
    if pattern.contains('\0') {
        // PostgreSQL has no way to store it.
        return Err(PatternError::Malformed("it holds a NUL character".to_owned()));
    }
    let built = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).nest_limit(PATTERN_DEPTH_MAX).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => PatternError::TooLarge,
        // It draws the pattern with an arrow; the last line says what is wrong.
        other => {
            let text = other.to_string();
            let reason = text.lines().last().unwrap_or_default();
            PatternError::Malformed(reason.strip_prefix("error: ").unwrap_or(reason).to_owned())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(event_type: Option<&str>, url_max_length: u16, url: Option<&str>) -> CompiledRules {
        let [event_type_pattern, url_pattern] = [event_type, url].map(|pattern| pattern.map(str::to_owned));
        Rules { event_type_pattern, url_max_length, url_pattern }.compile().expect("they are well-formed")
    }

    #[test]
    fn rules_allow_everything_until_they_say_otherwise() {
        let none = Rules::default().compile().expect("there is no pattern");
        assert_eq!(none.check_url(&"x".repeat(2083)), Ok(()));
        assert_eq!(none.check_event_type("*"), Ok(()));
        let some = rules(Some("^invoice[.]"), 30, Some("^https://[a-z.]*example[.]com/"));
        assert_eq!(some.check_url("https://a.example.com/in"), Ok(()));
        assert_eq!(some.check_event_type("invoice.*"), Ok(()));
        assert!(matches!(some.check_url("https://example.org/"), Err(Forbidden::Url(_))));
        assert!(matches!(some.check_event_type("*"), Err(Forbidden::EventType(_))));
        let long = "https://example.com/a-long-path";
        assert_eq!(some.check_url(long), Err(Forbidden::UrlTooLong(30)));
        // A place anywhere is a match.
        assert_eq!(rules(Some("paid"), 30, None).check_event_type("invoice.paid"), Ok(()));
    }

    #[test]
    fn a_pattern_that_is_wrong_is_refused_with_the_reason() {
        let refusal = |pattern: &str| compile(pattern).expect_err("it is wrong").to_string();
        assert_eq!(refusal("(a"), "is not a regular expression (RE2): unclosed group");
        assert!(refusal("(?=a)").contains("look-around"), "{}", refusal("(?=a)"));
        assert!(refusal(r"(a)\1").contains("backreferences"), "{}", refusal(r"(a)\1"));
        assert_eq!(compile("").err(), Some(PatternError::Blank));
        assert_eq!(compile(&"a".repeat(1025)).err(), Some(PatternError::TooLong));
        assert_eq!(compile("(.{1000}){1000}").err(), Some(PatternError::TooLarge));
        assert!(matches!(compile(&"(".repeat(100)), Err(PatternError::Malformed(_))));
        assert!(matches!(compile("a\0"), Err(PatternError::Malformed(_))));
        // One that a vendor publishes.
        assert!(compile(r"^https://([a-zA-Z0-9-]+\.)+[a-zA-Z]{2,}(/[^\s]*)?$").is_ok());
    }
}
