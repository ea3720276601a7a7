//! Creates that are safe to repeat.

use std::time::Duration;

use angarium_entity::{creation_key, endpoint, subscription};
use angarium_tests::app::{count, eventually};
use angarium_tests::builder::{self, problems};
use angarium_tests::{GraphQl, on_both_databases};
use sea_orm::EntityTrait as _;
use serde_json::{Value, json};

const SUBSCRIBE: &str = "mutation($input: WebhookSubscriptionCreateInput!, $key: String) \
    { webhookSubscriptionCreate(input: $input, idempotencyKey: $key) \
    { webhookSubscription { id endpoint { id } } signingSecret userErrors { code message field } } }";
const ENDPOINT: &str = "mutation($input: WebhookEndpointCreateInput!, $key: String) \
    { webhookEndpointCreate(input: $input, idempotencyKey: $key) \
    { webhookEndpoint { id } signingSecret userErrors { code message field } } }";

fn subscription(key: &str) -> Value {
    json!({ "key": key, "input": { "eventTypes": ["invoice.paid"], "endpoint": { "url": "https://example.com/a" } } })
}

fn endpoint(key: &str) -> Value {
    json!({ "key": key, "input": { "url": "https://example.com/b" } })
}

async fn made(api: &GraphQl, mutation: &str, variables: Value) -> Value {
    let data = api.data(mutation, variables).await;
    data.as_object().and_then(|data| data.values().next()).cloned().expect("one mutation")
}

