//! Edges from one object to another, and fields that show what belongs to another.

use angarium_tests::{builder, on_both_databases};
use serde_json::Value;

use super::world::{SECRET, World, used};
use super::{assert_complete, errors, types, without};

/// The scope that an edge needs beyond its parent's, and a document that reaches it with every scope but that.
pub(super) type Guarded = (&'static str, &'static str, &'static str);

pub(super) const GUARDED: &[Guarded] = &[
    ("Delivery.body", "EVENT_READ", "query($delivery: ID!) { delivery(id: $delivery) { body } }"),
    ("Delivery.endpoint", "WEBHOOK_READ", "query($delivery: ID!) { delivery(id: $delivery) { endpoint { id } } }"),
    ("Delivery.event", "EVENT_READ", "query($delivery: ID!) { delivery(id: $delivery) { event { id } } }"),
    (
        "Delivery.subscription",
        "WEBHOOK_READ",
        "query($delivery: ID!) { delivery(id: $delivery) { subscription { id } } }",
    ),
    ("Event.deliveries", "DELIVERY_READ", "query($event: ID!) { event(id: $event) { deliveries { nodes { id } } } }"),
    (
        "WebhookEndpoint.deliveries",
        "DELIVERY_READ",
        "query($endpoint: ID!) { webhookEndpoint(id: $endpoint) { deliveries { nodes { id } } } }",
    ),
    (
        "WebhookEndpoint.subscriptions",
        "WEBHOOK_READ",
        "mutation($endpoint: ID!) { webhookEndpointResume(id: $endpoint) { webhookEndpoint { subscriptions { nodes { id } } } } }",
    ),
    (
        "WebhookRequest.body",
        "EVENT_READ",
        "query($delivery: ID!) { delivery(id: $delivery) { lastAttempt { request { body } } } }",
    ),
    (
        "WebhookSubscription.createdBy",
        "WORKSPACE_READ",
        "query($subscription: ID!) { webhookSubscription(id: $subscription) { createdBy { id } } }",
    ),
    (
        "WebhookSubscription.deliveries",
        "DELIVERY_READ",
        "query($subscription: ID!) { webhookSubscription(id: $subscription) { deliveries { nodes { id } } } }",
    ),
    (
        "WebhookSubscription.endpoint",
        "WEBHOOK_READ",
        "mutation($subscription: ID!) { webhookSubscriptionRenew(id: $subscription, expiresIn: \"P1D\") { webhookSubscription { endpoint { id } } } }",
    ),
    ("Workspace.apiKeys", "WORKSPACE_READ", "{ viewer { workspace { apiKeys { nodes { id } } } } }"),
];

/// Edges that need no more than what they start from, and why.
pub(super) const FREE: &[(&str, &str)] = &[
    ("ApiKey.workspace", "a key reads its own workspace's settings"),
    ("Delivery.attempts", "whoever reads deliveries reads their attempts"),
    ("Delivery.lastAttempt", "whoever reads deliveries reads their attempts"),
    ("DeliveryAttempt.delivery", "whoever reads attempts reads their deliveries"),
    ("Event.eventType", "the catalogue is everybody's"),
    ("Viewer.apiKey", "the caller's own"),
    ("Viewer.workspace", "the caller's own"),
    ("WebhookEndpoint.workspace", "a key reads its own workspace's settings"),
    ("WebhookSubscription.workspace", "a key reads its own workspace's settings"),
];

/// Fields that are guarded although they are no edges.
const GUARDED_FIELDS: [&str; 2] = ["Delivery.body", "WebhookRequest.body"];

on_both_databases! {
    async fn every_edge_has_a_case(app) {
        let types = types(&app.api).await;
        let is_node = |name: &str| types.iter().any(|one| one.name == name && one.interfaces.iter().any(|known| known == "Node"));
        let is_edge = |name: &str| is_node(name) || name.ends_with("Connection");
        // What a root, a payload, a page or a live message holds was asked for with the scope of its root.
        let is_wrapper = |name: &str| {
            ["Query", "Mutation", "Subscription"].contains(&name)
                || ["Payload", "Connection", "Edge", "Update"].iter().any(|end| name.ends_with(end))
        };
        let edges = types.iter().filter(|one| !is_wrapper(&one.name)).flat_map(|one| {
            one.fields.iter().filter(|field| is_edge(&field.1)).map(|field| format!("{}.{}", one.name, field.0))
        });
        let cases = GUARDED.iter().map(|case| case.0).chain(FREE.iter().map(|case| case.0)).map(str::to_owned);
        assert_complete("edges", cases, edges.chain(GUARDED_FIELDS.map(str::to_owned)));
        app.end().await;
    }

    async fn without_its_scope_an_edge_is_null_and_tells_why(app) {
        let world = World::new(&app).await;
        for (edge, scope, document) in GUARDED {
            let caller = app.admin.with_key(&builder::key(&app.admin, &app.workspace, &without(scope)).await);
            let (_, answer) = caller.post(document, used(document, &world.ids)).await;
            let field = edge.split('.').next_back().expect("a name");
            assert_eq!(errors(&answer), [("FORBIDDEN".to_owned(), field.to_owned())], "{edge}: {answer:#}");
            assert!(!answer.to_string().contains(SECRET), "{edge}: {answer:#}");
        }
        app.end().await;
    }

    async fn with_every_scope_no_edge_is_refused(app) {
        let world = World::new(&app).await;
        for (edge, _, document) in GUARDED {
            let (_, answer) = app.api.post(document, used(document, &world.ids)).await;
            assert!(answer.get("errors").is_none(), "{edge}: {answer:#}");
        }
        app.end().await;
    }

    async fn signing_secrets_show_only_where_the_workspace_and_the_scope_allow_it(app) {
        let world = World::new(&app).await;
        let update = "mutation($workspace: ID!, $v: SecretVisibility!) { workspaceUpdate(id: $workspace, input: { secretVisibility: $v }) { userErrors { code } } }";
        let query = "query($endpoint: ID!) { webhookEndpoint(id: $endpoint) { signingSecret } }";
        let blind = app.admin.with_key(&builder::key(&app.admin, &app.workspace, &without("WEBHOOK_SECRET_READ")).await);
        for (visibility, shows) in [("ONCE", false), ("READABLE", true), ("ONCE", false)] {
            let variables = serde_json::json!({ "workspace": world.ids["workspace"], "v": visibility });
            app.api.data(update, variables).await;
            let seen = app.api.data(query, used(query, &world.ids)).await;
            assert_eq!(seen["webhookEndpoint"]["signingSecret"].is_string(), shows, "{visibility}");
            let hidden = blind.data(query, used(query, &world.ids)).await;
            assert_eq!(hidden["webhookEndpoint"]["signingSecret"], Value::Null);
        }
        app.end().await;
    }
}
