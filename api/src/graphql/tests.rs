//! The schema as a whole, on a database of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use angarium_dispatcher::{AddressGuard, Config, Dispatcher, Tracer};
use angarium_entity::api_key::{Scope, Scopes};
use angarium_entity::sealer::Sealer;
use angarium_entity::{Database, SystemClock, workspace};
use async_graphql::Request;
use futures_util::StreamExt as _;
use sea_orm::{EntityTrait as _, IntoActiveModel as _};
use serde_json::{Value, json};

use super::{Schema, prepare, schema, variables};
use crate::config::Limits;
use crate::{AppState, Caller, app};

const SUBSCRIBE: &str =
    "mutation ($input: WebhookSubscriptionCreateInput!) { webhookSubscriptionCreate(input: $input) {
    webhookSubscription { id status endpoint { id url signing { scheme secretHint } } retryPolicy { strategy } }
    signingSecret userErrors { code message field } } }";
const PUBLISH: &str = "mutation ($input: EventPublishInput!) { eventPublish(input: $input) {
    event { id payload eventType { name } } duplicate userErrors { code message field } } }";

/// A server without HTTP, and one workspace.
struct Server {
    state: AppState,
    schema: Schema,
    dispatcher: Dispatcher,
    workspace: workspace::Model,
    path: PathBuf,
}

impl Server {
    async fn start() -> Self {
        let path = std::env::temp_dir().join(format!("angarium-graphql-{}.db", uuid::Uuid::now_v7().simple()));
        let db = Database::open(&format!("sqlite://{}", path.display()), 4).await.expect("the database opens");
        angarium_migration::up(db.write()).await.expect("it migrates");
        let (sealer, clock) = (Sealer::new(&[7; 32]), Arc::new(SystemClock));
        let config = Config {
            arbiters: 1,
            in_flight_max: 8,
            idle_hosts_max: 8,
            awake_max: angarium_dispatcher::config::AWAKE_MAX,
            guard: AddressGuard::default(),
            name_servers: Vec::new(),
            proxy: None,
            read_target: app::replay::read_target,
            redis: None,
            lease_ttl: angarium_dispatcher::config::LEASE_TTL,
            sweeps_retries: true,
            metrics: crate::metrics::Metrics::new().expect("no two have the same name").of_dispatcher(),
            tracer: Tracer::off(),
        };
        let dispatcher =
            Dispatcher::start(config, db.clone(), sealer.clone(), clock.clone()).await.expect("the dispatcher starts");
        let limits = Arc::new(Limits::default());
        let state = AppState {
            db,
            dispatcher: dispatcher.handle(),
            sealer,
            clock,
            limits: Arc::clone(&limits),
            event_types: Arc::default(),
            known_keys: Arc::default(),
            tracer: Tracer::off(),
            admin_key_hash: None,
            public_url: "http://localhost".into(),
        };
        let draft = app::workspace::Draft::named("Acme");
        let workspace = app::workspace::check(draft, state.now()).expect("the draft is right");
        let row = workspace.clone().into_active_model();
        workspace::Entity::insert(row).exec_without_returning(state.db.write()).await.expect("it is stored");
        let server = Self { state, schema: schema(&limits), dispatcher, workspace, path };
        let create = "mutation ($n: EventTypeName!) { eventTypeCreate(input: { name: $n }) { userErrors { code } } }";
        for name in ["invoice.paid", "sms.outbound"] {
            let answer = server.run(&Server::admin(), create, json!({ "n": name })).await;
            assert_eq!(answer["data"]["eventTypeCreate"]["userErrors"], json!([]), "{answer}");
        }
        server
    }

    async fn stop(self) {
        self.dispatcher.stop(Duration::from_secs(1)).await;
        self.state.db.close().await;
        for end in ["", "-wal", "-shm", ".lock"] {
            let _ = std::fs::remove_file(format!("{}{end}", self.path.display()));
        }
    }

    fn admin() -> Caller {
        Caller { key: None, scopes: Scopes::new([Scope::Admin]), workspace: None, by_token: false }
    }

    fn caller(&self, scopes: &[Scope]) -> Caller {
        Caller {
            key: None,
            scopes: Scopes::new(scopes.iter().copied()),
            workspace: Some(self.workspace.clone()),
            by_token: false,
        }
    }

    /// A caller with every scope that a key of the workspace may have.
    fn owner(&self) -> Caller {
        let own: Vec<_> =
            Scope::ALL.into_iter().filter(|scope| !matches!(scope, Scope::Admin | Scope::EventTypeWrite)).collect();
        self.caller(&own)
    }

