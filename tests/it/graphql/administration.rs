//! Keys, workspaces and the catalogue change.

use std::time::{Duration, Instant};

use angarium_tests::app::eventually;
use angarium_tests::builder::{self, problems};
use angarium_tests::on_both_databases;
use serde_json::{Value, json};

const REVOKE: &str =
    "mutation($id: ID!) { apiKeyRevoke(id: $id) { apiKey { id revokedAt } userErrors { code message field } } }";
const WORKSPACE: &str = "mutation($id: ID!, $input: WorkspaceUpdateInput!) { workspaceUpdate(id: $id, input: $input) \
    { workspace { id name externalId retryPolicy { strategy maxAttempts } } userErrors { code message field } } }";
const TYPE: &str = "mutation($name: EventTypeName!, $input: EventTypeUpdateInput!) \
    { eventTypeUpdate(name: $name, input: $input) \
    { eventType { name service description samplePayload } userErrors { code message field } } }";
const ARCHIVE: &str = "mutation($name: EventTypeName!, $archived: Boolean! = true) \
    { eventTypeArchive(name: $name, archived: $archived) \
    { eventType { name archivedAt } userErrors { code message field } } }";
const UNKNOWN_KEY: &str = "key_7zzzzzzzzzzzzzzzzzzzzzzzzz";

