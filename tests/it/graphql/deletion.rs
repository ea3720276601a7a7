//! Deliveries and events are deleted.

use std::time::Duration;

use angarium_entity::delivery::Status;
use angarium_entity::{DeliveryId, attempt, delivery, event_deletion};
use angarium_tests::app::{count, eventually};
use angarium_tests::builder::{self, problems, text};
use angarium_tests::{Answer, TestApp, on_both_databases};
use sea_orm::{ActiveModelTrait as _, ActiveValue::Set, EntityTrait as _, IntoActiveModel as _};
use serde_json::{Value, json};

const DELETE: &str =
    "mutation($id: ID!) { deliveryDelete(id: $id) { deletedDeliveryId userErrors { code message field } } }";
const DELETE_EVENT: &str =
    "mutation($id: ID!) { eventDelete(id: $id) { deletedEventId userErrors { code message field } } }";
const PUBLISH: &str = "mutation($input: EventPublishInput!) { eventPublish(input: $input) { event { id } duplicate userErrors { code message field } } }";
const LIVE: &str = "subscription($where: DeliveryWhere, $after: String) { deliveryUpdated(where: $where, after: $after) \
    { kind cursor previousStatus deletedDeliveryId delivery { id status } } }";

async fn delete(app: &TestApp, id: &Value) {
    let deleted = app.api.data(DELETE, json!({ "id": id })).await["deliveryDelete"].take();
    assert_eq!(deleted, json!({ "deletedDeliveryId": id, "userErrors": [] }));
}

async fn delete_event(app: &TestApp, id: &str) {
    let deleted = app.api.data(DELETE_EVENT, json!({ "id": id })).await["eventDelete"].take();
    assert_eq!(deleted, json!({ "deletedEventId": id, "userErrors": [] }));
}

/// The next message of a stream that tells of a deletion, and whatever came before it.
async fn until_deleted(stream: &mut angarium_tests::client::Stream) -> (Value, Vec<Value>) {
    let mut before = Vec::new();
    loop {
        let update = stream.next().await["deliveryUpdated"].take();
        if update["deletedDeliveryId"].is_string() {
            assert_eq!(update["delivery"], json!(null));
            return (update, before);
        }
        before.push(update);
    }
}

/// Copies of the only delivery, of the same event.
async fn copies(app: &TestApp, number: u32, status: Status) {
    let db = app.state().db.write();
    let row = delivery::Entity::find().one(db).await.expect("it reads").expect("there is one");
    let rows = (1..=i64::from(number)).map(|place| {
        let mut copy = row.clone().into_active_model();
        copy.id = Set(DeliveryId::new(row.created_at));
        copy.seq = Set(row.seq + place);
        copy.status = Set(status);
        copy
    });
    for chunk in rows.collect::<Vec<_>>().chunks(200) {
        delivery::Entity::insert_many(chunk.to_vec()).exec_without_returning(db).await.expect("they are stored");
    }
}

