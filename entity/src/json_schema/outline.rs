//! The parts of a schema: where they are, where their references lead, and what bounds them.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::Fault;
use super::fuel::{KEYWORD, Step};

/// Most parts that are schemas themselves.
pub(super) const SUBSCHEMAS_MAX: usize = 1_000;
/// Most times that parts are applied to the same value when the whole is applied to it once.
const APPLIED_MAX: u64 = 5_000;
/// Most patterns.
pub(super) const PATTERNS_MAX: usize = 64;
/// Deepest nesting of schemas in schemas.
pub(super) const DEPTH_MAX: usize = 32;
/// The one dialect.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Parts that are applied to the same value.
const SAME_ONE: [&str; 4] = ["not", "if", "then", "else"];
const SAME_LIST: [&str; 3] = ["allOf", "anyOf", "oneOf"];
const SAME_MAP: [&str; 2] = ["dependentSchemas", "dependencies"];
/// Parts that are applied to what the value holds.
const INNER_ONE: [&str; 7] = [
    "items",
    "additionalProperties",
    "unevaluatedItems",
    "unevaluatedProperties",
    "contains",
    "propertyNames",
    "contentSchema",
];
const INNER_LIST: [&str; 1] = ["prefixItems"];
const INNER_MAP: [&str; 2] = ["properties", "patternProperties"];
/// Parts that are only referred to.
const STORED_MAP: [&str; 2] = ["$defs", "definitions"];

/// Keywords that cost next to nothing, or mean nothing to a validator.
const CHEAP: [&str; 24] = [
    "type",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "format",
    "contentEncoding",
    "contentMediaType",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "$comment",
    "$schema",
];

/// How a part is reached from the one that holds it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Edge {
    Same,
    Inner,
    Stored,
}

struct Reference {
    from: usize,
    steps: Vec<String>,
    /// Where it is in the schema that is compiled.
    compiled: String,
    target: String,
    dynamic: bool,
}

/// Where a visit is.
#[derive(Default)]
struct Place {
    /// In the schema as it was given.
    steps: Vec<String>,
    /// In the schema that is compiled.
    compiled: Vec<String>,
}

impl Place {
    fn enter(&mut self, name: &str) {
        self.steps.push(name.to_owned());
        self.compiled.push(name.to_owned());
    }

    fn leave(&mut self) {
        self.steps.pop();
        self.compiled.pop();
    }
}

/// What was found.
#[derive(Default)]
pub(super) struct Outline {
    /// What makes the schema unfit, in the order of the document.
    pub(super) faults: Vec<Fault>,
    /// The patterns, and where they are.
    pub(super) patterns: Vec<(Vec<String>, String)>,
    /// Where the parts are in the schema as it was given, by where they are in the one that is compiled.
    pub(super) given: HashMap<String, String>,
    by_pointer: HashMap<String, usize>,
    by_anchor: HashMap<String, usize>,
    /// Where each part is in the schema that is compiled.
    compiled: Vec<String>,
    references: Vec<Reference>,
    /// For each part those that are applied to the same value.
    same: Vec<Vec<usize>>,
}

impl Outline {
    /// Reads a schema that satisfies its meta-schema, and makes it ready to be compiled: each part that is not cheap
    /// becomes `{"allOf": [STEP, part]}`, since the validator runs keywords of others last and the entries of a list in
    /// their order; references follow; and the name of the whole, which nothing may refer to, is taken off.
    pub(super) fn of(schema: &mut Value) -> Self {
        let mut outline = Self::default();
        if let Value::Object(members) = schema {
            members.shift_remove("$id");
        }
        outline.visit(schema, &mut Place::default());
        outline.resolve(schema);
        outline
    }

    fn fault(&mut self, steps: &[String], message: impl Into<String>) {
        self.faults.push(Fault { steps: steps.to_vec(), message: message.into() });
    }

