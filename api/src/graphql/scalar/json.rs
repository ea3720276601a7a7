//! JSON that keeps the order of its keys and every digit of its numbers, in and out.
//!
//! In   a document's literals come from the parser, a request's variables through [`variables`]. Both keep numbers as
//!      text (`serde_json` with `arbitrary_precision`), and [`to_text`] writes them as they are.
//! Out  what is stored is text and goes into the answer as it is, under a key that `async-graphql-value` knows as raw.
//!      The one thing that changes is the sign of an exponent, which `serde_json` writes out: `1e9` is kept as `1e+9`.
//! Trap async-graphql's own reading of variables goes through serde and meets there the private map in which
//!      `serde_json` carries such numbers: `1.0` becomes `{"$serde_json::private::Number": "1.0"}`.

use std::fmt::Write as _;

use async_graphql::indexmap::IndexMap;
use async_graphql::{InputValueError, InputValueResult, Name, Scalar, ScalarType, Value, Variables};
use serde_json::Map;

/// Under which key an object of one text is that text, already JSON (`async_graphql_value::RAW_VALUE_TOKEN`).
const RAW: &str = "$serde_json::private::RawValue";

/// A JSON value as its compact text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Json(pub(crate) String);

/// Any JSON value, embedded (not a string). Key order and every digit of a number are kept.
#[Scalar(name = "JSON", specified_by_url = "https://www.rfc-editor.org/rfc/rfc8259")]
impl ScalarType for Json {
    fn parse(value: Value) -> InputValueResult<Self> {
        let mut text = String::new();
        match to_text(&value, &mut text) {
            Ok(()) => Ok(Self(text)),
            Err(NotJson) => Err(InputValueError::custom("a name without quotes is no JSON; write a string")),
        }
    }

    fn to_value(&self) -> Value {
        Value::Object(IndexMap::from([(Name::new(RAW), Value::String(self.0.clone()))]))
    }
}

/// A value that JSON does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NotJson;

fn to_text(value: &Value, text: &mut String) -> Result<(), NotJson> {
    match value {
        Value::Null => text.push_str("null"),
        Value::Boolean(flag) => text.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => write!(text, "{number}").map_err(|_| NotJson)?,
        Value::String(string) => push_string(string, text)?,
        Value::List(list) => {
            text.push('[');
            for (index, entry) in list.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                to_text(entry, text)?;
            }
            text.push(']');
        }
        Value::Object(object) => {
            text.push('{');
            for (index, (key, entry)) in object.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                push_string(key, text)?;
                text.push(':');
                to_text(entry, text)?;
            }
            text.push('}');
        }
        Value::Enum(_) | Value::Binary(_) => return Err(NotJson),
    }
    Ok(())
}

fn push_string(string: &str, text: &mut String) -> Result<(), NotJson> {
    text.push_str(&serde_json::to_string(string).map_err(|_| NotJson)?);
    Ok(())
}

/// The variables of a request, with every digit.
pub fn variables(given: Map<String, serde_json::Value>) -> Variables {
    Variables::from_value(to_graphql(serde_json::Value::Object(given)))
}

/// A JSON value as GraphQL carries it, with every digit.
pub fn to_graphql(value: serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(flag) => Value::Boolean(flag),
        serde_json::Value::Number(number) => Value::Number(number),
        serde_json::Value::String(string) => Value::String(string),
        serde_json::Value::Array(list) => Value::List(list.into_iter().map(to_graphql).collect()),
        serde_json::Value::Object(object) => {
            Value::Object(object.into_iter().map(|(key, value)| (Name::new(key), to_graphql(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::{EmptyMutation, EmptySubscription, Object, Request, Schema};

    use super::*;

    struct Query;

    #[Object]
    impl Query {
        async fn echo(&self, json: Json) -> Json {
            json
        }

        async fn text(&self, json: Json) -> String {
            json.0
        }
    }

    /// Order, `1.0`, 2^63, 23 digits, an exponent beyond f64, escapes, and the raw key itself, deeper down.
    const EXACT: &str = r#"{"z":1.0,"a":9223372036854775808,"m":[12345678901234567890123,1e+400,-0,0.10],"s":"\u0000\"é","n":null,"t":true,"o":{"b":{},"a":[]}}"#;

    async fn through(request: Request) -> serde_json::Value {
        let schema = Schema::new(Query, EmptyMutation, EmptySubscription);
        let response = schema.execute(request).await;
        assert_eq!(response.errors, []);
        let text = serde_json::to_string(&response.data).expect("an answer is JSON");
        assert!(text.contains(&format!("\"echo\":{EXACT}")), "{text}");
        serde_json::from_str(&text).expect("an answer is JSON")
    }

    #[tokio::test]
    async fn a_variable_keeps_its_keys_in_order_and_every_digit() {
        let given: serde_json::Value = serde_json::from_str(&format!("{{\"v\":{EXACT}}}")).expect("it is JSON");
        let given = given.as_object().cloned().expect("it is an object");
        let request = Request::new("query ($v: JSON!) { echo(json: $v) text(json: $v) }").variables(variables(given));
        assert_eq!(through(request).await["text"], EXACT);
    }

    #[tokio::test]
    async fn a_literal_keeps_its_keys_in_order_and_every_digit() {
        let literal = r#"{z: 1.0, a: 9223372036854775808, m: [12345678901234567890123, 1e400, -0, 0.10],
            s: "\u0000\"é", n: null, t: true, o: {b: {}, a: []}}"#;
        let request = Request::new(format!("{{ echo(json: {literal}) text(json: {literal}) }}"));
        assert_eq!(through(request).await["text"], EXACT);
    }

    #[tokio::test]
    async fn a_name_without_quotes_is_refused() {
        let schema = Schema::new(Query, EmptyMutation, EmptySubscription);
        assert_eq!(schema.execute("{ text(json: {kind: RED}) }").await.errors.len(), 1);
    }
}