on_both_databases! {
    async fn a_deleted_delivery_is_gone_with_its_attempts_and_is_told_live_and_on_resume(app) {
        let receiver = app.receiver().await.answer_statuses([500]);
        let subscribed = app.subscribe(receiver.url()).await;
        let mut stream = app.api.subscribe(LIVE, json!({})).await;
        let event = app.publish(json!(1)).await;
        let start = text(&stream.next().await["deliveryUpdated"]["cursor"]);
        let id = app.delivery_in("RETRYING").await["id"].take();
        delete(&app, &id).await;
        let (told, _) = until_deleted(&mut stream).await;
        assert_eq!((&told["deletedDeliveryId"], &told["previousStatus"], &told["kind"]), (&id, &json!("RETRYING"), &json!("CHANGE")));
        assert_eq!((count::<delivery::Entity>(&app).await, count::<attempt::Entity>(&app).await), (0, 0));
        assert_eq!(app.api.data("query($id: ID!) { delivery(id: $id) { id } node(id: $id) { id } }", json!({ "id": id })).await, json!({ "delivery": null, "node": null }));
        assert_eq!(problems(&app.api, DELETE, json!({ "id": id })).await, ["NOT_FOUND id"]);
        app.clock.advance(Duration::from_mins(10));
        app.publish(json!(2)).await;
        assert_eq!(receiver.expect_requests(2).await[1].data(), json!(2), "what was deleted was due, and was not sent");
        app.delivery_in("SUCCEEDED").await;

        // Whoever resumes in front of it is told, if what it was last is what the filter asks for.
        for filter in [json!({}), json!({ "status": ["RETRYING"] }), json!({ "eventId": event }), json!({ "ids": [id] }),
            json!({ "endpointId": subscribed.endpoint, "eventType": ["invoice.*"], "trigger": ["EVENT"], "responseStatusCode": [500] }),
            json!({ "createdAt": { "gte": "2020-01-01T00:00:00Z" }, "subscriptionId": subscribed.id })] {
            let mut again = app.api.subscribe(LIVE, json!({ "where": filter, "after": start })).await;
            let (told, before) = until_deleted(&mut again).await;
            assert_eq!(told["deletedDeliveryId"], id, "{filter}");
            assert_eq!(before, Vec::<Value>::new(), "its changes are told to nobody any more");
            // And nothing twice behind it.
            let mut behind = app.api.subscribe(LIVE, json!({ "where": filter, "after": told["cursor"] })).await;
            loop {
                let update = behind.next().await["deliveryUpdated"].take();
                assert_eq!(update["deletedDeliveryId"], json!(null));
                if update["kind"] == "CAUGHT_UP" {
                    break;
                }
            }
        }
        for filter in [json!({ "status": ["SUCCEEDED"] }), json!({ "trigger": ["TEST"] }), json!({ "eventType": ["sms.*"] })] {
            let mut other = app.api.subscribe(LIVE, json!({ "where": filter, "after": start })).await;
            loop {
                let update = other.next().await["deliveryUpdated"].take();
                assert_eq!(update["deletedDeliveryId"], json!(null), "{filter}");
                if update["kind"] == "CAUGHT_UP" {
                    break;
                }
            }
        }
        app.end().await;
    }

    async fn what_is_in_flight_when_its_delivery_is_deleted_ends_and_is_recorded_against_nobody(app) {
        let receiver = app.receiver().await.answer([Answer::status(410)]);
        receiver.hang();
        let subscribed = app.subscribe(receiver.url()).await;
        app.publish(json!(1)).await;
        app.publish(json!(2)).await;
        receiver.expect_requests(1).await;
        let first = app.deliveries_in("PENDING", 2).await.pop().expect("two")["id"].take();
        delete(&app, &first).await;
        receiver.let_go(100);
        assert_eq!(receiver.expect_requests(2).await[1].data(), json!(2), "the line is free");
        app.delivery_in("SUCCEEDED").await;
        let ask = "query($id: ID!) { webhookEndpoint(id: $id) { status statusReason } }";
        let endpoint = app.api.data(ask, json!({ "id": subscribed.endpoint })).await["webhookEndpoint"].take();
        assert_eq!(endpoint, json!({ "status": "ACTIVE", "statusReason": null }));
        assert_eq!((count::<delivery::Entity>(&app).await, count::<attempt::Entity>(&app).await), (1, 1));
        app.end().await;
    }

    async fn a_deleted_event_is_gone_with_its_deliveries_and_nothing_of_it_is_sent(app) {
        let (good, bad) = (app.receiver().await, app.receiver().await.answer_statuses([500, 500]));
        app.subscribe(good.url()).await;
        app.subscribe(bad.url()).await;
        let event = app.publish(json!({ "secret": 1 })).await;
        let other = app.publish(json!(2)).await;
        app.deliveries_in("RETRYING", 2).await;
        app.deliveries_in("SUCCEEDED", 2).await;
        let mut stream = app.api.subscribe(LIVE, json!({ "where": { "eventId": event } })).await;
        delete_event(&app, &event).await;
        assert_eq!(app.api.data("query($id: ID!) { event(id: $id) { id } node(id: $id) { id } }", json!({ "id": event })).await, json!({ "event": null, "node": null }));
        let mut told = vec![text(&until_deleted(&mut stream).await.0["previousStatus"]), text(&until_deleted(&mut stream).await.0["previousStatus"])];
        told.sort();
        assert_eq!(told, ["RETRYING", "SUCCEEDED"]);
        let left = app.api.data("{ deliveries { nodes { event { id } } } events { nodes { id } } }", json!({})).await;
        assert_eq!(left["events"]["nodes"], json!([{ "id": other }]));
        assert_eq!(left["deliveries"]["nodes"], json!([{ "event": { "id": other } }, { "event": { "id": other } }]));
        app.clock.advance(Duration::from_mins(10));
        app.deliveries_in("SUCCEEDED", 2).await;
        assert_eq!(bad.expect_requests(3).await[2].data(), json!(2));
        assert_eq!(problems(&app.api, DELETE_EVENT, json!({ "id": event })).await, ["NOT_FOUND id"]);
        app.end().await;
    }

    async fn the_key_of_a_deleted_event_does_not_bring_it_back(app) {
        let receiver = app.receiver().await;
        app.subscribe(receiver.url()).await;
        let input = json!({ "eventType": "invoice.paid", "payload": 1, "idempotencyKey": "k" });
        let event = builder::publish(&app.api, input.clone()).await;
        app.delivery_in("SUCCEEDED").await;
        delete_event(&app, &event).await;
        assert_eq!(problems(&app.api, PUBLISH, json!({ "input": input })).await, ["EVENT_GONE input.idempotencyKey"]);
        let changed = json!({ "eventType": "invoice.paid", "payload": 2, "idempotencyKey": "k" });
        assert_eq!(problems(&app.api, PUBLISH, json!({ "input": changed })).await, ["IDEMPOTENCY_MISMATCH input.idempotencyKey"]);
        app.clock.advance(Duration::from_hours(48));
        builder::publish(&app.api, input).await;
        receiver.expect_requests(2).await;
        app.delivery_in("SUCCEEDED").await;
        app.end().await;
    }

    async fn an_event_with_more_deliveries_than_a_step_holds_is_deleted_to_the_end_also_across_a_restart(mut app) {
        let receiver = app.receiver().await;
        app.subscribe(receiver.url()).await;
        let event = app.publish(json!(1)).await;
        app.delivery_in("SUCCEEDED").await;
        copies(&app, 1_200, Status::Succeeded).await;
        copies(&app, 700, Status::Canceled).await;
        delete_event(&app, &event).await;
        let all_gone = async || {
            let left = (count::<delivery::Entity>(&app).await, count::<attempt::Entity>(&app).await, count::<event_deletion::Entity>(&app).await);
            (left == (0, 0, 0)).then_some(())
        };
        eventually("all are gone", all_gone).await;

        // A process that died right after the mark.
        let event = app.publish(json!(2)).await;
        app.delivery_in("SUCCEEDED").await;
        copies(&app, 600, Status::Pending).await;
        let row = delivery::Entity::find().one(app.state().db.read()).await.expect("it reads").expect("there is one");
        assert_eq!(row.event_id.to_string(), event);
        angarium_entity::event::Entity::delete_by_id(row.event_id).exec(app.state().db.write()).await.expect("it goes");
        let mark = event_deletion::Model { event_id: row.event_id, workspace_id: row.workspace_id, created_at: row.created_at };
        mark.into_active_model().insert(app.state().db.write()).await.expect("it is stored");
        app.restart().await;
        let all_gone = async || {
            (count::<delivery::Entity>(&app).await == 0 && count::<event_deletion::Entity>(&app).await == 0).then_some(())
        };
        eventually("the next start goes on", all_gone).await;
        receiver.expect_requests(2).await;
        app.end().await;
    }

    async fn what_is_left_of_a_deleted_event_shows_its_requests_without_what_was_published(app) {
        let receiver = app.receiver().await;
        app.subscribe(receiver.url()).await;
        let event = app.publish(json!("secret")).await;
        let before = app.delivery_in("SUCCEEDED").await;
        // As it is between the first step of a deletion and the last.
        let id: angarium_entity::EventId = event.parse().expect("an ID");
        angarium_entity::event::Entity::delete_by_id(id).exec(app.state().db.write()).await.expect("it goes");
        let ask = format!("query($id: ID!) {{ deliveries(where: {{ eventId: $id }}) {{ nodes {{ {} }} }} }}", builder::DELIVERY);
        let left = app.api.data(&ask, json!({ "id": event })).await["deliveries"]["nodes"][0].take();
        assert_eq!((&left["event"], &left["body"]), (&json!(null), &json!(null)));
        let [before, left] = [&before, &left].map(|delivery| &delivery["attempts"]["nodes"][0]["request"]);
        assert_eq!((&left["body"], &left["url"], &left["method"]), (&json!(null), &before["url"], &before["method"]));
        let without_length = |headers: &Value| -> Vec<Value> {
            headers.as_array().expect("a list").iter().filter(|header| header["name"] != "content-length").cloned().collect()
        };
        assert_eq!(left["headers"], json!(without_length(&before["headers"])), "its ID and its type are the delivery's too");
        app.end().await;
    }

    async fn anothers_deliveries_and_events_cannot_be_deleted_nor_without_the_scope(app) {
        let receiver = app.receiver().await;
        app.subscribe(receiver.url()).await;
        let event = app.publish(json!(1)).await;
        let id = text(&app.delivery_in("SUCCEEDED").await["id"]);
        let (_, key) = builder::workspace_with_key(&app.admin, "Other").await;
        let other = app.admin.with_key(&key);
        for (mutation, own, prefix) in [(DELETE, &id, "dlv"), (DELETE_EVENT, &event, "evt")] {
            for id in [own, &format!("{prefix}_7zzzzzzzzzzzzzzzzzzzzzzzzz"), "nonsense"] {
                assert_eq!(problems(&other, mutation, json!({ "id": id })).await, ["NOT_FOUND id"]);
            }
        }
        let reader = app.admin.with_key(&builder::key(&app.admin, &app.workspace, &["DELIVERY_READ", "EVENT_PUBLISH"]).await);
        assert_eq!(reader.error_code(DELETE, json!({ "id": id })).await, "FORBIDDEN");
        let writer = app.admin.with_key(&builder::key(&app.admin, &app.workspace, &["DELIVERY_WRITE", "EVENT_READ"]).await);
        assert_eq!(writer.error_code(DELETE_EVENT, json!({ "id": event })).await, "FORBIDDEN");
        app.delivery_in("SUCCEEDED").await;
        // An operator who names no workspace deletes by ID.
        let deleted = app.admin.data(DELETE, json!({ "id": id })).await;
        assert_eq!(deleted["deliveryDelete"]["deletedDeliveryId"], id.as_str());
        app.end().await;
    }
}
