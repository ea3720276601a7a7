//! What commits late, and what comes faster than it is read, is told all the same.

use angarium_api::Caller;
use angarium_api::app::delivery::updates::{Events, Start, stream};
use angarium_entity::api_key::{Scope, Scopes};
use angarium_entity::{Database, WorkspaceId, workspace};
use angarium_tests::client::Stream;
use angarium_tests::{Backend, MOMENT, TestApp, builder, on_both_databases};
use futures_util::StreamExt;
use sea_orm::{ConnectionTrait, EntityTrait, Statement};
use serde_json::{Value, json};

pub(super) const EVENTS: &str =
    "subscription($after: String) { eventPublished(after: $after) { kind cursor event { id } } }";

/// Tells of an event again, as the committers do.
pub(super) async fn append(db: &impl ConnectionTrait, workspace: WorkspaceId, event: &str) {
    let insert = "INSERT INTO change_log (workspace_id, at, changes) VALUES ($1, $2, $3)";
    let changes = json!([{ "v": event }]);
    let values = [workspace.uuid().into(), 1_700_000_000_000_i64.into(), changes.into()];
    let insert = Statement::from_sql_and_values(db.get_database_backend(), insert, values);
    db.execute_raw(insert).await.expect("the row is taken");
}

/// The owner of the workspace.
async fn caller(app: &TestApp) -> Caller {
    let id: WorkspaceId = app.workspace.parse().expect("an ID");
    let workspace = workspace::Entity::find_by_id(id).one(app.state().db.read()).await.expect("it can be read");
    Caller { key: None, scopes: Scopes::new([Scope::EventRead]), workspace, by_token: false }
}

/// The next event, with its cursor.
pub(super) async fn next(stream: &mut Stream) -> (Value, String) {
    let update = stream.next().await["eventPublished"].take();
    (update["event"]["id"].clone(), builder::text(&update["cursor"]))
}

/// Everything up to the mark `CAUGHT_UP`.
pub(super) async fn replay(app: &TestApp, after: &str) -> Vec<Value> {
    let mut stream = app.api.subscribe(EVENTS, json!({ "after": after })).await;
    let mut told = Vec::new();
    loop {
        let (event, _) = next(&mut stream).await;
        if event.is_null() {
            return told;
        }
        told.push(event);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_commits_late_is_told_live_and_after_a_resume() {
    let app = TestApp::start(Backend::Postgres).await;
    let workspace: WorkspaceId = app.workspace.parse().expect("an ID");
    let late = [app.publish(json!("late")).await, app.publish(json!("later")).await];
    let mut stream = app.api.subscribe(EVENTS, json!({})).await;
    // Two transactions draw the smallest numbers; they commit in the wrong order, behind everybody else.
    let db: &Database = &app.state().db;
    let (first, second) = (db.begin().await.expect("a transaction"), db.begin().await.expect("a transaction"));
    append(&first, workspace, &late[0]).await;
    append(&second, workspace, &late[1]).await;
    let mut on_time = Vec::new();
    for n in 0..5 {
        let event = app.publish(json!(n)).await;
        let (told, cursor) = next(&mut stream).await;
        assert_eq!(told, event, "nobody waits for the late one");
        on_time.push((event, cursor));
    }
    second.commit().await.expect("it commits");
    // Nothing wakes the stream: it looks by itself.
    let (told, between) = next(&mut stream).await;
    assert_eq!(told, late[1]);
    first.commit().await.expect("it commits");
    let (told, end) = next(&mut stream).await;
    assert_eq!(told, late[0]);
    for (place, (_, cursor)) in on_time.iter().enumerate() {
        let mut wanted: Vec<Value> = late.iter().map(|id| json!(id)).collect();
        wanted.extend(on_time[place + 1..].iter().map(|(id, _)| json!(id)));
        assert_eq!(replay(&app, cursor).await, wanted, "after {place}");
    }
    assert_eq!(replay(&app, &between).await, [json!(late[0])]);
    assert_eq!(replay(&app, &end).await, [] as [Value; 0]);
    app.end().await;
}

on_both_databases! {
    async fn a_stream_that_is_read_slowly_loses_nothing(app) {
        /// More rows than the broadcast keeps (`CHANGES_KEPT`), most of them of others.
        const OTHERS: usize = 60;
        const ROUNDS: usize = 75;
        let mut workspaces = vec![app.workspace.clone()];
        for n in 0..OTHERS {
            workspaces.push(builder::workspace_with_key(&app.admin, &format!("Other {n}")).await.0);
        }
        let (state, caller) = (app.state(), caller(&app).await);
        let messages = stream(state, &caller, Events::default(), Start::default()).await.expect("it starts");
        let mut messages = std::pin::pin!(messages);
        let publish = "mutation($inputs: [EventPublishInput!]!) { eventPublishBatch(inputs: $inputs) { results { event { id } } } }";
        let mut published = Vec::new();
        for round in 0..ROUNDS {
            let input = |id| json!({ "eventType": "invoice.paid", "payload": round, "workspace": { "id": id } });
            let inputs: Vec<Value> = workspaces.iter().map(input).collect();
            let data = app.admin.data(publish, json!({ "inputs": inputs })).await;
            published.push(builder::text(&data["eventPublishBatch"]["results"][0]["event"]["id"]));
        }
        let mut told = Vec::new();
        while told.len() < ROUNDS {
            let message = tokio::time::timeout(MOMENT, messages.next()).await.expect("more comes");
            let message = message.expect("the stream goes on").expect("it does not fail");
            told.push(message.item.expect("an event").id.to_string());
        }
        assert_eq!(told, published);
        app.end().await;
    }

    async fn a_resume_reads_many_pages_of_the_log(app) {
        const COUNT: usize = 300;
        let mut stream = app.api.subscribe(EVENTS, json!({})).await;
        app.publish(json!("first")).await;
        let (_, start) = next(&mut stream).await;
        drop(stream);
        let mut published = Vec::new();
        for n in 0..COUNT {
            published.push(json!(app.publish(json!(n)).await));
        }
        assert_eq!(replay(&app, &start).await, published);
        app.end().await;
    }
}
