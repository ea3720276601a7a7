//! Reads a filter. It descends at most [`DEPTH_MAX`] brackets, and makes a tree of at most [`DEPTH_MAX`] levels and
//! [`NODES_MAX`] nodes.

use regex::RegexBuilder;

use super::token::{Token, Word, Wrong, tokens};
use super::tree::{Function, Loop, LoopKind, Node, Operator, Pattern};
use super::{DEPTH_MAX, LEN_MAX, LOOPS_NESTED_MAX, NODES_MAX, REGEX_BYTES_MAX};

const EVENT: &str = "event";
const EVENT_FIELDS: &str = "`event.type`, `event.channels` and `event.payload`";
const FUNCTIONS: &str = "contains, startsWith, endsWith, matches, size, int, uint, double, string, dyn, has, all, exists, \
    exists_one, map and filter";

/// A tree, where it starts, and how high it is.
struct Part {
    at: usize,
    height: usize,
    node: Node,
}

pub(super) fn parse(text: &str) -> Result<Node, Wrong> {
    if text.chars().count() > LEN_MAX {
        return Err((0, format!("is longer than {LEN_MAX} characters")));
    }
    let mut parser = Parser { tokens: tokens(text)?, place: 0, depth: 0, nodes: 0, variables: Vec::new() };
    let part = parser.expression()?;
    if !matches!(parser.word(), Word::End) {
        return Err(parser.unexpected("an operator or the end"));
    }
    match part.node.is_no_condition() {
        Some(found) => {
            Err((part.at, format!("is {found}, not a condition; compare it, as in `event.type == \"a.b\"`")))
        }
        None => Ok(part.node),
    }
}

struct Parser<'t> {
    tokens: Vec<Token<'t>>,
    place: usize,
    /// Brackets and prefixes around the present place.
    depth: usize,
    nodes: usize,
    /// Of the macros around the present place.
    variables: Vec<&'t str>,
}

