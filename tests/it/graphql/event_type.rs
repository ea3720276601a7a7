//! Schemas of event types, and what is checked by them.

use angarium_entity::{event, event_type};
use angarium_tests::app::count;
use angarium_tests::builder::problems;
use angarium_tests::{TestApp, builder, on_both_databases};
use serde_json::{Value, json};

const CREATE: &str = "mutation($input: EventTypeCreateInput!) { eventTypeCreate(input: $input) \
    { eventType { name schema samplePayload } userErrors { code message field } } }";
const UPDATE: &str = "mutation($name: EventTypeName!, $input: EventTypeUpdateInput!) { eventTypeUpdate(name: $name, \
    input: $input) { eventType { name schema samplePayload } userErrors { code message field } } }";
const PUBLISH: &str = "mutation($input: EventPublishInput!) { eventPublish(input: $input) \
    { event { id } userErrors { code message field } } }";

fn schema() -> Value {
    json!({ "type": "object", "required": ["id"], "properties": {
        "id": { "type": "integer" },
        "items": { "items": { "properties": { "price": { "type": "number", "minimum": 0 } } } },
    } })
}

async fn set_schema(app: &TestApp, name: &str, schema: Value) {
    let wrong = problems(&app.admin, UPDATE, json!({ "name": name, "input": { "schema": schema } })).await;
    assert_eq!(wrong, Vec::<String>::new());
}

async fn publish(app: &TestApp, payload: Value) -> Vec<String> {
    problems(&app.api, PUBLISH, json!({ "input": { "eventType": "invoice.paid", "payload": payload } })).await
}

