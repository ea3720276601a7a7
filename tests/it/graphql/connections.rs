//! Connections as Relay wants them, every one that the schema has.

use angarium_tests::{TestApp, builder, on_both_databases};
use serde_json::{Value, json};

/// Entries that each list of the fixture has at least.
const ENTRIES: usize = 5;
const SELECTION: &str = "{ edges { cursor node { id } } nodes { id } pageInfo { hasNextPage hasPreviousPage startCursor \
    endCursor } totalCount totalCountIsExact }";
const BY_TIME: &[&str] = &["", "CREATED_AT ASC", "CREATED_AT DESC"];
const OF_DELIVERIES: &[&str] = &["", "CREATED_AT ASC", "NEXT_ATTEMPT_AT ASC", "UPDATED_AT DESC"];
const OF_ENDPOINTS: &[&str] = &["", "CREATED_AT ASC", "NAME ASC", "NAME DESC", "UPDATED_AT ASC"];
const OF_SUBSCRIPTIONS: &[&str] =
    &["", "CREATED_AT ASC", "NAME DESC", "UPDATED_AT ASC", "EXPIRES_AT ASC", "EXPIRES_AT DESC"];

/// A connection.
struct Case {
    /// Type and field.
    field: &'static str,
    /// The document, where `%` stands for the arguments and the selection.
    document: &'static str,
    /// The orders that it takes.
    orders: &'static [&'static str],
    /// Whether it takes `offset`.
    skips: bool,
    /// Whether only an operator sees all of it.
    is_operators: bool,
}

const fn case(field: &'static str, document: &'static str, orders: &'static [&'static str], skips: bool) -> Case {
    Case { field, document, orders, skips, is_operators: false }
}

const CASES: &[Case] = &[
    case("Delivery.attempts", "query($delivery: ID!) { delivery(id: $delivery) { attempts% } }", &[""], false),
    case("Event.deliveries", "query($event: ID!) { event(id: $event) { deliveries% } }", &[""], false),
    case("Query.deliveries", "{ deliveries% }", BY_TIME, true),
    case("Query.eventTypes", "{ eventTypes% }", &[""], true),
    case("Query.events", "{ events% }", BY_TIME, true),
    case("Query.replays", "{ replays% }", &[""], false),
    case("Query.webhookEndpoints", "{ webhookEndpoints% }", OF_ENDPOINTS, true),
    case("Query.webhookSubscriptions", "{ webhookSubscriptions% }", OF_SUBSCRIPTIONS, true),
    Case { is_operators: true, ..case("Query.workspaces", "{ workspaces% }", &[""], false) },
    case(
        "WebhookEndpoint.deliveries",
        "query($endpoint: ID!) { webhookEndpoint(id: $endpoint) { deliveries% } }",
        OF_DELIVERIES,
        true,
    ),
    case(
        "WebhookEndpoint.subscriptions",
        "query($endpoint: ID!) { webhookEndpoint(id: $endpoint) { subscriptions% } }",
        OF_SUBSCRIPTIONS,
        false,
    ),
    case(
        "WebhookSubscription.deliveries",
        "query($subscription: ID!) { webhookSubscription(id: $subscription) { deliveries% } }",
        OF_DELIVERIES,
        true,
    ),
    case("Workspace.apiKeys", "{ viewer { workspace { apiKeys% } } }", &[""], false),
];

