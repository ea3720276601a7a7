//! Root fields of queries and mutations, and `node` of every type.

use angarium_tests::{builder, on_both_databases};
use serde_json::{Value, json};

use super::world::{SECRET, World, used};
use super::{assert_complete, errors, text, types, without};

/// What a caller without the right scope or tenant is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stranger {
    /// null, as for what does not exist.
    Null,
    /// An empty list.
    Empty,
    /// A `userErrors` entry `NOT_FOUND`.
    NotFound,
    /// The field acts on the caller's own workspace only, or on what everybody has; nothing of another's shows.
    Own,
    /// Only operators may do it.
    Forbidden,
}
use Stranger::{Empty, Forbidden, NotFound, Null, Own};

/// The field, the scope that it needs, the document, and what another tenant is told.
pub(super) type Case = (&'static str, Option<&'static str>, &'static str, Stranger);

pub(super) const QUERIES: &[Case] = &[
    ("delivery", Some("DELIVERY_READ"), "query($delivery: ID!) { delivery(id: $delivery) { id } }", Null),
    ("deliveries", Some("DELIVERY_READ"), "{ deliveries { nodes { id } } }", Empty),
    (
        "deliveryStats",
        Some("DELIVERY_READ"),
        "query($endpoint: ID!) { deliveryStats(endpointId: $endpoint, from: \"2026-01-01T00:00:00Z\", to: \"2026-01-02T00:00:00Z\") { total } }",
        Own,
    ),
    ("event", Some("EVENT_READ"), "query($event: ID!) { event(id: $event) { id } }", Null),
    ("events", Some("EVENT_READ"), "{ events { nodes { id } } }", Empty),
    ("eventType", None, "{ eventType(name: \"invoice.paid\") { name } }", Own),
    ("eventTypes", None, "{ eventTypes { nodes { name } } }", Own),
    ("node", Some("DELIVERY_READ"), "query($delivery: ID!) { node(id: $delivery) { id } }", Null),
    ("nodes", Some("DELIVERY_READ"), "query($delivery: ID!) { nodes(ids: [$delivery]) { id } }", Own),
    ("replays", Some("DELIVERY_READ"), "{ replays { nodes { id } } }", Empty),
    ("serverInfo", None, "{ serverInfo { version } }", Own),
    ("viewer", None, "{ viewer { scopes workspace { id name } } }", Own),
    ("webhookEndpoint", Some("WEBHOOK_READ"), "query($endpoint: ID!) { webhookEndpoint(id: $endpoint) { id } }", Null),
    ("webhookEndpoints", Some("WEBHOOK_READ"), "{ webhookEndpoints { nodes { id } } }", Empty),
    (
        "webhookRequestPreview",
        Some("WEBHOOK_READ"),
        "query($subscription: ID!) { webhookRequestPreview(webhookSubscriptionId: $subscription, eventType: \"invoice.paid\", payload: 1) { request { url body } } }",
        Own,
    ),
    (
        "webhookSubscription",
        Some("WEBHOOK_READ"),
        "query($subscription: ID!) { webhookSubscription(id: $subscription) { id } }",
        Null,
    ),
    ("webhookSubscriptions", Some("WEBHOOK_READ"), "{ webhookSubscriptions { nodes { id } } }", Empty),
    ("workspace", None, "query($workspace: ID!) { workspace(ref: { id: $workspace }) { id } }", Null),
    ("workspaces", None, "{ workspaces { nodes { id } } }", Own),
];

const SUBSCRIBE: Option<&str> = Some("WEBHOOK_SUBSCRIBE");

pub(super) const MUTATIONS: &[Case] = &[
    (
        "accessTokenCreate",
        None,
        "mutation($workspace: ID!) { accessTokenCreate(input: { scopes: [EVENT_READ], workspace: { id: $workspace } }) { token userErrors { code } } }",
        NotFound,
    ),
    (
        "apiKeyCreate",
        Some("WORKSPACE_WRITE"),
        "mutation($workspace: ID!) { apiKeyCreate(input: { name: \"k\", scopes: [EVENT_READ], workspace: { id: $workspace } }) { key userErrors { code } } }",
        NotFound,
    ),
    (
        "apiKeyRevoke",
        Some("WORKSPACE_WRITE"),
        "mutation($apiKey: ID!) { apiKeyRevoke(id: $apiKey) { apiKey { id } userErrors { code } } }",
        NotFound,
    ),
    (
        "deliveryCancel",
        Some("DELIVERY_WRITE"),
        "mutation($delivery: ID!) { deliveryCancel(id: $delivery) { delivery { id } userErrors { code } } }",
        NotFound,
    ),
    (
        "deliveryDelete",
        Some("DELIVERY_WRITE"),
        "mutation($delivery: ID!) { deliveryDelete(id: $delivery) { deletedDeliveryId userErrors { code } } }",
        NotFound,
    ),
    (
        "deliveryRetry",
        Some("DELIVERY_WRITE"),
        "mutation($delivery: ID!) { deliveryRetry(id: $delivery) { delivery { id } userErrors { code } } }",
        NotFound,
    ),
    (
        "eventCancel",
        Some("DELIVERY_WRITE"),
        "mutation($event: ID!) { eventCancel(id: $event) { canceledCount userErrors { code } } }",
        NotFound,
    ),
    (
        "eventDelete",
        Some("EVENT_PUBLISH"),
        "mutation($event: ID!) { eventDelete(id: $event) { deletedEventId userErrors { code } } }",
        NotFound,
    ),
    (
        "eventPublish",
        Some("EVENT_PUBLISH"),
        "mutation { eventPublish(input: { eventType: \"invoice.paid\", payload: 1 }) { event { id } userErrors { code } } }",
        Own,
    ),
    (
        "eventPublishBatch",
        Some("EVENT_PUBLISH"),
        "mutation { eventPublishBatch(inputs: [{ eventType: \"invoice.paid\", payload: 1 }]) { results { event { id } } userErrors { code } } }",
        Own,
    ),
    (
        "eventTypeArchive",
        Some("EVENT_TYPE_WRITE"),
        "mutation { eventTypeArchive(name: \"invoice.paid\") { eventType { id } userErrors { code } } }",
        Forbidden,
    ),
    (
        "eventTypeCreate",
        Some("EVENT_TYPE_WRITE"),
        "mutation { eventTypeCreate(input: { name: \"x.y\" }) { eventType { id } userErrors { code } } }",
        Forbidden,
    ),
    (
        "eventTypeUpdate",
        Some("EVENT_TYPE_WRITE"),
        "mutation { eventTypeUpdate(name: \"invoice.paid\", input: {}) { eventType { id } userErrors { code } } }",
        Forbidden,
    ),
    (
        "replayCancel",
        Some("DELIVERY_WRITE"),
        "mutation($replay: ID!) { replayCancel(id: $replay) { replay { id } userErrors { code } } }",
        NotFound,
    ),
    (
        "replayCreate",
        Some("DELIVERY_WRITE"),
        "mutation($subscription: ID!) { replayCreate(input: { target: { eventIds: [] }, subscriptionIds: [$subscription] }) { replay { id } userErrors { code } } }",
        NotFound,
    ),
    (
        "webhookEndpointBacklogDiscard",
        SUBSCRIBE,
        "mutation($endpoint: ID!) { webhookEndpointBacklogDiscard(id: $endpoint) { discardedCount userErrors { code } } }",
        NotFound,
    ),
    (
        "webhookEndpointCreate",
        SUBSCRIBE,
        "mutation { webhookEndpointCreate(input: { url: \"https://example.com\" }) { signingSecret userErrors { code } } }",
        Own,
    ),
    (
        "webhookEndpointDelete",
        SUBSCRIBE,
        "mutation($unused: ID!) { webhookEndpointDelete(id: $unused) { deletedWebhookEndpointId userErrors { code } } }",
        NotFound,
    ),
    (
        "webhookEndpointPause",
        SUBSCRIBE,
        "mutation($endpoint: ID!) { webhookEndpointPause(id: $endpoint) { webhookEndpoint { id } userErrors { code } } }",
        NotFound,
    ),
    (
        "webhookEndpointResume",
        SUBSCRIBE,
        "mutation($endpoint: ID!) { webhookEndpointResume(id: $endpoint) { webhookEndpoint { id } userErrors { code } } }",
        NotFound,
    ),
    (
        "webhookEndpointSecretRotate",
        SUBSCRIBE,
        "mutation($endpoint: ID!) { webhookEndpointSecretRotate(id: $endpoint) { signingSecret userErrors { code } } }",
        NotFound,
    ),
    (
        "webhookEndpointUpdate",
        SUBSCRIBE,
        "mutation($endpoint: ID!) { webhookEndpointUpdate(id: $endpoint, input: { name: \"n\" }) { webhookEndpoint { id } userErrors { code } } }",
        NotFound,
    ),
    (
        "webhookSubscriptionConfirm",
        SUBSCRIBE,
        "mutation { webhookSubscriptionConfirm(token: \"x\") { webhookSubscription { id } userErrors { code } } }",
        Own,
    ),
    (
        "webhookSubscriptionConfirmationResend",
        SUBSCRIBE,
        "mutation($subscription: ID!) { webhookSubscriptionConfirmationResend(id: $subscription) { webhookSubscription { id } userErrors { code } } }",
        NotFound,
    ),
    (
        "webhookSubscriptionCreate",
        SUBSCRIBE,
        "mutation($endpoint: ID!) { webhookSubscriptionCreate(input: { eventTypes: [\"*\"], endpoint: { id: $endpoint } }) { webhookSubscription { id } userErrors { code } } }",
        NotFound,
    ),
    (
        "webhookSubscriptionDelete",
        SUBSCRIBE,
        "mutation($subscription: ID!) { webhookSubscriptionDelete(id: $subscription) { deletedWebhookSubscriptionId userErrors { code } } }",
        NotFound,
    ),
    (
        "webhookSubscriptionRenew",
        SUBSCRIBE,
        "mutation($subscription: ID!) { webhookSubscriptionRenew(id: $subscription, expiresIn: \"P1D\") { webhookSubscription { id } userErrors { code } } }",
        NotFound,
    ),
    (
        "webhookSubscriptionTest",
        SUBSCRIBE,
        "mutation($subscription: ID!) { webhookSubscriptionTest(id: $subscription, payload: 1) { event { id } userErrors { code } } }",
        NotFound,
    ),
    (
        "webhookSubscriptionUpdate",
        SUBSCRIBE,
        "mutation($subscription: ID!) { webhookSubscriptionUpdate(id: $subscription, input: { name: \"n\" }) { webhookSubscription { id } userErrors { code } } }",
        NotFound,
    ),
    (
        "webhookSubscriptionsDisable",
        SUBSCRIBE,
        "mutation($subscription: ID!) { webhookSubscriptionsDisable(ids: [$subscription]) { webhookSubscriptions { id } userErrors { code } } }",
        NotFound,
    ),
    (
        "webhookSubscriptionsEnable",
        SUBSCRIBE,
        "mutation($subscription: ID!) { webhookSubscriptionsEnable(ids: [$subscription]) { webhookSubscriptions { id } userErrors { code } } }",
        NotFound,
    ),
    (
        "workspaceCreate",
        Some("ADMIN"),
        "mutation { workspaceCreate(input: { name: \"w\" }) { workspace { id } userErrors { code } } }",
        Forbidden,
    ),
    (
        "workspaceDelete",
        Some("ADMIN"),
        "mutation($workspace: ID!) { workspaceDelete(id: $workspace) { deletedWorkspaceId userErrors { code } } }",
        Forbidden,
    ),
    (
        "workspaceUpdate",
        Some("WORKSPACE_WRITE"),
        "mutation($workspace: ID!) { workspaceUpdate(id: $workspace, input: { name: \"n\" }) { workspace { id } userErrors { code } } }",
        NotFound,
    ),
];

/// The types behind `node`: the type, the variable that holds one's ID, the scope.
pub(super) const NODES: &[(&str, &str, Option<&str>)] = &[
    ("ApiKey", "apiKey", Some("WORKSPACE_READ")),
    ("Delivery", "delivery", Some("DELIVERY_READ")),
    ("DeliveryAttempt", "attempt", Some("DELIVERY_READ")),
    ("Event", "event", Some("EVENT_READ")),
    ("EventType", "eventType", None),
    ("Replay", "replay", Some("DELIVERY_READ")),
    ("WebhookEndpoint", "endpoint", Some("WEBHOOK_READ")),
    ("WebhookSubscription", "subscription", Some("WEBHOOK_READ")),
    ("Workspace", "workspace", None),
];

fn cases() -> impl Iterator<Item = &'static Case> {
    QUERIES.iter().chain(MUTATIONS)
}

