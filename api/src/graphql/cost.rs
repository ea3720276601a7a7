//! What a query may cost.
//!
//! Price   a scalar costs nothing, an object 1 and what is asked of it, a connection its page size times what an
//!         entry costs, and a field that is given a list as much for each of its entries. `edges`, `nodes`, `node` and
//!         `pageInfo` are part of their connection.
//! When    after parsing and before validation, so fields and fragments that do not exist are met here and cost
//!         nothing; validation refuses them in a moment.
//! Also    introspection may nest its lists only so deep: `fields { type { fields …` multiplies by dozens each time.
//!         A subscription has one root field, as the specification demands; async-graphql would mix several.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::async_trait::async_trait;
use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextParseQuery};
use async_graphql::parser::types::{ExecutableDocument, Field, OperationType, Selection, SelectionSet};
use async_graphql::registry::{MetaTypeName, Registry};
use async_graphql::{ServerError, ServerResult, Value, Variables};

use crate::app::list::{PAGE_DEFAULT, PAGE_MAX};

/// Lists in lists of an introspection: the fields of the types of the fields of a type.
const INTROSPECTION_LISTS_MAX: usize = 2;
/// Fields of introspection that are long lists.
const INTROSPECTION_LISTS: [&str; 4] = ["fields", "interfaces", "possibleTypes", "inputFields"];
/// Arguments that are lists of what is asked for.
const LIST_ARGUMENTS: [&str; 2] = ["ids", "inputs"];

/// Refuses documents that cost more than a limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    max: usize,
}

impl Cost {
    /// With this limit.
    pub(crate) const fn new(max: usize) -> Self {
        Self { max }
    }
}

impl ExtensionFactory for Cost {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(*self)
    }
}

#[async_trait]
impl Extension for Cost {
    async fn parse_query(
        &self,
        ctx: &ExtensionContext<'_>,
        query: &str,
        variables: &Variables,
        next: NextParseQuery<'_>,
    ) -> ServerResult<ExecutableDocument> {
        let document = next.run(ctx, query, variables).await?;
        let registry = &ctx.schema_env.registry;
        let mut pricing = Pricing { registry, document: &document, variables, known: HashMap::new() };
        for (_, operation) in document.operations.iter() {
            let selection = &operation.node.selection_set.node;
            let root = match operation.node.ty {
                OperationType::Query => Some(registry.query_type.as_str()),
                OperationType::Mutation => registry.mutation_type.as_deref(),
                OperationType::Subscription => registry.subscription_type.as_deref(),
            };
            let price = root.map_or(Price::default(), |root| pricing.of(selection, root));
            let refused = if price.cost > self.max {
                format!("the query costs {}; at most {} is accepted", price.cost, self.max)
            } else if price.lists > INTROSPECTION_LISTS_MAX {
                "the introspection nests its lists too deep".to_owned()
            } else if operation.node.ty == OperationType::Subscription && !has_one_field(selection) {
                "a subscription has exactly one root field, outside of any fragment".to_owned()
            } else {
                continue;
            };
            return Err(ServerError::new(refused, Some(operation.pos)));
        }
        Ok(document)
    }
}

fn has_one_field(selection: &SelectionSet) -> bool {
    matches!(selection.items.as_slice(), [only] if matches!(only.node, Selection::Field(_)))
}

/// What a selection costs, and how deep its introspection nests lists.
#[derive(Clone, Copy, Debug, Default)]
struct Price {
    cost: usize,
    lists: usize,
}

struct Pricing<'a> {
    registry: &'a Registry,
    document: &'a ExecutableDocument,
    variables: &'a Variables,
    /// Prices of fragments. One that is being priced counts nothing within itself: validation refuses circles.
    known: HashMap<&'a str, Price>,
}

impl<'a> Pricing<'a> {
    fn of(&mut self, selection: &'a SelectionSet, parent: &str) -> Price {
        let mut sum = Price::default();
        for item in &selection.items {
            let price = match &item.node {
                Selection::Field(field) => self.of_field(&field.node, parent),
                Selection::InlineFragment(fragment) => {
                    let on = fragment.node.type_condition.as_ref().map(|on| on.node.on.node.as_str());
                    self.of(&fragment.node.selection_set.node, on.unwrap_or(parent))
                }
                Selection::FragmentSpread(spread) => self.of_fragment(spread.node.fragment_name.node.as_str()),
            };
            sum.cost = sum.cost.saturating_add(price.cost);
            sum.lists = sum.lists.max(price.lists);
        }
        sum
    }

    fn of_fragment(&mut self, name: &str) -> Price {
        if let Some(price) = self.known.get(name) {
            return *price;
        }
        let Some((name, fragment)) = self.document.fragments.get_key_value(name) else { return Price::default() };
        self.known.insert(name.as_str(), Price::default());
        let price = self.of(&fragment.node.selection_set.node, fragment.node.type_condition.node.on.node.as_str());
        self.known.insert(name.as_str(), price);
        price
    }

