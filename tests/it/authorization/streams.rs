//! Live streams: refused without their scope, and silent about other tenants.

use angarium_tests::{GraphQl, builder, on_both_databases};
use serde_json::{Value, json};

use super::world::{SECRET, World, used};
use super::{assert_complete, types, without};

/// The stream, its scope, the document, and whether it names an object (which another tenant does not have).
pub(super) const STREAMS: &[(&str, &str, &str, bool)] = &[
    (
        "deliveryAttemptCompleted",
        "DELIVERY_READ",
        "subscription { deliveryAttemptCompleted { kind attempt { id } } }",
        false,
    ),
    (
        "deliveryUpdated",
        "DELIVERY_READ",
        "subscription { deliveryUpdated(snapshot: true) { kind delivery { id body } } }",
        false,
    ),
    ("eventPublished", "EVENT_READ", "subscription { eventPublished { kind event { id payload } } }", false),
    (
        "replayProgressed",
        "DELIVERY_READ",
        "subscription($replay: ID!) { replayProgressed(id: $replay) { kind replay { id } } }",
        true,
    ),
    (
        "webhookEndpointUpdated",
        "WEBHOOK_READ",
        "subscription { webhookEndpointUpdated(snapshot: true) { kind webhookEndpoint { id name url } deletedWebhookEndpointId } }",
        false,
    ),
    (
        "webhookSubscriptionUpdated",
        "WEBHOOK_READ",
        "subscription { webhookSubscriptionUpdated(snapshot: true) { kind webhookSubscription { id name } deletedWebhookSubscriptionId } }",
        false,
    ),
];

/// The codes of the first message of a stream that is refused.
async fn refused(api: &GraphQl, document: &str, variables: Value) -> Vec<Value> {
    let mut stream = api.subscribe(document, variables).await;
    let message = stream.next_message().await.expect("a message");
    let list = if message["type"] == "error" { &message["payload"] } else { &message["payload"]["errors"] };
    list.as_array().into_iter().flatten().map(|error| error["extensions"]["code"].clone()).collect()
}

on_both_databases! {
    async fn every_stream_needs_its_scope(app) {
        let types = types(&app.api).await;
        let fields = &types.iter().find(|one| one.name == "Subscription").expect("a root").fields;
        assert_complete("Subscription", STREAMS.iter().map(|case| case.0.to_owned()), fields.iter().map(|field| field.0.clone()));
        let world = World::new(&app).await;
        for (name, scope, document, _) in STREAMS {
            let (.., description) = fields.iter().find(|field| field.0 == *name).expect("it is there");
            assert!(description.contains(&format!("Needs {scope}")), "{name}: {description}");
            let caller = app.admin.with_key(&builder::key(&app.admin, &app.workspace, &without(scope)).await);
            assert_eq!(refused(&caller, document, used(document, &world.ids)).await, ["FORBIDDEN"], "{name}");
        }
        app.end().await;
    }

    async fn a_stream_tells_nothing_of_another_tenant(app) {
        let world = World::new(&app).await;
        for (name, _, document, names_an_object) in STREAMS {
            if *names_an_object {
                assert_eq!(refused(&world.other, document, used(document, &world.ids)).await, ["NOT_FOUND"], "{name}");
                continue;
            }
            let mut stream = world.other.subscribe(document, json!({})).await;
            // Something happens with the first tenant, and then something with the one who listens.
            app.publish(json!({ "secret": SECRET })).await;
            let receiver = app.receiver().await;
            let input = json!({ "name": "mine", "eventTypes": ["*"], "endpoint": { "url": receiver.url() } });
            let mine = builder::subscribe(&world.other, input).await;
            builder::publish(&world.other, json!({ "eventType": "invoice.paid", "payload": "mine" })).await;
            loop {
                let message = stream.next().await;
                assert!(!message.to_string().contains(SECRET), "{name}: {message}");
                if message[*name]["kind"] == "CHANGE" {
                    break;
                }
            }
            let delete = "mutation($id: ID!) { webhookSubscriptionDelete(id: $id) { userErrors { code } } }";
            world.other.data(delete, json!({ "id": mine.id })).await;
        }
        app.end().await;
    }
}
