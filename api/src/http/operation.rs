//! The parameters of a GraphQL request, and the operation that they ask for.

mod documents;
mod expansion;

use std::collections::{HashMap, HashSet};

use async_graphql::parser::parse_query;
use async_graphql::parser::types::{
    DocumentOperations, ExecutableDocument, FragmentDefinition, OperationDefinition, OperationType, Selection,
    SelectionSet,
};
use async_graphql::{Name, Positioned, Request, ServerError};
use serde::Deserialize;
use serde_json::{Map, Value};

pub(super) use documents::Documents;

use super::answer::{Kind, Refusal};
use crate::graphql::variables;

/// Longest document. Payloads belong into variables; validation takes time that grows with the square of some parts.
const DOCUMENT_BYTES_MAX: usize = 64 * 1024;
/// Deepest nesting of brackets. The parser of async-graphql descends on the stack, and before it counts.
const NESTING_MAX: usize = 200;

/// What is asked for, as sent.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Parameters {
    query: Option<String>,
    #[serde(rename = "operationName")]
    operation_name: Option<String>,
    variables: Option<Map<String, Value>>,
    /// Nothing is done with them, but they have to be an object.
    extensions: Option<Map<String, Value>>,
}

/// What is to be executed.
pub(super) struct Operation {
    pub(super) request: Request,
    pub(super) ty: OperationType,
    /// Its name in the document, if it has one.
    pub(super) name: Option<Name>,
}

impl Parameters {
    /// Reads a body, or the payload of a `subscribe` message.
    pub(super) fn from_json(body: &[u8]) -> Result<Self, Refusal> {
        // Serde would also read a struct from an array, one member after the other.
        match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'{') => serde_json::from_slice(body).map_err(|error| malformed(&error.to_string())),
            Some(b'[') => Err(malformed("send one request at a time, not an array of them")),
            _ => Err(malformed(r#"a JSON object such as {"query": "{ __typename }"} is needed"#)),
        }
    }

    /// Reads the query of a URL.
    pub(super) fn from_url(query: &str) -> Result<Self, Refusal> {
        let mut parameters = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "query" => parameters.query = Some(value.into_owned()),
                "operationName" => parameters.operation_name = Some(value.into_owned()).filter(|name| !name.is_empty()),
                "variables" => parameters.variables = object("variables", &value)?,
                "extensions" => parameters.extensions = object("extensions", &value)?,
                _ => {}
            }
        }
        Ok(parameters)
    }

    /// Parses the document and finds the operation. Whether it fits the schema is for the execution to say.
    pub(super) fn operation(self, known: &Documents) -> Result<Operation, Refusal> {
        let query = self.query.ok_or_else(|| malformed("the parameter `query` is missing"))?;
        let document = if let Some(document) = known.get(&query) {
            ExecutableDocument::clone(&document)
        } else {
            let document = parse(&query)?;
            known.put(&query, &document);
            document
        };
        let selected = selected(&document.operations, self.operation_name.as_deref());
        let name = selected.and_then(|(name, _)| name).cloned();
        let ty = match selected.map(|(_, operation)| operation) {
            Some(operation) if operation.node.ty == OperationType::Subscription => {
                check_single_root(&document, operation)?;
                OperationType::Subscription
            }
            Some(operation) => operation.node.ty,
            // None is selected; the execution says so.
            None => OperationType::Query,
        };
        let mut request = Request::new(query).variables(variables(self.variables.unwrap_or_default()));
        request.operation_name = self.operation_name;
        request.set_parsed_query(document);
        Ok(Operation { request, ty, name })
    }
}

/// Parses a document within its bounds. Nothing here depends on variables.
fn parse(query: &str) -> Result<ExecutableDocument, Refusal> {
    if query.len() > DOCUMENT_BYTES_MAX {
        let message =
            format!("the document is longer than {DOCUMENT_BYTES_MAX} bytes; put large values into variables");
        return Err(Refusal::new(Kind::TooLarge, "BAD_USER_INPUT", message));
    }
    if nesting(query) > NESTING_MAX {
        let error = ServerError::new(format!("the document is nested deeper than {NESTING_MAX} brackets"), None);
        return Err(Refusal::document(error, "GRAPHQL_PARSE_FAILED"));
    }
    let document = parse_query(query).map_err(|error| Refusal::document(error.into(), "GRAPHQL_PARSE_FAILED"))?;
    if let Err(too_large) = expansion::check(&document) {
        return Err(Refusal::document(ServerError::new(too_large.to_string(), None), "GRAPHQL_VALIDATION_FAILED"));
    }
    Ok(document)
}