on_both_databases! {
    async fn every_root_field_has_a_case_and_tells_the_scope_that_it_needs(app) {
        let types = types(&app.api).await;
        for (root, cases) in [("Query", QUERIES), ("Mutation", MUTATIONS)] {
            let fields = &types.iter().find(|one| one.name == root).expect("a root").fields;
            assert_complete(root, cases.iter().map(|case| case.0.to_owned()), fields.iter().map(|field| field.0.clone()));
            for (name, scope, ..) in cases {
                let (.., description) = fields.iter().find(|field| field.0 == *name).expect("it is there");
                if let Some(scope) = scope.filter(|_| !matches!(*name, "node" | "nodes")) {
                    let told = description.contains(&format!("Needs {scope}"))
                        || (scope == "ADMIN" && description.contains("administrator"));
                    assert!(told, "the description of {name} does not tell that it needs {scope}: {description}");
                }
            }
        }
        app.end().await;
    }

    async fn without_its_scope_every_root_field_is_refused_and_changes_nothing(app) {
        let world = World::new(&app).await;
        for (name, scope, document, _) in cases() {
            let Some(scope) = scope else { continue };
            let caller = app.admin.with_key(&builder::key(&app.admin, &app.workspace, &without(scope)).await);
            let (_, answer) = caller.post(document, used(document, &world.ids)).await;
            let told = errors(&answer);
            assert!(told.iter().all(|(code, path)| code == "FORBIDDEN" && path == name) && !told.is_empty(), "{name}: {answer:#}");
        }
        let query = "query($subscription: ID!, $unused: ID!, $delivery: ID!) { webhookSubscription(id: $subscription) { version enabled }
            unused: webhookEndpoint(id: $unused) { id } delivery(id: $delivery) { status attemptCount } events { totalCount } }";
        let left = app.api.data(query, used(query, &world.ids)).await;
        assert_eq!(left["webhookSubscription"], json!({ "version": 1, "enabled": true }));
        assert_eq!(left["delivery"], json!({ "status": "SUCCEEDED", "attemptCount": 1 }));
        assert_eq!((&left["unused"]["id"], &left["events"]["totalCount"]), (&world.ids["unused"], &json!(1)));
        app.end().await;
    }

    async fn to_another_tenant_every_root_field_acts_as_if_nothing_were_there(app) {
        let world = World::new(&app).await;
        for (name, _, document, told) in cases() {
            let (_, answer) = world.other.post(document, used(document, &world.ids)).await;
            let field = &answer["data"][*name];
            match told {
                Stranger::Null => assert!(field.is_null() && answer.get("errors").is_none(), "{name}: {answer:#}"),
                Stranger::Empty => assert_eq!(field["nodes"], json!([]), "{name}: {answer:#}"),
                Stranger::NotFound => assert_eq!(field["userErrors"][0]["code"], "NOT_FOUND", "{name}: {answer:#}"),
                Stranger::Forbidden => assert_eq!(errors(&answer), [("FORBIDDEN".to_owned(), (*name).to_owned())]),
                Stranger::Own => {}
            }
            assert!(!answer.to_string().contains(SECRET), "{name} shows another tenant's: {answer:#}");
        }
        app.end().await;
    }

    async fn node_of_every_type_needs_its_scope_and_is_null_for_another_tenant(app) {
        let types = types(&app.api).await;
        let implementers = types.iter().filter(|one| one.interfaces.iter().any(|name| name == "Node"));
        assert_complete("node", NODES.iter().map(|case| case.0.to_owned()), implementers.map(|one| one.name.clone()));
        let world = World::new(&app).await;
        for query in ["query($id: ID!) { node(id: $id) { __typename } }", "query($id: ID!) { nodes(ids: [$id]) { __typename } }"] {
            for (name, variable, scope) in NODES {
                let id = json!({ "id": world.ids[*variable] });
                let found = |data: &Value| if query.contains("nodes") { data["nodes"][0].clone() } else { data["node"].clone() };
                let own = app.api.data(query, id.clone()).await;
                assert_eq!(text(&found(&own)["__typename"]), *name);
                let (_, foreign) = world.other.post(query, id.clone()).await;
                if *name == "EventType" {
                    assert_eq!(found(&foreign["data"])["__typename"], "EventType", "the catalogue is everybody's");
                } else {
                    assert!(found(&foreign["data"]).is_null() && foreign.get("errors").is_none(), "{name}: {foreign}");
                }
                if let Some(scope) = scope {
                    let caller = app.admin.with_key(&builder::key(&app.admin, &app.workspace, &without(scope)).await);
                    let (_, refused) = caller.post(query, id).await;
                    assert!(found(&refused["data"]).is_null(), "{name}: {refused}");
                    assert_eq!(errors(&refused)[0].0, "FORBIDDEN", "{name}: {refused}");
                }
            }
        }
        app.end().await;
    }
}