    fn request(&self, caller: Option<Caller>, query: &str, given: Value) -> Request {
        let Value::Object(given) = given else { panic!("variables are an object") };
        prepare(Request::new(query).variables(variables(given)), &self.state, caller, "req_1".to_owned(), None)
    }

    /// The answer as the client reads it.
    async fn run(&self, caller: &Caller, query: &str, given: Value) -> Value {
        let response = self.schema.execute(self.request(Some(caller.clone()), query, given)).await;
        serde_json::from_str(&serde_json::to_string(&response).expect("it is JSON")).expect("it is JSON")
    }

    /// The data of an answer without errors.
    async fn data(&self, caller: &Caller, query: &str, given: Value) -> Value {
        let mut answer = self.run(caller, query, given).await;
        assert_eq!(answer.get("errors"), None, "{answer}");
        answer["data"].take()
    }

    /// Subscribes `url` to `types` and answers with the payload.
    async fn subscribe(&self, types: &[&str]) -> Value {
        let input = json!({ "eventTypes": types, "endpoint": { "url": "https://receiver.invalid/in" } });
        self.data(&self.owner(), SUBSCRIBE, json!({ "input": input })).await["webhookSubscriptionCreate"].take()
    }

    async fn publish(&self, payload: Value) -> Value {
        let input = json!({ "eventType": "invoice.paid", "payload": payload });
        self.data(&self.owner(), PUBLISH, json!({ "input": input })).await["eventPublish"].take()
    }
}

