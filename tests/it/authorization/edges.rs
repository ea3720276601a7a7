//! Edges from one object to another, and fields that show what belongs to another.

use angarium_tests::{builder, on_both_databases};
use serde_json::Value;

use super::roots::MUTATIONS;
use super::world::{SECRET, World, one_of_everything, used};
use super::{assert_complete, errors, types, without};

/// The scope that an edge needs beyond its parent's, and a document that reaches it with every scope but that.
pub(super) type Guarded = (&'static str, &'static str, &'static str);

pub(super) const GUARDED: &[Guarded] = &[
    (
        "Delivery.attempts",
        "DELIVERY_READ",
        "mutation($subscription: ID!) { webhookSubscriptionTest(id: $subscription, eventType: \"invoice.paid\") { delivery { attempts { nodes { id } } } } }",
    ),
    ("Delivery.body", "EVENT_READ", "query($delivery: ID!) { delivery(id: $delivery) { body } }"),
    ("Delivery.endpoint", "WEBHOOK_READ", "query($delivery: ID!) { delivery(id: $delivery) { endpoint { id } } }"),
    ("Delivery.event", "EVENT_READ", "query($delivery: ID!) { delivery(id: $delivery) { event { id } } }"),
    (
        "Delivery.subscription",
        "WEBHOOK_READ",
        "query($delivery: ID!) { delivery(id: $delivery) { subscription { id } } }",
    ),
    (
        "Delivery.lastAttempt",
        "DELIVERY_READ",
        "mutation($subscription: ID!) { webhookSubscriptionTest(id: $subscription, eventType: \"invoice.paid\") { delivery { lastAttempt { id } } } }",
    ),
    (
        "Delivery.signature",
        "DELIVERY_READ",
        "mutation($subscription: ID!) { webhookSubscriptionTest(id: $subscription, eventType: \"invoice.paid\") { delivery { signature } } }",
    ),
    ("EventCancelPayload.event", "EVENT_READ", "mutation($event: ID!) { eventCancel(id: $event) { event { id } } }"),
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

/// An edge that needs no more than what it starts from: why, the scopes that suffice, and a document that reaches it.
pub(super) type Free = (&'static str, &'static str, &'static [&'static str], &'static str);

pub(super) const FREE: &[Free] = &[
    (
        "ApiKey.workspace",
        "a key reads its own workspace's settings",
        &["WORKSPACE_READ"],
        "query($apiKey: ID!) { node(id: $apiKey) { ... on ApiKey { workspace { id name } } } }",
    ),
    (
        "DeliveryAttempt.delivery",
        "whoever reads attempts reads their deliveries",
        &["DELIVERY_READ"],
        "query($attempt: ID!) { node(id: $attempt) { ... on DeliveryAttempt { delivery { id } } } }",
    ),
    (
        "Event.eventType",
        "the catalogue is everybody's",
        &["EVENT_READ"],
        "query($event: ID!) { event(id: $event) { eventType { name } } }",
    ),
    ("Viewer.apiKey", "the caller's own", &["EVENT_READ"], "{ viewer { apiKey { id } } }"),
    ("Viewer.workspace", "the caller's own", &["EVENT_READ"], "{ viewer { workspace { id name } } }"),
    (
        "WebhookEndpoint.workspace",
        "a key reads its own workspace's settings",
        &["WEBHOOK_READ"],
        "query($endpoint: ID!) { webhookEndpoint(id: $endpoint) { workspace { id name } } }",
    ),
    (
        "WebhookSubscription.workspace",
        "a key reads its own workspace's settings",
        &["WEBHOOK_READ"],
        "query($subscription: ID!) { webhookSubscription(id: $subscription) { workspace { id name } } }",
    ),
];

/// What mutations answer with and may be read with their own scope: the call itself made it, changed it or named it.
pub(super) const ANSWERED: &[&str] = &[
    "ApiKeyCreatePayload.apiKey",
    "ApiKeyRevokePayload.apiKey",
    "DeliveryCancelPayload.delivery",
    "DeliveryRetryPayload.delivery",
    "EventPublishPayload.event",
    "EventTypeArchivePayload.eventType",
    "EventTypeCreatePayload.eventType",
    "EventTypeUpdatePayload.eventType",
    "ReplayCancelPayload.replay",
    "ReplayCreatePayload.replay",
    "WebhookEndpointBacklogDiscardPayload.webhookEndpoint",
    "WebhookEndpointCreatePayload.webhookEndpoint",
    "WebhookEndpointPausePayload.webhookEndpoint",
    "WebhookEndpointResumePayload.webhookEndpoint",
    "WebhookEndpointSecretRotatePayload.webhookEndpoint",
    "WebhookEndpointUpdatePayload.webhookEndpoint",
    "WebhookSubscriptionConfirmPayload.webhookSubscription",
    "WebhookSubscriptionConfirmationResendPayload.webhookSubscription",
    "WebhookSubscriptionCreatePayload.webhookSubscription",
    "WebhookSubscriptionRenewPayload.webhookSubscription",
    "WebhookSubscriptionTestPayload.delivery",
    "WebhookSubscriptionTestPayload.event",
    "WebhookSubscriptionUpdatePayload.webhookSubscription",
    "WebhookSubscriptionsDisablePayload.webhookSubscriptions",
    "WebhookSubscriptionsEnablePayload.webhookSubscriptions",
    "WorkspaceCreatePayload.workspace",
    "WorkspaceUpdatePayload.workspace",
];

/// Fields that are guarded although they are no edges.
const GUARDED_FIELDS: [&str; 3] = ["Delivery.body", "Delivery.signature", "WebhookRequest.body"];

/// The first field of this name in an answer, at whatever depth.
fn at<'a>(answer: &'a Value, field: &str) -> Option<&'a Value> {
    match answer {
        Value::Object(fields) => fields.get(field).or_else(|| fields.values().find_map(|one| at(one, field))),
        Value::Array(list) => list.iter().find_map(|one| at(one, field)),
        _ => None,
    }
}