    fn visit(&mut self, schema: &mut Value, place: &mut Place) -> usize {
        let part = self.same.len();
        self.same.push(Vec::new());
        let given = pointer(&place.steps);
        self.by_pointer.insert(given.clone(), part);
        self.compiled.push(pointer(&place.compiled));
        if part == SUBSCHEMAS_MAX {
            self.fault(&[], format!("holds more than {SUBSCHEMAS_MAX} schemas"));
        }
        let Value::Object(members) = schema else { return part };
        if part >= SUBSCHEMAS_MAX {
            return part;
        }
        let is_wrapped = members.keys().any(|name| !CHEAP.contains(&name.as_str()));
        if is_wrapped {
            place.compiled.extend(["allOf".to_owned(), "1".to_owned()]);
        }
        self.given.insert(pointer(&place.compiled), given);
        let step = step(members);
        for (name, value) in members.iter_mut() {
            place.enter(name);
            self.member(part, name, value, place);
            place.leave();
        }
        if is_wrapped {
            place.compiled.truncate(place.compiled.len() - 2);
            let inner = std::mem::take(members);
            let burns = Map::from_iter([(KEYWORD.to_owned(), step.to_value())]);
            members.insert("allOf".to_owned(), Value::from(vec![Value::Object(burns), Value::Object(inner)]));
        }
        part
    }

    fn member(&mut self, part: usize, name: &str, value: &mut Value, place: &mut Place) {
        let steps = &place.steps;
        match name {
            "$schema" if value.as_str().map(|uri| uri.trim_end_matches('#')) != Some(DIALECT) => {
                self.fault(steps, format!("is another dialect; only `{DIALECT}` is known"));
            }
            "$id" => {
                self.fault(steps, "is not taken: a schema is one document; refer to its parts as `#/$defs/…`");
            }
            "$recursiveRef" | "$recursiveAnchor" => {
                self.fault(steps, "belongs to an older dialect; write `$dynamicRef` and `$dynamicAnchor`");
            }
            "$ref" | "$dynamicRef" => {
                let target = value.as_str().unwrap_or_default().to_owned();
                let (steps, compiled) = (steps.clone(), pointer(&place.compiled));
                self.references.push(Reference { from: part, steps, compiled, target, dynamic: name == "$dynamicRef" });
            }
            "$anchor" | "$dynamicAnchor" => {
                let anchor = value.as_str().unwrap_or_default().to_owned();
                if self.by_anchor.insert(anchor, part).is_some_and(|other| other != part) {
                    self.fault(steps, "names two parts of the schema");
                }
            }
            "pattern" => self.pattern(steps, value.as_str().unwrap_or_default()),
            _ if SAME_ONE.contains(&name) => self.descend(part, Edge::Same, value, place),
            _ if INNER_ONE.contains(&name) => self.descend(part, Edge::Inner, value, place),
            _ if SAME_LIST.contains(&name) => self.list(part, Edge::Same, value, place),
            _ if INNER_LIST.contains(&name) => self.list(part, Edge::Inner, value, place),
            _ if SAME_MAP.contains(&name) => self.map(part, Edge::Same, value, place),
            _ if INNER_MAP.contains(&name) => {
                if let (Some(members), "patternProperties") = (value.as_object(), name) {
                    for pattern in members.keys() {
                        let place = [steps.as_slice(), std::slice::from_ref(pattern)].concat();
                        self.pattern(&place, pattern);
                    }
                }
                self.map(part, Edge::Inner, value, place);
            }
            _ if STORED_MAP.contains(&name) => self.map(part, Edge::Stored, value, place),
            _ => {}
        }
    }

    fn pattern(&mut self, steps: &[String], pattern: &str) {
        if self.patterns.len() == PATTERNS_MAX {
            self.fault(&[], format!("holds more than {PATTERNS_MAX} patterns"));
        }
        if self.patterns.len() <= PATTERNS_MAX {
            self.patterns.push((steps.to_vec(), pattern.to_owned()));
        }
    }

    fn descend(&mut self, part: usize, edge: Edge, value: &mut Value, place: &mut Place) {
        // A level is a keyword, and for most of them an entry.
        if place.steps.len() > 2 * DEPTH_MAX {
            self.fault(&place.steps, format!("nests deeper than {DEPTH_MAX} levels"));
            return;
        }
        let inner = self.visit(value, place);
        if edge == Edge::Same {
            self.same[part].push(inner);
        }
    }

    fn list(&mut self, part: usize, edge: Edge, value: &mut Value, place: &mut Place) {
        for (index, entry) in value.as_array_mut().into_iter().flatten().enumerate() {
            place.enter(&index.to_string());
            self.descend(part, edge, entry, place);
            place.leave();
        }
    }

