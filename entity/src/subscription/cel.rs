//! Filters: a condition on an event, in the Common Expression Language.
//!
//! Language  the CEL of <https://cel.dev> over one variable, `event`, with the fields `type` (a string), `channels` (a list
//!           of strings) and `payload` (any JSON). Operators `! - * / % + == != < <= > >= in && || ?:`, literals of
//!           strings, numbers, lists and maps, the macros `has all exists exists_one map filter`, and the functions of
//!           [`tree::Function`]. Absent are bytes, timestamps, durations, types as values, messages and optionals.
//! Numbers   a JSON number that is an integer of 64 bits is an int or a uint; any other is the double nearest to it, which
//!           for `1e400` is infinity. Where CEL has no overload for an int and a double, both are taken as doubles: whether
//!           a JSON number has a fraction is not the author's to know.
//! Errors    a missing field or a wrong type ends the evaluation, and counts as no match. As everywhere in CEL,
//!           `&&` and `||` go past an error on one side if the other side decides.
//! Bounds    a filter comes from a tenant, and runs for every event of that tenant. When it is saved: its length, nodes,
//!           depth and nesting of macros, and the size of its regular expressions. When it runs: a budget of [`Steps`],
//!           which everything is paid from that takes time or memory, so that neither can get out of hand. The parser and
//!           the evaluator descend at most [`DEPTH_MAX`] levels.
//! Own       the parser and the evaluator are ours. Those of the crate `cel` have no budget, and 2,000 characters of
//!           `1+1+1…` overflow the stack of a thread; they are what the tests compare with.

use std::fmt;

mod evaluate;
mod parse;
mod subject;
mod token;
mod tree;
mod value;

pub use subject::Subject;
pub use tree::Function;

/// Most characters of a filter.
pub const LEN_MAX: usize = 2_000;
/// Most nodes of its tree.
pub const NODES_MAX: usize = 400;
/// How deep it may nest; a chain of `&&` or of `||` counts once.
pub const DEPTH_MAX: usize = 32;
/// Macros that loop (`all`, `exists`, `exists_one`, `map`, `filter`) within each other.
pub const LOOPS_NESTED_MAX: usize = 3;
/// Most bytes of a compiled regular expression.
pub const REGEX_BYTES_MAX: usize = 64 * 1024;
/// What one evaluation may spend; see [`Steps`].
pub const STEPS_MAX: u64 = 100_000;

/// A filter, ready to be asked.
#[derive(Clone, Debug)]
pub struct Filter {
    root: tree::Node,
}

/// Why a text is no filter: where, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct FilterError {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// Why an evaluation came to no answer. It counts as no match.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// A field, key or index that is not there.
    #[error("there is no {0}")]
    Missing(String),
    /// Operands that an operator or function does not take.
    #[error("{0} does not take {1}")]
    Unsupported(&'static str, String),
    /// A number out of its range, or a division by zero.
    #[error("{0} has no result in its range")]
    Range(&'static str),
    /// The whole is neither true nor false.
    #[error("the filter came to {0}, and must come to true or false")]
    NotBool(&'static str),
    /// The payload nests too deep to look into.
    #[error("the payload nests deeper than {} levels", subject::PAYLOAD_DEPTH_MAX)]
    PayloadDepth,
    /// The budget is used up.
    #[error("it took more than {STEPS_MAX} steps; test for fewer elements or shorter texts")]
    Steps,
}

/// A budget. One step is a node that is visited, an element that is looked at, or some bytes of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    max: u64,
    spent: u64,
}

impl Default for Steps {
    fn default() -> Self {
        Self { max: STEPS_MAX, spent: 0 }
    }
}

impl Steps {
    /// What was spent so far.
    pub fn spent(&self) -> u64 {
        self.spent
    }

    fn spend(&mut self, steps: u64) -> Result<(), EvaluationError> {
        self.spent = self.spent.saturating_add(steps);
        if self.spent > self.max { Err(EvaluationError::Steps) } else { Ok(()) }
    }
}

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    /// [`FilterError`]: the first thing that is wrong.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        parse::parse(text).map(|root| Self { root }).map_err(|(offset, message)| FilterError::at(text, offset, message))
    }

    /// Whether the event is wanted.
    ///
    /// # Errors
    /// [`EvaluationError`], which counts as no.
    pub fn matches(&self, subject: &Subject, steps: &mut Steps) -> Result<bool, EvaluationError> {
        evaluate::matches(&self.root, subject, steps)
    }
}

impl FilterError {
    fn at(text: &str, offset: usize, message: String) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1, message }
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests;
