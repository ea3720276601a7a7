//! Who may do what, and what others cannot even see.

use angarium_tests::{GraphQl, TestApp, builder, on_both_databases};
use serde_json::{Value, json};

/// A delivery of `app`'s workspace with all that belongs to it, and a key of another workspace.
async fn two_tenants(app: &TestApp) -> (Value, GraphQl) {
    let receiver = app.receiver().await;
    app.subscribe(receiver.url()).await;
    app.publish(json!({ "secret": "of Acme" })).await;
    let delivery = app.delivery_in("SUCCEEDED").await;
    let (_, key) = builder::workspace_with_key(&app.admin, "Other").await;
    (delivery, app.admin.with_key(&key))
}

on_both_databases! {
    async fn an_event_of_a_batch_that_names_no_workspace_is_refused_and_the_others_are_published(app) {
        let batch = "mutation($inputs: [EventPublishInput!]!) { eventPublishBatch(inputs: $inputs) \
            { results { event { id } userErrors { code message field } } userErrors { code } } }";
        let event = |workspace: Value| json!({ "eventType": "invoice.paid", "payload": 1, "workspace": workspace });
        let inputs = json!([event(json!({ "id": app.workspace })), event(json!(null)), event(json!({ "externalId": "nobody" }))]);
        let answer = app.admin.data(batch, json!({ "inputs": inputs })).await["eventPublishBatch"].take();
        let results = answer["results"].as_array().expect("a list");
        assert!(results[0]["event"]["id"].is_string() && answer["userErrors"] == json!([]), "{answer}");
        for (index, code) in [(1, "BLANK"), (2, "NOT_FOUND")] {
            let error = &results[index]["userErrors"][0];
            assert_eq!((&error["code"], &error["field"]), (&json!(code), &json!(["inputs", index.to_string(), "workspace"])), "{answer}");
        }
        let alone = "mutation($input: EventPublishInput!) { eventPublish(input: $input) { event { id } } }";
        assert_eq!(app.admin.error_code(alone, json!({ "input": event(json!(null)) })).await, "WORKSPACE_REQUIRED");
        app.end().await;
    }

    async fn another_tenants_objects_look_like_ones_that_do_not_exist(app) {
        let (delivery, other) = two_tenants(&app).await;
        let ids = [
            ("delivery", &delivery["id"], "dlv_7zzzzzzzzzzzzzzzzzzzzzzzzz"),
            ("event", &delivery["event"]["id"], "evt_7zzzzzzzzzzzzzzzzzzzzzzzzz"),
            ("webhookEndpoint", &delivery["endpoint"]["id"], "ep_7zzzzzzzzzzzzzzzzzzzzzzzzz"),
            ("webhookSubscription", &delivery["subscription"]["id"], "sub_7zzzzzzzzzzzzzzzzzzzzzzzzz"),
        ];
        for (field, id, unknown) in ids {
            for query in [format!("query($id: ID!) {{ {field}(id: $id) {{ id }} }}"), "query($id: ID!) { node(id: $id) { id } }".to_owned()] {
                assert_ne!(app.api.post(&query, json!({ "id": id })).await.1.to_string(), other.post(&query, json!({ "id": id })).await.1.to_string());
                assert_eq!(other.post(&query, json!({ "id": id })).await, other.post(&query, json!({ "id": unknown })).await, "{query}");
            }
        }
        let retry = "mutation($id: ID!) { deliveryRetry(id: $id) { delivery { id } userErrors { code field message } } }";
        let refused = other.data(retry, json!({ "id": delivery["id"] })).await;
        assert_eq!(refused["deliveryRetry"]["userErrors"][0]["code"], "NOT_FOUND");
        assert_eq!(refused, other.data(retry, json!({ "id": "dlv_7zzzzzzzzzzzzzzzzzzzzzzzzz" })).await);
        let create = "mutation($input: WebhookSubscriptionCreateInput!) { webhookSubscriptionCreate(input: $input) { userErrors { code } } }";
        let input = json!({ "eventTypes": ["*"], "endpoint": { "id": delivery["endpoint"]["id"] } });
        assert_eq!(other.data(create, json!({ "input": input })).await["webhookSubscriptionCreate"]["userErrors"][0]["code"], "NOT_FOUND");
        app.end().await;
    }

    async fn lists_hold_only_what_is_the_callers_own(app) {
        let (_, other) = two_tenants(&app).await;
        let lists = "{ deliveries { totalCount } events { totalCount } webhookEndpoints { totalCount } webhookSubscriptions { totalCount } }";
        let counts = |n: u32| json!({ "deliveries": { "totalCount": n }, "events": { "totalCount": n }, "webhookEndpoints": { "totalCount": n }, "webhookSubscriptions": { "totalCount": n } });
        assert_eq!(app.api.data(lists, json!({})).await, counts(1));
        assert_eq!(other.data(lists, json!({})).await, counts(0));
        assert_eq!(app.admin.error_code("{ deliveries { totalCount } }", json!({})).await, "WORKSPACE_REQUIRED");
        let named = app.admin.with_headers(&[app.admin.headers()[0].clone(), ("angarium-workspace".to_owned(), app.workspace.clone())].each_ref().map(|(n, v)| (n.as_str(), v.as_str())));
        assert_eq!(named.data(lists, json!({})).await, counts(1));
        app.end().await;
    }

    async fn a_key_is_taken_from_three_headers_and_refused_when_wrong(app) {
        let key = app.api.headers()[0].1.clone();
        let ask = "{ viewer { workspace { id } } }";
        for (name, value) in [("x-api-key", key.clone()), ("authorization", format!("Bearer {key}")), ("authorization", format!("AccessKey {key}"))] {
            let data = app.api.with_headers(&[(name, &value)]).data(ask, json!({})).await;
            assert_eq!(data["viewer"]["workspace"]["id"], app.workspace.as_str());
        }
        let wrong = format!("sk_live_{}", "0".repeat(64));
        for headers in [vec![("x-api-key", wrong.as_str())], vec![("authorization", "Basic abc")], vec![("x-api-key", "nonsense")], vec![("x-api-key", key.as_str()), ("authorization", &format!("Bearer {wrong}"))]] {
            let (status, body) = app.api.with_headers(&headers).post(ask, json!({})).await;
            assert_eq!((status, &body["errors"][0]["extensions"]["code"]), (401, &json!("UNAUTHENTICATED")), "{body}");
            assert!(!body.to_string().contains(&key));
        }
        assert_eq!(app.api.with_headers(&[]).error_code(ask, json!({})).await, "UNAUTHENTICATED");
        app.end().await;
    }

    async fn keys_are_stored_only_as_their_hash(app) {
        use sea_orm::EntityTrait;
        let key = app.api.headers()[0].1.clone();
        let rows = angarium_entity::api_key::Entity::find().all(app.state().db.read()).await.expect("keys");
        assert!(!rows.is_empty() && rows.iter().all(|row| row.hash.len() == 32 && key.starts_with(&row.prefix)));
        assert!(rows.iter().all(|row| !row.hash.windows(8).any(|part| part == &key.as_bytes()[8..16])));
        app.end().await;
    }

    async fn a_key_does_only_what_its_scopes_say(app) {
        let receiver = app.receiver().await;
        app.subscribe(receiver.url()).await;
        app.publish(json!({ "secret": 1 })).await;
        let delivery = app.delivery_in("SUCCEEDED").await;
        let id = json!({ "id": delivery["id"], "sub": delivery["subscription"]["id"], "ep": delivery["endpoint"]["id"] });
        for (scopes, query, path) in [
            (vec!["EVENT_READ"], "query { deliveries { totalCount } }", "deliveries"),
            (vec!["DELIVERY_READ"], "query { events { totalCount } }", "events"),
            (vec!["DELIVERY_READ"], "query { webhookEndpoints { totalCount } }", "webhookEndpoints"),
            (vec!["EVENT_READ"], "query { webhookSubscriptions { totalCount } }", "webhookSubscriptions"),
            (vec!["EVENT_READ"], "mutation { eventPublish(input: { eventType: \"invoice.paid\", payload: 1 }) { event { id } } }", "eventPublish"),
            (vec!["DELIVERY_READ"], "mutation($id: ID!) { deliveryRetry(id: $id) { delivery { id } } }", "deliveryRetry"),
            (vec!["WEBHOOK_READ"], "mutation { webhookEndpointCreate(input: { url: \"https://example.com\" }) { webhookEndpoint { id } } }", "webhookEndpointCreate"),
            (vec!["WORKSPACE_WRITE"], "mutation { workspaceCreate(input: { name: \"x\" }) { workspace { id } } }", "workspaceCreate"),
            (vec!["WORKSPACE_WRITE"], "mutation { eventTypeCreate(input: { name: \"x\" }) { eventType { id } } }", "eventTypeCreate"),
            (vec!["WORKSPACE_READ"], "mutation { apiKeyCreate(input: { name: \"x\", scopes: [WORKSPACE_READ] }) { key } }", "apiKeyCreate"),
            (vec!["WORKSPACE_READ"], "mutation($id: ID!) { apiKeyRevoke(id: $id) { apiKey { id } } }", "apiKeyRevoke"),
            (vec!["WORKSPACE_READ"], "mutation($id: ID!) { workspaceUpdate(id: $id, input: { name: \"x\" }) { workspace { id } } }", "workspaceUpdate"),
            (vec!["WORKSPACE_WRITE"], "mutation { eventTypeUpdate(name: \"invoice.paid\", input: {}) { eventType { id } } }", "eventTypeUpdate"),
            (vec!["WORKSPACE_WRITE"], "mutation { eventTypeArchive(name: \"invoice.paid\") { eventType { id } } }", "eventTypeArchive"),
            (vec!["WEBHOOK_READ"], "mutation($ep: ID!) { webhookEndpointUpdate(id: $ep, input: {}) { webhookEndpoint { id } } }", "webhookEndpointUpdate"),
            (vec!["WEBHOOK_READ"], "mutation($ep: ID!) { webhookEndpointSecretRotate(id: $ep) { signingSecret } }", "webhookEndpointSecretRotate"),
            (vec!["WEBHOOK_READ"], "mutation($ep: ID!) { webhookEndpointDelete(id: $ep) { deletedWebhookEndpointId } }", "webhookEndpointDelete"),
            (vec!["WEBHOOK_READ"], "mutation($ep: ID!) { webhookEndpointBacklogDiscard(id: $ep) { discardedCount } }", "webhookEndpointBacklogDiscard"),
            (vec!["WEBHOOK_READ"], "mutation($sub: ID!) { webhookSubscriptionUpdate(id: $sub, input: {}) { webhookSubscription { id } } }", "webhookSubscriptionUpdate"),
            (vec!["WEBHOOK_READ"], "mutation($sub: ID!) { webhookSubscriptionDelete(id: $sub) { deletedWebhookSubscriptionId } }", "webhookSubscriptionDelete"),
            (vec!["WEBHOOK_READ"], "mutation($sub: ID!) { webhookSubscriptionsEnable(ids: [$sub]) { userErrors { code } } }", "webhookSubscriptionsEnable"),
            (vec!["WEBHOOK_READ"], "mutation($sub: ID!) { webhookSubscriptionsDisable(ids: [$sub]) { userErrors { code } } }", "webhookSubscriptionsDisable"),
            (vec!["WEBHOOK_READ"], "mutation($sub: ID!) { webhookSubscriptionRenew(id: $sub, expiresIn: \"P1D\") { userErrors { code } } }", "webhookSubscriptionRenew"),
            (vec!["WEBHOOK_READ"], "mutation($sub: ID!) { webhookSubscriptionTest(id: $sub, eventType: \"invoice.paid\") { event { id } } }", "webhookSubscriptionTest"),
            (vec!["DELIVERY_READ"], "mutation($id: ID!) { deliveryCancel(id: $id) { delivery { id } } }", "deliveryCancel"),
            (vec!["EVENT_PUBLISH"], "mutation($id: ID!) { eventCancel(id: $id) { canceledCount } }", "eventCancel"),
            // An edge is guarded by the type that it leads to.
            (vec!["DELIVERY_READ"], "query($id: ID!) { delivery(id: $id) { event { payload } } }", "delivery.event"),
            (vec!["DELIVERY_READ"], "query($id: ID!) { delivery(id: $id) { endpoint { url } } }", "delivery.endpoint"),
            (vec!["DELIVERY_READ"], "query($id: ID!) { delivery(id: $id) { body } }", "delivery.body"),
            (vec!["WEBHOOK_READ"], "query($sub: ID!) { webhookSubscription(id: $sub) { deliveries { totalCount } } }", "webhookSubscription.deliveries"),
        ] {
            let api = app.admin.with_key(&builder::key(&app.admin, &app.workspace, &scopes).await);
            let (_, body) = api.post(query, id.clone()).await;
            let error = &body["errors"][0];
            assert_eq!(error["extensions"]["code"], "FORBIDDEN", "{query} {body}");
            let found: Vec<_> = error["path"].as_array().expect("a path").iter().map(builder::text).collect();
            assert_eq!(found.join("."), path, "{body}");
        }
        app.end().await;
    }

    async fn an_external_id_that_looks_like_another_workspaces_id_is_refused(app) {
        let create = "mutation($id: String) { workspaceCreate(input: { name: \"x\", externalId: $id }) { workspace { id } userErrors { code field } } }";
        for wrong in [app.workspace.as_str(), " acme", "a\nb"] {
            let data = app.admin.data(create, json!({ "id": wrong })).await;
            assert_eq!(data["workspaceCreate"], json!({ "workspace": null, "userErrors": [{ "code": "INVALID", "field": ["input", "externalId"] }] }));
        }
        app.end().await;
    }

    async fn an_endpoints_own_headers_are_masked_for_who_may_not_read_endpoints(app) {
        let receiver = app.receiver().await;
        let endpoint = json!({ "create": { "url": receiver.url(), "headers": [{ "name": "authorization", "value": "Bearer hush" }] } });
        builder::subscribe(&app.api, json!({ "eventTypes": ["*"], "endpoint": endpoint })).await;
        app.publish(json!(1)).await;
        app.delivery_in("SUCCEEDED").await;
        let query = "{ deliveries { nodes { lastAttempt { request { headers { name value } } } } } }";
        let reader = app.admin.with_key(&builder::key(&app.admin, &app.workspace, &["DELIVERY_READ"]).await);
        assert!(app.api.data(query, json!({})).await.to_string().contains("Bearer hush"));
        let masked = reader.data(query, json!({})).await.to_string();
        assert!(!masked.contains("hush") && masked.contains("***") && masked.contains("webhook-id"), "{masked}");
        app.end().await;
    }

    async fn a_key_cannot_make_one_that_may_do_more(app) {
        let create = "mutation($scopes: [ApiScope!]!) { apiKeyCreate(input: { name: \"x\", scopes: $scopes }) { key userErrors { code field } } }";
        let api = app.admin.with_key(&builder::key(&app.admin, &app.workspace, &["WORKSPACE_WRITE", "EVENT_READ"]).await);
        for scopes in [["ADMIN"], ["EVENT_TYPE_WRITE"], ["EVENT_PUBLISH"]] {
            let data = api.data(create, json!({ "scopes": scopes })).await;
            assert_eq!(data["apiKeyCreate"]["userErrors"][0]["code"], "SCOPE_ESCALATION", "{scopes:?}");
            assert_eq!(data["apiKeyCreate"]["key"], json!(null));
        }
        assert!(api.data(create, json!({ "scopes": ["EVENT_READ"] })).await["apiKeyCreate"]["key"].is_string());
        app.end().await;
    }
}