/// Makes lists of [`ENTRIES`] and answers the IDs of their owners.
async fn fixture(app: &TestApp) -> Value {
    let receiver = app.receiver().await;
    let first = app.subscribe(receiver.url()).await;
    let mut idle = String::new();
    for place in 1..ENTRIES {
        let name = format!("n{}", place % 3);
        let input = json!({ "name": name, "eventTypes": ["sms.outbound"], "endpoint": { "id": first.endpoint }, "expiresIn": format!("P{place}D") });
        idle = builder::subscribe(&app.api, input).await.id;
        let create = json!({ "create": { "url": receiver.url(), "name": name } });
        builder::subscribe(&app.api, json!({ "eventTypes": ["*"], "endpoint": create })).await;
        builder::event_type(&app.admin, &format!("type.{place}")).await;
        let (_, _) = builder::workspace_with_key(&app.admin, &format!("w{place}")).await;
        builder::key(&app.admin, &app.workspace, &["EVENT_READ"]).await;
    }
    let mut event = String::new();
    for place in 0..ENTRIES {
        event = app.publish(json!(place)).await;
        let replay =
            "mutation($input: ReplayCreateInput!) { replayCreate(input: $input) { userErrors { code message } } }";
        // To a subscription that wants other types: there is nothing to send.
        let target = json!({ "target": { "eventIds": [event] }, "subscriptionIds": [idle] });
        let made = app.api.data(replay, json!({ "input": target })).await;
        assert_eq!(made["replayCreate"]["userErrors"], json!([]));
    }
    let deliveries = app.deliveries_in("SUCCEEDED", ENTRIES * ENTRIES).await;
    let delivery = &deliveries[0]["id"];
    for place in 1..ENTRIES {
        let retry = "mutation($id: ID!) { deliveryRetry(id: $id) { userErrors { code message } } }";
        let retried = app.api.data(retry, json!({ "id": delivery })).await;
        assert_eq!(retried["deliveryRetry"]["userErrors"], json!([]));
        receiver.expect_requests(ENTRIES * ENTRIES + place).await;
        app.deliveries_in("SUCCEEDED", ENTRIES * ENTRIES).await;
    }
    json!({ "delivery": delivery, "event": event, "endpoint": first.endpoint, "subscription": first.id })
}

struct Reader<'a> {
    app: &'a TestApp,
    case: &'a Case,
    ids: &'a Value,
    order: &'a str,
}

impl Reader<'_> {
    async fn answer(&self, arguments: &str) -> Value {
        let order = match self.order.split_once(' ') {
            Some((field, direction)) => format!("orderBy: {{ field: {field}, direction: {direction} }}"),
            None => String::new(),
        };
        let all = [arguments, &order].join(" ");
        let all = if all.trim().is_empty() { String::new() } else { format!("({all})") };
        let document = self.case.document.replace('%', &format!("{all} {SELECTION}"));
        let declared = |name: &String| document.contains(&format!("${name}:"));
        let variables: serde_json::Map<_, _> = self
            .ids
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(name, _)| declared(name))
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect();
        let api = if self.case.is_operators { &self.app.admin } else { &self.app.api };
        api.post(&document, Value::Object(variables)).await.1
    }

    async fn page(&self, arguments: &str) -> Value {
        let answer = self.answer(arguments).await;
        assert!(answer.get("errors").is_none(), "{} {}: {answer:#}", self.case.field, self.order);
        let mut value = &answer["data"];
        while value.get("edges").is_none() {
            value = value.as_object().and_then(|object| object.values().next()).expect("a connection");
        }
        let page = value.clone();
        let edges = page["edges"].as_array().expect("edges");
        let of_edges: Vec<_> = edges.iter().map(|edge| edge["node"].clone()).collect();
        assert_eq!(page["nodes"], json!(of_edges));
        let ends = [edges.first(), edges.last()].map(|edge| edge.map_or(Value::Null, |edge| edge["cursor"].clone()));
        assert_eq!([page["pageInfo"]["startCursor"].clone(), page["pageInfo"]["endCursor"].clone()], ends);
        page
    }

    /// Reads all in pages of two, forward or backward.
    async fn walk(&self, count: &str, cursor: &str, info: (&str, &str)) -> Vec<Value> {
        let (mut pages, mut place) = (Vec::new(), String::new());
        loop {
            let page = self.page(&format!("{count}: 2{place}")).await;
            let nodes = page["nodes"].as_array().expect("nodes").clone();
            assert!(nodes.len() <= 2 && !nodes.is_empty());
            place = format!(", {cursor}: {}", page["pageInfo"][info.1]);
            pages.push(nodes);
            if page["pageInfo"][info.0] == false {
                break;
            }
        }
        if count == "last" {
            pages.reverse();
        }
        pages.concat()
    }
}