fn malformed(message: &str) -> Refusal {
    Refusal::new(Kind::Malformed, "BAD_USER_INPUT", format!("not a GraphQL request: {message}"))
}

fn object(name: &str, text: &str) -> Result<Option<Map<String, Value>>, Refusal> {
    match text {
        "" => Ok(None),
        text => serde_json::from_str(text).map_err(|error| malformed(&format!("the parameter `{name}`: {error}"))),
    }
}

/// The operation that the execution is going to select: see `prepare_request` in async-graphql.
fn selected<'a>(
    operations: &'a DocumentOperations,
    name: Option<&str>,
) -> Option<(Option<&'a Name>, &'a Positioned<OperationDefinition>)> {
    let (name, operation) = match (operations, name) {
        (DocumentOperations::Single(operation), None) => return Some((None, operation)),
        (DocumentOperations::Multiple(operations), Some(name)) => operations.get_key_value(name),
        (DocumentOperations::Multiple(operations), None) if operations.len() == 1 => operations.iter().next(),
        _ => None,
    }?;
    Some((Some(name), operation))
}

/// A subscription has one root field (GraphQL, section 5.2.3.1); async-graphql would merge the streams of several.
fn check_single_root(
    document: &ExecutableDocument,
    operation: &Positioned<OperationDefinition>,
) -> Result<(), Refusal> {
    let mut roots = Roots { fragments: &document.fragments, names: HashSet::new(), seen: HashSet::new() };
    roots.collect(&operation.node.selection_set.node);
    if roots.names.len() <= 1 {
        return Ok(());
    }
    let error =
        ServerError::new("a subscription selects one root field; open one stream for each", Some(operation.pos));
    Err(Refusal::document(error, "GRAPHQL_VALIDATION_FAILED"))
}

struct Roots<'a> {
    fragments: &'a HashMap<Name, Positioned<FragmentDefinition>>,
    names: HashSet<&'a str>,
    seen: HashSet<&'a str>,
}

impl<'a> Roots<'a> {
    /// Response names at the root. Ends, because each fragment is entered once and the document is finite.
    fn collect(&mut self, set: &'a SelectionSet) {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => {
                    self.names.insert(&field.node.response_key().node);
                }
                Selection::InlineFragment(fragment) => self.collect(&fragment.node.selection_set.node),
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    if let Some(fragment) = self.fragments.get(name).filter(|_| self.seen.insert(name)) {
                        self.collect(&fragment.node.selection_set.node);
                    }
                }
            }
        }
    }
}

/// The deepest nesting of `{`, `[` and `(` outside of texts and comments. Counts too many after a text without an end,
/// which the parser is going to refuse, and never too few.
fn nesting(document: &str) -> usize {
    let (mut depth, mut deepest, mut has_texts) = (0_usize, 0, true);
    let mut rest = document.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'{' | b'[' | b'(' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' | b')' => depth = depth.saturating_sub(1),
            b'#' if has_texts => {
                let end = after.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
                rest = &after[end.unwrap_or(after.len())..];
            }
            b'"' if has_texts => match after_text(after) {
                Some(after) => rest = after,
                None => has_texts = false,
            },
            _ => {}
        }
    }
    deepest
}

