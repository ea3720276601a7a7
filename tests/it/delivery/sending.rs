//! What a receiver gets.

use angarium_tests::{Answer, builder, on_both_databases};
use serde_json::json;

on_both_databases! {
    async fn a_published_event_arrives_signed_and_its_delivery_tells_the_story(app) {
        let receiver = app.receiver().await.answer([Answer::status(200).header("x-trace", "t1").body("thanks")]);
        let subscribed = app.subscribe(receiver.url()).await;
        let event = app.publish(json!({ "invoice": 7 })).await;

        let request = receiver.expect_requests(1).await.remove(0);
        assert!(request.is_verified_by_the_official_library(subscribed.secret.as_deref().expect("it is shown once")));
        assert!(!request.is_verified_by_the_official_library("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
        assert_eq!(request.header("webhook-id"), event);
        assert_eq!(request.header("webhook-event-type"), "invoice.paid");
        assert_eq!(request.header("content-type"), "application/json");
        assert!(request.header("user-agent").starts_with("Angarium/"));
        assert_eq!(request.data(), json!({ "invoice": 7 }));

        let delivery = app.delivery_in("SUCCEEDED").await;
        assert_eq!(delivery["attemptCount"], 1);
        assert_eq!(delivery["responseStatusCode"], 200);
        assert_eq!(delivery["body"], request.body);
        let attempt = &delivery["attempts"]["nodes"][0];
        assert_eq!(attempt["number"], 1);
        assert_eq!(attempt["trigger"], "INITIAL");
        assert_eq!(attempt["response"], json!({ "statusCode": 200, "body": "thanks", "bodyTruncated": false }));
        assert_eq!(attempt["request"]["body"], request.body);
        assert_eq!(attempt["request"]["url"], receiver.url());
        for header in attempt["request"]["headers"].as_array().expect("a list") {
            let name = builder::text(&header["name"]);
            assert_eq!(request.header(&name), builder::text(&header["value"]), "{name} is shown as it was sent");
        }
        app.end().await;
    }

    async fn the_endpoint_shapes_its_requests(app) {
        let receiver = app.receiver().await;
        let endpoint = json!({ "create": {
            "url": receiver.url(),
            "bodyFormat": "RAW",
            "headers": [{ "name": "X-Team", "value": "billing" }],
            "signing": { "scheme": "NONE" },
        } });
        let made = builder::subscribe(&app.api, json!({ "eventTypes": ["invoice.*"], "endpoint": endpoint })).await;
        assert_eq!(made.secret, None);
        app.publish(json!({ "z": 1, "a": 2 })).await;
        let request = receiver.expect_requests(1).await.remove(0);
        assert_eq!(request.body, r#"{"z":1,"a":2}"#);
        assert_eq!(request.header("x-team"), "billing");
        assert_eq!(request.header("webhook-signature"), "");
        app.end().await;
    }

    async fn a_callers_own_secret_signs(app) {
        let receiver = app.receiver().await;
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let endpoint = json!({ "create": { "url": receiver.url(), "signing": { "secret": secret } } });
        builder::subscribe(&app.api, json!({ "eventTypes": ["*"], "endpoint": endpoint })).await;
        app.publish(json!({})).await;
        assert!(receiver.expect_requests(1).await[0].is_signed_with(secret));
        app.end().await;
    }

    async fn an_event_goes_only_where_it_is_wanted_and_once_to_an_endpoint(app) {
        let (wanting, other) = (app.receiver().await, app.receiver().await);
        let first = builder::subscribe(&app.api, json!({ "eventTypes": ["invoice.*"], "endpoint": { "url": wanting.url() } })).await;
        builder::subscribe(&app.api, json!({ "eventTypes": ["invoice.paid"], "endpoint": { "id": first.endpoint } })).await;
        builder::subscribe(&app.api, json!({ "eventTypes": ["sms.outbound"], "endpoint": { "url": other.url() } })).await;
        let channel = json!({ "eventTypes": ["*"], "channels": ["vip"], "endpoint": { "url": other.url() } });
        builder::subscribe(&app.api, channel).await;
        builder::publish(&app.api, json!({ "eventType": "invoice.paid", "payload": 1 })).await;
        builder::publish(&app.api, json!({ "eventType": "invoice.paid", "payload": 2, "channels": ["vip"] })).await;
        let data: Vec<_> = wanting.expect_requests(2).await.iter().map(angarium_tests::Received::data).collect();
        assert_eq!(data, [json!(1), json!(2)]);
        assert_eq!(other.expect_requests(1).await[0].data(), json!(2));
        let decided = app.deliveries_in("SUCCEEDED", 3).await;
        let of_first = decided.iter().filter(|delivery| delivery["subscription"]["id"] == first.id.as_str());
        assert_eq!(of_first.count(), 2, "the oldest subscription that matches decides");
        app.end().await;
    }

    async fn a_payload_keeps_its_key_order_and_every_digit_by_variable_and_by_literal_in_every_format(mut app) {
        let mut receivers = Vec::new();
        for format in ["ENVELOPE", "RAW", "CLOUDEVENTS"] {
            let receiver = app.receiver().await;
            let endpoint = json!({ "create": { "url": receiver.url(), "bodyFormat": format } });
            builder::subscribe(&app.api, json!({ "eventTypes": ["*"], "endpoint": endpoint })).await;
            receivers.push((receiver, if format == "RAW" { "" } else { "\"data\":" }));
        }
        let payload = r#"{"z":1.0,"a":9223372036854775808,"m":12345678901234567890123,"e":1e400,"t":"\u0000é","y":[-0,0.10,-9223372036854775809],"b":{}}"#;
        // An exponent gets its sign written out, which is the same number.
        let kept = payload.replace("1e400", "1e+400");
        let publish = "eventPublish(input: { eventType: \"invoice.paid\", payload: PAYLOAD }) { event { payload } userErrors { code } }";
        let by_variable = format!("mutation($p: JSON!) {{ {} }}", publish.replace("PAYLOAD", "$p"));
        // The names of a literal are without quotes.
        let literal = ["z", "a", "m", "e", "t", "y", "b"].iter().fold(payload.to_owned(), |text, name| text.replace(&format!("\"{name}\":"), &format!("{name}: ")));
        let by_literal = format!("mutation {{ {} }}", publish.replace("PAYLOAD", &literal));
        let batch = "mutation($i: [EventPublishInput!]!) { eventPublishBatch(inputs: $i) { results { event { payload } userErrors { code } } } }";
        let whole = "mutation($i: EventPublishInput!) { eventPublish(input: $i) { event { payload } userErrors { code } } }";
        let input = format!("{{\"eventType\":\"invoice.paid\",\"payload\":{payload}}}");
        for (round, body) in [
            format!("{{\"query\":{},\"variables\":{{\"p\":{payload}}}}}", json!(by_variable)),
            format!("{{\"query\":{}}}", json!(by_literal)),
            format!("{{\"query\":{},\"variables\":{{\"i\":{input}}}}}", json!(whole)),
            format!("{{\"query\":{},\"variables\":{{\"i\":[{input}]}}}}", json!(batch)),
        ]
        .into_iter()
        .enumerate()
        {
            let (status, answer) = app.api.try_post_body(body).await.expect("an answer");
            assert_eq!(status, 200, "{answer}");
            assert!(answer.contains(&kept), "{answer}");
            for (receiver, before) in &receivers {
                let sent = receiver.expect_requests(round + 1).await.remove(round).body;
                assert!(sent.ends_with(&format!("{before}{kept}{}", if before.is_empty() { "" } else { "}" })), "{sent}");
            }
        }
        // From here on they come out of the database, where there were none before but those in memory.
        let delivered = app.deliveries_in("SUCCEEDED", 12).await;
        app.restart().await;
        for delivery in &delivered {
            let retry = "mutation($id: ID!) { deliveryRetry(id: $id) { userErrors { code } } }";
            let data = app.api.data(retry, json!({ "id": delivery["id"] })).await;
            assert_eq!(data["deliveryRetry"]["userErrors"], json!([]));
        }
        for (receiver, _) in &receivers {
            let mut bodies: Vec<_> = receiver.expect_requests(8).await.into_iter().map(|request| request.body).collect();
            let mut again = bodies.split_off(4);
            bodies.sort();
            again.sort();
            assert_eq!(again, bodies, "the same bytes");
        }
        app.deliveries_in("SUCCEEDED", 12).await;
        app.end().await;
    }
}