impl<'t> Parser<'t> {
    fn token(&self) -> &Token<'t> {
        // There always is one: the last is never passed.
        &self.tokens[self.place.min(self.tokens.len() - 1)]
    }

    fn word(&self) -> &Word<'t> {
        &self.token().word
    }

    fn at(&self) -> usize {
        self.token().at
    }

    fn next(&mut self) -> Token<'t> {
        let token = self.token().clone();
        self.place = (self.place + 1).min(self.tokens.len() - 1);
        token
    }

    fn takes(&mut self, mark: &str) -> bool {
        let is_there = matches!(self.word(), Word::Mark(found) if *found == mark);
        if is_there {
            self.next();
        }
        is_there
    }

    fn expect(&mut self, mark: &str) -> Result<(), Wrong> {
        if self.takes(mark) { Ok(()) } else { Err(self.unexpected(&format!("`{mark}`"))) }
    }

    fn unexpected(&self, wanted: &str) -> Wrong {
        let found = match self.word() {
            Word::Name(name) => format!("`{name}`"),
            Word::Int(digits) | Word::Uint(digits) | Word::Double(digits) => format!("`{digits}`"),
            Word::Text(_) => "a string".to_owned(),
            Word::Mark(mark) => format!("`{mark}`"),
            Word::End => "the end".to_owned(),
        };
        (self.at(), format!("found {found} where {wanted} should be"))
    }

    /// A node over others.
    fn node(&mut self, at: usize, below: usize, node: Node) -> Result<Part, Wrong> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err((at, format!("has more than {NODES_MAX} parts; make the filter shorter")));
        }
        let height = below + 1;
        if height > DEPTH_MAX {
            return Err((at, format!("nests deeper than {DEPTH_MAX} levels; make the filter flatter")));
        }
        Ok(Part { at, height, node })
    }

    /// One level down.
    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Wrong>) -> Result<T, Wrong> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err((self.at(), format!("nests deeper than {DEPTH_MAX} levels; make the filter flatter")));
        }
        let found = read(self);
        self.depth -= 1;
        found
    }

    fn expression(&mut self) -> Result<Part, Wrong> {
        self.deeper(|parser| {
            let condition = parser.or()?;
            if !parser.takes("?") {
                return Ok(condition);
            }
            let yes = parser.deeper(Self::or)?;
            parser.expect(":")?;
            let no = parser.expression()?;
            let below = condition.height.max(yes.height).max(no.height);
            parser.node(condition.at, below, Node::Choice(Box::new([condition.node, yes.node, no.node])))
        })
    }

    fn or(&mut self) -> Result<Part, Wrong> {
        self.chain("||", Self::and, Node::Or)
    }

    fn and(&mut self) -> Result<Part, Wrong> {
        self.chain("&&", Self::relation, Node::And)
    }

    fn chain(
        &mut self,
        mark: &str,
        mut member: impl FnMut(&mut Self) -> Result<Part, Wrong>,
        make: fn(Vec<Node>) -> Node,
    ) -> Result<Part, Wrong> {
        let first = member(self)?;
        let (at, mut below) = (first.at, first.height);
        let mut members = vec![first.node];
        while self.takes(mark) {
            let next = member(self)?;
            below = below.max(next.height);
            members.push(next.node);
        }
        match (members.len(), members.pop()) {
            (1, Some(only)) => Ok(Part { at, height: below, node: only }),
            (_, last) => {
                members.extend(last);
                self.node(at, below, make(members))
            }
        }
    }

    fn relation(&mut self) -> Result<Part, Wrong> {
        self.left(Self::sum, |word| match word {
            Word::Mark("==") => Some(Operator::Equal),
            Word::Mark("!=") => Some(Operator::NotEqual),
            Word::Mark("<") => Some(Operator::Less),
            Word::Mark("<=") => Some(Operator::LessOrEqual),
            Word::Mark(">") => Some(Operator::Greater),
            Word::Mark(">=") => Some(Operator::GreaterOrEqual),
            Word::Name("in") => Some(Operator::In),
            _ => None,
        })
    }

    fn sum(&mut self) -> Result<Part, Wrong> {
        self.left(Self::product, |word| match word {
            Word::Mark("+") => Some(Operator::Add),
            Word::Mark("-") => Some(Operator::Subtract),
            _ => None,
        })
    }

    fn product(&mut self) -> Result<Part, Wrong> {
        self.left(Self::prefixed, |word| match word {
            Word::Mark("*") => Some(Operator::Multiply),
            Word::Mark("/") => Some(Operator::Divide),
            Word::Mark("%") => Some(Operator::Remainder),
            _ => None,
        })
    }

    fn left(
        &mut self,
        mut operand: impl FnMut(&mut Self) -> Result<Part, Wrong>,
        operator: fn(&Word<'_>) -> Option<Operator>,
    ) -> Result<Part, Wrong> {
        let mut left = operand(self)?;
        while let Some(operator) = operator(self.word()) {
            self.next();
            let right = operand(self)?;
            let below = left.height.max(right.height);
            left = self.node(left.at, below, Node::Binary(operator, Box::new(left.node), Box::new(right.node)))?;
        }
        Ok(left)
    }

    fn prefixed(&mut self) -> Result<Part, Wrong> {
        let at = self.at();
        if self.takes("!") {
            let inner = self.deeper(Self::prefixed)?;
            return self.node(at, inner.height, Node::Not(Box::new(inner.node)));
        }
        if self.takes("-") {
            // The smallest int has no positive twin.
            if let Word::Int(digits) = *self.word()
                && let Some(number) = int(digits, true)
            {
                self.next();
                let literal = self.node(at, 0, Node::Int(number))?;
                return self.members(literal);
            }
            let inner = self.deeper(Self::prefixed)?;
            let node = match inner.node {
                Node::Double(number) => Node::Double(-number),
                other => Node::Negate(Box::new(other)),
            };
            return self.node(at, inner.height, node);
        }
        let primary = self.primary()?;
        self.members(primary)
    }

    /// What follows with dots and square brackets.
    fn members(&mut self, mut part: Part) -> Result<Part, Wrong> {
        loop {
            if self.takes(".") {
                let at = self.at();
                let Word::Name(name) = *self.word() else {
                    return Err(self.unexpected("the name of a field or function"));
                };
                self.next();
                part = if self.takes("(") {
                    self.call(at, name, Some(part))?
                } else {
                    let (start, below) = (part.at, part.height);
                    self.node(start, below, Node::Select(Box::new(part.node), name.into()))?
                };
            } else if self.takes("[") {
                let index = self.expression()?;
                self.expect("]")?;
                let below = part.height.max(index.height);
                part = self.node(part.at, below, Node::Index(Box::new(part.node), Box::new(index.node)))?;
            } else {
                return Ok(part);
            }
        }
    }

    fn primary(&mut self) -> Result<Part, Wrong> {
        let Token { at, word } = self.token().clone();
        let out_of_range = |what: &str| (at, format!("is out of the range of {what}"));
        let literal = match word {
            Word::Mark("(") => {
                self.next();
                let inner = self.expression()?;
                self.expect(")")?;
                return Ok(Part { at, ..inner });
            }
            Word::Mark("[") => return self.list(),
            Word::Mark("{") => return self.map(),
            Word::Name(name) => {
                self.next();
                return self.name(at, name);
            }
            Word::Int(digits) => Node::Int(int(digits, false).ok_or_else(|| out_of_range("an int of 64 bits"))?),
            Word::Uint(digits) => Node::Uint(uint(digits).ok_or_else(|| out_of_range("a uint of 64 bits"))?),
            Word::Double(digits) => {
                let number: f64 = digits.parse().map_err(|_| out_of_range("a double"))?;
                Node::Double(number.is_finite().then_some(number).ok_or_else(|| out_of_range("a double"))?)
            }
            Word::Text(text) => Node::Text(text.into_boxed_str()),
            Word::Mark(_) | Word::End => {
                return Err(self.unexpected("a value, such as `event.type`, a string or a number,"));
            }
        };
        self.next();
        self.node(at, 0, literal)
    }

    fn name(&mut self, at: usize, name: &'t str) -> Result<Part, Wrong> {
        let literal = match name {
            "true" => Node::Bool(true),
            "false" => Node::Bool(false),
            "null" => Node::Null,
            _ if self.takes("(") => return self.call(at, name, None),
            // The innermost of that name.
            _ => match self.variables.iter().rposition(|known| *known == name) {
                Some(place) => Node::Variable(place),
                None if name == EVENT => return self.event(at),
                None => return Err((at, format!("`{name}` is not a variable; there are {EVENT_FIELDS}"))),
            },
        };
        self.node(at, 0, literal)
    }

    fn event(&mut self, at: usize) -> Result<Part, Wrong> {
        let wrong = |at: usize| (at, format!("the fields of `event` are {EVENT_FIELDS}"));
        if !self.takes(".") {
            return Err(wrong(at));
        }
        let field = match self.next() {
            Token { word: Word::Name("type"), .. } => Node::Type,
            Token { word: Word::Name("channels"), .. } => Node::Channels,
            Token { word: Word::Name("payload"), .. } => Node::Payload,
            Token { at, .. } => return Err(wrong(at)),
        };
        self.node(at, 0, field)
    }

    fn list(&mut self) -> Result<Part, Wrong> {
        let at = self.at();
        self.expect("[")?;
        let (mut members, mut below) = (Vec::new(), 0);
        while !self.takes("]") {
            let member = self.expression()?;
            below = below.max(member.height);
            members.push(member.node);
            if !self.takes(",") {
                self.expect("]")?;
                break;
            }
        }
        self.node(at, below, Node::List(members))
    }

    fn map(&mut self) -> Result<Part, Wrong> {
        let at = self.at();
        self.expect("{")?;
        let (mut entries, mut below) = (Vec::new(), 0);
        while !self.takes("}") {
            let key = self.expression()?;
            if !matches!(key.node, Node::Text(_)) {
                return Err((key.at, "is not a string; the keys of a map are strings".to_owned()));
            }
            self.expect(":")?;
            let value = self.expression()?;
            below = below.max(value.height).max(key.height);
            entries.push((key.node, value.node));
            if !self.takes(",") {
                self.expect("}")?;
                break;
            }
        }
        self.node(at, below, Node::Map(entries))
    }

    /// A call whose name and opening bracket are read.
    fn call(&mut self, at: usize, name: &'t str, target: Option<Part>) -> Result<Part, Wrong> {
        let kind = match name {
            "all" => Some(LoopKind::All),
            "exists" => Some(LoopKind::Exists),
            "exists_one" => Some(LoopKind::ExistsOne),
            "map" => Some(LoopKind::Map),
            "filter" => Some(LoopKind::Filter),
            _ => None,
        };
        match (kind, target) {
            (Some(kind), Some(target)) => self.looping(at, name, kind, target),
            (Some(_), None) => Err((at, format!("`{name}` follows a list, as in `event.channels.{name}(x, …)`"))),
            (None, None) if name == "has" => self.has(at),
            (None, target) => {
                let given_at = self.at();
                let mut arguments = self.arguments()?;
                if name == "matches" {
                    if let Some(target) = target {
                        arguments.insert(0, target);
                    }
                    return self.matching(at, given_at, arguments);
                }
                let Some(function) = Function::find(name) else {
                    return Err((at, format!("`{name}` is not a function; there are {FUNCTIONS}")));
                };
                let (after, alone) = function.arguments();
                let wanted = if target.is_some() { after } else { alone };
                if wanted != Some(arguments.len()) {
                    let form = match function.arguments() {
                        (Some(0), _) => format!("`size(x)` or `x.{name}()`"),
                        (Some(_), _) => format!("`text.{name}(part)`"),
                        _ => format!("`{name}(x)`"),
                    };
                    return Err((at, format!("`{name}` is called as {form}")));
                }
                let start = target.as_ref().map_or(at, |target| target.at);
                let all: Vec<Part> = target.into_iter().chain(arguments).collect();
                let below = all.iter().map(|part| part.height).max().unwrap_or(0);
                self.node(start, below, Node::Call(function, all.into_iter().map(|part| part.node).collect()))
            }
        }
    }

    fn arguments(&mut self) -> Result<Vec<Part>, Wrong> {
        let mut arguments = Vec::new();
        if self.takes(")") {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.expression()?);
            if !self.takes(",") {
                self.expect(")")?;
                return Ok(arguments);
            }
        }
    }

    fn has(&mut self, at: usize) -> Result<Part, Wrong> {
        let inner = self.expression()?;
        self.expect(")")?;
        let node = match inner.node {
            Node::Select(of, field) => Node::Has(of, field),
            Node::Type | Node::Channels | Node::Payload => Node::Bool(true),
            _ => return Err((inner.at, "is not a field; write `has(event.payload.name)`".to_owned())),
        };
        self.node(at, inner.height, node)
    }

    fn looping(&mut self, at: usize, name: &str, kind: LoopKind, range: Part) -> Result<Part, Wrong> {
        let Token { at: variable_at, word: Word::Name(variable) } = self.next() else {
            return Err((at, format!("`{name}` takes a variable and a condition, as in `.{name}(x, x == \"a\")`")));
        };
        if matches!(variable, "true" | "false" | "null" | "in" | EVENT) {
            return Err((variable_at, format!("`{variable}` cannot be a variable; choose another name")));
        }
        self.expect(",")?;
        if self.variables.len() == LOOPS_NESTED_MAX {
            return Err((
                at,
                format!("is the {}th macro within another; at most {LOOPS_NESTED_MAX} nest", LOOPS_NESTED_MAX + 1),
            ));
        }
        self.variables.push(variable);
        let mut body = self.expression()?;
        let mut condition = None;
        if kind == LoopKind::Map && self.takes(",") {
            condition = Some(std::mem::replace(&mut body, self.expression()?));
        }
        self.variables.pop();
        self.expect(")")?;
        let below = body.height.max(range.height).max(condition.as_ref().map_or(0, |part| part.height));
        let condition = condition.map(|part| part.node);
        self.node(range.at, below, Node::Loop(Box::new(Loop { kind, range: range.node, condition, body: body.node })))
    }

    fn matching(&mut self, at: usize, given_at: usize, arguments: Vec<Part>) -> Result<Part, Wrong> {
        let Ok([text, pattern]) = <[Part; 2]>::try_from(arguments) else {
            return Err((at, "`matches` is called as `text.matches(\"pattern\")`".to_owned()));
        };
        let Node::Text(source) = pattern.node else {
            return Err((pattern.at, "is not a string; the pattern of `matches` must be written out".to_owned()));
        };
        let pattern = compile(&source).map_err(|message| (given_at, message))?;
        self.node(text.at, text.height, Node::Matches(Box::new(text.node), pattern))
    }
}

