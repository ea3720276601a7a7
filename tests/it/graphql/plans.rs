//! Every list is answered from an index, or refused.
//!
//! Cases   each condition of each list with each order, as the schema has them, alone and within an endpoint, a
//!         subscription, an event and a week; also in the lists of objects. A new condition or order is a new case.
//! Many    the workspace has more endpoints and subscriptions than are read through, and so has the catalogue types: what
//!         no index answers is refused. SQLite is only told so.
//! SQLite  its plans do not depend on the data: no table is scanned, and what is sorted is within a parent or merged
//!         from pages.
//! PostgreSQL  plans with the data, and so the statements are run on some: what they read is counted. Small tables it
//!         would rather read whole than through an index; what is asked here is whether there is one, so it is told not
//!         to. A count may read what it counts, up to where it stops.

use std::collections::BTreeSet;

use angarium_tests::{Backend, GraphQl, TestApp, builder};
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use serde_json::{Map, Value, json};

use super::introspection::{Types, named, text};

/// Deliveries and events of the workspace that is asked about; others have as many.
const ROWS: u64 = 10_000;
/// Endpoints and subscriptions that they belong to.
const PARENTS: u64 = 40;
/// Endpoints, subscriptions and event types beside these: more than are read through for a condition without an index.
const BESIDE: u64 = 10_001;
/// Most rows that a statement reads: those of a few parents, or of a week.
const READ_MAX: f64 = 2_500.0;
/// Where a count stops.
const COUNTED_MAX: f64 = 10_000.0;

/// The lists: how to ask, the type of the conditions and that of the order.
const LISTS: [(&str, &str, Option<&str>); 5] = [
    ("deliveries", "DeliveryWhere", Some("DeliveryOrder")),
    ("events", "EventWhere", Some("EventOrder")),
    ("webhookEndpoints", "WebhookEndpointWhere", Some("WebhookEndpointOrder")),
    ("webhookSubscriptions", "WebhookSubscriptionWhere", Some("WebhookSubscriptionOrder")),
    ("eventTypes", "EventTypeWhere", None),
];

/// A workspace with one of each, and on PostgreSQL many.
struct Plans {
    app: TestApp,
    types: Types,
    ids: Map<String, Value>,
}

impl Plans {
    async fn start(backend: Backend) -> Self {
        let app = TestApp::start(backend).await;
        let receiver = app.receiver().await;
        let made = app.subscribe(receiver.url()).await;
        app.publish(json!(1)).await;
        let delivery = app.delivery_in("SUCCEEDED").await;
        builder::publish(&app.api, json!({ "eventType": "sms.outbound", "payload": 2 })).await;
        app.deliveries_in("SUCCEEDED", 2).await;
        let told = "UPDATE workspace SET endpoint_count = 20000, subscription_count = 20000";
        app.state().db.write().execute_unprepared(told).await.expect("it is stored");
        if backend == Backend::Postgres {
            let transaction = app.state().db.begin().await.expect("it begins");
            for statement in many() {
                transaction.execute_unprepared(&statement).await.expect(&statement);
            }
            transaction.commit().await.expect("they are stored");
        }
        let types = Types::read(&app.admin).await;
        let ids = json!({ "endpointId": made.endpoint, "subscriptionId": made.id, "eventId": delivery["event"]["id"],
            "replayId": "rpl_00000000000000000000000001", "DeliveryWhere": [delivery["id"]],
            "EventWhere": [delivery["event"]["id"]], "WebhookEndpointWhere": [made.endpoint],
            "WebhookSubscriptionWhere": [made.id] });
        Self { app, types, ids: ids.as_object().expect("an object").clone() }
    }

    /// A week of which there are rows.
    fn week(&self) -> Value {
        let now = angarium_entity::Clock::now(&self.app.clock);
        let days = |days: u64| (now - std::time::Duration::from_secs(days * 86_400)).to_string();
        json!({ "gte": days(20), "lt": days(13) })
    }

