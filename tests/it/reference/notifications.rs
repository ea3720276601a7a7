//! 003: notifications. A permission, callback URLs of at most 512 characters, topics by a pattern, a client and a server
//! secret, an end after at most seven days, refreshing, and a message that has to be confirmed.

use std::time::Duration;

use angarium_tests::{GraphQl, TestApp, builder, on_both_databases};
use serde_json::{Value, json};

const TOPIC: &str = "^[0-9A-Za-z\\-]{3,48}$";
/// URL-safe, 16 characters.
const CLIENT_SECRET: &str = "aB3-dE6_gH9jK2mN";
const CREATE: &str = "mutation($input: WebhookSubscriptionCreateInput!) { webhookSubscriptionCreate(input: $input) {
    webhookSubscription { id eventTypes status statusReason expiresAt confirmedAt workspace { uuid } endpoint { url } }
    signingSecret userErrors { code field message } } }";

/// The workspace under the rules of the reference, and its topics.
async fn arrange(app: &TestApp) {
    let update = "mutation($id: ID!, $input: WorkspaceUpdateInput!) { workspaceUpdate(id: $id, input: $input) {
        workspace { maxSubscriptionLifetime subscriptionConfirmation rules { urlMaxLength eventTypePattern } } userErrors { code field message } } }";
    let input = json!({
        "rules": { "urlMaxLength": 512, "eventTypePattern": TOPIC },
        "maxSubscriptionLifetime": "P7D",
        "subscriptionConfirmation": "LINK",
    });
    let updated = app.api.data(update, json!({ "id": app.workspace, "input": input })).await["workspaceUpdate"].take();
    assert_eq!(updated["userErrors"], json!([]));
    assert_eq!(updated["workspace"]["rules"], json!({ "urlMaxLength": 512, "eventTypePattern": TOPIC }));
    for topic in ["balance-changes", "ab", "dotted.topic"] {
        builder::event_type(&app.admin, topic).await;
    }
}

fn input(url: &str) -> Value {
    json!({
        "eventTypes": ["balance-changes"],
        "endpoint": { "create": { "url": url, "signing": { "scheme": "TWO_SECRET", "secret": CLIENT_SECRET } } },
    })
}

async fn create(api: &GraphQl, input: Value) -> Value {
    api.data(CREATE, json!({ "input": input })).await["webhookSubscriptionCreate"].take()
}

