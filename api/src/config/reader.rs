//! Reads variables and remembers what was asked for, so that a name nobody asked for can be refused.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::setting::{self, Otherwise, Setting, Takes};
use super::variables::{Given, Variables};

/// Most letters that a misspelt name may differ in from the one that was meant.
const TYPO_DISTANCE_MAX: usize = 3;

/// One thing that is wrong.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Problem {
    /// Needed and not set.
    #[error("{name} is not set; {remedy}")]
    Missing {
        /// The variable.
        name: &'static str,
        /// How to come by a value.
        remedy: &'static str,
    },
    /// Set to something that cannot be.
    #[error("{name} {wrong}")]
    Malformed {
        /// The variable.
        name: &'static str,
        /// What is wrong and what would be right.
        wrong: String,
    },
    /// Not a setting of this version.
    #[error("{name} is not a setting{}", did_you_mean(*.similar))]
    Unknown {
        /// As it was set.
        name: String,
        /// A setting that may have been meant.
        similar: Option<&'static str>,
    },
    /// Set to bytes that are no text.
    #[error("{name} is not UTF-8")]
    NotText {
        /// The variable.
        name: String,
    },
    /// Set itself, and in a file.
    #[error("{name} and {name}_FILE are both set; keep one of them")]
    Twice {
        /// The variable.
        name: &'static str,
    },
    /// A file that was named is not there, or not to be read.
    #[error("failed to read {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: String,
    },
    /// A line of the configuration file that sets nothing, or what was set above it.
    #[error("{}:{line} is not a line such as `ANGARIUM_LOG=info`, or repeats one, or names another file", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
}

fn did_you_mean(similar: Option<&str>) -> String {
    similar.map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}

/// All that is wrong with a configuration. Prints as one line for each problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(pub Vec<Problem>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if place == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// The variables, those that were asked for, and what is wrong so far.
pub(super) struct Reader {
    given: BTreeMap<String, Given>,
    asked: Vec<&'static str>,
    problems: Vec<Problem>,
}

impl Reader {
    pub(super) fn new(variables: Variables) -> Self {
        let (given, problems) = variables.into_parts();
        Self { given, asked: Vec::new(), problems }
    }

    /// The value of `setting`, or its default, read by `parse`, which says what is wrong in words that follow the name.
    /// None when there is neither, and when it is malformed, which is remembered.
    pub(super) fn read<T>(
        &mut self,
        setting: &'static Setting,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let name = setting.name;
        self.asked.push(name);
        let default = match setting.otherwise {
            Otherwise::Value(text) => Some(text),
            Otherwise::None(_) | Otherwise::Needed(_) => None,
        };
        let text = self.given.get(name).map(|given| given.text.as_str()).or(default)?;
        parse(text).map_err(|wrong| self.problems.push(Problem::Malformed { name, wrong })).ok()
    }

    /// A whole number within the range of `setting`.
    pub(super) fn number<T: TryFrom<u64>>(&mut self, setting: &'static Setting) -> Option<T> {
        let range = match setting.takes {
            Takes::Number { min, max, .. } => min..=max,
            Takes::Boolean | Takes::OneOf(_) | Takes::Text(_) => 0..=u64::MAX,
        };
        self.read(setting, |text| {
            let value = text.parse().ok().filter(|value| range.contains(value));
            let wrong = || format!("is `{text}`, but must be a number from {} to {}", range.start(), range.end());
            value.and_then(|value| T::try_from(value).ok()).ok_or_else(wrong)
        })
    }

    /// `true` or `false`; what is malformed counts as `false` until it is refused.
    pub(super) fn boolean(&mut self, setting: &'static Setting) -> bool {
        let parse = |text: &str| text.parse().map_err(|_| format!("is `{text}`, but must be `true` or `false`"));
        self.read(setting, parse).unwrap_or(false)
    }

    /// One of the words of `setting`.
    pub(super) fn word(&mut self, setting: &'static Setting) -> Option<&'static str> {
        let Takes::OneOf(words) = setting.takes else { return None };
        self.read(setting, |text| {
            let found = words.iter().find(|word| **word == text);
            found.copied().ok_or_else(|| format!("is `{text}`, but must be `{}`", words.join("` or `")))
        })
    }

    /// Remembers that `setting` is needed, unless it is there or was refused already.
    pub(super) fn require<T>(&mut self, setting: &Setting, value: Option<T>, remedy: &'static str) -> Option<T> {
        let name = setting.name;
        let is_refused =
            |problem: &Problem| matches!(problem, Problem::Malformed { name: other, .. } if *other == name);
        if value.is_none() && !self.problems.iter().any(is_refused) {
            self.problems.push(Problem::Missing { name, remedy });
        }
        value
    }

    /// All problems, with the names that nobody asked for.
    pub(super) fn finish(mut self) -> Result<(), ConfigError> {
        let known = |name: &String| self.asked.contains(&name.as_str()) || *name == setting::CONFIG_FILE.name;
        for name in self.given.into_keys().filter(|name| !known(name)) {
            let similar = self.asked.iter().map(|asked| (distance(asked, &name), *asked)).min();
            let similar = similar.filter(|(typos, _)| *typos <= TYPO_DISTANCE_MAX).map(|(_, asked)| asked);
            self.problems.push(Problem::Unknown { name, similar });
        }
        if self.problems.is_empty() { Ok(()) } else { Err(ConfigError(self.problems)) }
    }
}

/// Letters to insert, drop or change to turn `a` into `b` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// A list with commas; empty items are left out.
pub(super) fn list<T>(text: &str, item: impl FnMut(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_typos() {
        assert_eq!(distance("listen", "listen"), 0);
        assert_eq!(distance("listen", "lisen"), 1);
        assert_eq!(distance("listen", "lsiten"), 2);
        assert_eq!(distance("", "abc"), 3);
    }

    #[test]
    fn a_malformed_value_is_not_also_missing() {
        let pair = (setting::ADMIN_KEY.name.to_owned(), "?".to_owned());
        let mut reader = Reader::new(Variables::of_environment([pair]));
        let value = reader.read(&setting::ADMIN_KEY, |_| Err::<(), _>("is wrong".to_owned()));
        assert_eq!(reader.require(&setting::ADMIN_KEY, value, "make one"), None);
        assert_eq!(reader.finish().map_err(|error| error.0.len()), Err(1));
    }

    #[test]
    fn every_setting_is_read_and_its_default_accepted() {
        let mut reader = Reader::new(Variables::default());
        super::super::Parts::read(&mut reader);
        assert_eq!(reader.problems, []);
        for setting in setting::ALL.iter().filter(|setting| **setting != &setting::CONFIG_FILE) {
            assert_eq!(reader.asked.iter().filter(|asked| **asked == setting.name).count(), 1, "{}", setting.name);
        }
        assert_eq!(reader.asked.len(), setting::ALL.len() - 1);
    }
}
