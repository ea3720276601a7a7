//! What bounds the time and the stack of the validator: every schema that is applied to a value burns fuel, and when
//! there is none left, or the stack is too deep, the validation is unwound at once.
//!
//! How     A keyword of our own, [`KEYWORD`], is put into every part of a schema before it is compiled; the validator
//!         asks it wherever that part is applied, in whatever order and however often its algorithms want.
//! Why     The validator has no budget of its own. A schema whose alternatives lead back to it doubles the work with each
//!         level of the payload, and nothing but counting tells such a schema from a tree of expressions.
//! Unwound by [`resume_unwind`], which is caught in [`burning`] and passes the panic hook by: it is no panic.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use jsonschema::paths::Location;
use jsonschema::{Keyword, ValidationError};
use serde_json::{Map, Value};

/// The keyword; what a schema says under this name itself means nothing anywhere, and is replaced.
pub(super) const KEYWORD: &str = "angarium:step";
/// Most bytes of stack below the call of [`burning`]. Threads have 2 MiB.
const STACK_BYTES_MAX: usize = 768 * 1024;

thread_local! {
    /// What is left.
    static FUEL: Cell<u64> = const { Cell::new(0) };
    /// The lowest address that the stack may come to.
    static FLOOR: Cell<usize> = const { Cell::new(0) };
}

/// The fuel ran out, or the stack became too deep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

/// Runs `work` on `fuel`.
pub(super) fn burning<T>(fuel: u64, work: impl FnOnce() -> T) -> Result<T, Exhausted> {
    FUEL.set(fuel);
    FLOOR.set(stack_address().saturating_sub(STACK_BYTES_MAX));
    // Nothing that `work` changes is seen after it was unwound.
    let result = catch_unwind(AssertUnwindSafe(work));
    result.map_err(|cause| if cause.is::<Exhausted>() { Exhausted } else { resume_unwind(cause) })
}

fn burn(amount: u64) {
    match FUEL.get().checked_sub(amount) {
        Some(rest) if stack_address() > FLOOR.get() => FUEL.set(rest),
        _ => resume_unwind(Box::new(Exhausted)),
    }
}

/// About where the stack is; it grows down.
#[inline(never)]
fn stack_address() -> usize {
    let here = 0_u8;
    std::ptr::from_ref(&here).addr()
}

/// What one part of a schema burns whenever it is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// In any case: its keywords, and what it compares with.
    pub(super) own: u64,
    /// Patterns that a text is matched with.
    pub(super) patterns: u64,
    /// Patterns that every name is matched with.
    pub(super) name_patterns: u64,
    /// Whether entries are compared with each other.
    pub(super) unique: bool,
}

impl Step {
    /// What stands in the schema.
    pub(super) fn to_value(self) -> Value {
        Value::from(vec![self.own, self.patterns, self.name_patterns, u64::from(self.unique)])
    }

    /// The factory of the keyword.
    #[expect(clippy::unnecessary_wraps, reason = "the form that the crate asks for")]
    pub(super) fn compile<'a>(
        _: &'a Map<String, Value>,
        value: &'a Value,
        _: Location,
    ) -> Result<Box<dyn for<'i> Keyword<'i>>, ValidationError<'a>> {
        burn(1);
        let number = |index: usize| value.get(index).and_then(Value::as_u64).unwrap_or(1);
        let unique = number(3) > 0;
        Ok(Box::new(Self { own: number(0), patterns: number(1), name_patterns: number(2), unique }))
    }

    fn cost(self, instance: &Value) -> u64 {
        let of_value = match instance {
            Value::Array(list) => list.len() as u64 + if self.unique { size(instance) } else { 0 },
            Value::Object(object) if self.name_patterns > 0 => {
                object.keys().map(|name| 1 + self.name_patterns * (1 + name.len() as u64)).sum()
            }
            Value::Object(object) => object.len() as u64,
            Value::String(text) => self.patterns * text.len() as u64 * 4,
            Value::Number(number) => number.as_str().len() as u64 / 16,
            Value::Bool(_) | Value::Null => 0,
        };
        self.own + of_value
    }
}

impl<'i> Keyword<'i> for Step {
    fn validate(&self, instance: &'i Value) -> Result<(), ValidationError<'i>> {
        burn(self.cost(instance));
        Ok(())
    }

    fn is_valid(&self, instance: &'i Value) -> bool {
        burn(self.cost(instance));
        true
    }
}

/// About how much there is to compare.
fn size(value: &Value) -> u64 {
    match value {
        Value::Array(list) => list.iter().map(size).sum::<u64>() + 1,
        Value::Object(object) => {
            object.iter().map(|(name, value)| name.len() as u64 / 8 + size(value)).sum::<u64>() + 1
        }
        Value::String(text) => 1 + text.len() as u64 / 8,
        Value::Number(number) => 1 + number.as_str().len() as u64 / 8,
        Value::Bool(_) | Value::Null => 1,
    }
}
