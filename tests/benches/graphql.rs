//! What one mutation costs the GraphQL layer: `cargo bench --package angarium-tests --bench graphql`.
//!
//! Parsing      the document of a publish, as every request without a known document needs it.
//! Refusing     a publish that is refused before it asks the database: validation, arguments, resolver, answer.
//! Publishing   the same with a right event that nobody is subscribed to, on SQLite: what is more is the database's.

use std::hint::black_box;

use angarium_api::Caller;
use angarium_api::config::Limits;
use angarium_api::graphql::{Schema, prepare, schema, variables};
use angarium_entity::api_key::{Scope, Scopes};
use angarium_entity::workspace;
use angarium_tests::{Backend, TestApp};
use async_graphql::parser::parse_query;
use async_graphql::{Request, Response};
use criterion::{Criterion, criterion_group, criterion_main};
use sea_orm::EntityTrait as _;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

const PUBLISH: &str = "mutation($input: EventPublishInput!) { eventPublish(input: $input) \
    { event { id } userErrors { code } } }";

struct Bench {
    app: TestApp,
    schema: Schema,
    caller: Caller,
}

impl Bench {
    async fn start() -> Self {
        let app = TestApp::start(Backend::Sqlite).await;
        let id = app.workspace.parse().expect("the ID of a workspace");
        let row = workspace::Entity::find_by_id::<angarium_entity::WorkspaceId>(id);
        let workspace = row.one(app.state().db.read()).await.expect("SQLite answers");
        let caller = Caller { key: None, scopes: Scopes::new([Scope::EventPublish]), workspace, by_token: false };
        Self { app, schema: schema(&Limits::default()), caller }
    }

    async fn execute(&self, input: &Value) -> Response {
        let given = json!({ "input": input });
        let Value::Object(given) = given else { unreachable!("it is an object") };
        let request = Request::new(PUBLISH).variables(variables(given));
        let caller = Some(self.caller.clone());
        self.schema.execute(prepare(request, self.app.state(), caller, "request".to_owned(), None)).await
    }
}

fn publish(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let bench = runtime.block_on(Bench::start());
    let payload = json!({ "text": "x".repeat(240) });
    let right = json!({ "eventType": "invoice.paid", "payload": payload });
    let wrong = json!({ "eventType": "", "payload": payload });
    let told = |input| runtime.block_on(bench.execute(input)).data.to_string();
    assert!(told(&right).contains("evt_") && !told(&wrong).contains("evt_"));
    let mut group = criterion.benchmark_group("GraphQL publish");
    group.bench_function("parsing", |bencher| bencher.iter(|| parse_query(black_box(PUBLISH))));
    group.bench_function("refusing", |bencher| bencher.iter(|| runtime.block_on(bench.execute(&wrong))));
    group.bench_function("publishing", |bencher| bencher.iter(|| runtime.block_on(bench.execute(&right))));
    group.finish();
}

criterion_group!(benches, publish);
criterion_main!(benches);