on_both_databases! {
    async fn a_payload_must_satisfy_the_schema_of_its_type(app) {
        set_schema(&app, "invoice.paid", schema()).await;
        let wrong = json!({ "id": "7", "items": [{ "price": 1 }, { "price": -2 }] });
        let mut told = publish(&app, wrong.clone()).await;
        told.sort_unstable();
        assert_eq!(told, ["PAYLOAD_INVALID input.payload.id", "PAYLOAD_INVALID input.payload.items.1.price"]);
        let input = json!({ "eventType": "invoice.paid", "payload": wrong });
        let data = app.api.data(PUBLISH, json!({ "input": input })).await;
        let messages = data["eventPublish"]["userErrors"].to_string();
        assert!(messages.contains("is less than the minimum of 0"), "{messages}");
        assert_eq!(count::<event::Entity>(&app).await, 0);
        assert_eq!(publish(&app, json!({ "id": 7 })).await, Vec::<String>::new());

        let batch = "mutation($inputs: [EventPublishInput!]!) { eventPublishBatch(inputs: $inputs) \
            { results { event { id } userErrors { code field } } userErrors { code } } }";
        let of = |payload: Value| json!({ "eventType": "invoice.paid", "payload": payload });
        let other = json!({ "eventType": "sms.outbound", "payload": "anything" });
        let inputs = json!([of(json!({ "id": 1 })), of(json!({})), other, of(json!({ "id": 1.5 }))]);
        let data = app.api.data(batch, json!({ "inputs": inputs })).await;
        let results = &data["eventPublishBatch"]["results"];
        assert!(results[0]["event"]["id"].is_string() && results[2]["event"]["id"].is_string());
        let refused = |field: Value| json!([{ "code": "PAYLOAD_INVALID", "field": field }]);
        assert_eq!(results[1]["userErrors"], refused(json!(["inputs", "1", "payload"])));
        assert_eq!(results[3]["userErrors"], refused(json!(["inputs", "3", "payload", "id"])));
        app.end().await;
    }

    async fn a_schema_that_was_changed_anywhere_holds_at_the_next_publish(app) {
        use angarium_entity::{Database, installation};
        use sea_orm::sea_query::Expr;
        use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};

        assert_eq!(publish(&app, json!({})).await, Vec::<String>::new());
        set_schema(&app, "invoice.paid", schema()).await;
        assert_eq!(publish(&app, json!({})).await, ["PAYLOAD_INVALID input.payload"]);
        // As another node does it, of which this one is not told.
        let db: &Database = &app.state().db;
        let transaction = db.begin().await.expect("it begins");
        let laxer = event_type::Entity::update_many()
            .col_expr(event_type::Column::Schema, Expr::value(r#"{"required":["x"]}"#))
            .filter(event_type::Column::Name.eq("invoice.paid"));
        laxer.exec(&transaction).await.expect("it is stored");
        installation::bump_catalogue_version(&transaction).await.expect("it grows");
        transaction.commit().await.expect("it commits");
        let keyed = json!({ "eventType": "invoice.paid", "payload": { "x": 1 }, "idempotencyKey": "k" });
        builder::publish(&app.api, keyed).await;
        assert_eq!(publish(&app, json!({ "id": 1 })).await, ["PAYLOAD_INVALID input.payload"]);
        let cleared = problems(&app.admin, UPDATE, json!({ "name": "invoice.paid", "input": { "schema": null } })).await;
        assert_eq!(cleared, Vec::<String>::new());
        assert_eq!(publish(&app, json!({})).await, Vec::<String>::new());
        app.end().await;
    }

    async fn a_type_is_kept_with_all_that_was_given_and_its_name_is_its_own(app) {
        let create = "mutation($input: EventTypeCreateInput!) { eventTypeCreate(input: $input) { eventType \
            { name description service samplePayload schema archivedAt } userErrors { code message field } } }";
        let given = json!({
            "name": "order.shipped", "description": "It is on its way.\nGrüße", "service": "shipping",
            "samplePayload": { "b": 1.50, "a": null }, "schema": { "type": "object" },
        });
        let data = app.admin.data(create, json!({ "input": given })).await;
        let mut expected = given.clone();
        expected["archivedAt"] = Value::Null;
        assert_eq!(data["eventTypeCreate"], json!({ "eventType": expected, "userErrors": [] }));
        let read = "query($name: EventTypeName!) { eventType(name: $name) \
            { name description service samplePayload schema archivedAt } }";
        let found = app.admin.data(read, json!({ "name": "order.shipped" })).await["eventType"].take();
        assert_eq!(found, expected);
        assert_eq!(found["samplePayload"].to_string(), given["samplePayload"].to_string());

        for (input, told) in [
            (json!({ "name": "order.shipped" }), vec!["TAKEN input.name"]),
            (json!({ "name": "angarium.order" }), vec!["RESERVED input.name"]),
            (json!({ "name": "" }), vec!["BLANK input.name"]),
            (json!({ "name": "a b" }), vec!["INVALID input.name"]),
            (json!({ "name": "order.*" }), vec!["INVALID input.name"]),
            (json!({ "name": "x".repeat(129) }), vec!["TOO_LONG input.name"]),
            (json!({ "name": "a", "service": "", "description": " " }), vec!["BLANK input.service", "BLANK input.description"]),
            (
                json!({ "name": "a", "service": "x".repeat(129), "description": "x".repeat(4097) }),
                vec!["TOO_LONG input.service", "TOO_LONG input.description"],
            ),
        ] {
            assert_eq!(problems(&app.admin, create, json!({ "input": input })).await, told);
        }
        let missing = problems(&app.admin, UPDATE, json!({ "name": "order.lost", "input": { "schema": {} } })).await;
        assert_eq!(missing, ["NOT_FOUND name"]);
        app.end().await;
    }

    async fn a_schema_is_kept_as_it_was_given_and_refused_where_it_is_wrong(app) {
        let given = json!({ "$id": "https://example.com/order", "type": "object", "properties": { "b": true, "a": {} } });
        let input = json!({ "name": "order.created", "schema": given, "samplePayload": { "a": 1 } });
        let data = app.admin.data(CREATE, json!({ "input": input })).await;
        assert_eq!(data["eventTypeCreate"]["eventType"]["schema"].to_string(), given.to_string());

        let large = json!({ "description": "x".repeat(64 * 1024) });
        for (schema, sample, told) in [
            (json!({ "type": "strin" }), json!({}), "SCHEMA_INVALID input.schema.type"),
            (
                json!({ "properties": { "a": { "$ref": "http://169.254.169.254/" } } }),
                json!({}),
                "SCHEMA_INVALID input.schema.properties.a.$ref",
            ),
            (json!({ "pattern": "(?=a)b" }), json!({}), "SCHEMA_INVALID input.schema.pattern"),
            (json!({ "allOf": [{ "$ref": "#" }] }), json!({}), "SCHEMA_INVALID input.schema"),
            (large, json!({}), "TOO_LARGE input.schema"),
            (json!({}), json!("x".repeat(256 * 1024)), "TOO_LARGE input.samplePayload"),
            (schema(), json!({ "id": "1" }), "SAMPLE_MISMATCH input.samplePayload.id"),
        ] {
            let input = json!({ "name": "a.b", "schema": schema, "samplePayload": sample });
            assert_eq!(problems(&app.admin, CREATE, json!({ "input": input })).await, [told]);
        }
        let stored = "{ eventType(name: \"a.b\") { name } }";
        assert_eq!(app.admin.data(stored, json!({})).await["eventType"], Value::Null);

        let update = async |input: Value| problems(&app.admin, UPDATE, json!({ "name": "order.created", "input": input })).await;
        assert_eq!(update(json!({ "samplePayload": 1 })).await, ["SAMPLE_MISMATCH input.samplePayload"]);
        assert_eq!(update(json!({ "schema": { "required": ["x"] } })).await, ["SAMPLE_MISMATCH input.schema"]);
        assert_eq!(update(json!({ "schema": { "type": 1 } })).await, ["SCHEMA_INVALID input.schema.type"]);
        let both = json!({ "schema": { "required": ["x"] }, "samplePayload": { "x": 1 } });
        assert_eq!(update(both).await, Vec::<String>::new());

        let refused = app.api.error_code(CREATE, json!({ "input": { "name": "a.b", "schema": {} } })).await;
        assert_eq!(refused, "FORBIDDEN");
        app.end().await;
    }

    async fn a_test_event_satisfies_the_schema(app) {
        let receiver = app.receiver().await;
        let subscription = app.subscribe(receiver.url()).await;
        set_schema(&app, "invoice.paid", schema()).await;
        let test = "mutation($id: ID!, $payload: JSON) { webhookSubscriptionTest(id: $id, eventType: \"invoice.paid\", \
            payload: $payload) { event { payload } userErrors { code message field } } }";
        let send = async |payload: Value| problems(&app.api, test, json!({ "id": subscription.id, "payload": payload })).await;
        assert_eq!(send(json!({ "id": 1.5 })).await, ["PAYLOAD_INVALID payload.id"]);
        assert_eq!(send(Value::Null).await, ["PAYLOAD_INVALID payload"]);
        assert_eq!(send(json!({ "id": 1.0 })).await, Vec::<String>::new());
        let sample = json!({ "name": "invoice.paid", "input": { "samplePayload": { "id": 3 } } });
        assert_eq!(problems(&app.admin, UPDATE, sample).await, Vec::<String>::new());
        let data = app.api.data(test, json!({ "id": subscription.id })).await;
        assert_eq!(data["webhookSubscriptionTest"]["event"]["payload"], json!({ "id": 3 }));
        app.deliveries_in("SUCCEEDED", 2).await;
        app.end().await;
    }

    async fn every_digit_of_a_number_is_checked(app) {
        builder::event_type(&app.admin, "number").await;
        set_schema(&app, "number", json!({ "type": "integer" })).await;
        for (number, is_right) in [("1.0", true), ("12345678901234567890123", true), ("1e400", true), ("0.5", false)] {
            let publish = format!(
                "mutation {{ eventPublish(input: {{ eventType: \"number\", payload: {number} }}) \
                 {{ event {{ id }} userErrors {{ code message field }} }} }}"
            );
            assert_eq!(problems(&app.api, &publish, json!({})).await.is_empty(), is_right, "{number}");
        }
        app.end().await;
    }
}
