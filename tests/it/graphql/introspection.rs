//! What tests that walk the schema know of it.

use std::collections::BTreeMap;

use angarium_tests::GraphQl;
use serde_json::{Value, json};

const TYPE: &str = "type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }";

/// The types of the schema by their names.
pub(super) struct Types(BTreeMap<String, Value>);

/// The innermost of a type.
pub(super) struct Named<'a> {
    pub(super) name: &'a str,
    pub(super) is_list: bool,
}

impl Types {
    pub(super) async fn read(api: &GraphQl) -> Self {
        let input = format!("{{ name defaultValue {TYPE} }}");
        let query = format!(
            "{{ __schema {{ types {{ kind name interfaces {{ name }} enumValues {{ name }} inputFields {input} \
             fields {{ name args {input} {TYPE} }} }} }} }}"
        );
        let data = api.data(&query, json!({})).await;
        let types = data["__schema"]["types"].as_array().expect("a list").iter();
        Self(types.map(|one| (text(&one["name"]).to_owned(), one.clone())).collect())
    }

    pub(super) fn get(&self, name: &str) -> &Value {
        &self.0[name]
    }

    /// The objects that have an ID of their own.
    pub(super) fn nodes(&self) -> Vec<&str> {
        self.0
            .iter()
            .filter(|(_, one)| one["kind"] == "OBJECT" && is_node(one))
            .map(|(name, _)| name.as_str())
            .collect()
    }

    /// What can be asked of an object without giving anything: each field, with all that it can be asked of a value.
    pub(super) fn asked_of(&self, object: &str) -> Vec<String> {
        let fields = self.get(object)["fields"].as_array().expect("an object has fields").iter();
        let free = fields.filter(|field| {
            field["args"]
                .as_array()
                .expect("a list")
                .iter()
                .all(|argument| argument["type"]["kind"] != "NON_NULL" || !argument["defaultValue"].is_null())
        });
        free.map(|field| format!("{}{}", text(&field["name"]), self.all_of(named(&field["type"]).name))).collect()
    }

    fn all_of(&self, name: &str) -> String {
        let found = self.get(name);
        match text(&found["kind"]) {
            "OBJECT" if name.ends_with("Connection") => " { totalCount nodes { __typename } }".to_owned(),
            "OBJECT" if is_node(found) => " { id }".to_owned(),
            "OBJECT" => format!(" {{ {} }}", self.asked_of(name).join(" ")),
            "INTERFACE" | "UNION" => " { __typename }".to_owned(),
            _ => String::new(),
        }
    }
}

fn is_node(object: &Value) -> bool {
    object["interfaces"].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == "Node"))
}

pub(super) fn named(mut of: &Value) -> Named<'_> {
    let mut is_list = false;
    while of["name"].is_null() {
        is_list |= of["kind"] == "LIST";
        of = &of["ofType"];
    }
    Named { name: text(&of["name"]), is_list }
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}
