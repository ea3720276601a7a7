//! Reads variables and remembers what was asked for, so that a name nobody asked for can be refused.

use std::collections::BTreeMap;
use std::fmt;

/// What the name of every setting starts with.
const PREFIX: &str = "ANGARIUM_";
/// Kubernetes tells every container of a namespace about a Service called `angarium` by names that start so.
const OF_KUBERNETES: [&str; 2] = ["ANGARIUM_SERVICE_", "ANGARIUM_PORT"];
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
    given: BTreeMap<String, String>,
    known: Vec<&'static str>,
    problems: Vec<Problem>,
}

impl Reader {
    /// Of `variables` those with our prefix. An empty one counts as not set: that is how compose files pass on nothing.
    pub(super) fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let is_ours =
            |name: &str| name.starts_with(PREFIX) && !OF_KUBERNETES.iter().any(|not_ours| name.starts_with(not_ours));
        let given = variables.into_iter().filter(|(name, _)| is_ours(name)).collect();
        Self { given, known: Vec::new(), problems: Vec::new() }
    }

    /// The value of `name`, read by `parse`, which says what is wrong in words that follow the name. None when it is
    /// not set, and when it is malformed, which is remembered.
    pub(super) fn read<T>(&mut self, name: &'static str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        self.known.push(name);
        let text = self.given.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())?;
        parse(text).map_err(|wrong| self.problems.push(Problem::Malformed { name, wrong })).ok()
    }

    /// Remembers that `name` is needed, unless it is there or was refused already.
    pub(super) fn require<T>(&mut self, name: &'static str, value: Option<T>, remedy: &'static str) -> Option<T> {
        let is_refused =
            |problem: &Problem| matches!(problem, Problem::Malformed { name: other, .. } if *other == name);
        if value.is_none() && !self.problems.iter().any(is_refused) {
            self.problems.push(Problem::Missing { name, remedy });
        }
        value
    }

    /// All problems, with the names that nobody asked for.
    pub(super) fn finish(mut self) -> Result<(), ConfigError> {
        for name in self.given.into_keys().filter(|name| !self.known.contains(&name.as_str())) {
            let similar = self.known.iter().map(|known| (distance(known, &name), *known)).min();
            let similar = similar.filter(|(typos, _)| *typos <= TYPO_DISTANCE_MAX).map(|(_, known)| known);
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

/// A whole number within `range`.
pub(super) fn number<T>(range: std::ops::RangeInclusive<T>) -> impl FnOnce(&str) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + fmt::Display,
{
    move |text| match text.parse::<T>() {
        Ok(value) if range.contains(&value) => Ok(value),
        _ => Err(format!("is `{text}`, but must be a number from {} to {}", range.start(), range.end())),
    }
}

/// `true` or `false`.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("is `{text}`, but must be `true` or `false`"))
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
        let mut reader = Reader::new([("ANGARIUM_X".to_owned(), "?".to_owned())]);
        let value = reader.read("ANGARIUM_X", boolean);
        assert_eq!(reader.require("ANGARIUM_X", value, "make one"), None);
        assert_eq!(reader.finish().map_err(|error| error.0.len()), Err(1));
    }
}
