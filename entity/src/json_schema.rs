//! JSON Schema (2020-12) of payloads: what a schema may be, and whether a payload satisfies it.
//!
//! Closed    A schema is one document. References lead to its own parts, which is checked before it is compiled, and the
//!           compiler has nothing to fetch with.
//! Bounded   [`SCHEMA_BYTES_MAX`], and the bounds of [`outline`], which also refuses a schema that leads back to itself
//!           without a step into the payload. Patterns run in linear time. Checking a payload burns [`fuel`], in
//!           proportion to its length; what needs more is refused, so that no schema and no payload keep a core busy.
//! Formats   `format` says what a text is and checks nothing, as 2020-12 has it by default: no two implementations agree
//!           on what an e-mail address is, and a payload must not be refused by a taste. `pattern` checks.
//! Numbers   are compared with every digit: `1.0` is an integer, `1e400` is a number, and so is one of 23 digits.
//! Source    <https://json-schema.org/draft/2020-12>

use std::collections::HashMap;
use std::{io, thread};

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

mod fuel;
mod outline;

use fuel::Step;
use outline::Outline;

/// Most bytes of a schema.
pub const SCHEMA_BYTES_MAX: usize = 64 * 1024;
/// Most violations of a payload, and faults of a schema, that are told at once.
pub const FAULTS_MAX: usize = 10;
/// What checking a payload may burn, whatever its length. One unit is about 50 ns.
const FUEL_BASE: u64 = 20_000;
/// What it may burn on top for each byte of the payload.
const FUEL_PER_BYTE: u64 = 8;
/// What finding out where a payload is wrong may burn: each unit may cost the memory of a fault.
const FUEL_OF_FAULTS: u64 = 50_000;
/// What compiling may burn: a unit for each time that a part of the schema is compiled.
const FUEL_OF_COMPILING: u64 = 4 * outline::SUBSCHEMAS_MAX as u64;
/// Most bytes of a compiled pattern, and of the cache that it runs with.
const PATTERN_BYTES_MAX: usize = 64 * 1024;
/// The stack that compiling may take: it descends along references, too.
const COMPILER_STACK_BYTES: usize = 64 * 1024 * 1024;
/// Most characters of a message, and of one step of a path.
const MESSAGE_LEN_MAX: usize = 300;
const STEP_LEN_MAX: usize = 128;

/// Something wrong with a schema, or with a payload by its schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where: names and indexes from the top of the document down.
    pub steps: Vec<String>,
    /// What is wrong and what would be right: a sentence without its subject, which is that place.
    pub message: String,
}

/// Why a schema was not compiled.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// It cannot be the schema of an event type.
    #[error("the schema is not valid")]
    Invalid(Vec<Fault>),
    /// The compiler did not start.
    #[error("there is no thread to compile a schema on")]
    Thread(#[source] io::Error),
}

/// A compiled schema.
#[derive(Debug)]
pub struct PayloadSchema {
    validator: Validator,
    /// Where parts are in the schema as it was given, by where they are in the one that was compiled.
    given: HashMap<String, String>,
    weight: usize,
}

impl PayloadSchema {
    /// Compiles the schema `text`.
    ///
    /// # Errors
    /// [`SchemaError`].
    pub fn compile(text: &str) -> Result<Self, SchemaError> {
        thread::scope(|scope| {
            let compiler = thread::Builder::new().name("schema".to_owned()).stack_size(COMPILER_STACK_BYTES);
            let running = compiler.spawn_scoped(scope, || compile(text)).map_err(SchemaError::Thread)?;
            running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map_err(SchemaError::Invalid)
        })
    }

