//! What the settings of a workspace do: rules, lifetimes, and secrets that can be read.

use std::time::Duration;

use angarium_tests::app::eventually;
use angarium_tests::builder::{self, problems, text};
use angarium_tests::{TestApp, on_both_databases};
use serde_json::{Value, json};

const SET: &str = "mutation($id: ID!, $input: WorkspaceUpdateInput!) { workspaceUpdate(id: $id, input: $input) { userErrors { code } } }";
const SUBSCRIBE: &str = "mutation($input: WebhookSubscriptionCreateInput!) { webhookSubscriptionCreate(input: $input) \
    { webhookSubscription { id expiresAt } userErrors { code message field } } }";
const RESUBSCRIBE: &str = "mutation($id: ID!, $input: WebhookSubscriptionUpdateInput!) { webhookSubscriptionUpdate(id: $id, input: $input) \
    { webhookSubscription { id name eventTypes } userErrors { code message field } } }";
const RENEW: &str = "mutation($id: ID!, $expiresIn: Duration) { webhookSubscriptionRenew(id: $id, expiresIn: $expiresIn) \
    { webhookSubscription { expiresAt } userErrors { code message field } } }";
const CREATE: &str = "mutation($input: WebhookEndpointCreateInput!) { webhookEndpointCreate(input: $input) \
    { webhookEndpoint { id } userErrors { code message field } } }";
const UPDATE: &str = "mutation($id: ID!, $input: WebhookEndpointUpdateInput!) { webhookEndpointUpdate(id: $id, input: $input) \
    { webhookEndpoint { url name } userErrors { code message field } } }";
const RETRY: &str = "mutation($id: ID!) { deliveryRetry(id: $id) { userErrors { code message field } } }";
const SECRET: &str = "query($id: ID!) { node(id: $id) { ... on WebhookEndpoint { signingSecret } } }";
const ROTATE: &str =
    "mutation($id: ID!) { webhookEndpointSecretRotate(id: $id) { signingSecret userErrors { code } } }";

async fn set(app: &TestApp, input: Value) {
    app.api.data(SET, json!({ "id": app.workspace, "input": input })).await;
}