    fn map(&mut self, part: usize, edge: Edge, value: &mut Value, place: &mut Place) {
        for (name, entry) in value.as_object_mut().into_iter().flatten() {
            // An entry of `dependencies` may be a list of names.
            if entry.is_array() {
                continue;
            }
            place.enter(name);
            self.descend(part, edge, entry, place);
            place.leave();
        }
    }

    /// Follows every reference, and has it lead to the same part of the schema that is compiled.
    fn resolve(&mut self, schema: &mut Value) {
        for Reference { from, steps, compiled, target, dynamic } in std::mem::take(&mut self.references) {
            match self.find(&target) {
                Ok((part, is_pointer)) => {
                    self.same[from].push(part);
                    if let Some(slot) = schema.pointer_mut(&compiled)
                        && (is_pointer || !dynamic)
                    {
                        *slot = Value::String(format!("#{}", percent_encode(&self.compiled[part])));
                    }
                }
                Err(message) => self.fault(&steps, message),
            }
        }
        match self.applied() {
            None => self.fault(&[], "refers to itself without a step into the payload, so checking would not end"),
            Some(applied) if applied > APPLIED_MAX => {
                let message = format!("applies more than {APPLIED_MAX} schemas to one value: its references multiply");
                self.fault(&[], message);
            }
            Some(_) => {}
        }
    }

    /// The part that a reference leads to, and whether it is named by a pointer.
    fn find(&self, target: &str) -> Result<(usize, bool), &'static str> {
        let Some(fragment) = target.strip_prefix('#') else {
            return Err("leads out of the schema; refer to its own parts as `#/$defs/…` or `#anchor`");
        };
        let decoded = percent_decode(fragment).ok_or("is not a well-formed reference")?;
        let is_pointer = decoded.is_empty() || decoded.starts_with('/');
        let parts = if is_pointer { &self.by_pointer } else { &self.by_anchor };
        let found = parts.get(&decoded).ok_or("leads to no schema; put what is referred to under `$defs`")?;
        Ok((*found, is_pointer))
    }

    /// The largest number of times that parts are applied to a value to which one part is applied; none if a part is
    /// applied to the value that it is being applied to.
    fn applied(&self) -> Option<u64> {
        #[derive(Clone, Copy)]
        enum Mark {
            New,
            Open,
            Done(u64),
        }
        let mut marks = vec![Mark::New; self.same.len()];
        let mut most = 0;
        for start in 0..self.same.len() {
            let mut path = vec![(start, 0)];
            while let Some((part, next)) = path.pop() {
                match (marks[part], next) {
                    (Mark::Open, 0) => return None,
                    (Mark::Done(_), _) => continue,
                    _ => marks[part] = Mark::Open,
                }
                if let Some(&inner) = self.same[part].get(next) {
                    path.extend([(part, next + 1), (inner, 0)]);
                    continue;
                }
                let applied = self.same[part].iter().fold(1_u64, |sum, inner| match marks[*inner] {
                    Mark::Done(applied) => sum.saturating_add(applied),
                    Mark::New | Mark::Open => sum,
                });
                marks[part] = Mark::Done(applied);
                most = most.max(applied);
            }
        }
        Some(most)
    }
}

/// What a schema of these members burns.
fn step(members: &Map<String, Value>) -> Step {
    let length = |name: &str| members.get(name).map_or(0, |value| value.to_string().len() as u64 / 16);
    let count = |name: &str| match members.get(name) {
        Some(Value::Object(object)) => object.len() as u64,
        Some(Value::Array(list)) => list.len() as u64,
        _ => 0,
    };
    let parts =
        SAME_LIST.iter().chain(&INNER_LIST).chain(&SAME_MAP).chain(&INNER_MAP).map(|name| count(name)).sum::<u64>();
    Step {
        own: 1
            + members.len() as u64
            + parts
            + length("enum")
            + length("const")
            + count("required")
            + count("dependentRequired"),
        patterns: u64::from(members.contains_key("pattern")),
        name_patterns: count("patternProperties"),
        unique: members.get("uniqueItems") == Some(&Value::Bool(true)),
    }
}

fn pointer(steps: &[String]) -> String {
    steps.iter().flat_map(|step| ["/".to_owned(), step.replace('~', "~0").replace('/', "~1")]).collect()
}

/// `text` as a fragment holds it.
fn percent_encode(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' | b'$' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// `text` with its `%2F` read, if that is UTF-8.
fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
        } else {
            byte
        });
    }
    String::from_utf8(bytes).ok()
}