    /// Each condition of a kind of list, by itself.
    fn conditions(&self, input: &str) -> Vec<Value> {
        let fields = self.types.get(input)["inputFields"].as_array().expect("fields").iter();
        let mut all: Vec<Value> = fields
            .map(|field| {
                let (name, of) = (text(&field["name"]), named(&field["type"]));
                json!({ name: if name == "ids" { self.ids[input].clone() } else { self.value(name, of.name, of.is_list) } })
            })
            .collect();
        all.push(json!({}));
        if input == "DeliveryWhere" {
            for status in [json!(["FAILED", "EXHAUSTED"]), json!(["CANCELED"]), json!(["SUCCEEDED"])] {
                all.push(json!({ "status": status }));
            }
        }
        if matches!(input, "DeliveryWhere" | "EventWhere") {
            for names in [json!(["invoice.*"]), json!(["*"]), json!(["sms.outbound", "sms.none", "sms.outbound"])] {
                all.push(json!({ "eventType": names }));
            }
            all.push(json!({ "createdAt": { "gte": self.week()["gte"] } }));
        }
        all
    }

    fn value(&self, field: &str, of: &str, is_list: bool) -> Value {
        let one = match of {
            "ID" => self.ids.get(field).unwrap_or_else(|| panic!("what is the ID of {field}?")).clone(),
            "String" => json!("some text"),
            "Boolean" => json!(true),
            "Int" => json!(500),
            "EventTypeName" | "EventTypePattern" => json!("sms.outbound"),
            "DateTimeRange" => self.week(),
            other => {
                let words = self.types.get(other)["enumValues"].as_array();
                json!(text(&words.unwrap_or_else(|| panic!("what is a {other}?"))[0]["name"]))
            }
        };
        if is_list { json!([one]) } else { one }
    }

    /// Each order of a kind of list.
    fn orders(&self, input: Option<&str>) -> Vec<Value> {
        let Some(input) = input else { return vec![Value::Null] };
        let fields = self.types.get(input)["inputFields"].as_array().expect("fields");
        let field = fields.iter().find(|field| field["name"] == "field").expect("an order has a field");
        let words = self.types.get(named(&field["type"]).name)["enumValues"].as_array().expect("words");
        words
            .iter()
            .flat_map(|word| ["ASC", "DESC"].map(|way| json!({ "field": word["name"], "direction": way })))
            .collect()
    }

    /// Asks, and checks how the database answers. False when it was refused as too broad.
    async fn check(&self, api: &GraphQl, query: &str, variables: &Value, is_bounded: bool) -> bool {
        let (statements, (_, answer)) = self.app.statements_of(api.post(query, variables.clone())).await;
        if let Some(errors) = answer.get("errors") {
            assert_eq!(errors[0]["extensions"]["code"], "FILTER_TOO_BROAD", "{query} {variables} {answer}");
            return false;
        }
        let mut checked = BTreeSet::new();
        for statement in statements.iter().filter(|one| is_of_a_list(&one.sql) && checked.insert(one.sql.clone())) {
            let problem = self.problem(statement, is_bounded).await;
            assert!(problem.is_none(), "{query} {variables}\n{}\n{}", statement.sql, problem.unwrap_or_default());
        }
        assert!(!checked.is_empty(), "{query} asks nothing");
        true
    }

