//! FIFO: one at a time, in publish order.

use angarium_tests::{Receiver, builder, on_both_databases};
use serde_json::{Value, json};

async fn numbers(receiver: &Receiver, count: usize) -> Vec<u64> {
    let received = receiver.expect_requests(count).await;
    received.iter().map(|request| request.data().as_u64().expect("a number")).collect()
}

fn batch(numbers: std::ops::Range<u64>) -> Value {
    numbers.map(|n| json!({ "eventType": "invoice.paid", "payload": n })).collect()
}

const BATCH: &str = "mutation($inputs: [EventPublishInput!]!) { eventPublishBatch(inputs: $inputs) { results { event { id } userErrors { code } } userErrors { code } } }";

on_both_databases! {
    async fn a_thousand_events_arrive_in_publish_order_one_at_a_time_also_across_a_restart(mut app) {
        let receiver = app.receiver().await;
        app.subscribe(receiver.url()).await;
        for n in 0..200 {
            app.publish(json!(n)).await;
        }
        app.api.data(BATCH, json!({ "inputs": batch(200..500) })).await;
        app.restart().await;
        for n in 500..700 {
            app.publish(json!(n)).await;
        }
        app.api.data(BATCH, json!({ "inputs": batch(700..1000) })).await;
        let arrived = numbers(&receiver, 1_000).await;
        assert_eq!(arrived, Vec::from_iter(0..1_000));
        assert_eq!(receiver.most_at_once(), 1);
        app.end().await;
    }

    async fn a_backlog_larger_than_memory_keeps_its_order(app) {
        let receiver = app.receiver().await;
        receiver.hang();
        app.subscribe(receiver.url()).await;
        for start in (0..1_500).step_by(500) {
            app.api.data(BATCH, json!({ "inputs": batch(start..start + 500) })).await;
        }
        receiver.let_go(2_000);
        assert_eq!(numbers(&receiver, 1_500).await, Vec::from_iter(0..1_500));
        app.end().await;
    }

    async fn a_failed_delivery_does_not_stop_the_line(app) {
        let receiver = app.receiver().await.answer_statuses([500]);
        app.subscribe(receiver.url()).await;
        for n in 0..3 {
            app.publish(json!(n)).await;
        }
        assert_eq!(numbers(&receiver, 3).await, [0, 1, 2]);
        app.delivery_in("RETRYING").await;
        app.clock.advance(std::time::Duration::from_secs(6));
        assert_eq!(numbers(&receiver, 4).await, [0, 1, 2, 0]);
        app.end().await;
    }

    async fn without_order_as_many_requests_run_as_the_endpoint_allows(app) {
        let receiver = app.receiver().await;
        receiver.hang();
        let endpoint = json!({ "create": { "url": receiver.url(), "ordering": "NONE", "maxInFlight": 8 } });
        builder::subscribe(&app.api, json!({ "eventTypes": ["*"], "endpoint": endpoint })).await;
        app.api.data(BATCH, json!({ "inputs": batch(0..20) })).await;
        receiver.expect_requests(8).await;
        receiver.let_go(20);
        let mut arrived = numbers(&receiver, 20).await;
        arrived.sort_unstable();
        assert_eq!((arrived, receiver.most_at_once()), (Vec::from_iter(0..20), 8));
        app.end().await;
    }

    async fn a_batch_refuses_what_is_wrong_and_keeps_the_order_of_the_rest(app) {
        let receiver = app.receiver().await;
        app.subscribe(receiver.url()).await;
        let inputs = json!([
            { "eventType": "invoice.paid", "payload": 1 },
            { "eventType": "no.such.type", "payload": 2 },
            { "eventType": "invoice.paid", "payload": 3 },
        ]);
        let data = app.api.data(BATCH, json!({ "inputs": inputs })).await;
        let codes: Vec<_> = data["eventPublishBatch"]["results"].as_array().expect("a list").iter().map(|r| r["userErrors"][0]["code"].clone()).collect();
        assert_eq!(codes, [json!(null), json!("UNKNOWN_EVENT_TYPE"), json!(null)]);
        assert_eq!(numbers(&receiver, 2).await, [1, 3]);
        app.end().await;
    }
}