on_both_databases! {
    async fn rules_hold_for_what_is_made_and_changed_and_not_for_what_exists(app) {
        let old = app.subscribe("https://old.example.org/in").await;
        set(&app, json!({ "rules": { "urlPattern": "^https://[a-z.]*example[.]com/", "urlMaxLength": 40, "eventTypePattern": "^(invoice[.]|sms[.]outbound$)" } })).await;

        let bad = "https://example.org/in";
        let long = format!("https://example.com/{}", "x".repeat(21));
        for (endpoint, told) in [
            (json!({ "url": bad }), "INVALID input.endpoint.url"),
            (json!({ "url": long }), "TOO_LONG input.endpoint.url"),
            (json!({ "create": { "url": bad } }), "INVALID input.endpoint.create.url"),
            (json!({ "id": old.endpoint }), "INVALID input.endpoint.id"),
        ] {
            let input = json!({ "eventTypes": ["invoice.paid"], "endpoint": endpoint });
            assert_eq!(problems(&app.api, SUBSCRIBE, json!({ "input": input })).await, [told], "{endpoint}");
        }
        let good = json!({ "url": "https://a.example.com/in" });
        let input = json!({ "eventTypes": ["invoice.paid", "*", "sms.*", "sms.outbound", "invoice.*"], "endpoint": good });
        assert_eq!(problems(&app.api, SUBSCRIBE, json!({ "input": input })).await, ["INVALID input.eventTypes.1", "INVALID input.eventTypes.2"]);
        assert_eq!(problems(&app.api, CREATE, json!({ "input": { "url": bad } })).await, ["INVALID input.url"]);
        assert_eq!(problems(&app.api, CREATE, json!({ "input": { "url": long } })).await, ["TOO_LONG input.url"]);
        let made = builder::subscribe(&app.api, json!({ "eventTypes": ["invoice.*"], "endpoint": good })).await;

        // What exists stays as it is, and can be changed in other ways.
        let renamed = app.api.data(UPDATE, json!({ "id": old.endpoint, "input": { "name": "Old" } })).await;
        assert_eq!(renamed["webhookEndpointUpdate"]["webhookEndpoint"], json!({ "url": "https://old.example.org/in", "name": "Old" }));
        let renamed = app.api.data(RESUBSCRIBE, json!({ "id": old.id, "input": { "name": "Old" } })).await;
        assert_eq!(renamed["webhookSubscriptionUpdate"]["webhookSubscription"]["eventTypes"], json!(["*"]));
        assert_eq!(problems(&app.api, UPDATE, json!({ "id": old.endpoint, "input": { "url": bad } })).await, ["INVALID input.url"]);
        assert_eq!(problems(&app.api, UPDATE, json!({ "id": made.endpoint, "input": { "url": long } })).await, ["TOO_LONG input.url"]);
        for (input, told) in [
            (json!({ "eventTypes": ["*"] }), "INVALID input.eventTypes.0"),
            (json!({ "endpoint": { "id": old.endpoint } }), "INVALID input.endpoint.id"),
            (json!({ "endpoint": { "update": { "url": bad } } }), "INVALID input.endpoint.update.url"),
        ] {
            assert_eq!(problems(&app.api, RESUBSCRIBE, json!({ "id": made.id, "input": input })).await, [told]);
        }
        // The message names the rule.
        let refused = app.api.data(CREATE, json!({ "input": { "url": bad } })).await;
        let message = text(&refused["webhookEndpointCreate"]["userErrors"][0]["message"]);
        assert!(message.contains("rules.urlPattern") && message.contains("example[.]com"), "{message}");
        app.end().await;
    }

    async fn a_delivery_to_a_url_that_the_workspace_forbids_fails_without_a_request(app) {
        let receiver = app.receiver().await;
        app.subscribe(receiver.url()).await;
        set(&app, json!({ "rules": { "urlPattern": "^https://" } })).await;
        // What was published in this moment may still go out.
        let failed = eventually("the endpoint has heard of the rules", async || {
            app.publish(json!(1)).await;
            let query = "{ deliveries(where: { status: [FAILED] }) { nodes { id statusReason attemptCount attempts { nodes { id } } lastAttemptAt } } }";
            app.api.data(query, json!({})).await["deliveries"]["nodes"].get(0).cloned()
        }).await;
        let reason = text(&failed["statusReason"]);
        assert!(reason.contains("rules.urlPattern"), "{reason}");
        assert_eq!((&failed["attemptCount"], &failed["attempts"]["nodes"]), (&json!(0), &json!([])));
        set(&app, json!({ "rules": null })).await;
        eventually("the endpoint has heard that all is allowed", async || {
            let query = "query($id: ID!) { node(id: $id) { ... on Delivery { status attemptCount } } }";
            let seen = app.api.data(query, json!({ "id": failed["id"] })).await;
            if seen["node"]["status"] == "FAILED" {
                app.api.data(RETRY, json!({ "id": failed["id"] })).await;
            }
            (seen["node"] == json!({ "status": "SUCCEEDED", "attemptCount": 1 })).then_some(())
        }).await;
        app.end().await;
    }

    async fn the_longest_lifetime_is_default_and_maximum_and_ends_nothing_that_exists(app) {
        let endless = app.subscribe("https://example.com/1").await;
        set(&app, json!({ "maxSubscriptionLifetime": "P1D" })).await;
        let create = async |expires_in: Value| {
            let mut input = json!({ "eventTypes": ["*"], "endpoint": { "url": "https://example.com/2" } });
            if !expires_in.is_null() {
                input["expiresIn"] = expires_in;
            }
            app.api.data(SUBSCRIBE, json!({ "input": input })).await["webhookSubscriptionCreate"]["webhookSubscription"]["expiresAt"].take()
        };
        let in_a_day = (app.state().now() + Duration::from_hours(24)).to_string();
        assert_eq!([create(json!(null)).await, create(json!("P1D")).await], [json!(in_a_day), json!(in_a_day)]);
        let input = json!({ "eventTypes": ["*"], "endpoint": { "url": "https://example.com/2" }, "expiresIn": "P2D" });
        assert_eq!(problems(&app.api, SUBSCRIBE, json!({ "input": input })).await, ["EXPIRY_TOO_LONG input.expiresIn"]);
        let seen = app.api.data("query($id: ID!) { node(id: $id) { ... on WebhookSubscription { expiresAt } } }", json!({ "id": endless.id })).await;
        assert_eq!(seen["node"]["expiresAt"], json!(null));
        assert_eq!(problems(&app.api, RENEW, json!({ "id": endless.id, "expiresIn": "PT25H" })).await, ["EXPIRY_TOO_LONG expiresIn"]);
        for expires_in in [json!(null), json!("P1D")] {
            let renewed = app.api.data(RENEW, json!({ "id": endless.id, "expiresIn": expires_in })).await;
            assert_eq!(renewed["webhookSubscriptionRenew"]["webhookSubscription"]["expiresAt"], json!(in_a_day));
        }
        set(&app, json!({ "maxSubscriptionLifetime": null })).await;
        assert_eq!(create(json!(null)).await, json!(null));
        assert_eq!(problems(&app.api, RENEW, json!({ "id": endless.id })).await, ["BLANK expiresIn"]);
        app.end().await;
    }

    async fn a_secret_is_readable_only_where_the_workspace_and_the_scopes_allow_it(app) {
        let subscribed = app.subscribe("https://example.com/1").await;
        let id = json!({ "id": subscribed.endpoint });
        let other = app.admin.with_key(&builder::workspace_with_key(&app.admin, "Other").await.1);
        let reader = app.admin.with_key(&builder::key(&app.admin, &app.workspace, &["WEBHOOK_READ", "DELIVERY_READ", "EVENT_READ"]).await);
        let secret = async |api: &angarium_tests::GraphQl| api.data(SECRET, id.clone()).await["node"]["signingSecret"].take();
        assert_eq!(secret(&app.api).await, json!(null), "it is shown once");
        set(&app, json!({ "secretVisibility": "READABLE" })).await;
        assert_eq!(secret(&app.api).await, json!(subscribed.secret));
        assert_eq!(secret(&app.admin).await, json!(subscribed.secret));
        assert_eq!([secret(&reader).await, secret(&other).await], [json!(null), json!(null)]);
        let rotated = app.api.data(ROTATE, id.clone()).await["webhookEndpointSecretRotate"]["signingSecret"].take();
        assert!(rotated.is_string());
        assert_eq!(secret(&app.api).await, rotated);
        // Through every edge.
        let list = app.api.data("{ webhookSubscriptions { nodes { endpoint { signingSecret } } } }", json!({})).await;
        assert_eq!(list["webhookSubscriptions"]["nodes"], json!([{ "endpoint": { "signingSecret": rotated } }]));
        app.api.data(UPDATE, json!({ "id": subscribed.endpoint, "input": { "signing": { "scheme": "NONE" } } })).await;
        assert_eq!(secret(&app.api).await, json!(null), "there is none");
        set(&app, json!({ "secretVisibility": "ONCE" })).await;
        assert_eq!(secret(&app.admin).await, json!(null));
        app.end().await;
    }
}