on_both_databases! {
    async fn a_repeat_gives_the_same_object_and_secret(app) {
        for (mutation, variables) in [(SUBSCRIBE, subscription("k")), (ENDPOINT, endpoint("k"))] {
            let first = made(&app.api, mutation, variables.clone()).await;
            assert_eq!(first["userErrors"], json!([]));
            assert!(first["signingSecret"].as_str().is_some_and(|secret| secret.starts_with("whsec_")));
            assert_eq!(made(&app.api, mutation, variables.clone()).await, first);
            let mut other = variables.clone();
            other["input"]["name"] = json!("another");
            assert_eq!(problems(&app.api, mutation, other).await, ["IDEMPOTENCY_MISMATCH idempotencyKey"]);
            let mut fresh = variables;
            fresh["key"] = json!("l");
            assert_ne!(made(&app.api, mutation, fresh).await, first);
        }
        assert_eq!((count::<subscription::Entity>(&app).await, count::<endpoint::Entity>(&app).await), (2, 4));
        let rows = creation_key::Entity::find().all(app.state().db.read()).await.expect("they are read");
        assert_eq!(rows.len(), 4);
        let sealed = rows.iter().filter_map(|row| row.secret.as_deref());
        assert!(sealed.clone().count() == 4 && sealed.into_iter().all(|s| !s.windows(6).any(|part| part == b"whsec_")));
        app.end().await;
    }

    async fn a_repeat_says_the_same_in_every_field_shown_or_not(app) {
        let own = |letter: char| format!("whsec_{letter}QwErTyUiOpAsDfGhJkLzXcVbNm12345");
        let full = json!({
            "url": "https://example.com/b", "signing": { "secret": own('A') },
            "headers": [{ "name": "x-a", "value": "1", "secret": true }],
        });
        let variables = |mutation: &str, endpoint: &Value| match mutation {
            ENDPOINT => json!({ "key": "k", "input": endpoint }),
            _ => json!({ "key": "k", "input": { "eventTypes": ["invoice.paid"], "endpoint": { "create": endpoint } } }),
        };
        for mutation in [ENDPOINT, SUBSCRIBE] {
            let first = made(&app.api, mutation, variables(mutation, &full)).await;
            assert_eq!(first["userErrors"], json!([]));
            for (place, value) in [
                ("/url", json!("https://example.com/c")),
                ("/signing/secret", json!(own('B'))),
                ("/headers/0/value", json!("2")),
                ("/headers/0/secret", json!(false)),
                ("/headers/0/name", json!("x-b")),
            ] {
                let mut other = full.clone();
                *other.pointer_mut(place).expect("it is there") = value;
                let told = problems(&app.api, mutation, variables(mutation, &other)).await;
                assert_eq!(told, ["IDEMPOTENCY_MISMATCH idempotencyKey"], "{place}");
            }
            assert_eq!(made(&app.api, mutation, variables(mutation, &full)).await, first);
        }
        let mut other = variables(SUBSCRIBE, &full);
        other["input"]["eventTypes"] = json!(["*"]);
        assert_eq!(problems(&app.api, SUBSCRIBE, other).await, ["IDEMPOTENCY_MISMATCH idempotencyKey"]);
        app.end().await;
    }

    async fn two_at_once_create_one(app) {
        let variables = subscription("k");
        let answers = (0..8).map(|_| made(&app.api, SUBSCRIBE, variables.clone()));
        let answers = futures_util::future::join_all(answers).await;
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        assert_eq!(count::<subscription::Entity>(&app).await, 1);
        app.end().await;
    }

    async fn a_refused_create_leaves_its_key_free(app) {
        let mut wrong = endpoint("k");
        wrong["input"]["url"] = json!("nowhere");
        assert_eq!(problems(&app.api, ENDPOINT, wrong).await, ["INVALID input.url"]);
        assert_eq!(problems(&app.api, ENDPOINT, endpoint("k")).await, Vec::<String>::new());
        for (key, code) in [("", "BLANK"), (&"x".repeat(257), "TOO_LONG"), ("\0", "INVALID")] {
            let mut both = subscription(key);
            both["input"]["name"] = json!("");
            let expected = [format!("{code} idempotencyKey"), "BLANK input.name".to_owned()];
            assert_eq!(problems(&app.api, SUBSCRIBE, both).await, expected);
        }
        assert_eq!(problems(&app.api, ENDPOINT, endpoint(&"ü".repeat(256))).await, Vec::<String>::new());
        app.end().await;
    }

    async fn a_key_is_forgotten_after_a_day_and_when_its_object_is_gone(app) {
        let first = made(&app.api, ENDPOINT, endpoint("k")).await;
        app.clock.advance(Duration::from_hours(24) - Duration::from_secs(1));
        assert_eq!(made(&app.api, ENDPOINT, endpoint("k")).await, first);
        let delete = "mutation($id: ID!) { webhookEndpointDelete(id: $id) { userErrors { code message field } } }";
        let gone = json!({ "id": first["webhookEndpoint"]["id"] });
        assert_eq!(problems(&app.api, delete, gone).await, Vec::<String>::new());
        let second = made(&app.api, ENDPOINT, endpoint("k")).await;
        assert_ne!(second, first);
        app.clock.advance(Duration::from_hours(25));
        assert_ne!(made(&app.api, ENDPOINT, endpoint("k")).await, second);
        app.clock.advance(Duration::from_hours(25));
        let swept = async || {
            // The sweep may begin its pause only now.
            app.clock.advance(Duration::from_mins(1));
            (count::<creation_key::Entity>(&app).await == 0).then_some(())
        };
        eventually("what is old is deleted", swept).await;
        app.end().await;
    }

    async fn a_key_is_the_workspaces_and_its_secret_the_creators(app) {
        let first = made(&app.api, SUBSCRIBE, subscription("k")).await;
        let colleague = builder::key(&app.admin, &app.workspace, &["WEBHOOK_SUBSCRIBE", "WEBHOOK_READ"]).await;
        let again = made(&app.admin.with_key(&colleague), SUBSCRIBE, subscription("k")).await;
        assert_eq!(again["webhookSubscription"], first["webhookSubscription"]);
        assert_eq!(again["signingSecret"], Value::Null);
        let (_, stranger) = builder::workspace_with_key(&app.admin, "Other").await;
        let theirs = made(&app.admin.with_key(&stranger), SUBSCRIBE, subscription("k")).await;
        assert_ne!(theirs["webhookSubscription"]["id"], first["webhookSubscription"]["id"]);
        assert!(theirs["signingSecret"].is_string());
        let reader = builder::key(&app.admin, &app.workspace, &["WEBHOOK_READ"]).await;
        assert_eq!(app.admin.with_key(&reader).error_code(SUBSCRIBE, subscription("k")).await, "FORBIDDEN");
        app.end().await;
    }
}