/// A document of one root field with another selection.
fn selecting(document: &str, root: &str, selection: &str) -> String {
    let start = document.find(&format!(" {root}(")).expect("the root has arguments") + root.len() + 1;
    let mut depth = 0;
    let end = document[start..].find(|letter| {
        depth += i32::from(letter == '(') - i32::from(letter == ')');
        depth == 0
    });
    let end = start + end.expect("they end") + 1;
    format!("{} {selection} }}", &document[..end])
}

on_both_databases! {
    async fn every_edge_has_a_case(app) {
        let types = types(&app.api).await;
        let is_node = |name: &str| types.iter().any(|one| one.name == name && one.interfaces.iter().any(|known| known == "Node"));
        let is_edge = |name: &str| is_node(name) || name.ends_with("Connection");
        // What a root, a page or a live message holds was asked for with the scope of its root.
        let is_wrapper = |name: &str| {
            ["Query", "Mutation", "Subscription"].contains(&name)
                || ["Connection", "Edge", "Update"].iter().any(|end| name.ends_with(end))
        };
        let edges = types.iter().filter(|one| !is_wrapper(&one.name)).flat_map(|one| {
            one.fields.iter().filter(|field| is_edge(&field.1)).map(|field| format!("{}.{}", one.name, field.0))
        });
        let free = FREE.iter().map(|case| case.0).chain(ANSWERED.iter().copied());
        let cases = GUARDED.iter().map(|case| case.0).chain(free).map(str::to_owned);
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

    async fn a_free_edge_needs_no_scope_but_that_of_what_it_starts_from(app) {
        let world = World::new(&app).await;
        for (edge, _, scopes, document) in FREE {
            let caller = app.admin.with_key(&builder::key(&app.admin, &app.workspace, scopes).await);
            let answer = caller.data(document, used(document, &world.ids)).await;
            let field = edge.split('.').next_back().expect("a name");
            assert!(at(&answer, field).is_some_and(Value::is_object), "{edge}: {answer:#}");
        }
        app.end().await;
    }

    async fn what_a_mutation_answers_with_needs_no_scope_but_its_own(app) {
        let world = World::new(&app).await;
        for edge in ANSWERED {
            let (payload, field) = edge.split_once('.').expect("a name");
            let root = payload.strip_suffix("Payload").expect("a payload");
            let name = format!("{}{}", root[..1].to_ascii_lowercase(), &root[1..]);
            let case = MUTATIONS.iter().find(|case| case.0 == name).expect("every mutation has a case");
            let document = selecting(case.2, &name, &format!("{{ {field} {{ __typename }} userErrors {{ code }} }}"));
            let caller = match case.1 {
                Some("ADMIN" | "EVENT_TYPE_WRITE") => app.admin.clone(),
                scope => app.admin.with_key(&builder::key(&app.admin, &app.workspace, &[scope.expect("it has one")]).await),
            };
            let (_, answer) = caller.post(&document, used(&document, &world.ids)).await;
            assert!(answer.get("errors").is_none() && answer["data"][&name].is_object(), "{edge}: {answer:#}");
        }
        app.end().await;
    }

    async fn to_another_tenant_no_edge_leads_to_what_is_not_its_own(app) {
        let world = World::new(&app).await;
        let own = one_of_everything(&app, &world.other, "of-other").await;
        let documents = GUARDED.iter().map(|case| (case.0, case.2)).chain(FREE.iter().map(|case| (case.0, case.3)));
        let foreign: Vec<_> = world.ids.as_object().expect("an object").iter().filter(|(name, _)| *name != "eventType").collect();
        for (edge, document) in documents {
            for (whose, ids) in [("its own", &own), ("the first tenant's", &world.ids)] {
                let (_, answer) = world.other.post(document, used(document, ids)).await;
                let shown = answer.to_string();
                let leak = foreign.iter().find(|(_, id)| shown.contains(id.as_str().expect("a text")));
                assert!(leak.is_none() && !shown.contains(SECRET), "{edge} of {whose} shows {leak:?}: {answer:#}");
                if whose == "its own" {
                    assert!(answer.get("errors").is_none(), "{edge}: {answer:#}");
                } else {
                    let field = edge.split('.').next_back().expect("a name");
                    let is_viewers = document.contains("viewer");
                    assert!(is_viewers || at(&answer["data"], field).is_none_or(Value::is_null), "{edge}: {answer:#}");
                }
            }
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
