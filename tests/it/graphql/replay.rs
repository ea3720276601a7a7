//! Past events are sent again.

use std::time::Duration;

use angarium_entity::{delivery, replay, replay_item};
use angarium_tests::app::{count, eventually};
use angarium_tests::builder::{self, problems, text};
use angarium_tests::{Answer, GraphQl, Received, TestApp, on_both_databases};
use serde_json::{Value, json};

const CREATE: &str = "mutation($input: ReplayCreateInput!) { replayCreate(input: $input) { matchedCount \
    replay { id status matchedCount createdCount ratePerSecond failureReason createdAt completedAt } \
    userErrors { code message field } } }";
const CANCEL: &str = "mutation($id: ID!) { replayCancel(id: $id) { replay { id status completedAt } userErrors { code message field } } }";
const PROGRESS: &str = "subscription($id: ID!, $after: String) { replayProgressed(id: $id, after: $after) \
    { kind cursor occurredAt replay { id status matchedCount createdCount } } }";
const BATCH: &str = "mutation($inputs: [EventPublishInput!]!) { eventPublishBatch(inputs: $inputs) { results { event { id } } userErrors { code } } }";
const DAY: Duration = Duration::from_hours(24);

/// A range that holds everything so far.
fn so_far(app: &TestApp) -> Value {
    json!({ "gte": (app.state().now() - DAY).to_string() })
}

async fn start(app: &TestApp, input: Value) -> String {
    let made = app.api.data(CREATE, json!({ "input": input })).await["replayCreate"].take();
    assert_eq!(made["userErrors"], json!([]));
    assert_eq!((&made["matchedCount"], &made["replay"]["status"]), (&json!(null), &json!("RUNNING")));
    text(&made["replay"]["id"])
}

/// The replay once it has ended.
async fn ended(app: &TestApp, id: &str) -> Value {
    let ask = "query($id: ID!) { node(id: $id) { ... on Replay { status matchedCount createdCount failureReason completedAt } } }";
    eventually("the replay ends", async || {
        let found = app.api.data(ask, json!({ "id": id })).await["node"].take();
        (found["status"] != "RUNNING").then_some(found)
    })
    .await
}

async fn replayed(app: &TestApp, input: Value) -> (i64, i64) {
    let found = ended(app, &start(app, input).await).await;
    assert_eq!((&found["status"], found["completedAt"].is_string()), (&json!("COMPLETED"), true), "{found}");
    (found["matchedCount"].as_i64().expect("counted"), found["createdCount"].as_i64().expect("a number"))
}

async fn would_match(app: &TestApp, target: Value) -> Value {
    let input = json!({ "dryRun": true, "target": target });
    let counted = app.api.data(CREATE, json!({ "input": input })).await["replayCreate"].take();
    assert_eq!((&counted["replay"], &counted["userErrors"]), (&json!(null), &json!([])));
    counted["matchedCount"].clone()
}

fn numbers(received: &[Received]) -> Vec<u64> {
    received.iter().map(|request| request.data().as_u64().expect("a number")).collect()
}

async fn publish_all(app: &TestApp, numbers: std::ops::Range<u64>) {
    let inputs: Value = numbers.map(|n| json!({ "eventType": "invoice.paid", "payload": n })).collect();
    app.api.data(BATCH, json!({ "inputs": inputs })).await;
}