    /// About how many bytes it takes in memory at most.
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// Checks the payload `text`.
    ///
    /// # Errors
    /// The first [`FAULTS_MAX`] of its violations.
    pub fn check(&self, text: &str) -> Result<(), Vec<Fault>> {
        let Ok(payload) = serde_json::from_str::<Value>(text) else {
            return Err(vec![fault("nests too deep to be checked against the schema; at most 127 levels are read")]);
        };
        let fuel = FUEL_BASE + FUEL_PER_BYTE * text.len() as u64;
        match fuel::burning(fuel, || self.validator.is_valid(&payload)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.violations(&payload)),
            Err(fuel::Exhausted) => Err(vec![fault(
                "takes too long to check: its nesting makes the alternatives of the schema multiply; make it flatter",
            )]),
        }
    }

    /// What is wrong with a payload that does not satisfy the schema: as many places as can be found cheaply.
    fn violations(&self, payload: &Value) -> Vec<Fault> {
        let many =
            || self.validator.iter_errors(payload).take(FAULTS_MAX).map(|error| self.violation(&error)).collect();
        let first = || self.validator.validate(payload).err().iter().map(|error| self.violation(error)).collect();
        let found: Vec<_> =
            fuel::burning(FUEL_OF_FAULTS, many).or_else(|_| fuel::burning(FUEL_OF_FAULTS, first)).unwrap_or_default();
        if found.is_empty() { vec![fault("does not satisfy the schema of the event type")] } else { found }
    }

    fn violation(&self, error: &ValidationError<'_>) -> Fault {
        // The longest start of the place that is the place of a part.
        let place = error.schema_path().as_str();
        let ends = place.rmatch_indices('/').map(|(end, _)| end).chain([0]);
        let given =
            std::iter::once(place.len()).chain(ends).find_map(|end| Some((self.given.get(&place[..end])?, end)));
        let place = given.map_or_else(|| place.to_owned(), |(given, end)| format!("{given}{}", &place[end..]));
        violation(error, &place)
    }
}

fn compile(text: &str) -> Result<PayloadSchema, Vec<Fault>> {
    if text.len() > SCHEMA_BYTES_MAX {
        return Err(vec![fault(&format!("is larger than {SCHEMA_BYTES_MAX} bytes"))]);
    }
    let Ok(mut schema) = serde_json::from_str::<Value>(text) else {
        return Err(vec![fault("is not JSON, or nests deeper than 127 levels")]);
    };
    let meta = jsonschema::draft202012::meta::validator();
    let wrong: Vec<_> = meta.iter_errors(&schema).take(FAULTS_MAX).map(|error| wrong_by_meta(&error)).collect();
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let outline = Outline::of(&mut schema);
    let mut faults = outline.faults;
    for (steps, pattern) in &outline.patterns {
        if let Err(error) = options().build(&serde_json::json!({ "pattern": pattern })) {
            let why = error.masked_with("it").to_string();
            tracing::debug!(pattern, why, "a pattern was refused");
            let message = "is no pattern that can be run in linear time: look-around and back-references are not \
                supported, and a compiled pattern may take 64 KiB";
            faults.push(Fault { steps: steps.clone(), message: message.to_owned() });
        }
    }
    if !faults.is_empty() {
        faults.truncate(FAULTS_MAX);
        return Err(faults);
    }
    let build = || options().with_keyword(fuel::KEYWORD, Step::compile).build(&schema);
    match fuel::burning(FUEL_OF_COMPILING, build) {
        Ok(Ok(validator)) => {
            let weight = 16 * text.len() + outline.patterns.len() * 2 * PATTERN_BYTES_MAX;
            Ok(PayloadSchema { validator, given: outline.given, weight })
        }
        Ok(Err(error)) => Err(vec![wrong_by_meta(&error)]),
        Err(fuel::Exhausted) => Err(vec![fault("is too intricate: its references multiply; refer to fewer schemas")]),
    }
}

fn options() -> jsonschema::ValidationOptions<'static> {
    let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
    jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .should_validate_formats(false)
        .offline()
        .with_pattern_options(patterns)
}

/// Something wrong with the document as a whole.
fn fault(message: &str) -> Fault {
    Fault { steps: Vec::new(), message: message.to_owned() }
}

/// What the definition of JSON Schema says of a schema.
fn wrong_by_meta(error: &ValidationError<'_>) -> Fault {
    violation(error, error.schema_path().as_str())
}

/// An error of the validator, by the part of the schema at `place`. What the payload holds is not repeated, but names of
/// members and what the schema asks for.
fn violation(error: &ValidationError<'_>, place: &str) -> Fault {
    let said = error.masked_with("it").to_string();
    let said = match said.strip_prefix("it ") {
        Some(said) => cut(said, MESSAGE_LEN_MAX),
        None => format!("is refused: {}", cut(&said, MESSAGE_LEN_MAX)),
    };
    let message = format!("{said} (`{}` of the schema)", cut(place, MESSAGE_LEN_MAX));
    let steps = error.instance_path().as_str().split('/').skip(1);
    let steps = steps.map(|step| cut(&step.replace("~1", "/").replace("~0", "~"), STEP_LEN_MAX)).collect();
    Fault { steps, message }
}

/// At most `len_max` characters of `text`.
fn cut(text: &str, len_max: usize) -> String {
    match text.char_indices().nth(len_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