on_both_databases! {
    async fn every_connection_of_the_schema_has_a_case(app) {
        let query = "{ __schema { types { kind name fields { name type { name ofType { name } } } } } }";
        let data = app.api.data(query, json!({})).await;
        let mut found: Vec<String> = Vec::new();
        for one in data["__schema"]["types"].as_array().expect("types").iter().filter(|one| one["kind"] == "OBJECT") {
            for field in one["fields"].as_array().into_iter().flatten() {
                let name = field["type"]["name"].as_str().or(field["type"]["ofType"]["name"].as_str()).unwrap_or_default();
                if name.ends_with("Connection") {
                    found.push(format!("{}.{}", builder::text(&one["name"]), builder::text(&field["name"])));
                }
            }
        }
        found.sort_unstable();
        let cases: Vec<_> = CASES.iter().map(|case| case.field).collect();
        assert_eq!(found, cases);
        app.end().await;
    }

    async fn pages_of_every_connection_hold_each_entry_once_in_both_directions(app) {
        let ids = fixture(&app).await;
        for case in CASES {
            for order in case.orders {
                let reader = Reader { app: &app, case, ids: &ids, order };
                let all = reader.page("first: 100").await;
                let nodes = all["nodes"].as_array().expect("nodes").clone();
                let (count, what) = (nodes.len(), format!("{} {order}", case.field));
                assert!(count >= ENTRIES, "{what} has only {count} entries");
                assert_eq!((&all["totalCount"], &all["totalCountIsExact"]), (&json!(count), &json!(true)), "{what}");
                let info = &all["pageInfo"];
                assert_eq!((&info["hasNextPage"], &info["hasPreviousPage"]), (&json!(false), &json!(false)), "{what}");
                assert_eq!(reader.walk("first", "after", ("hasNextPage", "endCursor")).await, nodes, "{what}");
                assert_eq!(reader.walk("last", "before", ("hasPreviousPage", "startCursor")).await, nodes, "{what}");
                let exact = reader.page(&format!("first: {count}")).await;
                assert_eq!(exact["pageInfo"]["hasNextPage"], false, "{what}");
                let last = &all["pageInfo"]["endCursor"];
                let nothing = reader.page(&format!("first: 2, after: {last}")).await;
                assert_eq!((&nothing["nodes"], &nothing["pageInfo"]["hasPreviousPage"]), (&json!([]), &json!(true)), "{what}");
                let default = reader.page("").await;
                assert_eq!(default["nodes"].as_array().map(Vec::len), Some(count.min(20)), "{what}");
                if case.skips {
                    assert_eq!(reader.page("first: 2, offset: 3").await["nodes"], json!(nodes[3..5]), "{what}");
                    assert_eq!(reader.page("offset: 10000").await["nodes"], json!([]), "{what}");
                }
            }
        }
        app.end().await;
    }

    async fn what_a_page_cannot_be_is_refused_everywhere(app) {
        let ids = fixture(&app).await;
        for case in CASES {
            let reader = Reader { app: &app, case, ids: &ids, order: "" };
            let cursor = reader.page("").await["pageInfo"]["endCursor"].clone();
            let mut wrong = vec![
                "first: 0".to_owned(),
                "first: 101".to_owned(),
                "first: -1".to_owned(),
                "last: 101".to_owned(),
                "first: 1, last: 1".to_owned(),
                "after: \"nonsense\"".to_owned(),
                "last: 1, before: \"\"".to_owned(),
            ];
            if case.skips {
                wrong.extend([format!("offset: 1, after: {cursor}"), "offset: 10001".to_owned(), "offset: -1".to_owned(), "offset: 1, last: 1".to_owned()]);
            }
            for arguments in wrong {
                let answer = reader.answer(&arguments).await;
                assert_eq!(answer["errors"][0]["extensions"]["code"], "BAD_USER_INPUT", "{} {arguments}: {answer:#}", case.field);
            }
            for order in case.orders.iter().filter(|order| order.contains(' ') && !order.starts_with("CREATED_AT")) {
                let other = Reader { app: &app, case, ids: &ids, order };
                let answer = other.answer(&format!("first: 1, after: {cursor}")).await;
                assert_eq!(answer["errors"][0]["extensions"]["code"], "BAD_USER_INPUT", "a cursor is bound to its order: {} {order}", case.field);
            }
        }
        app.end().await;
    }
}