    fn of_field(&mut self, field: &'a Field, parent: &str) -> Price {
        let name = field.name.node.as_str();
        let Some(known) = self.registry.types.get(parent).and_then(|parent| parent.field_by_name(name)) else {
            // `__schema` and `__type` are in no type of the registry.
            let inside = self.of(&field.selection_set.node, if name == "__type" { "__Type" } else { "__Schema" });
            return if name.starts_with("__") { inside } else { Price::default() };
        };
        if field.selection_set.node.items.is_empty() {
            return Price::default();
        }
        let result = MetaTypeName::concrete_typename(&known.ty);
        let inside = self.of(&field.selection_set.node, result);
        if parent.starts_with("__") {
            let is_list = INTROSPECTION_LISTS.contains(&name);
            return Price { cost: 0, lists: inside.lists + usize::from(is_list) };
        }
        let is_connected = parent.ends_with("Connection");
        let cost = if result.ends_with("Connection") {
            self.page_size(field).saturating_mul(inside.cost.max(1))
        } else if is_connected && name == "edges" {
            inside.cost
        } else if is_connected && name == "pageInfo" {
            0
        } else {
            self.given(field).saturating_mul(inside.cost.saturating_add(1))
        };
        Price { cost, lists: inside.lists }
    }

    /// Entries of the page that is asked for. What is out of bounds is refused later.
    fn page_size(&self, field: &Field) -> usize {
        let asked = ["first", "last"].into_iter().find_map(|name| match self.argument(field, name) {
            Some(Value::Number(number)) => number.as_u64(),
            _ => None,
        });
        usize::try_from(asked.unwrap_or(PAGE_DEFAULT).min(PAGE_MAX)).unwrap_or(usize::MAX)
    }

    /// Entries of the list that a field is given, if it is.
    fn given(&self, field: &Field) -> usize {
        let entries = LIST_ARGUMENTS.into_iter().find_map(|name| match self.argument(field, name) {
            Some(Value::List(list)) => Some(list.len()),
            _ => None,
        });
        entries.unwrap_or(1)
    }

    fn argument(&self, field: &Field, name: &str) -> Option<Value> {
        let value = field.get_argument(name)?.node.clone();
        value.into_const_with(|name| self.variables.get(&name).cloned().ok_or(())).ok()
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::Request;
    use serde_json::json;

    use crate::config::Limits;
    use crate::graphql;

    async fn refusal(max: usize, query: &str, variables: serde_json::Value) -> Option<String> {
        let schema = graphql::schema(&Limits { complexity_max: max, ..Limits::default() });
        let variables = variables.as_object().cloned().unwrap_or_default();
        let response = schema.execute(Request::new(query).variables(graphql::variables(variables))).await;
        response.errors.into_iter().map(|error| error.message).find(|message| message.contains("costs"))
    }

    async fn cost(query: &str) -> usize {
        let message = refusal(0, query, json!({})).await.expect("everything costs more than nothing");
        message.split([' ', ';']).nth(3).and_then(|number| number.parse().ok()).expect("the message tells the cost")
    }

    #[tokio::test]
    async fn an_object_costs_one_and_a_connection_its_page_size() {
        assert_eq!(cost("{ serverInfo { version apiVersion } }").await, 1);
        assert_eq!(cost("{ deliveries { totalCount } }").await, 20);
        assert_eq!(cost("{ deliveries(first: 7) { nodes { id } edges { cursor } pageInfo { endCursor } } }").await, 7);
        assert_eq!(cost("{ deliveries(first: 5) { edges { node { id event { id } } } } }").await, 10);
        assert_eq!(cost("{ deliveries(last: 10) { nodes { attempts(first: 3) { nodes { id } } } } }").await, 40);
        assert_eq!(cost(r#"{ nodes(ids: ["a", "b", "c"]) { id } }"#).await, 3);
    }

    #[tokio::test]
    async fn fragments_and_variables_are_followed() {
        let query = "{ ...a ...a } fragment a on Query { deliveries(first: 2) { nodes { ...b } } } \
                     fragment b on Delivery { event { id } }";
        assert_eq!(cost(query).await, 8);
        let query = "query ($n: Int) { deliveries(first: $n) { nodes { id } } }";
        assert!(refusal(49, query, json!({ "n": 50 })).await.is_some());
        assert!(refusal(50, query, json!({ "n": 50 })).await.is_none());
    }

    #[tokio::test]
    async fn circles_and_deep_introspection_are_refused() {
        let schema = graphql::schema(&Limits::default());
        for query in [
            "{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }",
            "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }",
            r#"{ __type(name: "Query") { fields { type { fields { type { inputFields { name } } } } } } }"#,
            "subscription { a: deliveryUpdated { cursor } b: deliveryUpdated { cursor } }",
        ] {
            assert!(!schema.execute(query).await.errors.is_empty(), "{query}");
        }
    }
}
