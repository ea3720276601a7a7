//! What a filter is made of.

use regex::Regex;

/// A part of a filter.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Box<str>),
    /// `event.type`.
    Type,
    /// `event.channels`.
    Channels,
    /// `event.payload`.
    Payload,
    /// The variable of a macro, by how many macros are around it.
    Variable(usize),
    Select(Box<Node>, Box<str>),
    Has(Box<Node>, Box<str>),
    Index(Box<Node>, Box<Node>),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Not(Box<Node>),
    Negate(Box<Node>),
    /// `&&`, the whole chain.
    And(Vec<Node>),
    /// `||`, the whole chain.
    Or(Vec<Node>),
    Binary(Operator, Box<Node>, Box<Node>),
    Choice(Box<[Node; 3]>),
    Call(Function, Vec<Node>),
    Matches(Box<Node>, Pattern),
    Loop(Box<Loop>),
}

/// A regular expression and what it may cost.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    pub(super) regex: Regex,
    /// KiB of its program, which bound the work for each byte of a text.
    pub(super) weight: u64,
}

/// A macro that loops.
#[derive(Clone, Debug)]
pub(super) struct Loop {
    pub(super) kind: LoopKind,
    pub(super) range: Node,
    /// Of `map` with three arguments.
    pub(super) condition: Option<Node>,
    pub(super) body: Node,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoopKind {
    All,
    Exists,
    ExistsOne,
    Map,
    Filter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
}

impl Operator {
    pub(super) fn mark(self) -> &'static str {
        match self {
            Self::Add => "`+`",
            Self::Subtract => "`-`",
            Self::Multiply => "`*`",
            Self::Divide => "`/`",
            Self::Remainder => "`%`",
            Self::Equal => "`==`",
            Self::NotEqual => "`!=`",
            Self::Less => "`<`",
            Self::LessOrEqual => "`<=`",
            Self::Greater => "`>`",
            Self::GreaterOrEqual => "`>=`",
            Self::In => "`in`",
        }
    }
}

/// A function that filters may call, besides `matches` and the macros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// `text.contains(part)`.
    Contains,
    /// `text.startsWith(part)`.
    StartsWith,
    /// `text.endsWith(part)`.
    EndsWith,
    /// `size(x)` or `x.size()`: characters, elements or entries.
    Size,
    /// `int(x)`.
    Int,
    /// `uint(x)`.
    Uint,
    /// `double(x)`.
    Double,
    /// `string(x)`.
    String,
    /// `dyn(x)`: `x` itself.
    Dyn,
}

impl Function {
    const ALL: [Self; 9] = [
        Self::Contains,
        Self::StartsWith,
        Self::EndsWith,
        Self::Size,
        Self::Int,
        Self::Uint,
        Self::Double,
        Self::String,
        Self::Dyn,
    ];

    /// How it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Contains => "contains",
            Self::StartsWith => "startsWith",
            Self::EndsWith => "endsWith",
            Self::Size => "size",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Dyn => "dyn",
        }
    }

    pub(super) fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|function| function.name() == name)
    }

    /// How it is called with something before the dot, and without: the number of arguments in the brackets.
    pub(super) const fn arguments(self) -> (Option<usize>, Option<usize>) {
        match self {
            Self::Contains | Self::StartsWith | Self::EndsWith => (Some(1), None),
            Self::Size => (Some(0), Some(1)),
            Self::Int | Self::Uint | Self::Double | Self::String | Self::Dyn => (None, Some(1)),
        }
    }
}

impl Node {
    /// What it comes to, where that is known beforehand and is not a condition.
    pub(super) fn is_no_condition(&self) -> Option<&'static str> {
        use Operator::{Add, Divide, Multiply, Remainder, Subtract};
        Some(match self {
            Self::Null => "null",
            Self::Int(_)
            | Self::Uint(_)
            | Self::Double(_)
            | Self::Negate(_)
            | Self::Binary(Subtract | Multiply | Divide | Remainder, ..)
            | Self::Call(Function::Size | Function::Int | Function::Uint | Function::Double, _) => "a number",
            Self::Binary(Add, ..) => "a sum",
            Self::Text(_) | Self::Type | Self::Call(Function::String, _) => "a string",
            Self::Channels | Self::List(_) => "a list",
            Self::Map(_) => "a map",
            Self::Loop(inner) if matches!(inner.kind, LoopKind::Map | LoopKind::Filter) => "a list",
            _ => return None,
        })
    }
}