on_both_databases! {
    async fn a_revoked_key_stops_at_once_and_its_streams_close(app) {
        let key = builder::key(&app.admin, &app.workspace, &["DELIVERY_READ", "WORKSPACE_READ"]).await;
        let victim = app.admin.with_key(&key);
        let id = victim.data("{ viewer { apiKey { id } } }", json!({})).await["viewer"]["apiKey"]["id"].clone();
        let mut stream = victim.subscribe("subscription { deliveryUpdated { cursor } }", json!({})).await;
        let revoked = app.api.data(REVOKE, json!({ "id": id })).await["apiKeyRevoke"].take();
        assert_eq!((&revoked["apiKey"]["id"], &revoked["userErrors"]), (&id, &json!([])));
        assert!(revoked["apiKey"]["revokedAt"].is_string());
        assert_eq!(victim.error_code("{ viewer { scopes } }", json!({})).await, "UNAUTHENTICATED");
        let asked = Instant::now();
        assert_eq!(stream.next_message().await, Err(4403));
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());

        app.clock.advance(Duration::from_secs(60));
        let again = app.api.data(REVOKE, json!({ "id": id })).await["apiKeyRevoke"].take();
        assert_eq!(again, revoked, "nothing changes the second time");
        app.end().await;
    }

    async fn only_a_key_of_the_own_workspace_can_be_revoked(app) {
        let (_, other) = builder::workspace_with_key(&app.admin, "Other").await;
        let other = app.admin.with_key(&other);
        let id = app.api.data("{ viewer { apiKey { id } } }", json!({})).await["viewer"]["apiKey"]["id"].clone();
        for id in [id.clone(), json!(UNKNOWN_KEY), json!("nonsense")] {
            assert_eq!(problems(&other, REVOKE, json!({ "id": id })).await, ["NOT_FOUND id"], "{id}");
        }
        app.api.data("{ viewer { scopes } }", json!({})).await;
        assert!(app.admin.data(REVOKE, json!({ "id": id })).await["apiKeyRevoke"]["apiKey"].is_object());
        assert_eq!(app.api.error_code("{ viewer { scopes } }", json!({})).await, "UNAUTHENTICATED");
        app.end().await;
    }

    async fn a_workspace_changes_only_what_is_given_and_shows_it_at_once(app) {
        let change = async |input: Value| app.admin.data(WORKSPACE, json!({ "id": app.workspace, "input": input })).await["workspaceUpdate"].take();
        let changed = change(json!({ "name": "New", "externalId": "acme", "retryPolicy": { "delays": ["PT1S"] } })).await;
        let policy = json!({ "strategy": "CUSTOM", "maxAttempts": 2 });
        let expected = json!({ "id": app.workspace, "name": "New", "externalId": "acme", "retryPolicy": policy });
        assert_eq!(changed, json!({ "workspace": expected, "userErrors": [] }));
        let seen = app.api.data("{ viewer { workspace { id name externalId retryPolicy { strategy maxAttempts } } } }", json!({})).await;
        assert_eq!(seen["viewer"]["workspace"], expected);
        assert_eq!(change(json!({})).await["workspace"], expected);

        let cleared = change(json!({ "externalId": null, "retryPolicy": null })).await;
        let standard = json!({ "strategy": "STANDARD", "maxAttempts": 10 });
        assert_eq!(cleared["workspace"], json!({ "id": app.workspace, "name": "New", "externalId": null, "retryPolicy": standard }));
        app.end().await;
    }

    async fn subscriptions_inherit_the_new_policy_of_their_workspace(app) {
        let receiver = app.receiver().await.answer_statuses([500; 1_000]);
        app.subscribe(receiver.url()).await;
        app.publish(json!(0)).await;
        app.delivery_in("RETRYING").await;
        let input = json!({ "retryPolicy": { "delays": [] } });
        app.api.data(WORKSPACE, json!({ "id": app.workspace, "input": input })).await;
        // What runs in this moment may still be judged by the policy before.
        let exhausted = async || {
            app.publish(json!(1)).await;
            let list = app.api.data("{ deliveries(where: { status: [EXHAUSTED] }) { nodes { attemptCount maxAttempts } } }", json!({})).await;
            list["deliveries"]["nodes"].get(0).cloned()
        };
        let delivery = eventually("the endpoint has heard of it", exhausted).await;
        assert_eq!(delivery, json!({ "attemptCount": 1, "maxAttempts": 1 }));
        app.end().await;
    }

    async fn each_wrong_change_of_a_workspace_is_refused(app) {
        let (other, other_key) = builder::workspace_with_key(&app.admin, "Other").await;
        app.admin.data(WORKSPACE, json!({ "id": other, "input": { "externalId": "other" } })).await;
        let long = "x".repeat(257);
        for (input, told) in [
            (json!({ "name": null }), vec!["BLANK input.name"]),
            (json!({ "name": " " }), vec!["BLANK input.name"]),
            (json!({ "name": long, "externalId": long }), vec!["TOO_LONG input.name", "TOO_LONG input.externalId"]),
            (json!({ "retryPolicy": { "delays": ["soon"] } }), vec!["INVALID input.retryPolicy.delays.0"]),
            (json!({ "externalId": "other" }), vec!["TAKEN input.externalId"]),
        ] {
            assert_eq!(problems(&app.admin, WORKSPACE, json!({ "id": app.workspace, "input": input })).await, told);
        }
        let rename = |id: &str| json!({ "id": id, "input": { "name": "Mine" } });
        let other_api = app.admin.with_key(&other_key);
        for id in [app.workspace.as_str(), "ws_7zzzzzzzzzzzzzzzzzzzzzzzzz", "nonsense"] {
            assert_eq!(problems(&other_api, WORKSPACE, rename(id)).await, ["NOT_FOUND id"]);
        }
        let external = json!({ "id": app.workspace, "input": { "externalId": "mine" } });
        assert_eq!(app.api.error_code(WORKSPACE, external).await, "FORBIDDEN");
        let seen = app.api.data("{ viewer { workspace { name externalId } } }", json!({})).await;
        assert_eq!(seen["viewer"]["workspace"], json!({ "name": "Acme", "externalId": null }));
        app.end().await;
    }

    async fn an_event_type_changes_only_what_is_given(app) {
        let change = async |input: Value| app.admin.data(TYPE, json!({ "name": "invoice.paid", "input": input })).await["eventTypeUpdate"]["eventType"].take();
        let all = json!({ "description": "It is paid.", "service": "billing", "samplePayload": { "n": 1.0 } });
        let expected = json!({ "name": "invoice.paid", "description": "It is paid.", "service": "billing", "samplePayload": { "n": 1.0 } });
        assert_eq!(change(all).await, expected);
        assert_eq!(change(json!({})).await, expected);
        let cleared = change(json!({ "description": null, "samplePayload": null })).await;
        assert_eq!(cleared, json!({ "name": "invoice.paid", "description": null, "service": "billing", "samplePayload": null }));

        let long = "x".repeat(256 * 1024);
        for (name, input, told) in [
            ("no.such.type", json!({ "service": "x" }), vec!["NOT_FOUND name"]),
            ("\0", json!({}), vec!["NOT_FOUND name"]),
            ("invoice.paid", json!({ "service": "" }), vec!["BLANK input.service"]),
            ("invoice.paid", json!({ "service": "\0" }), vec!["INVALID input.service"]),
            ("invoice.paid", json!({ "description": "x".repeat(4097), "samplePayload": long }), vec!["TOO_LONG input.description", "TOO_LARGE input.samplePayload"]),
        ] {
            assert_eq!(problems(&app.admin, TYPE, json!({ "name": name, "input": input })).await, told);
        }
        app.end().await;
    }

    async fn an_archived_type_keeps_its_subscriptions_and_takes_no_new_ones(app) {
        let receiver = app.receiver().await;
        let input = json!({ "eventTypes": ["invoice.paid"], "endpoint": { "url": receiver.url() } });
        builder::subscribe(&app.api, input.clone()).await;
        let archive = async |archived: bool| app.admin.data(ARCHIVE, json!({ "name": "invoice.paid", "archived": archived })).await["eventTypeArchive"]["eventType"]["archivedAt"].take();
        let at = archive(true).await;
        assert!(at.is_string());
        app.clock.advance(Duration::from_secs(1));
        assert_eq!(archive(true).await, at, "nothing changes the second time");
        app.publish(json!(1)).await;
        receiver.expect_requests(1).await;
        let create = "mutation($input: WebhookSubscriptionCreateInput!) { webhookSubscriptionCreate(input: $input) { userErrors { code message field } } }";
        assert_eq!(problems(&app.api, create, json!({ "input": input })).await, ["UNKNOWN_EVENT_TYPE input.eventTypes.0"]);
        assert_eq!(archive(false).await, json!(null));
        builder::subscribe(&app.api, input).await;
        assert_eq!(problems(&app.admin, ARCHIVE, json!({ "name": "no.such.type" })).await, ["NOT_FOUND name"]);
        app.end().await;
    }
}