on_both_databases! {
    async fn a_topic_is_subscribed_to_confirmed_by_its_link_and_refreshed(app) {
        arrange(&app).await;
        let receiver = app.receiver().await;
        let made = create(&app.api, input(receiver.url())).await;
        assert_eq!(made["userErrors"], json!([]));
        let subscription = &made["webhookSubscription"];
        assert_eq!(subscription["status"], "PENDING_CONFIRMATION");
        let server_secret = builder::text(&made["signingSecret"]);
        let secret = format!("{CLIENT_SECRET}{server_secret}");
        assert!(server_secret.len() == 16 && server_secret.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
        let expires = subscription["expiresAt"].clone();
        assert!(expires.is_string(), "seven days unless asked otherwise");

        // The confirmation message.
        let message = receiver.expect_requests(1).await.remove(0);
        assert_eq!(message.header("webhook-event-type"), "angarium.subscription.confirmation");
        assert!(message.is_signed_with_bytes(secret.as_bytes()), "signed with both secrets, one after the other");
        let data = message.data();
        assert_eq!(data["subscription"]["id"], subscription["id"]);
        assert_eq!(data["subscription"]["eventTypes"], json!(["balance-changes"]));
        assert_eq!(data["subscription"]["expiresAt"], expires);
        let link = builder::text(&data["confirmationUrl"]);
        assert!(link.contains(&builder::text(&data["token"])) && data["expiresAt"].is_string());

        // Until it is confirmed it matches nothing.
        let publish = json!({ "eventType": "balance-changes", "payload": { "balance": "1.00" } });
        builder::publish(&app.api, publish.clone()).await;
        let confirmed = angarium_tests::client::http_client().get(&link).send().await.expect("an answer");
        assert_eq!(confirmed.status().as_u16(), 200);
        let query = "query($id: ID!) { webhookSubscription(id: $id) { status confirmedAt expiresAt } }";
        let id = json!({ "id": subscription["id"] });
        let now = app.api.data(query, id.clone()).await["webhookSubscription"].take();
        assert!(now["status"] == "ACTIVE" && now["confirmedAt"].is_string(), "{now}");
        builder::publish(&app.api, publish).await;
        let request = receiver.expect_requests(2).await.remove(1);
        assert_eq!(request.data(), json!({ "balance": "1.00" }));
        assert!(request.is_signed_with_bytes(secret.as_bytes()));

        // Refreshing counts seven days from now, without the secret.
        app.clock.advance(Duration::from_hours(24));
        let renew = "mutation($id: ID!, $in: Duration) { webhookSubscriptionRenew(id: $id, expiresIn: $in) {
            webhookSubscription { expiresAt status } userErrors { code field message } } }";
        let renewed = app.api.data(renew, id.clone()).await["webhookSubscriptionRenew"].take();
        assert!(builder::text(&renewed["webhookSubscription"]["expiresAt"]) > builder::text(&expires));
        let too_long = json!({ "id": id["id"], "in": "PT604801S" });
        assert_eq!(builder::problems(&app.api, renew, too_long).await, ["EXPIRY_TOO_LONG expiresIn"]);

        // And then it ends.
        app.clock.advance(Duration::from_hours(7 * 24 + 1));
        assert_eq!(app.api.data(query, id).await["webhookSubscription"]["status"], "EXPIRED");
        app.end().await;
    }

    async fn the_permission_and_every_limit_of_the_reference_hold(app) {
        arrange(&app).await;
        let without = app.admin.with_key(&builder::key(&app.admin, &app.workspace, &["WEBHOOK_READ"]).await);
        assert_eq!(without.error_code(CREATE, json!({ "input": input("https://example.com/") })).await, "FORBIDDEN");
        let subscriber = app.admin.with_key(&builder::key(&app.admin, &app.workspace, &["WEBHOOK_SUBSCRIBE"]).await);
        let problems = async |input: Value| builder::problems(&subscriber, CREATE, json!({ "input": input })).await;

        let of_length = |length: usize| {
            let start = "https://example.com/";
            format!("{start}{}", "a".repeat(length - start.len()))
        };
        assert_eq!(problems(input(&of_length(512))).await, [""; 0]);
        assert_eq!(problems(input(&of_length(513))).await, ["TOO_LONG input.endpoint.create.url"]);
        for topic in ["ab", "dotted.topic"] {
            let mut wrong = input(&of_length(100));
            wrong["eventTypes"] = json!([topic]);
            assert_eq!(problems(wrong).await, ["INVALID input.eventTypes.0"], "{topic}");
        }
        for (lifetime, told) in [("PT604800S", vec![]), ("PT604801S", vec!["EXPIRY_TOO_LONG input.expiresIn"])] {
            let mut lasting = input(&of_length(100));
            lasting["expiresIn"] = json!(lifetime);
            assert_eq!(problems(lasting).await, told);
        }
        let mut weak = input(&of_length(100));
        weak["endpoint"]["create"]["signing"]["secret"] = json!("short");
        assert_eq!(problems(weak).await, ["SECRET_WEAK input.endpoint.create.signing.secret"]);

        // Without a client secret there is no hash.
        let mut unsigned = input(&of_length(100));
        unsigned["endpoint"]["create"]["signing"] = json!({ "scheme": "NONE" });
        assert_eq!(create(&subscriber, unsigned).await["signingSecret"], Value::Null);
        app.end().await;
    }
}
