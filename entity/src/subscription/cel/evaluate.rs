//! Runs a filter. It descends as deep as the filter nests, and everything is paid for before it is done.

use std::rc::Rc;

use super::subject::Subject;
use super::tree::{Function, Loop, LoopKind, Node, Operator, Pattern};
use super::value::{List, Map, Text, Value, cost_of};
use super::{EvaluationError, Steps};

type Evaluated<'a> = Result<Value<'a>, EvaluationError>;

pub(super) fn matches(root: &Node, subject: &Subject, steps: &mut Steps) -> Result<bool, EvaluationError> {
    let mut evaluation = Evaluation { subject, steps, variables: Vec::new() };
    match evaluation.value(root)? {
        Value::Bool(flag) => Ok(flag),
        other => Err(EvaluationError::NotBool(other.kind())),
    }
}

struct Evaluation<'a, 's> {
    subject: &'a Subject,
    steps: &'s mut Steps,
    variables: Vec<Value<'a>>,
}

impl<'a> Evaluation<'a, '_> {
    fn value(&mut self, node: &'a Node) -> Evaluated<'a> {
        self.steps.spend(1)?;
        Ok(match node {
            Node::Null => Value::Null,
            Node::Bool(flag) => Value::Bool(*flag),
            Node::Int(number) => Value::Int(*number),
            Node::Uint(number) => Value::Uint(*number),
            Node::Double(number) => Value::Double(*number),
            Node::Text(text) => Value::Text(Text::Borrowed(text)),
            Node::Type => Value::Text(Text::Borrowed(&self.subject.event_type)),
            Node::Channels => Value::List(List::Texts(&self.subject.channels)),
            Node::Payload => self.subject.payload.as_ref().map_err(Clone::clone)?.into(),
            Node::Variable(place) => self.variables.get(*place).cloned().unwrap_or(Value::Null),
            Node::Select(of, field) => {
                let Value::Map(map) = self.value(of)? else { return Err(missing(field)) };
                map.get(field, self.steps)?.ok_or_else(|| missing(field))?
            }
            Node::Has(of, field) => match self.value(of)? {
                Value::Map(map) => Value::Bool(map.get(field, self.steps)?.is_some()),
                other => return Err(EvaluationError::Unsupported("`has`", other.kind().to_owned())),
            },
            Node::Index(of, index) => self.index(of, index)?,
            Node::List(members) => {
                let members = members.iter().map(|member| self.value(member)).collect::<Result<Vec<_>, _>>()?;
                Value::List(List::Made(members.into()))
            }
            Node::Map(entries) => self.map(entries)?,
            Node::Not(inner) => Value::Bool(!self.flag(inner, "`!`")?),
            Node::Negate(inner) => negate(&self.value(inner)?)?,
            Node::And(members) => Value::Bool(self.chain(members, false, "`&&`")?),
            Node::Or(members) => Value::Bool(self.chain(members, true, "`||`")?),
            Node::Choice(parts) => {
                let [condition, yes, no] = &**parts;
                let is_yes = self.flag(condition, "`?`")?;
                self.value(if is_yes { yes } else { no })?
            }
            Node::Binary(operator, left, right) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                self.binary(*operator, &left, &right)?
            }
            Node::Call(function, arguments) => self.call(*function, arguments)?,
            Node::Matches(text, pattern) => self.pattern(text, pattern)?,
            Node::Loop(inner) => self.looping(inner)?,
        })
    }

    fn flag(&mut self, node: &'a Node, asker: &'static str) -> Result<bool, EvaluationError> {
        match self.value(node)? {
            Value::Bool(flag) => Ok(flag),
            other => Err(EvaluationError::Unsupported(asker, other.kind().to_owned())),
        }
    }

    /// `decisive` if any member is, past the errors of others; but nothing goes past the budget.
    fn chain(&mut self, members: &'a [Node], decisive: bool, asker: &'static str) -> Result<bool, EvaluationError> {
        let mut first_error = None;
        for member in members {
            match self.flag(member, asker) {
                Ok(flag) if flag == decisive => return Ok(decisive),
                Ok(_) => {}
                Err(EvaluationError::Steps) => return Err(EvaluationError::Steps),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        first_error.map_or(Ok(!decisive), Err)
    }

    fn index(&mut self, of: &'a Node, index: &'a Node) -> Evaluated<'a> {
        let (of, index) = (self.value(of)?, self.value(index)?);
        match (&of, &index) {
            (Value::Map(map), Value::Text(key)) => {
                map.get(key.as_str(), self.steps)?.ok_or_else(|| missing(key.as_str()))
            }
            (Value::List(list), index) => {
                let place = match index {
                    Value::Int(number) => usize::try_from(*number).ok(),
                    Value::Uint(number) => usize::try_from(*number).ok(),
                    other => return Err(EvaluationError::Unsupported("the index of a list", other.kind().to_owned())),
                };
                let found = place.and_then(|place| list.get(place));
                found.ok_or_else(|| EvaluationError::Missing("element at that index of the list".to_owned()))
            }
            (of, index) => Err(unsupported("`[ ]`", of, index)),
        }
    }

    fn map(&mut self, entries: &'a [(Node, Node)]) -> Evaluated<'a> {
        let mut made: Vec<(&'a str, Value<'a>)> = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let Node::Text(key) = key else { return Err(EvaluationError::NotBool("a map with other keys")) };
            let value = self.value(value)?;
            self.steps.spend(cost_of(made.len(), 16))?;
            if made.iter().any(|(known, _)| *known == &**key) {
                return Err(EvaluationError::Unsupported("a map", format!("the key {key:?} twice")));
            }
            made.push((key, value));
        }
        Ok(Value::Map(Map::Made(made.into())))
    }

    fn binary(&mut self, operator: Operator, left: &Value<'a>, right: &Value<'a>) -> Evaluated<'a> {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let wanted: &[std::cmp::Ordering] = match operator {
            Operator::Equal => return Ok(Value::Bool(left.equals(right, self.steps)?)),
            Operator::NotEqual => return Ok(Value::Bool(!left.equals(right, self.steps)?)),
            Operator::In => return Ok(Value::Bool(self.contains(left, right)?)),
            Operator::Less => &[Less],
            Operator::LessOrEqual => &[Less, Equal],
            Operator::Greater => &[Greater],
            Operator::GreaterOrEqual => &[Greater, Equal],
            _ => return self.arithmetic(operator, left, right),
        };
        let order = match (left, right) {
            (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
            (Value::Text(left), Value::Text(right)) => {
                let (left, right) = (left.as_str(), right.as_str());
                self.steps.spend(cost_of(left.len().min(right.len()), 64))?;
                Some(left.cmp(right))
            }
            _ => match (left.number(), right.number()) {
                (Some(left), Some(right)) => left.compare(right),
                _ => return Err(unsupported(operator.mark(), left, right)),
            },
        };
        Ok(Value::Bool(order.is_some_and(|order| wanted.contains(&order))))
    }

    fn contains(&mut self, wanted: &Value<'a>, among: &Value<'a>) -> Result<bool, EvaluationError> {
        match (among, wanted) {
            (Value::List(list), wanted) => {
                for member in list.iter() {
                    if member.equals(wanted, self.steps)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            (Value::Map(map), Value::Text(key)) => Ok(map.get(key.as_str(), self.steps)?.is_some()),
            (Value::Map(_), _) => Ok(false),
            _ => Err(unsupported("`in`", wanted, among)),
        }
    }

    fn arithmetic(&mut self, operator: Operator, left: &Value<'a>, right: &Value<'a>) -> Evaluated<'a> {
        match (operator, left, right) {
            (Operator::Add, Value::Text(left), Value::Text(right)) => {
                let (left, right) = (left.as_str(), right.as_str());
                self.steps.spend(cost_of(left.len() + right.len(), 16))?;
                Ok(Value::made([left, right].concat()))
            }
            (Operator::Add, Value::List(left), Value::List(right)) => {
                self.steps.spend(cost_of(left.len() + right.len(), 1))?;
                Ok(Value::List(List::Made(left.iter().chain(right.iter()).collect())))
            }
            (_, Value::Int(left), Value::Int(right)) => {
                let found = match operator {
                    Operator::Add => left.checked_add(*right),
                    Operator::Subtract => left.checked_sub(*right),
                    Operator::Multiply => left.checked_mul(*right),
                    Operator::Divide => left.checked_div(*right),
                    _ => left.checked_rem(*right),
                };
                found.map(Value::Int).ok_or(EvaluationError::Range(operator.mark()))
            }
            (_, Value::Uint(left), Value::Uint(right)) => {
                let found = match operator {
                    Operator::Add => left.checked_add(*right),
                    Operator::Subtract => left.checked_sub(*right),
                    Operator::Multiply => left.checked_mul(*right),
                    Operator::Divide => left.checked_div(*right),
                    _ => left.checked_rem(*right),
                };
                found.map(Value::Uint).ok_or(EvaluationError::Range(operator.mark()))
            }
            _ => match (to_double(left), to_double(right)) {
                (Some(a), Some(b)) => Ok(Value::Double(match operator {
                    Operator::Add => a + b,
                    Operator::Subtract => a - b,
                    Operator::Multiply => a * b,
                    Operator::Divide => a / b,
                    _ => return Err(unsupported(operator.mark(), left, right)),
                })),
                _ => Err(unsupported(operator.mark(), left, right)),
            },
        }
    }

    fn call(&mut self, function: Function, arguments: &'a [Node]) -> Evaluated<'a> {
        let Some(first) = arguments.first() else { return Ok(Value::Null) };
        let first = self.value(first)?;
        let second = arguments.get(1).map(|second| self.value(second)).transpose()?;
        let name = function.name();
        match (function, &first, second) {
            (
                Function::Contains | Function::StartsWith | Function::EndsWith,
                Value::Text(text),
                Some(Value::Text(part)),
            ) => {
                let (text, part) = (text.as_str(), part.as_str());
                let looked_at = if function == Function::Contains { text.len() + part.len() } else { part.len() };
                self.steps.spend(cost_of(looked_at, 64))?;
                Ok(Value::Bool(match function {
                    Function::Contains => text.contains(part),
                    Function::StartsWith => text.starts_with(part),
                    _ => text.ends_with(part),
                }))
            }
            (Function::Contains | Function::StartsWith | Function::EndsWith, text, Some(part)) => {
                Err(unsupported(name, text, &part))
            }
            (Function::Size, Value::Text(text), _) => {
                self.steps.spend(cost_of(text.as_str().len(), 64))?;
                Ok(whole(text.as_str().chars().count()))
            }
            (Function::Size, Value::List(list), _) => Ok(whole(list.len())),
            (Function::Size, Value::Map(map), _) => Ok(whole(map.len())),
            (Function::Dyn, ..) => Ok(first),
            (Function::Int | Function::Uint | Function::Double | Function::String, value, _) => {
                if let Value::Text(text) = value {
                    self.steps.spend(cost_of(text.as_str().len(), 64))?;
                }
                convert(function, value)
            }
            (_, value, _) => Err(EvaluationError::Unsupported(name, value.kind().to_owned())),
        }
    }

    fn pattern(&mut self, text: &'a Node, pattern: &Pattern) -> Evaluated<'a> {
        let Value::Text(text) = self.value(text)? else {
            return Err(EvaluationError::Unsupported("matches", "what is no string".to_owned()));
        };
        let bytes = u64::try_from(text.as_str().len()).unwrap_or(u64::MAX);
        self.steps.spend(1 + bytes.saturating_mul(pattern.weight) / REGEX_BYTE_KIB_A_STEP)?;
        Ok(Value::Bool(pattern.regex.is_match(text.as_str())))
    }

    fn looping(&mut self, inner: &'a Loop) -> Evaluated<'a> {
        let range = match self.value(&inner.range)? {
            Value::List(list) => list,
            Value::Map(map) => {
                self.steps.spend(cost_of(map.len(), 4))?;
                let keys = (0..map.len()).filter_map(|index| map.key(index));
                List::Made(keys.map(|key| Value::Text(Text::Borrowed(key))).collect())
            }
            other => return Err(EvaluationError::Unsupported("a macro over a list", other.kind().to_owned())),
        };
        let (mut made, mut count, mut first_error) = (Vec::new(), 0_usize, None);
        for member in range.iter() {
            self.steps.spend(1)?;
            self.variables.push(member.clone());
            let decided = self.turn(inner, member, &mut made, &mut count);
            self.variables.pop();
            match decided {
                Ok(Some(flag)) => return Ok(Value::Bool(flag)),
                Ok(None) => {}
                // As in a chain of `&&` or `||`, which is what these two are.
                Err(error)
                    if matches!(inner.kind, LoopKind::All | LoopKind::Exists) && error != EvaluationError::Steps =>
                {
                    first_error = first_error.or(Some(error));
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(error) = first_error {
            return Err(error);
        }
        Ok(match inner.kind {
            LoopKind::All => Value::Bool(true),
            LoopKind::Exists => Value::Bool(false),
            LoopKind::ExistsOne => Value::Bool(count == 1),
            LoopKind::Map | LoopKind::Filter => Value::List(List::Made(Rc::from(made))),
        })
    }

    /// One element; answers when that decides the whole.
    fn turn(
        &mut self,
        inner: &'a Loop,
        member: Value<'a>,
        made: &mut Vec<Value<'a>>,
        count: &mut usize,
    ) -> Result<Option<bool>, EvaluationError> {
        const ASKER: &str = "the condition of a macro";
        match inner.kind {
            LoopKind::All => return Ok((!self.flag(&inner.body, ASKER)?).then_some(false)),
            LoopKind::Exists => return Ok(self.flag(&inner.body, ASKER)?.then_some(true)),
            LoopKind::ExistsOne => *count += usize::from(self.flag(&inner.body, ASKER)?),
            LoopKind::Filter => {
                if self.flag(&inner.body, ASKER)? {
                    made.push(member);
                }
            }
            LoopKind::Map => {
                let is_wanted = inner.condition.as_ref().map(|condition| self.flag(condition, ASKER)).transpose()?;
                if is_wanted != Some(false) {
                    made.push(self.value(&inner.body)?);
                }
            }
        }
        Ok(None)
    }
}

/// Bytes of text times KiB of pattern that one step is worth.
const REGEX_BYTE_KIB_A_STEP: u64 = 8;

fn missing(name: &str) -> EvaluationError {
    EvaluationError::Missing(format!("field `{name}`"))
}

fn unsupported(asker: &'static str, left: &Value<'_>, right: &Value<'_>) -> EvaluationError {
    EvaluationError::Unsupported(asker, format!("{} and {}", left.kind(), right.kind()))
}

fn whole(count: usize) -> Value<'static> {
    Value::Int(i64::try_from(count).unwrap_or(i64::MAX))
}

fn negate<'a>(value: &Value<'a>) -> Evaluated<'a> {
    match value {
        Value::Int(number) => number.checked_neg().map(Value::Int).ok_or(EvaluationError::Range("`-`")),
        Value::Double(number) => Ok(Value::Double(-number)),
        other => Err(EvaluationError::Unsupported("`-`", other.kind().to_owned())),
    }
}

#[expect(clippy::cast_precision_loss, reason = "the nearest double is what is asked for")]
fn to_double(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Int(number) => Some(*number as f64),
        Value::Uint(number) => Some(*number as f64),
        Value::Double(number) => Some(*number),
        _ => None,
    }
}

fn convert<'a>(function: Function, value: &Value<'a>) -> Evaluated<'a> {
    let name = function.name();
    let range = || EvaluationError::Range(name);
    let other = || EvaluationError::Unsupported(name, value.kind().to_owned());
    Ok(match (function, value) {
        (Function::Int, Value::Int(_))
        | (Function::Uint, Value::Uint(_))
        | (Function::Double, Value::Double(_))
        | (Function::String, Value::Text(_)) => value.clone(),
        (Function::Int, Value::Uint(number)) => Value::Int(i64::try_from(*number).map_err(|_| range())?),
        (Function::Int, Value::Double(number)) => {
            let whole = truncated(*number).and_then(|whole| i64::try_from(whole).ok());
            Value::Int(whole.ok_or_else(range)?)
        }
        (Function::Int, Value::Text(text)) => Value::Int(text.as_str().parse().map_err(|_| range())?),
        (Function::Uint, Value::Int(number)) => Value::Uint(u64::try_from(*number).map_err(|_| range())?),
        (Function::Uint, Value::Double(number)) => {
            let whole = truncated(*number).and_then(|whole| u64::try_from(whole).ok());
            Value::Uint(whole.ok_or_else(range)?)
        }
        (Function::Uint, Value::Text(text)) => Value::Uint(text.as_str().parse().map_err(|_| range())?),
        (Function::Double, Value::Text(text)) => Value::Double(text.as_str().parse().map_err(|_| range())?),
        (Function::Double, _) => Value::Double(to_double(value).ok_or_else(other)?),
        (Function::String, Value::Bool(flag)) => Value::made(flag.to_string()),
        (Function::String, Value::Int(number)) => Value::made(number.to_string()),
        (Function::String, Value::Uint(number)) => Value::made(number.to_string()),
        (Function::String, Value::Double(number)) => Value::made(number.to_string()),
        _ => return Err(other()),
    })
}

/// A double without its fraction; none where it is not in the range of any whole number here.
fn truncated(number: f64) -> Option<i128> {
    #[expect(clippy::cast_possible_truncation, reason = "the fraction is to be dropped, and the range is checked")]
    (number.abs() < 1e30).then_some(number as i128)
}