    async fn problem(&self, statement: &Statement, is_bounded: bool) -> Option<String> {
        let db = &self.app.state().db;
        let (how, column) = match db.backend() {
            DbBackend::Postgres => ("EXPLAIN (ANALYZE, FORMAT JSON)", "QUERY PLAN"),
            _ => ("EXPLAIN QUERY PLAN", "detail"),
        };
        let explain = Statement { sql: format!("{how} {}", statement.sql), ..statement.clone() };
        let transaction = db.begin().await.expect("it begins");
        if db.backend() == DbBackend::Postgres {
            transaction.execute_unprepared("SET LOCAL enable_seqscan = off").await.expect("it is a setting");
        }
        let rows = transaction.query_all_raw(explain).await.expect("it is a select");
        transaction.rollback().await.expect("it ends");
        if db.backend() == DbBackend::Postgres {
            let plan: Value = rows[0].try_get("", column).expect("a plan");
            let read = rows_read(&plan[0]["Plan"]);
            let read_max = if statement.sql.contains("COUNT(*)") { COUNTED_MAX + READ_MAX } else { READ_MAX };
            return (read > read_max).then(|| format!("{read} rows are read: {plan:#}"));
        }
        let steps: Vec<String> = rows.iter().map(|row| row.try_get("", column).expect("a step")).collect();
        let is_merged = statement.sql.contains(r#"AS "part""#);
        let is_wrong = |step: &String| {
            let scans = [
                "delivery",
                "event",
                "attempt",
                "endpoint",
                "endpoint_health",
                "subscription",
                "signing_secret",
                "replay",
                "api_key",
            ];
            scans.iter().any(|table| *step == format!("SCAN {table}") || step.starts_with(&format!("SCAN {table} ")))
                || (step.contains("TEMP B-TREE") && step.contains("ORDER BY") && !is_bounded && !is_merged)
        };
        steps.iter().any(is_wrong).then(|| steps.join("\n"))
    }
}

/// Of what a caller asks; the dispatcher writes its tables without quotes.
fn is_of_a_list(sql: &str) -> bool {
    ["delivery", "event", "attempt", "endpoint", "subscription", "event_type", "replay", "api_key"]
        .iter()
        .any(|table| sql.contains(&format!(r#"FROM "{table}""#)))
}

/// The rows that all parts of a plan touch.
fn rows_read(plan: &Value) -> f64 {
    let number = |name: &str| plan[name].as_f64().unwrap_or(0.0);
    let is_of_table = plan["Node Type"].as_str().is_some_and(|kind| kind.contains("Scan")) && plan["Alias"] != "entry";
    let own = number("Actual Rows") + number("Rows Removed by Filter") + number("Rows Removed by Index Recheck");
    let own = if is_of_table && !plan["Relation Name"].is_null() { own * number("Actual Loops") } else { 0.0 };
    own + plan["Plans"].as_array().into_iter().flatten().map(rows_read).sum::<f64>()
}

/// Copies of the one row of each table: half of them of another workspace, over four months, few of them unusual.
fn many() -> Vec<String> {
    let copy = |table: &str, count: u64, fields: &str| {
        format!(
            "INSERT INTO {table} SELECT new.* FROM (SELECT id AS first FROM {table} ORDER BY id LIMIT 1) AS chosen \
             JOIN {table} AS old ON old.id = first, generate_series(1, {count}) AS n, \
             LATERAL jsonb_populate_record(old, jsonb_build_object({fields})) AS new"
        )
    };
    let id = |kind: &str, n: &str| format!("md5('{kind}' || ({n}))::uuid");
    let workspace = "'workspace_id', CASE WHEN n % 2 = 0 THEN old.workspace_id ELSE md5('other')::uuid END";
    let at = |days: u64, count: u64| format!("old.created_at - {days} * 86400000::bigint * n / {count}");
    let parent = |kind: &str| id(kind, &format!("n % {PARENTS} + 1"));
    let (all, made) = (2 * ROWS, at(140, 2 * ROWS));
    let event_type = "'event_type', CASE n % 500 WHEN 0 THEN 'sms.outbound' ELSE 'invoice.paid' END";
    let status = "CASE WHEN n % 200 = 2 THEN 'FAILED' WHEN n % 200 = 4 THEN 'RETRYING' WHEN n % 200 = 6 THEN 'PENDING' \
        WHEN n % 200 = 8 THEN 'EXHAUSTED' WHEN n % 200 = 10 THEN 'CANCELED' ELSE 'SUCCEEDED' END";
    let due = format!("CASE WHEN n % 200 IN (4, 6) THEN {made} + 1000 END");
    let delivery = format!(
        "'id', {}, {workspace}, {event_type}, 'created_at', {made}, 'updated_at', {made} + n, 'last_attempt_at', {made}, \
         'event_id', {}, 'endpoint_id', {}, 'subscription_id', {}, 'status', {status}, 'next_attempt_at', {due}, \
         'completed_at', CASE WHEN n % 200 NOT IN (4, 6) THEN {made} END, 'seq', n + 100",
        id("delivery", "n"),
        id("event", "n"),
        parent("endpoint"),
        parent("subscription")
    );
    let event = format!(
        "'id', {}, {workspace}, {event_type}, 'created_at', {made}, 'test', n % 500 = 0, \
         'idempotency_key', CASE WHEN n % 500 = 0 THEN 'k' || n END",
        id("event", "n")
    );
    let health = "INSERT INTO endpoint_health SELECT new.* FROM endpoint_health AS old, endpoint, \
         LATERAL jsonb_populate_record(old, jsonb_build_object('endpoint_id', endpoint.id, 'workspace_id', \
         endpoint.workspace_id)) AS new WHERE endpoint.id <> old.endpoint_id"
        .to_string();
    let attempt = format!("'id', {}, {workspace}, 'delivery_id', {}", id("attempt", "n"), id("delivery", "n"));
    let endpoint = format!("'id', {}, 'name', 'n' || n, 'created_at', {}", id("endpoint", "n"), at(140, PARENTS));
    let subscription = format!(
        "'id', {}, 'endpoint_id', {}, 'name', 'n' || n, 'created_at', {}",
        id("subscription", "n"),
        id("endpoint", "n"),
        at(140, PARENTS)
    );
    let revisions = |of: &str, fields: &str| {
        format!(
            "INSERT INTO {of}_revision SELECT new.* FROM {of}_revision AS old, generate_series(1, {PARENTS}) AS n, \
             LATERAL jsonb_populate_record(old, jsonb_build_object('{of}_id', {}, {fields})) AS new",
            id(of, "n")
        )
    };
    let beside = |kind: &str, more: &str| {
        format!("'id', {}, 'created_at', {}, {more}", id(&format!("beside {kind}"), "n"), at(140, BESIDE))
    };
    let of_beside = format!("'name', 'b' || n, 'owner_id', 'o' || n, 'endpoint_id', {}", id("beside endpoint", "n"));
    let of_beside = beside("subscription", &of_beside);
    let others = |kind: &str| format!("'id', {}, 'workspace_id', md5('other')::uuid", id(kind, "n"));
    vec![
        "SET LOCAL session_replication_role = replica".to_owned(),
        "INSERT INTO workspace SELECT new.* FROM (SELECT id AS first FROM workspace LIMIT 1) AS chosen \
         JOIN workspace AS old ON old.id = first, \
         LATERAL jsonb_populate_record(old, jsonb_build_object('id', md5('other')::uuid, 'external_id', 'other')) AS new"
            .to_owned(),
        copy("endpoint", PARENTS, &endpoint),
        copy("endpoint", BESIDE, &beside("endpoint", "'name', 'b' || n")),
        revisions("endpoint", "'version', old.version"),
        revisions("subscription", &format!("'endpoint_id', {}", id("endpoint", "n"))),
        copy("endpoint", 5_000, &others("others endpoint")),
        copy("subscription", PARENTS, &subscription),
        copy("subscription", BESIDE, &of_beside),
        copy("event_type", BESIDE, &beside("event_type", "'name', 'beside.' || n")),
        copy("subscription", 5_000, &others("others subscription")),
        health,
        copy("event", all, &event),
        copy("delivery", all, &delivery),
        copy("attempt", all, &attempt),
        "ANALYZE".to_owned(),
    ]
}

/// Every list of the root, and what is within a parent.
async fn check_all(backend: Backend) {
    let plans = Plans::start(backend).await;
    let api = &plans.app.api;
    let (mut answered, mut refused) = (0, 0);
    for (list, input, order) in LISTS {
        let arguments = order.map_or(String::new(), |order| format!(", $by: {order}"));
        let by = if order.is_some() { ", orderBy: $by" } else { "" };
        let query = format!(
            "query($where: {input}{arguments}) {{ {list}(where: $where{by}) {{ totalCount nodes {{ id }} }} }}"
        );
        let bounds: &[&str] = match list {
            "deliveries" => &["", "endpointId", "subscriptionId", "eventId", "createdAt"],
            "events" => &["", "createdAt"],
            _ => &[""],
        };
        for condition in plans.conditions(input) {
            for by in plans.orders(order) {
                for bound in bounds {
                    let mut all = condition.as_object().expect("an object").clone();
                    match *bound {
                        "" => {}
                        "createdAt" => drop(all.insert("createdAt".to_owned(), plans.week())),
                        id => drop(all.insert(id.to_owned(), plans.ids[id].clone())),
                    }
                    let narrow = [
                        "ids",
                        "idempotencyKey",
                        "endpointId",
                        "subscriptionId",
                        "eventId",
                        "replayId",
                        "name",
                        "ownerId",
                    ];
                    let is_bounded = !bound.is_empty() || narrow.iter().any(|name| all.contains_key(*name));
                    let is_answered = plans.check(api, &query, &json!({ "where": all, "by": by }), is_bounded).await;
                    answered += u32::from(is_answered);
                    refused += u32::from(!is_answered);
                }
            }
        }
    }
    assert!(answered > 300 && refused > 20, "{answered} were answered, {refused} refused");
    for parent in ["webhookEndpoints", "webhookSubscriptions", "events"] {
        let (arguments, by) = if parent == "events" { ("", "") } else { (", $by: DeliveryOrder", ", orderBy: $by") };
        let query = format!(
            "query($where: DeliveryWhere{arguments}) {{ {parent}(first: 3) {{ nodes {{ \
             deliveries(first: 5, where: $where{by}) {{ totalCount nodes {{ id }} }} }} }} }}"
        );
        for condition in plans.conditions("DeliveryWhere") {
            for by in plans.orders(Some("DeliveryOrder")) {
                plans.check(api, &query, &json!({ "where": condition, "by": by }), true).await;
            }
        }
    }
    let query = "query($where: WebhookSubscriptionWhere, $by: WebhookSubscriptionOrder) { webhookEndpoints(first: 3) \
        { nodes { subscriptions(first: 5, where: $where, orderBy: $by) { totalCount nodes { id } } } } }";
    for condition in plans.conditions("WebhookSubscriptionWhere") {
        for by in plans.orders(Some("WebhookSubscriptionOrder")) {
            assert!(plans.check(api, query, &json!({ "where": condition, "by": by }), true).await, "{condition}");
        }
    }
    for query in [
        "{ deliveries(first: 50) { nodes { attempts(first: 5) { nodes { id request { url } } } lastAttempt { id } } } }",
        "{ deliveries(first: 50) { nodes { event { id } endpoint { id backlog signing { scheme } } subscription { id } } } }",
        "{ replays(first: 5) { totalCount nodes { id } } }",
        "{ webhookEndpoints(first: 3) { nodes { subscriptions(first: 5) { nodes { id } } backlog oldestPendingAt } } }",
    ] {
        plans.check(api, query, &json!({}), true).await;
    }
    let query = "{ workspaces(first: 5) { totalCount nodes { apiKeys(first: 5) { totalCount nodes { id } } } } }";
    plans.check(&plans.app.admin, query, &json!({}), false).await;
    plans.app.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_list_reads_a_whole_table_of_sqlite() {
    check_all(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_list_reads_a_whole_table_of_postgresql() {
    check_all(Backend::Postgres).await;
}
