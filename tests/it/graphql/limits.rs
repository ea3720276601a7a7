//! How much a workspace may have.

use std::time::Duration;

use angarium_entity::{endpoint, subscription, workspace};
use angarium_tests::builder::{self, problems};
use angarium_tests::{Backend, TestApp};
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter};
use serde_json::json;

const SUBSCRIBE: &str = "mutation($input: WebhookSubscriptionCreateInput!) { webhookSubscriptionCreate(input: $input) \
    { webhookSubscription { id } userErrors { code message field } } }";
const UNSUBSCRIBE: &str = "mutation($id: ID!) { webhookSubscriptionDelete(id: $id) { userErrors { code } } }";
const CREATE: &str = "mutation($input: WebhookEndpointCreateInput!) { webhookEndpointCreate(input: $input) \
    { webhookEndpoint { id } userErrors { code message field } } }";
const DELETE: &str = "mutation($id: ID!) { webhookEndpointDelete(id: $id) { userErrors { code } } }";
const KEY: &str = "mutation($input: ApiKeyCreateInput!) { apiKeyCreate(input: $input) \
    { apiKey { id } userErrors { code message field } } }";
const REVOKE: &str = "mutation($id: ID!) { apiKeyRevoke(id: $id) { userErrors { code } } }";

async fn start(backend: Backend) -> TestApp {
    let limits = [("ANGARIUM_API_KEYS_MAX", "2"), ("ANGARIUM_ENDPOINTS_MAX", "3"), ("ANGARIUM_SUBSCRIPTIONS_MAX", "2")];
    TestApp::start_with(backend, &limits).await
}

async fn a_workspace_has_no_more_than_its_limits_and_gets_room_by_deleting(backend: Backend) {
    let app = start(backend).await;
    let input = |url: &str| json!({ "input": { "eventTypes": ["*"], "endpoint": { "url": url } } });
    let first = app.subscribe("https://example.com/1").await;
    app.subscribe("https://example.com/2").await;
    assert_eq!(problems(&app.api, SUBSCRIBE, input("https://example.com/3")).await, ["LIMIT_REACHED input"]);
    let third = json!({ "input": { "url": "https://example.com/3" } });
    let made = app.api.data(CREATE, third.clone()).await["webhookEndpointCreate"]["webhookEndpoint"]["id"].take();
    assert_eq!(problems(&app.api, CREATE, third.clone()).await, ["LIMIT_REACHED input"]);
    let both = problems(&app.api, SUBSCRIBE, input("https://example.com/3")).await;
    assert_eq!(both, ["LIMIT_REACHED input", "LIMIT_REACHED input.endpoint"]);
    // Its endpoint goes with it: there is room for one of each.
    app.api.data(UNSUBSCRIBE, json!({ "id": first.id })).await;
    app.subscribe("https://example.com/4").await;
    assert_eq!(problems(&app.api, SUBSCRIBE, input("https://example.com/5")).await.len(), 2);
    app.api.data(DELETE, json!({ "id": made })).await;
    assert!(app.api.data(CREATE, third).await["webhookEndpointCreate"]["webhookEndpoint"].is_object());
    // Another workspace has its own.
    let other = app.admin.with_key(&builder::workspace_with_key(&app.admin, "Other").await.1);
    assert_eq!(problems(&other, SUBSCRIBE, input("https://example.com/1")).await, Vec::<String>::new());

    let db = app.state().db.read();
    for row in workspace::Entity::find().all(db).await.expect("they can be read") {
        let endpoints = endpoint::Entity::of(row.id).count(db).await.expect("they can be counted");
        let subscriptions = subscription::Entity::of(row.id).count(db).await.expect("they can be counted");
        assert_eq!(
            (row.endpoint_count, row.subscription_count),
            (endpoints.cast_signed(), subscriptions.cast_signed())
        );
    }
    app.end().await;
}

async fn concurrent_creates_never_exceed_a_limit(backend: Backend) {
    let app = start(backend).await;
    let input = json!({ "input": { "eventTypes": ["*"], "endpoint": { "url": "https://example.com/" } } });
    let tries = (0..8).map(|_| app.api.data(SUBSCRIBE, input.clone()));
    futures_util::future::join_all(tries).await;
    let made = subscription::Entity::find().filter(subscription::Column::DeletedAt.is_null());
    assert_eq!(made.count(app.state().db.read()).await.expect("they can be counted"), 2);
    app.end().await;
}

async fn only_keys_that_work_count(backend: Backend) {
    let app = start(backend).await;
    let soon = (app.state().now() + Duration::from_mins(5)).to_string();
    let input = |expires_at: Option<&str>| {
        let workspace = json!({ "id": app.workspace });
        json!({ "input": { "name": "k", "scopes": ["WEBHOOK_READ"], "workspace": workspace, "expiresAt": expires_at } })
    };
    let second = app.api.data(KEY, input(None)).await["apiKeyCreate"]["apiKey"]["id"].take();
    assert_eq!(problems(&app.api, KEY, input(None)).await, ["LIMIT_REACHED input"]);
    app.api.data(REVOKE, json!({ "id": second })).await;
    assert_eq!(problems(&app.api, KEY, input(Some(&soon))).await, Vec::<String>::new());
    assert_eq!(problems(&app.admin, KEY, input(None)).await, ["LIMIT_REACHED input"]);
    app.clock.advance(Duration::from_mins(6));
    assert_eq!(problems(&app.api, KEY, input(None)).await, Vec::<String>::new());
    app.end().await;
}

macro_rules! on_both {
    ($($name:ident)+) => {$(
        mod $name {
            use angarium_tests::Backend;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                super::$name(Backend::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                super::$name(Backend::Postgres).await;
            }
        }
    )+};
}

on_both! {
    a_workspace_has_no_more_than_its_limits_and_gets_room_by_deleting
    concurrent_creates_never_exceed_a_limit
    only_keys_that_work_count
}