fn codes(answer: &Value) -> Vec<&str> {
    let errors = answer["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    errors.iter().filter_map(|error| error["extensions"]["code"].as_str()).collect()
}

#[test]
fn the_schema_prints_the_same_at_every_call_and_describes_everything() {
    let sdl = super::sdl();
    assert_eq!(sdl, super::sdl());
    let mut described = false;
    for line in sdl.lines().map(str::trim) {
        let is_definition = line.contains(": ") && !line.starts_with(['"', '#']) && !line.contains('(');
        let is_root = matches!(line.split(':').next(), Some("query" | "mutation" | "subscription"));
        assert!(!is_definition || is_root || described || line.starts_with(')'), "not described: {line}");
        described = line.ends_with('"');
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_is_made_with_its_endpoint_and_shows_its_secret_once() {
    let server = Server::start().await;
    let made = server.subscribe(&["invoice.*"]).await;
    let subscription = &made["webhookSubscription"];
    assert_eq!(subscription["status"], "ACTIVE");
    let secret = made["signingSecret"].as_str().expect("a secret");
    let hint = subscription["endpoint"]["signing"]["secretHint"].as_str().expect("a hint");
    assert!(secret.starts_with("whsec_") && secret.ends_with(hint));
    let query = "query ($id: ID!) { node(id: $id) { id ... on WebhookSubscription {
        name endpoint { subscriptions { nodes { id eventTypes } totalCount totalCountIsExact } backlog oldestPendingAt } } } }";
    let found = server.data(&server.owner(), query, json!({ "id": subscription["id"] })).await;
    assert_eq!(found["node"]["endpoint"]["subscriptions"]["nodes"][0]["eventTypes"], json!(["invoice.*"]));
    assert_eq!(found["node"]["endpoint"]["subscriptions"]["totalCount"], 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn problems_are_told_all_at_once_and_store_nothing() {
    let server = Server::start().await;
    let input = json!({
        "eventTypes": ["no.such", "a b"], "metadata": 3, "expiresIn": "P1Y",
        "endpoint": { "create": { "url": "http://example.com", "timeout": "PT2M" } },
        "retryPolicy": { "standard": { "maxAttempts": 11 } }
    });
    let data = server.data(&server.owner(), SUBSCRIBE, json!({ "input": input })).await;
    let errors = data["webhookSubscriptionCreate"]["userErrors"].as_array().expect("a list");
    let told: Vec<_> = errors
        .iter()
        .map(|error| {
            let path: Vec<_> = error["field"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            format!("{} {}", error["code"].as_str().unwrap_or_default(), path.join("."))
        })
        .collect();
    assert_eq!(
        told,
        [
            "URL_NOT_HTTPS input.endpoint.create.url",
            "INVALID input.endpoint.create.timeout",
            "INVALID input.eventTypes.1",
            "UNKNOWN_EVENT_TYPE input.eventTypes.0",
            "INVALID input.metadata",
            "RETRY_POLICY_INVALID input.retryPolicy.standard.maxAttempts",
            "INVALID input.expiresIn",
        ]
    );
    let count = "{ webhookSubscriptions { totalCount } webhookEndpoints { totalCount } }";
    let left = server.data(&server.owner(), count, json!({})).await;
    assert_eq!(left, json!({ "webhookSubscriptions": { "totalCount": 0 }, "webhookEndpoints": { "totalCount": 0 } }));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_keeps_every_digit_to_the_body_that_is_sent() {
    let server = Server::start().await;
    server.subscribe(&["*"]).await;
    let exact = r#"{"z":1.0,"a":12345678901234567890123,"e":1e+400}"#;
    let payload: Value = serde_json::from_str(exact).expect("it is JSON");
    let made = server.publish(payload).await;
    assert_eq!(made["event"]["payload"].to_string(), exact);
    let query = "query ($id: ID!) { event(id: $id) { deliveries { nodes { body eventTypeName inFlight attemptCount
        heldBy { reason } maxAttempts trigger } } } }";
    let data = server.data(&server.owner(), query, json!({ "id": made["event"]["id"] })).await;
    let body = data["event"]["deliveries"]["nodes"][0]["body"].as_str().expect("a body");
    assert!(body.ends_with(&format!("\"data\":{exact}}}")), "{body}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_only_the_server_answers() {
    let server = Server::start().await;
    for (query, refused) in [
        ("{ serverInfo { version } }", false),
        ("{ __schema { queryType { name } } }", false),
        ("{ viewer { scopes } }", true),
        ("{ eventTypes { nodes { name } } }", true),
        (r#"{ node(id: "ety_00000000000000000000000000") { id } }"#, true),
        (r#"mutation { deliveryRetry(id: "x") { userErrors { code } } }"#, true),
    ] {
        let response = server.schema.execute(server.request(None, query, json!({}))).await;
        let answer = serde_json::to_value(&response).expect("it is JSON");
        assert_eq!(codes(&answer), if refused { vec!["UNAUTHENTICATED"] } else { vec![] }, "{query}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_without_its_scope_is_null_and_tells_why() {
    let server = Server::start().await;
    server.subscribe(&["*"]).await;
    server.publish(json!({})).await;
    let reader = server.caller(&[Scope::DeliveryRead]);
    let query = "{ deliveries { nodes { id body event { id } endpoint { id } subscription { id } } } }";
    let answer = server.run(&reader, query, json!({})).await;
    let delivery = &answer["data"]["deliveries"]["nodes"][0];
    assert!(delivery["id"].is_string(), "{answer}");
    for edge in ["body", "event", "endpoint", "subscription"] {
        assert_eq!(delivery[edge], Value::Null);
    }
    assert_eq!(codes(&answer), ["FORBIDDEN"; 4]);
    assert_eq!(codes(&server.run(&reader, "{ events { nodes { id } } }", json!({})).await), ["FORBIDDEN"]);
    let publisher = server.caller(&[Scope::EventPublish, Scope::WebhookSubscribe]);
    let input = json!({ "eventType": "invoice.paid", "payload": 7 });
    let made = server.data(&publisher, PUBLISH, json!({ "input": input })).await;
    assert_eq!(made["eventPublish"]["event"]["payload"], 7, "who makes an object sees it");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_gets_no_more_than_its_maker_has() {
    let server = Server::start().await;
    let create = "mutation ($s: [ApiScope!]!) { apiKeyCreate(input: { name: \"k\", scopes: $s }) {
        key apiKey { prefix workspace { name } } userErrors { code field } } }";
    let maker = server.caller(&[Scope::WorkspaceWrite, Scope::EventRead]);
    let made = server.data(&maker, create, json!({ "s": ["EVENT_READ"] })).await;
    assert!(made["apiKeyCreate"]["key"].as_str().is_some_and(|key| key.starts_with("sk_live_")));
    assert_eq!(made["apiKeyCreate"]["apiKey"]["workspace"]["name"], "Acme");
    for scope in ["EVENT_PUBLISH", "ADMIN", "EVENT_TYPE_WRITE"] {
        let refused = server.data(&maker, create, json!({ "s": ["EVENT_READ", scope] })).await;
        let error = &refused["apiKeyCreate"]["userErrors"][0];
        assert_eq!(*error, json!({ "code": "SCOPE_ESCALATION", "field": ["input", "scopes", "1"] }));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_each_other_in_both_directions_and_orders() {
    let server = Server::start().await;
    for _ in 0..5 {
        server.subscribe(&["*"]).await;
    }
    let query =
        "query ($f: Int, $a: String, $l: Int, $b: String, $d: OrderDirection!, $by: WebhookSubscriptionOrderField!) {
        webhookSubscriptions(first: $f, after: $a, last: $l, before: $b, orderBy: { field: $by, direction: $d }) {
            nodes { id } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }";
    for (field, direction) in [("CREATED_AT", "DESC"), ("NAME", "ASC"), ("EXPIRES_AT", "DESC"), ("UPDATED_AT", "ASC")] {
        let page = async |mut given: Value| {
            (given["d"], given["by"]) = (json!(direction), json!(field));
            server.data(&server.owner(), query, given).await["webhookSubscriptions"].take()
        };
        let all = page(json!({ "f": 5 })).await;
        assert_eq!(all["pageInfo"]["hasNextPage"], false);
        let first = page(json!({ "f": 3 })).await;
        assert_eq!(first["pageInfo"]["hasNextPage"], true);
        let rest = page(json!({ "f": 3, "a": first["pageInfo"]["endCursor"] })).await;
        assert_eq!(rest["pageInfo"]["hasNextPage"], false);
        assert_eq!(rest["pageInfo"]["hasPreviousPage"], true);
        let joined: Vec<_> =
            first["nodes"].as_array().into_iter().chain(rest["nodes"].as_array()).flatten().cloned().collect();
        assert_eq!(json!(joined), all["nodes"], "{field} {direction}");
        let back = page(json!({ "l": 3, "b": rest["pageInfo"]["startCursor"] })).await;
        assert_eq!(back["nodes"], first["nodes"], "{field} {direction}");
        let last = page(json!({ "l": 2 })).await;
        assert_eq!(last["nodes"], rest["nodes"]);
        assert_eq!(last["pageInfo"]["hasPreviousPage"], true);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_filter_is_understood_by_the_database() {
    let server = Server::start().await;
    server.subscribe(&["invoice.*"]).await;
    server.publish(json!({})).await;
    let now = angarium_entity::Clock::now(&SystemClock);
    let today = json!({ "gte": (now - Duration::from_hours(1)).to_string() });
    let range = json!({ "gte": "2026-01-01T00:00:00Z", "lt": "2126-01-01T00:00:00Z" });
    for (list, input, filter, expected) in [
        (
            "webhookSubscriptions",
            "WebhookSubscriptionWhere",
            json!({ "eventType": "invoice.paid", "enabled": true }),
            1,
        ),
        ("webhookSubscriptions", "WebhookSubscriptionWhere", json!({ "eventType": "sms.outbound" }), 0),
        ("webhookSubscriptions", "WebhookSubscriptionWhere", json!({ "search": "RECEIVER" }), 1),
        ("webhookSubscriptions", "WebhookSubscriptionWhere", json!({ "search": "100%" }), 0),
        ("webhookSubscriptions", "WebhookSubscriptionWhere", json!({ "channel": "a", "service": "x" }), 0),
        (
            "webhookSubscriptions",
            "WebhookSubscriptionWhere",
            json!({ "status": ["ACTIVE", "PAUSED"], "createdAt": range }),
            1,
        ),
        (
            "webhookSubscriptions",
            "WebhookSubscriptionWhere",
            json!({ "status": ["EXPIRED", "SUSPENDED", "DISABLED"] }),
            0,
        ),
        ("webhookSubscriptions", "WebhookSubscriptionWhere", json!({ "status": [] }), 0),
        ("webhookSubscriptions", "WebhookSubscriptionWhere", json!({ "ids": ["ep_7zzzzzzzzzzzzzzzzzzzzzzzzz"] }), 0),
        ("webhookEndpoints", "WebhookEndpointWhere", json!({ "url": "https://receiver.invalid/in" }), 1),
        ("webhookEndpoints", "WebhookEndpointWhere", json!({ "channel": "a" }), 0),
        ("webhookEndpoints", "WebhookEndpointWhere", json!({ "status": ["ACTIVE"], "search": "eiver" }), 1),
        ("eventTypes", "EventTypeWhere", json!({ "search": "SMS", "archived": null }), 1),
        ("events", "EventWhere", json!({ "eventType": ["invoice.*"], "test": false, "createdAt": today.clone() }), 1),
        ("events", "EventWhere", json!({ "channel": "a", "idempotencyKey": "k" }), 0),
        ("events", "EventWhere", json!({ "eventType": ["*"], "createdAt": today.clone() }), 1),
        ("deliveries", "DeliveryWhere", json!({ "status": ["PENDING", "RETRYING", "SUCCEEDED"] }), 1),
        ("deliveries", "DeliveryWhere", json!({ "eventType": ["invoice.paid"] }), 1),
        ("deliveries", "DeliveryWhere", json!({ "eventId": "nonsense", "responseStatusCode": [500] }), 0),
    ] {
        let query = format!("query ($w: {input}) {{ {list}(where: $w) {{ nodes {{ id }} totalCount }} }}");
        let data = server.data(&server.owner(), &query, json!({ "w": filter })).await;
        assert_eq!(data[list]["totalCount"], expected, "{list} {filter}");
        assert_eq!(data[list]["nodes"].as_array().map(Vec::len), Some(expected), "{list} {filter}");
    }
    let broad = "{ deliveries(where: { trigger: [TEST] }) { nodes { id } } }";
    assert_eq!(codes(&server.run(&server.owner(), broad, json!({})).await), ["FILTER_TOO_BROAD"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_reads_across_workspaces_by_id_and_names_one_for_lists() {
    let server = Server::start().await;
    let made = server.subscribe(&["*"]).await;
    let by_id = "query ($id: ID!) { webhookSubscription(id: $id) { id } }";
    let found = server.data(&Server::admin(), by_id, json!({ "id": made["webhookSubscription"]["id"] })).await;
    assert_eq!(found["webhookSubscription"]["id"], made["webhookSubscription"]["id"]);
    let list = "{ webhookSubscriptions { nodes { id } } }";
    assert_eq!(codes(&server.run(&Server::admin(), list, json!({})).await), ["WORKSPACE_REQUIRED"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_endpoint_holds_its_deliveries_and_tells_why() {
    let server = Server::start().await;
    let made = server.subscribe(&["*"]).await;
    let pause = "mutation ($id: ID!) { webhookEndpointPause(id: $id, reason: \"maintenance\") {
        webhookEndpoint { status statusReason version } userErrors { code } } }";
    let id = &made["webhookSubscription"]["endpoint"]["id"];
    let paused = server.data(&server.owner(), pause, json!({ "id": id })).await;
    let expected = json!({ "status": "PAUSED", "statusReason": "maintenance", "version": 1 });
    assert_eq!(paused["webhookEndpointPause"]["webhookEndpoint"], expected);
    server.publish(json!(1)).await;
    let query = "{ deliveries { nodes { status heldBy { reason until } subscription { status statusReason }
        endpoint { backlog oldestPendingAt } createdAt } } }";
    let data = server.data(&server.owner(), query, json!({})).await;
    let delivery = &data["deliveries"]["nodes"][0];
    assert_eq!(delivery["heldBy"], json!({ "reason": "ENDPOINT_PAUSED", "until": null }));
    assert_eq!(delivery["subscription"]["statusReason"], "Its endpoint is paused: maintenance");
    assert_eq!(delivery["endpoint"], json!({ "backlog": 1, "oldestPendingAt": delivery["createdAt"] }));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_tells_of_a_delivery_from_its_making() {
    let server = Server::start().await;
    server.subscribe(&["*"]).await;
    let query = "subscription { deliveryUpdated { kind cursor previousStatus delivery { status event { id } } } }";
    let mut stream = server.schema.execute_stream(server.request(Some(server.owner()), query, json!({})));
    let first = stream.next();
    let publish = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        server.publish(json!(1)).await
    };
    let (first, published) = futures_util::future::join(first, publish).await;
    let first = serde_json::to_value(first.expect("a message")).expect("it is JSON");
    let update = &first["data"]["deliveryUpdated"];
    assert_eq!(update["delivery"]["event"]["id"], published["event"]["id"], "{first}");
    assert_eq!((&update["kind"], &update["previousStatus"]), (&json!("CHANGE"), &Value::Null));
    drop(stream);
    let mut refused = server.schema.execute_stream(server.request(Some(Server::admin()), query, json!({})));
    let refused = serde_json::to_value(refused.next().await.expect("an answer")).expect("it is JSON");
    assert_eq!(codes(&refused), ["WORKSPACE_REQUIRED"], "{refused}");
    server.stop().await;
}