/// The smallest of the doubling limits under which a pattern compiles is its weight.
fn compile(source: &str) -> Result<Pattern, String> {
    let mut limit = 1024;
    loop {
        let built = RegexBuilder::new(source).size_limit(limit).dfa_size_limit(256 * 1024).nest_limit(32).build();
        match built {
            Ok(regex) => return Ok(Pattern { regex, weight: u64::try_from(limit / 1024).unwrap_or(u64::MAX) }),
            Err(regex::Error::CompiledTooBig(_)) if limit < REGEX_BYTES_MAX => limit *= 2,
            Err(regex::Error::CompiledTooBig(_)) => {
                return Err("the pattern is too large; repeat less often, or write [a-z0-9_] for \\w".to_owned());
            }
            Err(error) => {
                // The library draws an arrow below the pattern; its last line is the sentence.
                let text = error.to_string();
                let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
                return Err(format!("is not a regular expression of the RE2 kind: {reason}"));
            }
        }
    }
}

fn int(digits: &str, is_negative: bool) -> Option<i64> {
    let magnitude = i128::from(uint(digits)?);
    i64::try_from(if is_negative { -magnitude } else { magnitude }).ok()
}

fn uint(digits: &str) -> Option<u64> {
    match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => digits.parse().ok(),
    }
}