/// What follows a text whose first quotation mark was just read, if it has an end.
fn after_text(text: &[u8]) -> Option<&[u8]> {
    if let Some(block) = text.strip_prefix(br#""""#) {
        let mut rest = block;
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix(br#"""""#) {
                return Some(after);
            }
            rest = rest.strip_prefix(br#"\""""#).unwrap_or(&rest[1..]);
        }
        return None;
    }
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = match byte {
            b'"' => return Some(after),
            b'\n' | b'\r' => return None,
            b'\\' => after.get(1..)?,
            _ => after,
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(body: &str) -> Result<OperationType, (Kind, String)> {
        let parameters = Parameters::from_json(body.as_bytes());
        let operation = parameters.and_then(|parameters| parameters.operation(&Documents::default()));
        operation.map(|operation| operation.ty).map_err(|refusal| (refusal.kind, refusal.errors[0].message.clone()))
    }

    fn kind_of(body: &str) -> Option<Kind> {
        operation(body).err().map(|(kind, _)| kind)
    }

    #[test]
    fn the_operation_named_decides_the_type() {
        let body = |name: &str| {
            format!(r#"{{"query":"query A{{a}} mutation B{{b}} subscription C{{c}}","operationName":{name}}}"#)
        };
        assert_eq!(operation(&body("\"A\"")), Ok(OperationType::Query));
        assert_eq!(operation(&body("\"B\"")), Ok(OperationType::Mutation));
        assert_eq!(operation(&body("\"C\"")), Ok(OperationType::Subscription));
        assert_eq!(operation(&body("null")), Ok(OperationType::Query));
        assert_eq!(operation(r#"{"query":"mutation{b}","unknown":1}"#), Ok(OperationType::Mutation));
    }

    #[test]
    fn what_is_not_a_request_is_malformed() {
        for body in [
            "",
            "null",
            "[]",
            r#"["{a}"]"#,
            r#"[{"query":"{a}"}]"#,
            "{}",
            r#"{"query":1}"#,
            r#"{"query":"{a}""#,
            r#"{"query":"{a}","variables":[]}"#,
            r#"{"query":"{a}","variables":"{}"}"#,
            r#"{"query":"{a}","operationName":1}"#,
            r#"{"query":"{a}","extensions":"x"}"#,
        ] {
            assert_eq!(kind_of(body), Some(Kind::Malformed), "{body}");
        }
        assert_eq!(kind_of(r#"{"query":"{"}"#), Some(Kind::Document));
        assert_eq!(
            kind_of(&format!(r#"{{"query":"{{a}} #{}"}}"#, "x".repeat(DOCUMENT_BYTES_MAX))),
            Some(Kind::TooLarge)
        );
    }

    #[test]
    fn the_url_carries_the_same_parameters() {
        let read = |query: &str| Parameters::from_url(query)?.operation(&Documents::default()).map(|read| read.request);
        let request = read("query=query%20A(%24x:Int){a(x:%24x)}&variables={%22x%22:1}&operationName=A").ok();
        assert_eq!(
            request.map(|request| (request.variables.len(), request.operation_name)),
            Some((1, Some("A".to_owned())))
        );
        assert!(read("variables={}").is_err() && read("query={a}&variables=[]").is_err());
        assert!(read("query={a}&variables=&operationName=&other=1").is_ok());
    }

    #[test]
    fn a_subscription_selects_one_root_field() {
        for right in ["{a}", "{a{b c}}", "{...F} fragment F on S{a}", "{a ...F} fragment F on S{a}", "{...{a}}"] {
            let body = format!(r#"{{"query":"subscription{right}"}}"#);
            assert_eq!(operation(&body), Ok(OperationType::Subscription), "{right}");
        }
        for wrong in
            ["{a b}", "{a x:a}", "{a ...F} fragment F on S{b}", "{...{a} ...{b}}", "{...F} fragment F on S{a ...F b}"]
        {
            assert_eq!(kind_of(&format!(r#"{{"query":"subscription{wrong}"}}"#)), Some(Kind::Document), "{wrong}");
        }
    }

    #[test]
    fn nesting_is_counted_outside_of_texts_and_comments() {
        for (document, depth) in [
            ("{a{b}}", 2),
            ("{a(x:[[1]]){b}}", 4),
            ("{a(x:\"{{{\")}", 2),
            (r#"{a(x:"\"{{{")}"#, 2),
            ("{a(x:\"\"\"{{\\\"\"\"{{\"\"\")}", 2),
            ("{a(x:\"\")}", 2),
            ("{a #{{{\n{b}}", 2),
            ("{a(x:\"{{{", 5),
            ("}}}}{", 1),
        ] {
            assert_eq!(nesting(document), depth, "{document}");
        }
        assert_eq!(kind_of(&format!(r#"{{"query":"{}"}}"#, "{a".repeat(NESTING_MAX + 1))), Some(Kind::Document));
    }

    #[test]
    fn the_stack_holds_the_deepest_document_that_is_parsed() {
        for (open, close) in [("{a", "}"), ("{a(x:[", "])}"), ("{a(x:{y:", "1})}"), ("query A($x:[", "Int]){a}")] {
            let times = NESTING_MAX / open.matches(['{', '[', '(']).count();
            let document = open.repeat(times) + &close.repeat(times);
            assert!(nesting(&document) <= NESTING_MAX);
            // Whether it parses is not the point.
            let _ = async_graphql::parser::parse_query(document);
        }
    }
}
