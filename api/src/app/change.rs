//! What an update asks of one field.

use super::problem::CommonCode;
use super::{Path, Problems};

/// A field of an update. By default it keeps its value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// Leave it as it is.
    #[default]
    Keep,
    /// Back to nothing, or to the default.
    Clear,
    /// This from now on.
    Set(T),
}

impl<T> Change<T> {
    /// Whether nothing is asked.
    pub fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }

    /// The same of another type.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Change<U> {
        match self {
            Self::Keep => Change::Keep,
            Self::Clear => Change::Clear,
            Self::Set(value) => Change::Set(f(value)),
        }
    }

    /// What an optional field holds afterwards.
    pub fn on(self, present: Option<T>) -> Option<T> {
        match self {
            Self::Keep => present,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }

    /// What a field with a default holds afterwards.
    pub fn or_default(self, present: T, default: T) -> T {
        match self {
            Self::Keep => present,
            Self::Clear => default,
            Self::Set(value) => value,
        }
    }
}

impl<C: CommonCode> Problems<C> {
    /// What an optional text holds afterwards.
    pub fn changed_text(
        &mut self,
        field: &Path,
        change: Change<String>,
        present: Option<&String>,
        len_max: usize,
    ) -> Option<String> {
        match change {
            Change::Set(text) => self.text(field, text, len_max),
            other => other.on(present.cloned()),
        }
    }

    /// The same where there must be a value: the outer none is a problem, the inner one asks for nothing.
    pub fn not_cleared<T>(&mut self, field: &Path, change: Change<T>) -> Option<Option<T>> {
        match change {
            Change::Keep => Some(None),
            Change::Set(value) => Some(Some(value)),
            Change::Clear => {
                self.add(C::BLANK, field, "is null, and must hold something; leave it out to keep it");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_kept_cleared_or_set() {
        let present = || Some(1);
        assert_eq!(
            [Change::Keep.on(present()), Change::Clear.on(present()), Change::Set(2).on(present())],
            [Some(1), None, Some(2)]
        );
        assert_eq!([Change::Keep, Change::Clear, Change::Set(2)].map(|change| change.or_default(1, 0)), [1, 0, 2]);
        assert_eq!(Change::Set(2).map(|number| number + 1), Change::Set(3));
        assert!(Change::<()>::default().is_keep());
    }
}
