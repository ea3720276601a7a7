//! Which events a subscription wants, by type and channel.

use crate::event_type::{is_reserved, is_valid_name};
use crate::json::StringList;

/// Why a pattern is refused.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("is neither an event type name, nor such a name with a trailing `.*`, nor `*`")]
pub struct PatternError;

/// A name, a name with a trailing `.*`, or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Every type but those of `angarium.*`.
    Any,
    /// Every type that starts with this, the dot included.
    Prefix(String),
    /// Just this type.
    Exact(String),
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError`].
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        match text.strip_suffix('*') {
            Some("") => Ok(Self::Any),
            Some(prefix) if prefix.strip_suffix('.').is_some_and(is_valid_name) => Ok(Self::Prefix(prefix.to_owned())),
            None if is_valid_name(text) => Ok(Self::Exact(text.to_owned())),
            _ => Err(PatternError),
        }
    }

    /// Whether an event of this type is meant.
    pub fn matches(&self, event_type: &str) -> bool {
        match self {
            Self::Any => !is_reserved(event_type),
            Self::Prefix(prefix) => event_type.starts_with(prefix.as_str()),
            Self::Exact(name) => name == event_type,
        }
    }
}

/// What a subscription asks of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventFilter {
    patterns: Vec<Pattern>,
    channels: Option<Vec<String>>,
}

impl EventFilter {
    /// Of the columns of a subscription. A stored pattern that no longer parses matches nothing.
    pub fn new(event_types: &StringList, channels: Option<StringList>) -> Self {
        let patterns = event_types.0.iter().filter_map(|text| Pattern::parse(text).ok()).collect();
        Self { patterns, channels: channels.map(|channels| channels.0) }
    }

    /// Whether an event of this type and these channels is wanted.
    pub fn matches(&self, event_type: &str, channels: &[String]) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(event_type))
            && self.channels.as_ref().is_none_or(|wanted| wanted.iter().any(|channel| channels.contains(channel)))
    }
}

impl EventFilter {
    /// The names of the only types that it can match, if there are such.
    pub fn exact_types(&self) -> Option<impl Iterator<Item = &str>> {
        let is_exact = |pattern: &Pattern| matches!(pattern, Pattern::Exact(_));
        self.patterns.iter().all(is_exact).then(|| {
            self.patterns.iter().filter_map(|pattern| match pattern {
                Pattern::Exact(name) => Some(name.as_str()),
                Pattern::Any | Pattern::Prefix(_) => None,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, event_type: &str) -> bool {
        Pattern::parse(pattern).expect("the pattern is right").matches(event_type)
    }

    #[test]
    fn a_star_matches_everything_but_the_reserved_types() {
        assert!(matches("*", "sms.outbound"));
        assert!(!matches("*", "angarium.endpoint.suspended"));
        assert!(matches("angarium.*", "angarium.endpoint.suspended"));
    }

    #[test]
    fn a_trailing_star_matches_below_its_dot_only() {
        assert!(matches("sms.*", "sms.outbound") && matches("sms.*", "sms.in.bound"));
        assert!(!matches("sms.*", "sms") && !matches("sms.*", "smsx.outbound"));
        assert!(matches("sms.outbound", "sms.outbound") && !matches("sms.outbound", "sms.outbound.x"));
    }

    #[test]
    fn stars_elsewhere_are_refused() {
        for wrong in ["", "sms*", "*.sms", "sms.*.x", ".*", "**", "sms. *"] {
            assert_eq!(Pattern::parse(wrong), Err(PatternError), "{wrong}");
        }
    }

    #[test]
    fn one_common_channel_is_enough_and_none_asked_for_matches_all() {
        let filter = |channels: Option<&[&str]>| EventFilter {
            patterns: vec![Pattern::Any],
            channels: channels.map(|list| list.iter().map(ToString::to_string).collect()),
        };
        let of_b = ["b".to_owned()];
        assert!(filter(None).matches("x", &[]) && filter(None).matches("x", &of_b));
        assert!(filter(Some(&["a", "b"])).matches("x", &of_b));
        assert!(!filter(Some(&["a"])).matches("x", &of_b) && !filter(Some(&["a"])).matches("x", &[]));
    }
}
