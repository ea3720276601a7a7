//! Values while a filter runs. What comes from the event or the filter is borrowed.

use std::cmp::Ordering;
use std::rc::Rc;

use super::subject::Json;
use super::{EvaluationError, Steps};

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Text<'a>),
    List(List<'a>),
    Map(Map<'a>),
}

#[derive(Clone, Debug)]
pub(super) enum Text<'a> {
    Borrowed(&'a str),
    Made(Rc<str>),
}

#[derive(Clone, Debug)]
pub(super) enum List<'a> {
    Json(&'a [Json]),
    Texts(&'a [String]),
    Made(Rc<[Value<'a>]>),
}

#[derive(Clone, Debug)]
pub(super) enum Map<'a> {
    Json(&'a [(Box<str>, Json)]),
    Made(Rc<[(&'a str, Value<'a>)]>),
}

impl Text<'_> {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Made(text) => text,
        }
    }
}

impl<'a> List<'a> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Json(list) => list.len(),
            Self::Texts(list) => list.len(),
            Self::Made(list) => list.len(),
        }
    }

    pub(super) fn get(&self, index: usize) -> Option<Value<'a>> {
        match self {
            Self::Json(list) => list.get(index).map(Value::from),
            Self::Texts(list) => list.get(index).map(|text| Value::Text(Text::Borrowed(text))),
            Self::Made(list) => list.get(index).cloned(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Value<'a>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

impl<'a> Map<'a> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Json(map) => map.len(),
            Self::Made(map) => map.len(),
        }
    }

    /// The key at a place, without its value.
    pub(super) fn key(&self, index: usize) -> Option<&'a str> {
        match self {
            Self::Json(map) => map.get(index).map(|(key, _)| key.as_ref()),
            Self::Made(map) => map.get(index).map(|(key, _)| *key),
        }
    }

    /// Looks a key up; keys that are passed by are paid for.
    pub(super) fn get(&self, key: &str, steps: &mut Steps) -> Result<Option<Value<'a>>, EvaluationError> {
        steps.spend(1 + cost_of(self.len(), 16))?;
        Ok(match self {
            Self::Json(map) => map.iter().find(|(known, _)| **known == *key).map(|(_, value)| value.into()),
            Self::Made(map) => map.iter().find(|(known, _)| *known == key).map(|(_, value)| value.clone()),
        })
    }
}

impl<'a> From<&'a Json> for Value<'a> {
    fn from(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(flag) => Self::Bool(*flag),
            Json::Int(number) => Self::Int(*number),
            Json::Uint(number) => Self::Uint(*number),
            Json::Double(number) => Self::Double(*number),
            Json::Text(text) => Self::Text(Text::Borrowed(text)),
            Json::List(list) => Self::List(List::Json(list)),
            Json::Map(map) => Self::Map(Map::Json(map)),
        }
    }
}

impl<'a> Value<'a> {
    pub(super) fn made(text: String) -> Self {
        Self::Text(Text::Made(text.into()))
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a bool",
            Self::Int(_) => "an int",
            Self::Uint(_) => "a uint",
            Self::Double(_) => "a double",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }

    pub(super) fn number(&self) -> Option<Number> {
        match self {
            Self::Int(number) => Some(Number::Whole(i128::from(*number))),
            Self::Uint(number) => Some(Number::Whole(i128::from(*number))),
            Self::Double(number) => Some(Number::Double(*number)),
            _ => None,
        }
    }

    /// Whether both are the same; values of different kinds never are, but numbers are compared as numbers. Each pair that
    /// is looked at is paid for. It descends as deep as the payload and the filter nest.
    pub(super) fn equals(&self, other: &Value<'a>, steps: &mut Steps) -> Result<bool, EvaluationError> {
        steps.spend(1)?;
        if let (Some(left), Some(right)) = (self.number(), other.number()) {
            return Ok(left.compare(right) == Some(Ordering::Equal));
        }
        match (self, other) {
            (Self::Null, Self::Null) => Ok(true),
            (Self::Bool(left), Self::Bool(right)) => Ok(left == right),
            (Self::Text(left), Self::Text(right)) => {
                let (left, right) = (left.as_str(), right.as_str());
                steps.spend(cost_of(left.len().min(right.len()), 64))?;
                Ok(left == right)
            }
            (Self::List(left), Self::List(right)) => {
                if left.len() != right.len() {
                    return Ok(false);
                }
                for (left, right) in left.iter().zip(right.iter()) {
                    if !left.equals(&right, steps)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Self::Map(left), Self::Map(right)) => {
                if left.len() != right.len() {
                    return Ok(false);
                }
                for key in (0..left.len()).filter_map(|index| left.key(index)) {
                    let pair = (left.get(key, steps)?, right.get(key, steps)?);
                    let (Some(left), Some(right)) = pair else { return Ok(false) };
                    if !left.equals(&right, steps)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

/// A number for comparing: exactly, whatever the two are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Whole(i128),
    Double(f64),
}

impl Number {
    /// None where one is not a number.
    pub(super) fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Whole(left), Self::Whole(right)) => Some(left.cmp(&right)),
            (Self::Double(left), Self::Double(right)) => left.partial_cmp(&right),
            (Self::Whole(left), Self::Double(right)) => whole_to_double(left, right),
            (Self::Double(left), Self::Whole(right)) => whole_to_double(right, left).map(Ordering::reverse),
        }
    }
}

fn whole_to_double(whole: i128, double: f64) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    // A conversion saturates, and every whole number here is far within.
    #[expect(clippy::cast_possible_truncation, reason = "the fraction is compared apart")]
    let floor = double.floor() as i128;
    let is_fraction = double.floor() < double;
    Some(whole.cmp(&floor).then(if is_fraction { Ordering::Less } else { Ordering::Equal }))
}

/// Steps for `count` small things of which `each` make one.
pub(super) fn cost_of(count: usize, each: usize) -> u64 {
    u64::try_from(count / each).unwrap_or(u64::MAX)
}
