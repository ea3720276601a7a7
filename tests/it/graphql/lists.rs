//! What lists hold, what they refuse, and what is counted.

use std::time::Duration;

use angarium_entity::Clock;
use angarium_tests::{TestApp, builder, on_both_databases};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

const DELIVERIES: &str = "query($where: DeliveryWhere, $by: DeliveryOrder, $after: String) \
    { deliveries(where: $where, orderBy: $by, after: $after) { totalCount nodes { id eventTypeName } pageInfo { endCursor } } }";
const EVENTS: &str = "query($where: EventWhere) { events(where: $where) { totalCount } }";
const STATS: &str = "query($from: DateTime!, $to: DateTime!, $endpoint: ID, $subscription: ID, $interval: Duration) \
    { deliveryStats(from: $from, to: $to, endpointId: $endpoint, subscriptionId: $subscription, interval: $interval) \
    { total successRate p50DurationMs p95DurationMs byStatus { status count } buckets { start total succeeded failed } } }";

async fn count(app: &TestApp, conditions: Value) -> Value {
    app.api.data(DELIVERIES, json!({ "where": conditions })).await["deliveries"]["totalCount"].take()
}

async fn is_too_broad(app: &TestApp, query: &str, conditions: Value) -> bool {
    app.api.error_code(query, json!({ "where": conditions })).await == "FILTER_TOO_BROAD"
}

fn before(now: angarium_entity::Timestamp, length: Duration) -> String {
    (now - length).to_string()
}

/// Two events in channel `a` and one in `b`, each delivered to one endpoint, which refused the last.
async fn three_deliveries(app: &TestApp) -> builder::Subscribed {
    let receiver = app.receiver().await.answer_statuses([204, 204, 500]);
    let made = app.subscribe(receiver.url()).await;
    for channel in ["a", "a", "b"] {
        builder::publish(&app.api, json!({ "eventType": "invoice.paid", "payload": 1, "channels": [channel] })).await;
    }
    app.deliveries_in("SUCCEEDED", 2).await;
    app.deliveries_in("RETRYING", 1).await;
    made
}

