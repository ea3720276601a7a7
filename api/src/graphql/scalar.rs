//! Scalars. Those with rules read any text: what is wrong with it is told where the rule is, with its path.

use angarium_entity::Timestamp;
use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};

use crate::app::{AppError, duration};

pub mod json;

pub(crate) use json::Json;

/// A scalar that is any text on the way in.
macro_rules! text_scalar {
    ($(#[$doc:meta])* $rust:ident, $name:literal $(, $url:literal)?) => {
        #[doc = concat!("The scalar `", $name, "`.")]
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(crate) struct $rust(pub(crate) String);

        $(#[$doc])*
        #[Scalar(name = $name $(, specified_by_url = $url)?)]
        impl ScalarType for $rust {
            fn parse(value: Value) -> InputValueResult<Self> {
                match value {
                    Value::String(text) => Ok(Self(text)),
                    other => Err(InputValueError::expected_type(other)),
                }
            }

            fn is_valid(value: &Value) -> bool {
                matches!(value, Value::String(_))
            }

            fn to_value(&self) -> Value {
                Value::String(self.0.clone())
            }
        }
    };
}

text_scalar!(
    /// An instant in RFC 3339 form, in UTC with millisecond precision. Any string is read; what is wrong with it is
    /// told in `userErrors`, and in a filter as BAD_USER_INPUT.
    DateTime, "DateTime", "https://scalars.graphql.org/andimarek/date-time"
);
text_scalar!(
    /// A length of time in ISO 8601 form, such as `PT30S` or `P7D`; years and months are refused. Any string is read;
    /// what is wrong with it is told in `userErrors`.
    Duration, "Duration", "https://www.iso.org/iso-8601-date-and-time-format.html"
);
text_scalar!(
    /// An event type name: 1-128 characters from `A-Z a-z 0-9 . _ -`. Any string is read; what is wrong with it is
    /// told in `userErrors`, and in a filter as BAD_USER_INPUT.
    EventTypeName, "EventTypeName"
);
text_scalar!(
    /// An event type name, or a pattern: a trailing `.*` or the single `*` matches many. `*` does not match
    /// `angarium.*`. Any string is read; what is wrong with it is told in `userErrors`, and in a filter as
    /// BAD_USER_INPUT.
    EventTypePattern, "EventTypePattern"
);
text_scalar!(
    /// An absolute URL, at most 2083 characters. Any string is read; what is wrong with it is told in `userErrors`.
    Url, "URL", "https://url.spec.whatwg.org/"
);
text_scalar!(
    /// A UUID in the canonical 36-character form.
    Uuid, "UUID", "https://www.rfc-editor.org/rfc/rfc9562"
);

impl DateTime {
    /// Reads it as part of a filter.
    pub(crate) fn in_filter(&self) -> Result<Timestamp, AppError> {
        Timestamp::parse_rfc3339(&self.0).map_err(|error| AppError::BadInput(format!("{:?} is {error}", self.0)))
    }
}

impl From<Timestamp> for DateTime {
    fn from(instant: Timestamp) -> Self {
        Self(instant.to_string())
    }
}

impl From<std::time::Duration> for Duration {
    fn from(length: std::time::Duration) -> Self {
        Self(duration::print(length))
    }
}

impl From<uuid::Uuid> for Uuid {
    fn from(uuid: uuid::Uuid) -> Self {
        Self(uuid.to_string())
    }
}
