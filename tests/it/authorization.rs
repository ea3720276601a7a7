//! Who may do what: a walk over the whole schema.
//!
//! Every root field, every edge from one object to another, every type behind `node` and every live stream has a case
//! here, tried without its scope and by another tenant. The walk fails when the schema has something without a case, so
//! that nothing new goes out unguarded.

mod edges;
mod roots;
mod streams;
mod world;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use angarium_tests::GraphQl;

/// Every scope that a workspace's key may have.
const SCOPES: [&str; 9] = [
    "DELIVERY_READ",
    "DELIVERY_WRITE",
    "EVENT_PUBLISH",
    "EVENT_READ",
    "WORKSPACE_READ",
    "WORKSPACE_WRITE",
    "WEBHOOK_READ",
    "WEBHOOK_SECRET_READ",
    "WEBHOOK_SUBSCRIBE",
];

/// The scopes without one of them.
fn without(scope: &str) -> Vec<&'static str> {
    SCOPES.into_iter().filter(|one| *one != scope).collect()
}

/// A type of the schema, as introspection tells it.
struct Type {
    name: String,
    interfaces: Vec<String>,
    /// Name, name of the type behind lists and non-null, description.
    fields: Vec<(String, String, String)>,
}

/// The object types of the schema that are not introspection's own.
async fn types(api: &GraphQl) -> Vec<Type> {
    let query = "{ __schema { types { kind name interfaces { name } fields { name description
        type { name ofType { name ofType { name ofType { name } } } } } } } }";
    let data = api.data(query, json!({})).await;
    let list = data["__schema"]["types"].as_array().expect("types").clone();
    let is_ours = |one: &&Value| one["kind"] == "OBJECT" && !text(&one["name"]).starts_with("__");
    list.iter().filter(is_ours).map(read).collect()
}

fn read(one: &Value) -> Type {
    let named = |field: &Value| {
        let mut ty = &field["type"];
        while ty["name"].is_null() {
            ty = &ty["ofType"];
        }
        (text(&field["name"]), text(&ty["name"]), field["description"].as_str().unwrap_or_default().replace('\n', " "))
    };
    Type {
        name: text(&one["name"]),
        interfaces: one["interfaces"].as_array().into_iter().flatten().map(|one| text(&one["name"])).collect(),
        fields: one["fields"].as_array().into_iter().flatten().map(named).collect(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("expected a string, found {value}")).to_owned()
}

/// Checks that the cases are those of the schema, no more and no fewer.
fn assert_complete(what: &str, cases: impl IntoIterator<Item = String>, schema: impl IntoIterator<Item = String>) {
    let (cases, schema): (BTreeSet<_>, BTreeSet<_>) = (cases.into_iter().collect(), schema.into_iter().collect());
    let without_case: Vec<_> = schema.difference(&cases).collect();
    let unknown: Vec<_> = cases.difference(&schema).collect();
    assert!(without_case.is_empty(), "{what} without a case: {without_case:?}");
    assert!(unknown.is_empty(), "cases of {what} that the schema does not have: {unknown:?}");
}

/// The codes of the errors of an answer, with the last name of their path.
fn errors(answer: &Value) -> Vec<(String, String)> {
    let list = answer["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter()
        .map(|error| {
            let names = error["path"].as_array().map(Vec::as_slice).unwrap_or_default();
            let last = names.iter().rev().find_map(Value::as_str).unwrap_or_default();
            (error["extensions"]["code"].as_str().unwrap_or_default().to_owned(), last.to_owned())
        })
        .collect()
}

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../api/docs/scopes.md");

/// The table of scopes in the documentation, made of the cases that are checked here.
fn table() -> String {
    use std::fmt::Write as _;
    let mut text = String::from(
        "# Which scope each field needs\n\n\
         Made from the cases of `tests/it/authorization`, which try each of them without its scope and as another tenant\n\
         (`UPDATE_DOCS=1 tests/run -E 'test(table_of_scopes)'` writes it anew). An operator's key (ADMIN) has every scope.\n\
         Without its scope a field answers FORBIDDEN; what belongs to another tenant looks like what does not exist. Scalars\n\
         and objects that are not listed come with the object that they are part of.\n",
    );
    let mut section = |title: &str, rows: Vec<(String, String)>| {
        write!(text, "\n## {title}\n\n| Field | Scope |\n|---|---|\n").expect("a String takes every write");
        for (field, scope) in rows {
            writeln!(text, "| `{field}` | {scope} |").expect("a String takes every write");
        }
    };
    let root = |cases: &[roots::Case]| {
        let scope = |case: &roots::Case| match (case.0, case.1) {
            ("node" | "nodes", _) => "that of the object's type, below".to_owned(),
            (_, scope) => scope.unwrap_or("none").to_owned(),
        };
        cases.iter().map(|case| (case.0.to_owned(), scope(case))).collect::<Vec<_>>()
    };
    section("Queries", root(roots::QUERIES));
    section("Mutations", root(roots::MUTATIONS));
    section("Live streams", streams::STREAMS.iter().map(|case| (case.0.to_owned(), case.1.to_owned())).collect());
    let of_node = |case: &(&str, &str, Option<&str>)| (case.0.to_owned(), case.2.unwrap_or("none").to_owned());
    section("Types behind `node` and `nodes`", roots::NODES.iter().map(of_node).collect());
    let guarded = edges::GUARDED.iter().map(|case| (case.0.to_owned(), case.1.to_owned()));
    let free = edges::FREE.iter().map(|case| (case.0.to_owned(), format!("none: {}", case.1)));
    let answered = edges::ANSWERED
        .iter()
        .map(|edge| ((*edge).to_owned(), "none: what the call made, changed or named".to_owned()));
    let mut edges: Vec<_> = guarded.chain(free).chain(answered).collect();
    edges.push(("WebhookEndpoint.signingSecret".to_owned(), "WEBHOOK_SECRET_READ, else null".to_owned()));
    edges.sort_unstable();
    section("Edges, and fields that show what belongs to another object", edges);
    text
}

#[test]
fn the_table_of_scopes_in_the_documentation_is_what_is_checked() {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(TABLE, table()).expect("the file can be written");
    }
    let written = std::fs::read_to_string(TABLE).expect("the file is there");
    assert_eq!(written, table(), "write it anew with UPDATE_DOCS=1");
}