on_both_databases! {
    async fn deliveries_are_listed_by_channel_and_by_the_times_of_their_attempts(app) {
        let made = three_deliveries(&app).await;
        let now = app.clock.now();
        let (past, future) = (before(now, Duration::from_secs(60)), (now + Duration::from_secs(60)).to_string());
        let of = |more: Value| {
            let mut all = json!({ "endpointId": made.endpoint });
            all.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            all
        };
        assert_eq!(count(&app, of(json!({ "channel": "a" }))).await, 2);
        assert_eq!(count(&app, json!({ "channel": "b", "createdAt": { "gte": past } })).await, 1);
        assert_eq!(count(&app, of(json!({ "channel": "c" }))).await, 0);
        assert_eq!(count(&app, of(json!({ "lastAttemptAt": { "gte": past, "lt": future } }))).await, 3);
        assert_eq!(count(&app, of(json!({ "lastAttemptAt": { "lt": past } }))).await, 0);
        assert_eq!(count(&app, of(json!({ "nextAttemptAt": { "gte": past } }))).await, 1);
        assert_eq!(count(&app, json!({ "subscriptionId": made.id, "nextAttemptAt": { "lt": past } })).await, 0);
        assert_eq!(count(&app, json!({ "replayId": "rpl_00000000000000000000000001" })).await, 0);
        assert_eq!(count(&app, of(json!({ "lastAttemptAt": {} }))).await, 3, "a range without ends asks for nothing");
        app.end().await;
    }

    async fn what_would_read_everything_is_refused(app) {
        let now = app.clock.now();
        let (week, longer) = (before(now, Duration::from_secs(7 * 86_400)), before(now, Duration::from_secs(7 * 86_400 + 60)));
        for wide in [json!({ "channel": "a" }), json!({ "lastAttemptAt": { "lt": week } }), json!({ "nextAttemptAt": { "lt": week }, "eventId": "evt_00000000000000000000000001" })] {
            assert!(is_too_broad(&app, DELIVERIES, wide).await);
        }
        for wide in [json!({ "channel": "a" }), json!({ "eventType": ["invoice.*"] }), json!({ "channel": "a", "createdAt": { "gte": longer } })] {
            assert!(is_too_broad(&app, EVENTS, wide).await);
        }
        for narrow in [json!({ "channel": "a", "createdAt": { "gte": week } }), json!({ "eventType": ["sms.outbound"] }), json!({ "eventType": ["*"], "idempotencyKey": "k" })] {
            assert_eq!(app.api.data(EVENTS, json!({ "where": narrow })).await["events"]["totalCount"], 0);
        }
        app.end().await;
    }

    async fn several_statuses_or_types_are_merged_in_order_and_page_by_page(app) {
        let receiver = app.receiver().await.answer_statuses((0..40).map(|_| 500));
        let policy = json!({ "computed": { "strategy": "FIXED", "initialDelay": "PT5S", "maxAttempts": 1 } });
        let endpoint = json!({ "url": receiver.url() });
        // Each endpoint fails four times: at the fifth it would be let alone.
        for channel in ["even", "odd"] {
            let input = json!({ "eventTypes": ["invoice.paid"], "channels": [channel], "endpoint": endpoint, "retryPolicy": policy });
            builder::subscribe(&app.api, input).await;
        }
        builder::subscribe(&app.api, json!({ "eventTypes": ["sms.outbound"], "endpoint": endpoint })).await;
        for n in 0..12 {
            let event_type = if n % 3 == 0 { "sms.outbound" } else { "invoice.paid" };
            let channel = if n % 2 == 0 { "even" } else { "odd" };
            builder::publish(&app.api, json!({ "eventType": event_type, "payload": n, "channels": [channel] })).await;
            app.clock.advance(Duration::from_millis(1));
        }
        app.deliveries_in("EXHAUSTED", 8).await;
        app.deliveries_in("RETRYING", 4).await;
        let all = app.api.data(DELIVERIES, json!({})).await["deliveries"]["nodes"].take();
        for conditions in [json!({ "status": ["RETRYING", "EXHAUSTED", "RETRYING"] }), json!({ "eventType": ["sms.outbound", "invoice.paid", "sms.outbound"] })] {
            let merged = app.api.data(DELIVERIES, json!({ "where": conditions })).await["deliveries"].take();
            assert_eq!((&merged["nodes"], &merged["totalCount"]), (&all, &json!(12)));
            let page = "query($where: DeliveryWhere, $after: String, $offset: Int) { deliveries(where: $where, first: 5, after: $after, offset: $offset) { nodes { id eventTypeName } pageInfo { endCursor } } }";
            let first = app.api.data(page, json!({ "where": conditions })).await["deliveries"].take();
            let second = app.api.data(page, json!({ "where": conditions, "after": first["pageInfo"]["endCursor"] })).await["deliveries"]["nodes"].take();
            let all = all.as_array().expect("a list");
            assert_eq!((first["nodes"].as_array().expect("a list"), second.as_array().expect("a list")), (&all[..5].to_vec(), &all[5..10].to_vec()));
            let skipped = app.api.data(page, json!({ "where": conditions, "offset": 8 })).await["deliveries"]["nodes"].take();
            assert_eq!(skipped.as_array().expect("a list"), &all[8..12]);
        }
        app.end().await;
    }

    async fn a_cursor_that_somebody_made_up_is_refused_and_never_our_fault(app) {
        let lists = [
            ("webhookEndpoints", "endpoint NAME DESC", "NAME", "WebhookEndpointOrder", json!(1)),
            ("webhookEndpoints", "endpoint NAME DESC", "NAME", "WebhookEndpointOrder", json!("a\0b")),
            ("webhookEndpoints", "endpoint CREATED_AT DESC", "CREATED_AT", "WebhookEndpointOrder", json!("text")),
            ("deliveries", "delivery CREATED_AT DESC", "CREATED_AT", "DeliveryOrder", json!("text")),
            ("deliveries", "delivery CREATED_AT DESC", "CREATED_AT", "DeliveryOrder", json!(1.5)),
            ("deliveries", "delivery CREATED_AT DESC", "CREATED_AT", "DeliveryOrder", Value::Null),
        ];
        for (list, place, field, order, value) in lists {
            let content = json!([place, value, uuid::Uuid::nil()]).to_string();
            let cursor = URL_SAFE_NO_PAD.encode([&[1], content.as_bytes()].concat());
            let query = format!("query($after: String, $by: {order}) {{ {list}(after: $after, orderBy: $by) {{ totalCount }} }}");
            let variables = json!({ "after": cursor, "by": { "field": field, "direction": "DESC" } });
            assert_eq!(app.api.error_code(&query, variables).await, "BAD_USER_INPUT", "{list} {content}");
        }
        let right = URL_SAFE_NO_PAD.encode([&[1], json!(["delivery CREATED_AT DESC", i64::MAX, uuid::Uuid::nil()]).to_string().as_bytes()].concat());
        assert_eq!(app.api.data(DELIVERIES, json!({ "after": right })).await["deliveries"]["totalCount"], 0);
        app.end().await;
    }

    async fn a_stream_takes_conditions_that_a_list_would_refuse(app) {
        let live = "subscription($where: DeliveryWhere) { deliveryUpdated(where: $where) { delivery { status event { channels } } } }";
        let wide = json!({ "where": { "channel": "b", "eventType": ["*"], "responseStatusCode": [500] } });
        let mut stream = app.api.subscribe(live, wide).await;
        three_deliveries(&app).await;
        let told = stream.next().await["deliveryUpdated"]["delivery"].take();
        assert_eq!(told, json!({ "status": "RETRYING", "event": { "channels": ["b"] } }));
        app.end().await;
    }

    async fn what_became_final_is_counted_in_buckets_that_begin_with_the_range(app) {
        let receiver = app.receiver().await.answer_statuses([204, 204, 500]);
        let policy = json!({ "computed": { "strategy": "FIXED", "initialDelay": "PT5S", "maxAttempts": 1 } });
        let input = json!({ "eventTypes": ["*"], "endpoint": { "url": receiver.url() }, "retryPolicy": policy });
        let made = builder::subscribe(&app.api, input).await;
        let from = app.clock.now();
        for (status, sent) in [("SUCCEEDED", 1), ("SUCCEEDED", 2), ("EXHAUSTED", 1)] {
            app.publish(json!(1)).await;
            app.deliveries_in(status, sent).await;
            app.clock.advance(Duration::from_secs(61));
        }
        let to = from + Duration::from_secs(600);
        let ask = |more: Value| {
            let mut all = json!({ "from": from.to_string(), "to": to.to_string() });
            all.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            all
        };
        let all = app.api.data(STATS, ask(json!({ "interval": "PT4M" }))).await["deliveryStats"].take();
        assert_eq!((&all["total"], &all["buckets"]), (&json!(3.0), &json!([
            { "start": from.to_string(), "total": 3.0, "succeeded": 2.0, "failed": 1.0 },
            { "start": (from + Duration::from_secs(240)).to_string(), "total": 0.0, "succeeded": 0.0, "failed": 0.0 },
            { "start": (from + Duration::from_secs(480)).to_string(), "total": 0.0, "succeeded": 0.0, "failed": 0.0 },
        ])));
        let counts: Vec<(String, f64)> = all["byStatus"].as_array().expect("a list").iter().map(|one| (builder::text(&one["status"]), one["count"].as_f64().expect("a number"))).collect();
        assert_eq!(counts, [("CANCELED", 0.0), ("EXHAUSTED", 1.0), ("FAILED", 0.0), ("SUCCEEDED", 2.0)].map(|(status, count)| (status.to_owned(), count)));
        assert!((all["successRate"].as_f64().expect("a number") - 2.0 / 3.0).abs() < 1e-9);
        assert!(all["p50DurationMs"].as_f64() <= all["p95DurationMs"].as_f64() && all["p95DurationMs"].is_number());
        let by_minute = app.api.data(STATS, ask(json!({ "interval": "PT1M" }))).await["deliveryStats"]["buckets"].take();
        let totals: Vec<f64> = by_minute.as_array().expect("a list").iter().map(|one| one["total"].as_f64().expect("a number")).collect();
        assert_eq!(totals, [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        for own in [json!({ "endpoint": made.endpoint }), json!({ "subscription": made.id })] {
            let stats = app.api.data(STATS, ask(own)).await["deliveryStats"].take();
            assert_eq!((&stats["total"], &stats["buckets"]), (&json!(3.0), &json!([])));
        }
        for none in [json!({ "endpoint": "ep_00000000000000000000000001" }), json!({ "subscription": made.endpoint })] {
            let stats = app.api.data(STATS, ask(none)).await["deliveryStats"].take();
            assert_eq!((&stats["total"], &stats["successRate"], &stats["p50DurationMs"]), (&json!(0.0), &Value::Null, &Value::Null));
        }
        let (_, key) = builder::workspace_with_key(&app.admin, "Other").await;
        let theirs = app.admin.with_key(&key).data(STATS, ask(json!({ "endpoint": made.endpoint }))).await;
        assert_eq!(theirs["deliveryStats"]["total"], 0.0);
        app.end().await;
    }

    async fn statistics_out_of_bounds_or_without_the_scope_are_refused(app) {
        let ask = |from: &str, to: &str, interval: Option<&str>| json!({ "from": from, "to": to, "interval": interval });
        let (start, soon) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        for wrong in [
            ask(start, start, None),
            ask(start, "2026-02-01T00:00:00.001Z", None),
            ask(start, soon, Some("PT59S")),
            ask(start, soon, Some("PT1M")),
            ask(start, soon, Some("P1M")),
            ask("yesterday", soon, None),
        ] {
            assert_eq!(app.api.error_code(STATS, wrong.clone()).await, "BAD_USER_INPUT", "{wrong}");
        }
        let month = app.api.data(STATS, ask(start, "2026-02-01T00:00:00Z", Some("PT1H"))).await["deliveryStats"].take();
        assert_eq!(month["buckets"].as_array().map(Vec::len), Some(744));
        let key = builder::key(&app.admin, &app.workspace, &["EVENT_READ"]).await;
        assert_eq!(app.admin.with_key(&key).error_code(STATS, ask(start, soon, None)).await, "FORBIDDEN");
        app.end().await;
    }
}