on_both_databases! {
    async fn past_events_are_sent_again_in_order_with_their_old_id_to_the_subscriptions_of_today(app) {
        let (old, new) = (app.receiver().await, app.receiver().await);
        app.subscribe(old.url()).await;
        publish_all(&app, 0..150).await;
        old.expect_requests(150).await;
        app.subscribe(new.url()).await;
        let target = json!({ "events": { "createdAt": so_far(&app) } });
        assert_eq!(would_match(&app, target.clone()).await, 150);
        assert_eq!((count::<replay::Entity>(&app).await, count::<replay_item::Entity>(&app).await), (0, 0));
        assert_eq!(replayed(&app, json!({ "target": target })).await, (150, 300));
        let (again, first) = (old.expect_requests(300).await, new.expect_requests(150).await);
        assert_eq!(numbers(&again[150..]), Vec::from_iter(0..150));
        assert_eq!(numbers(&first), Vec::from_iter(0..150));
        let ids = |received: &[Received]| received.iter().map(|request| request.header("webhook-id").to_owned()).collect::<Vec<_>>();
        assert_eq!(ids(&again[..150]), ids(&again[150..]));
        assert_eq!(ids(&again[..150]), ids(&first));
        let list = app.api.data("{ deliveries(first: 1) { nodes { trigger attempts { nodes { trigger } } } } }", json!({})).await;
        assert_eq!(list["deliveries"]["nodes"][0]["trigger"], "REPLAY");
        assert_eq!(count::<replay_item::Entity>(&app).await, 0);
        // What a replay sends belongs to no later replay by itself: events are counted once.
        assert_eq!(replayed(&app, json!({ "target": { "deliveries": { "createdAt": so_far(&app) } } })).await, (150, 300));
        app.deliveries_in("FAILED", 0).await;
        app.end().await;
    }

    async fn chosen_deliveries_go_where_they_went_or_where_their_subscription_goes_now(app) {
        let (good, bad, better) = (app.receiver().await, app.receiver().await, app.receiver().await);
        app.subscribe(good.url()).await;
        let input = json!({ "eventTypes": ["*"], "endpoint": { "url": bad.url() }, "retryPolicy": { "delays": [] } });
        let bad = (bad.answer_statuses([500, 500, 500]), builder::subscribe(&app.api, input).await);
        publish_all(&app, 0..3).await;
        app.deliveries_in("EXHAUSTED", 3).await;
        let failed = json!({ "deliveries": { "createdAt": so_far(&app), "status": ["EXHAUSTED"] } });
        assert_eq!(replayed(&app, json!({ "target": failed })).await, (3, 3));
        assert_eq!(numbers(&bad.0.expect_requests(6).await[3..]), [0, 1, 2]);
        let update = "mutation($id: ID!, $input: WebhookSubscriptionUpdateInput!) { webhookSubscriptionUpdate(id: $id, input: $input) { userErrors { code } } }";
        let made = app.api.data("mutation($url: URL!) { webhookEndpointCreate(input: { url: $url }) { webhookEndpoint { id } userErrors { code } } }", json!({ "url": better.url() })).await;
        let moved = json!({ "endpoint": { "id": made["webhookEndpointCreate"]["webhookEndpoint"]["id"] } });
        let answer = app.api.data(update, json!({ "id": bad.1.id, "input": moved })).await;
        assert_eq!(answer["webhookSubscriptionUpdate"]["userErrors"], json!([]));
        assert_eq!(replayed(&app, json!({ "target": failed })).await, (3, 3));
        assert_eq!(numbers(&better.expect_requests(3).await), [0, 1, 2]);
        good.expect_requests(3).await;
        app.end().await;
    }

    async fn events_by_id_go_to_some_subscriptions_in_publish_order_and_each_once(app) {
        let (one, other) = (app.receiver().await, app.receiver().await);
        let wanted = app.subscribe(one.url()).await;
        // A second subscription of the same endpoint: it still gets each event once.
        let same = json!({ "eventTypes": ["invoice.*"], "endpoint": { "id": wanted.endpoint } });
        let same = builder::subscribe(&app.api, same).await;
        app.subscribe(other.url()).await;
        let mut ids = Vec::new();
        for n in 0..3 {
            ids.push(app.publish(json!(n)).await);
        }
        one.expect_requests(3).await;
        other.expect_requests(3).await;
        let input = json!({ "target": { "eventIds": [ids[2], ids[0], ids[2]] }, "subscriptionIds": [same.id, wanted.id] });
        assert_eq!(replayed(&app, input).await, (2, 2));
        assert_eq!(numbers(&one.expect_requests(5).await[3..]), [0, 2]);
        app.deliveries_in("SUCCEEDED", 8).await;
        other.expect_requests(3).await;
        app.end().await;
    }

    async fn a_rate_holds_by_the_clock_and_a_cancel_stops_the_rest(app) {
        let receiver = app.receiver().await;
        app.subscribe(receiver.url()).await;
        publish_all(&app, 0..20).await;
        receiver.expect_requests(20).await;
        let id = start(&app, json!({ "target": { "events": { "createdAt": so_far(&app) } }, "ratePerSecond": 8 })).await;
        receiver.expect_requests(22).await;
        for more in [24, 26, 28] {
            app.clock.advance(Duration::from_millis(250));
            receiver.expect_requests(more).await;
        }
        let canceled = app.api.data(CANCEL, json!({ "id": id })).await["replayCancel"].take();
        assert_eq!((&canceled["replay"]["status"], &canceled["userErrors"]), (&json!("CANCELED"), &json!([])));
        assert!(canceled["replay"]["completedAt"].is_string());
        app.clock.advance(DAY);
        let cleaned = async || (count::<replay_item::Entity>(&app).await == 0).then_some(());
        eventually("the rest of the plan is deleted", cleaned).await;
        let found = ended(&app, &id).await;
        assert_eq!((&found["matchedCount"], &found["createdCount"]), (&json!(20), &json!(8)));
        assert_eq!(numbers(&receiver.expect_requests(28).await[20..]), Vec::from_iter(0..8));
        assert_eq!(problems(&app.api, CANCEL, json!({ "id": id })).await, ["NOT_CANCELABLE id"]);
        app.end().await;
    }

    async fn a_replay_goes_on_after_a_restart_with_each_event_once_and_in_order(mut app) {
        let (one, other) = (app.receiver().await, app.receiver().await);
        app.subscribe(one.url()).await;
        app.subscribe(other.url()).await;
        publish_all(&app, 0..200).await;
        one.expect_requests(200).await;
        other.expect_requests(200).await;
        let id = start(&app, json!({ "target": { "events": { "createdAt": so_far(&app) } }, "ratePerSecond": 400 })).await;
        let mut restarts = 0;
        while ended_now(&app, &id).await.is_none() {
            app.clock.advance(Duration::from_millis(250));
            if restarts < 2 {
                restarts += 1;
                app.restart_gracefully().await;
            }
        }
        let found = ended(&app, &id).await;
        assert_eq!((&found["status"], &found["createdCount"]), (&json!("COMPLETED"), &json!(400)), "{found}");
        for receiver in [one, other] {
            assert_eq!(numbers(&receiver.expect_requests(400).await[200..]), Vec::from_iter(0..200));
        }
        app.end().await;
    }

    async fn the_progress_of_a_replay_is_told_from_its_present_state_to_its_end(app) {
        let receiver = app.receiver().await;
        app.subscribe(receiver.url()).await;
        publish_all(&app, 0..4).await;
        receiver.expect_requests(4).await;
        let id = start(&app, json!({ "target": { "events": { "createdAt": so_far(&app) } }, "ratePerSecond": 4 })).await;
        let mut stream = app.api.subscribe(PROGRESS, json!({ "id": id })).await;
        let first = stream.next().await["replayProgressed"].take();
        assert_eq!((&first["kind"], &first["replay"]["id"], &first["replay"]["status"]), (&json!("SNAPSHOT"), &json!(id), &json!("RUNNING")));
        let mut story = vec![first];
        loop {
            let update = stream.next().await["replayProgressed"].take();
            let is_last = update["replay"]["status"] == "COMPLETED";
            story.push(update);
            if is_last {
                break;
            }
            app.clock.advance(Duration::from_millis(250));
        }
        assert_eq!(stream.next_message().await.expect("a message")["type"], "complete");
        assert_eq!(story[1]["kind"], "CAUGHT_UP");
        let created: Vec<_> = story.iter().filter_map(|update| update["replay"]["createdCount"].as_i64()).collect();
        assert!(created.is_sorted() && created.last() == Some(&4), "{created:?}");
        // From each message on it is told to its end, and then ends; also behind the last.
        for update in &story {
            let mut again = app.api.subscribe(PROGRESS, json!({ "id": id, "after": update["cursor"] })).await;
            let mut statuses = Vec::new();
            loop {
                let message = again.next_message().await.expect("a message");
                if message["type"] == "complete" {
                    break;
                }
                statuses.push(message["payload"]["data"]["replayProgressed"]["replay"]["status"].clone());
            }
            let is_told = statuses.contains(&json!("COMPLETED"));
            assert_eq!(is_told, update["replay"]["status"] != "COMPLETED", "{statuses:?}");
        }
        // A replay that has ended is told once.
        let mut late = app.api.subscribe(PROGRESS, json!({ "id": id })).await;
        assert_eq!(late.next().await["replayProgressed"]["replay"]["status"], "COMPLETED");
        assert_eq!(late.next_message().await.expect("a message")["type"], "complete");
        app.end().await;
    }

    async fn what_is_wrong_with_a_replay_is_told_at_once_and_stores_nothing(app) {
        let receiver = app.receiver().await;
        let (wanted, gone) = (app.subscribe(receiver.url()).await, app.subscribe(receiver.url()).await);
        let delete = "mutation($id: ID!) { webhookSubscriptionDelete(id: $id) { userErrors { code } } }";
        app.api.data(delete, json!({ "id": gone.id })).await;
        let event = app.publish(json!(1)).await;
        let sent = "mutation($id: ID!) { webhookSubscriptionTest(id: $id, eventType: \"invoice.paid\") { event { id } userErrors { code } } }";
        let test = app.api.data(sent, json!({ "id": wanted.id })).await["webhookSubscriptionTest"]["event"]["id"].take();
        let days = |days: u32| json!({ "gte": (app.state().now() - days * DAY).to_string() });
        let unknown = "evt_7zzzzzzzzzzzzzzzzzzzzzzzzz";
        for (input, told) in [
            (json!({ "target": { "events": {} } }), vec!["FILTER_TOO_BROAD input.target.events.createdAt"]),
            (json!({ "target": { "deliveries": { "createdAt": days(31) } } }), vec!["FILTER_TOO_BROAD input.target.deliveries.createdAt"]),
            (json!({ "target": { "events": { "createdAt": days(1), "eventType": ["a b"] } } }), vec!["INVALID input.target.events.eventType"]),
            (json!({ "target": { "eventIds": [] }, "ratePerSecond": 0 }), vec!["INVALID input.ratePerSecond", "INVALID input.target.eventIds"]),
            (json!({ "target": { "eventIds": [event, unknown, "nonsense", test] }, "ratePerSecond": 10_001, "subscriptionIds": [wanted.id, gone.id, "sub_7zzzzzzzzzzzzzzzzzzzzzzzzz"] }), vec![
                "INVALID input.ratePerSecond", "SUBSCRIPTION_GONE input.subscriptionIds.1", "NOT_FOUND input.subscriptionIds.2",
                "NOT_FOUND input.target.eventIds.1", "NOT_FOUND input.target.eventIds.2", "INVALID input.target.eventIds.3",
            ]),
            (json!({ "target": { "eventIds": vec![unknown; 101] }, "subscriptionIds": vec![wanted.id.clone(); 101] }), vec!["TOO_MANY input.subscriptionIds", "TOO_MANY input.target.eventIds"]),
            (json!({ "target": { "eventIds": [event] }, "subscriptionIds": [] }), vec!["INVALID input.subscriptionIds"]),
        ] {
            for dry_run in [true, false] {
                let mut input = input.clone();
                input["dryRun"] = json!(dry_run);
                assert_eq!(problems(&app.api, CREATE, json!({ "input": input })).await, told);
            }
        }
        assert_eq!(count::<replay::Entity>(&app).await, 0);
        // A month is not too long, and a test is not sent again.
        assert_eq!(would_match(&app, json!({ "events": { "createdAt": days(30) } })).await, 1);
        assert_eq!(would_match(&app, json!({ "deliveries": { "createdAt": days(30), "trigger": ["TEST", "EVENT"] } })).await, 1);
        assert_eq!(would_match(&app, json!({ "deliveries": { "createdAt": days(30), "responseStatusCode": [500] } })).await, 0);
        app.end().await;
    }

    async fn a_workspace_runs_only_so_many_replays_and_one_without_subscriptions_fails(app) {
        let receiver = app.receiver().await;
        let subscribed = app.subscribe(receiver.url()).await;
        publish_all(&app, 0..2).await;
        receiver.expect_requests(2).await;
        let target = json!({ "events": { "createdAt": so_far(&app) } });
        let mut ids = Vec::new();
        for _ in 0..5 {
            ids.push(start(&app, json!({ "target": target, "ratePerSecond": 1, "subscriptionIds": [subscribed.id] })).await);
        }
        let sixth = app.api.data(CREATE, json!({ "input": { "target": target } })).await["replayCreate"].take();
        assert_eq!((&sixth["replay"], &sixth["userErrors"][0]["code"]), (&json!(null), &json!("LIMIT_REACHED")));
        assert_eq!(sixth["userErrors"][0]["field"], json!(null));
        receiver.expect_requests(7).await;
        app.api.data("mutation($id: ID!) { webhookSubscriptionDelete(id: $id) { userErrors { code } } }", json!({ "id": subscribed.id })).await;
        app.clock.advance(Duration::from_secs(1));
        for id in &ids {
            let found = ended(&app, id).await;
            assert_eq!((&found["status"], &found["createdCount"]), (&json!("FAILED"), &json!(1)));
            assert!(text(&found["failureReason"]).contains("was deleted"));
        }
        let list = app.api.data("{ replays(first: 3) { nodes { id status } totalCount totalCountIsExact pageInfo { hasNextPage } edges { cursor node { id } } } }", json!({})).await;
        let newest: Vec<_> = list["replays"]["nodes"].as_array().expect("a list").iter().map(|node| text(&node["id"])).collect();
        assert_eq!(newest, ids.iter().rev().take(3).cloned().collect::<Vec<_>>());
        assert_eq!((&list["replays"]["totalCount"], &list["replays"]["pageInfo"]["hasNextPage"]), (&json!(5), &json!(true)));
        let ask = "query($first: Int, $after: String, $last: Int, $before: String) { \
            replays(first: $first, after: $after, last: $last, before: $before) { nodes { id } pageInfo { startCursor endCursor } } }";
        let page = async |arguments: Value| {
            let found = app.api.data(ask, arguments).await["replays"].take();
            let nodes: Vec<_> = found["nodes"].as_array().expect("a list").iter().map(|node| text(&node["id"])).collect();
            let places: Vec<_> = nodes.iter().map(|node| ids.iter().position(|id| id == node)).map(|place| place.expect("known")).collect();
            (places, found["pageInfo"].clone())
        };
        let (places, first) = page(json!({ "first": 3 })).await;
        assert_eq!(places, [4, 3, 2]);
        assert_eq!(page(json!({ "first": 3, "after": first["endCursor"] })).await.0, [1, 0]);
        let (places, last) = page(json!({ "last": 2 })).await;
        assert_eq!(places, [1, 0]);
        assert_eq!(page(json!({ "last": 2, "before": last["startCursor"] })).await.0, [3, 2]);
        app.end().await;
    }

    async fn the_filters_of_today_decide_what_is_sent_again_also_when_they_change_meanwhile(app) {
        let receiver = app.receiver().await;
        let input = json!({ "eventTypes": ["*"], "endpoint": { "url": receiver.url() }, "filter": "event.payload < 60" });
        let subscribed = builder::subscribe(&app.api, input).await;
        publish_all(&app, 0..150).await;
        receiver.expect_requests(60).await;
        let target = json!({ "events": { "createdAt": so_far(&app) } });
        assert_eq!(replayed(&app, json!({ "target": target })).await, (150, 60));
        assert_eq!(numbers(&receiver.expect_requests(120).await[60..]), Vec::from_iter(0..60));
        let id = start(&app, json!({ "target": target, "ratePerSecond": 8 })).await;
        receiver.expect_requests(122).await;
        let update = "mutation($id: ID!, $input: WebhookSubscriptionUpdateInput!) { webhookSubscriptionUpdate(id: $id, input: $input) { userErrors { code } } }";
        let changed = json!({ "id": subscribed.id, "input": { "filter": "event.payload > 145" } });
        assert_eq!(app.api.data(update, changed).await["webhookSubscriptionUpdate"]["userErrors"], json!([]));
        while ended_now(&app, &id).await.is_none() {
            app.clock.advance(Duration::from_millis(250));
        }
        let found = ended(&app, &id).await;
        assert_eq!((&found["status"], &found["matchedCount"], &found["createdCount"]), (&json!("COMPLETED"), &json!(150), &json!(6)));
        assert_eq!(numbers(&receiver.expect_requests(126).await[120..]), [0, 1, 146, 147, 148, 149]);
        app.end().await;
    }

    async fn a_message_that_asks_for_confirmation_is_not_sent_again(app) {
        let update = "mutation($id: ID!, $input: WorkspaceUpdateInput!) { workspaceUpdate(id: $id, input: $input) { userErrors { code } } }";
        app.api.data(update, json!({ "id": app.workspace, "input": { "subscriptionConfirmation": "LINK" } })).await;
        let receiver = app.receiver().await;
        app.subscribe(receiver.url()).await;
        let message = receiver.expect_requests(1).await.remove(0);
        app.deliveries_in("SUCCEEDED", 1).await;
        for target in ["events", "deliveries"] {
            let target = json!({ target: { "createdAt": so_far(&app) } });
            assert_eq!(would_match(&app, target.clone()).await, 0);
            assert_eq!(replayed(&app, json!({ "target": target })).await, (0, 0));
        }
        let input = json!({ "target": { "eventIds": [message.header("webhook-id")] } });
        assert_eq!(problems(&app.api, CREATE, json!({ "input": input })).await, ["INVALID input.target.eventIds.0"]);
        receiver.expect_requests(1).await;
        app.end().await;
    }

    async fn what_is_deleted_meanwhile_is_left_out_and_what_waits_goes_out_in_order(app) {
        let receiver = app.receiver().await.answer([Answer::status(204), Answer::status(204)]);
        let subscribed = app.subscribe(receiver.url()).await;
        let ids = [app.publish(json!(0)).await, app.publish(json!(1)).await, app.publish(json!(2)).await];
        receiver.expect_requests(3).await;
        app.deliveries_in("SUCCEEDED", 3).await;
        app.api.data("mutation($id: ID!) { webhookEndpointPause(id: $id) { userErrors { code } } }", json!({ "id": subscribed.endpoint })).await;
        app.publish(json!(3)).await;
        let id = start(&app, json!({ "target": { "eventIds": ids }, "ratePerSecond": 1 })).await;
        eventually("the first was made", async || (count::<delivery::Entity>(&app).await == 5).then_some(())).await;
        app.api.data("mutation($id: ID!) { eventDelete(id: $id) { userErrors { code } } }", json!({ "id": ids[1] })).await;
        while ended_now(&app, &id).await.is_none() {
            app.clock.advance(Duration::from_secs(1));
        }
        let found = ended(&app, &id).await;
        assert_eq!((&found["status"], &found["matchedCount"], &found["createdCount"]), (&json!("COMPLETED"), &json!(3), &json!(2)));
        app.api.data("mutation($id: ID!) { webhookEndpointResume(id: $id) { userErrors { code } } }", json!({ "id": subscribed.endpoint })).await;
        assert_eq!(numbers(&receiver.expect_requests(6).await[3..]), [3, 0, 2], "replays join at the end of the line");
        app.end().await;
    }

    async fn anothers_replays_cannot_be_seen_made_or_canceled_nor_without_the_scope(app) {
        let receiver = app.receiver().await;
        let subscribed = app.subscribe(receiver.url()).await;
        let event = app.publish(json!(1)).await;
        let id = start(&app, json!({ "target": { "eventIds": [event] } })).await;
        ended(&app, &id).await;
        let (_, key) = builder::workspace_with_key(&app.admin, "Other").await;
        let other = app.admin.with_key(&key);
        for unknown in [id.as_str(), "rpl_7zzzzzzzzzzzzzzzzzzzzzzzzz", "nonsense"] {
            assert_eq!(problems(&other, CANCEL, json!({ "id": unknown })).await, ["NOT_FOUND id"]);
            assert_eq!(refused(&other, json!({ "id": unknown })).await, "NOT_FOUND");
        }
        assert_eq!(other.data("query($id: ID!) { node(id: $id) { id } replays { totalCount } }", json!({ "id": id })).await, json!({ "node": null, "replays": { "totalCount": 0 } }));
        let input = json!({ "target": { "eventIds": [event] }, "subscriptionIds": [subscribed.id] });
        assert_eq!(problems(&other, CREATE, json!({ "input": input })).await, ["NOT_FOUND input.subscriptionIds.0", "NOT_FOUND input.target.eventIds.0"]);
        let reader = app.admin.with_key(&builder::key(&app.admin, &app.workspace, &["DELIVERY_READ", "EVENT_PUBLISH"]).await);
        assert_eq!(reader.error_code(CREATE, json!({ "input": input })).await, "FORBIDDEN");
        assert_eq!(reader.error_code(CANCEL, json!({ "id": id })).await, "FORBIDDEN");
        let writer = app.admin.with_key(&builder::key(&app.admin, &app.workspace, &["DELIVERY_WRITE"]).await);
        assert_eq!(writer.error_code("{ replays { totalCount } }", json!({})).await, "FORBIDDEN");
        assert_eq!(writer.error_code("query($id: ID!) { node(id: $id) { id } }", json!({ "id": id })).await, "FORBIDDEN");
        assert_eq!(refused(&writer, json!({ "id": id })).await, "FORBIDDEN");
        assert_eq!(refused(&app.admin, json!({ "id": id })).await, "WORKSPACE_REQUIRED");
        assert_eq!(refused(&app.api, json!({ "id": id, "after": "nonsense" })).await, "BAD_USER_INPUT");
        app.end().await;
    }
}

/// The status of a replay, if it has ended by now.
async fn ended_now(app: &TestApp, id: &str) -> Option<Value> {
    let ask = "query($id: ID!) { node(id: $id) { ... on Replay { status } } }";
    let status = app.api.data(ask, json!({ "id": id })).await["node"]["status"].take();
    (status != "RUNNING").then_some(status)
}

/// The code that the stream is refused with.
async fn refused(api: &GraphQl, variables: Value) -> String {
    let message = api.subscribe(PROGRESS, variables).await.next_message().await.expect("a message");
    let error = if message["type"] == "error" { &message["payload"][0] } else { &message["payload"]["errors"][0] };
    text(&error["extensions"]["code"])
}
