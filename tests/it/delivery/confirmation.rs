//! Subscriptions that their endpoints have to confirm: by a link, or by echoing a challenge.

use std::time::Duration;

use angarium_entity::confirmation;
use angarium_tests::app::{count, eventually};
use angarium_tests::builder::{self, problems, text};
use angarium_tests::client::http_client;
use angarium_tests::{Answer, Received, TestApp, on_both_databases};
use sea_orm::EntityTrait;
use serde_json::{Value, json};

const TYPE: &str = "angarium.subscription.confirmation";
const CONFIRM: &str = "mutation($token: String!) { webhookSubscriptionConfirm(token: $token) \
    { webhookSubscription { id status confirmedAt } userErrors { code message field } } }";
const RESEND: &str = "mutation($id: ID!) { webhookSubscriptionConfirmationResend(id: $id) \
    { webhookSubscription { id status } userErrors { code message field } } }";
const UPDATE: &str = "mutation($id: ID!, $input: WebhookSubscriptionUpdateInput!) \
    { webhookSubscriptionUpdate(id: $id, input: $input) { webhookSubscription { status } userErrors { code message field } } }";
const UPDATE_ENDPOINT: &str = "mutation($id: ID!, $input: WebhookEndpointUpdateInput!) \
    { webhookEndpointUpdate(id: $id, input: $input) { userErrors { code message field } } }";
const RETRY: &str = "mutation($id: ID!) { deliveryRetry(id: $id) { userErrors { code message field } } }";
const TEST: &str = "mutation($id: ID!) { webhookSubscriptionTest(id: $id, eventType: \"invoice.paid\") { userErrors { code message field } } }";

async fn want(app: &TestApp, confirmation: &str) {
    let update = "mutation($id: ID!, $input: WorkspaceUpdateInput!) { workspaceUpdate(id: $id, input: $input) { userErrors { code message field } } }";
    let input = json!({ "subscriptionConfirmation": confirmation });
    let data = app.api.data(update, json!({ "id": app.workspace, "input": input })).await;
    assert_eq!(data["workspaceUpdate"]["userErrors"], json!([]));
}

async fn show(app: &TestApp, id: &str) -> Value {
    let ask = "query($id: ID!) { webhookSubscription(id: $id) { status statusReason confirmedAt version } }";
    app.api.data(ask, json!({ "id": id })).await["webhookSubscription"].take()
}

async fn status(app: &TestApp, id: &str) -> String {
    text(&show(app, id).await["status"])
}

/// Token and link of a message.
fn link(message: &Received) -> (String, String) {
    assert_eq!(message.header("webhook-event-type"), TYPE);
    let data = message.data();
    (text(&data["token"]), text(&data["confirmationUrl"]))
}

async fn get(url: &str, accept: &str) -> (u16, http::HeaderMap, String) {
    let response = http_client().get(url).header("accept", accept).send().await.expect("an answer");
    (response.status().as_u16(), response.headers().clone(), response.text().await.expect("a body"))
}

/// Status and code of opening a link as a program.
async fn opened(url: &str) -> (u16, Value) {
    let (status, _, body) = get(url, "application/json").await;
    let mut body: Value = serde_json::from_str(&body).expect("JSON");
    (status, if status == 200 { body["status"].take() } else { body["error"]["code"].take() })
}

/// The messages that came to a receiver, once there are `count`.
async fn messages(receiver: &angarium_tests::Receiver, count: usize) -> Vec<Received> {
    let all = receiver.expect_requests(count).await;
    all.into_iter().filter(|request| request.header("webhook-event-type") == TYPE).collect()
}

on_both_databases! {
    async fn a_subscription_matches_nothing_until_its_link_was_opened(app) {
        want(&app, "LINK").await;
        let receiver = app.receiver().await;
        let input = json!({ "name": "Mine", "ownerId": "u1", "eventTypes": ["invoice.*"], "channels": ["a"], "endpoint": { "url": receiver.url() } });
        let subscribed = builder::subscribe(&app.api, input).await;
        let message = receiver.expect_requests(1).await.remove(0);
        let (token, url) = link(&message);
        assert!(message.is_verified_by_the_official_library(subscribed.secret.as_deref().expect("it is shown")));
        let end = (app.state().now() + Duration::from_hours(24)).to_string();
        let data = message.data();
        assert_eq!((&data["expiresAt"], token.len()), (&json!(end), 43));
        assert_eq!(url, format!("{}/confirm/{token}", app.base()));
        assert_eq!(data["subscription"], json!({ "id": subscribed.id, "name": "Mine", "eventTypes": ["invoice.*"], "channels": ["a"],
            "ownerId": "u1", "workspaceId": app.workspace, "expiresAt": null }));
        let shown = show(&app, &subscribed.id).await;
        assert_eq!((&shown["status"], &shown["confirmedAt"], &shown["version"]), (&json!("PENDING_CONFIRMATION"), &json!(null), &json!(1)));
        assert!(text(&shown["statusReason"]).contains(&end), "{shown}");
        let publish = json!({ "eventType": "invoice.paid", "payload": 1, "channels": ["a"] });
        builder::publish(&app.api, publish.clone()).await;
        assert_eq!(problems(&app.api, TEST, json!({ "id": subscribed.id })).await, ["INVALID id"]);
        let list = "query($status: [WebhookSubscriptionStatus!]) { webhookSubscriptions(where: { status: $status }) { nodes { id } } }";
        let in_status = async |status: &str| app.api.data(list, json!({ "status": [status] })).await["webhookSubscriptions"]["nodes"].take();
        assert_eq!(in_status("PENDING_CONFIRMATION").await, json!([{ "id": subscribed.id }]));
        assert_eq!(in_status("ACTIVE").await, json!([]));
        app.delivery_in("SUCCEEDED").await;

        // HEAD tells, and does nothing.
        let head = http_client().head(&url).send().await.expect("an answer");
        assert_eq!(head.status().as_u16(), 200);
        assert_eq!(head.headers()["cache-control"], "no-store");
        assert_eq!(status(&app, &subscribed.id).await, "PENDING_CONFIRMATION");
        assert_eq!(http_client().post(&url).send().await.expect("an answer").status().as_u16(), 405);
        let (code, headers, page) = get(&url, "text/html,*/*;q=0.8").await;
        assert_eq!(code, 200);
        assert_eq!(headers["content-type"], "text/html; charset=utf-8");
        assert!(page.contains("<h1>Confirmed</h1>") && !page.contains(&token), "{page}");
        assert_eq!(headers["cache-control"], "no-store");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        let now = app.state().now().to_string();
        assert_eq!(show(&app, &subscribed.id).await, json!({ "status": "ACTIVE", "statusReason": null, "confirmedAt": now, "version": 2 }));
        assert_eq!(in_status("PENDING_CONFIRMATION").await, json!([]));
        builder::publish(&app.api, publish).await;
        assert_eq!(receiver.expect_requests(2).await[1].data(), json!(1));
        assert_eq!(opened(&url).await, (409, json!("ALREADY_CONFIRMED")));
        assert_eq!(opened(&format!("{}/confirm/{}", app.base(), "A".repeat(43))).await, (404, json!("TOKEN_INVALID")));
        assert_eq!(opened(&format!("{}/confirm/x", app.base())).await, (404, json!("TOKEN_INVALID")));
        assert_eq!(problems(&app.api, CONFIRM, json!({ "token": token })).await, ["ALREADY_CONFIRMED token"]);
        assert_eq!(problems(&app.api, RESEND, json!({ "id": subscribed.id })).await, ["ALREADY_CONFIRMED id"]);
        app.deliveries_in("SUCCEEDED", 2).await;
        app.end().await;
    }

    async fn only_the_endpoint_is_told_the_token(mut app) {
        want(&app, "LINK").await;
        // It will echo what it was sent, in body and header.
        let receiver = app.receiver().await.answer([Answer::status(500)]);
        let subscribed = app.subscribe(receiver.url()).await;
        let (token, _) = link(&receiver.expect_requests(1).await[0]);
        app.delivery_in("RETRYING").await;
        let receiver = receiver.answer([Answer::status(200).header("x-echo", &token).body(&token)]);
        let stored = async |app: &TestApp| {
            let all = format!("{{ deliveries {{ nodes {{ {} event {{ payload }} }} }} events {{ nodes {{ payload }} }} }}", builder::DELIVERY);
            app.api.data(&all, json!({})).await.to_string()
        };
        let seen = stored(&app).await;
        assert!(!seen.contains(&token) && seen.contains("/confirm/***") && seen.contains(TYPE) , "{seen}");
        // The next attempt, after a restart, carries the same one.
        app.restart().await;
        app.clock.advance(Duration::from_secs(6));
        let again = receiver.expect_requests(2).await;
        assert_eq!(link(&again[1]).0, token);
        assert!(again[1].is_signed_with(subscribed.secret.as_deref().expect("it is shown")));
        app.delivery_in("SUCCEEDED").await;
        assert!(!stored(&app).await.contains(&token));
        let (_, key) = builder::workspace_with_key(&app.admin, "Other").await;
        assert_eq!(problems(&app.admin.with_key(&key), CONFIRM, json!({ "token": token })).await, ["TOKEN_INVALID token"]);
        let reader = app.admin.with_key(&builder::key(&app.admin, &app.workspace, &["WEBHOOK_READ"]).await);
        assert_eq!(reader.error_code(CONFIRM, json!({ "token": token })).await, "FORBIDDEN");
        let confirmed = app.api.data(CONFIRM, json!({ "token": token })).await["webhookSubscriptionConfirm"].take();
        assert_eq!((&confirmed["userErrors"], &confirmed["webhookSubscription"]["status"]), (&json!([]), &json!("ACTIVE")));
        app.end().await;
    }

    async fn a_token_is_good_for_a_day_and_another_one_can_be_asked_for(app) {
        want(&app, "LINK").await;
        let receiver = app.receiver().await;
        let subscribed = app.subscribe(receiver.url()).await;
        let (first, first_url) = link(&messages(&receiver, 1).await[0]);
        app.deliveries_in("SUCCEEDED", 1).await;
        assert_eq!(problems(&app.api, RESEND, json!({ "id": subscribed.id })).await, ["LIMIT_REACHED id"]);
        app.clock.advance(Duration::from_mins(1));
        assert_eq!(problems(&app.api, RESEND, json!({ "id": subscribed.id })).await, [] as [&str; 0]);
        let (second, second_url) = link(&messages(&receiver, 2).await[1]);
        app.deliveries_in("SUCCEEDED", 2).await;
        assert_ne!(first, second);
        assert_eq!(opened(&first_url).await, (410, json!("TOKEN_INVALID")));
        assert_eq!(problems(&app.api, CONFIRM, json!({ "token": first })).await, ["TOKEN_INVALID token"]);
        app.clock.advance(Duration::from_hours(24));
        assert_eq!(opened(&second_url).await, (410, json!("TOKEN_EXPIRED")));
        assert_eq!(http_client().head(&second_url).send().await.expect("an answer").status().as_u16(), 410);
        assert_eq!(problems(&app.api, CONFIRM, json!({ "token": second })).await, ["TOKEN_EXPIRED token"]);
        for sent in 3..=12 {
            assert_eq!(problems(&app.api, RESEND, json!({ "id": subscribed.id })).await, [] as [&str; 0], "{sent}");
            messages(&receiver, sent).await;
            app.deliveries_in("SUCCEEDED", sent).await;
            app.clock.advance(Duration::from_mins(1));
        }
        let told = app.api.data(RESEND, json!({ "id": subscribed.id })).await["webhookSubscriptionConfirmationResend"]["userErrors"][0].take();
        let when = app.state().now() + Duration::from_hours(24) - Duration::from_mins(10);
        assert_eq!(told["code"], "LIMIT_REACHED");
        assert!(text(&told["message"]).contains(&when.to_string()), "{told}");
        let (_, last_url) = link(&messages(&receiver, 12).await[11]);
        assert_eq!(opened(&last_url).await, (200, json!("CONFIRMED")));
        assert_eq!(status(&app, &subscribed.id).await, "ACTIVE");
        app.end().await;
    }

    async fn a_message_that_does_not_arrive_is_tried_again_until_its_token_is_too_old(app) {
        want(&app, "LINK").await;
        let receiver = app.receiver().await.answer_statuses([500; 2]);
        let input = json!({ "eventTypes": ["*"], "endpoint": { "url": receiver.url() }, "retryPolicy": { "delays": ["PT1H", "P2D"] } });
        let subscribed = builder::subscribe(&app.api, input).await;
        app.delivery_in("RETRYING").await;
        app.clock.advance(Duration::from_mins(90));
        receiver.expect_requests(2).await;
        let again = async || (app.delivery_in("RETRYING").await["attemptCount"] == 2).then_some(());
        eventually("it failed again", again).await;
        app.clock.advance(Duration::from_hours(23));
        let canceled = app.delivery_in("CANCELED").await;
        assert!(text(&canceled["statusReason"]).contains("expired"), "{canceled}");
        assert_eq!(status(&app, &subscribed.id).await, "PENDING_CONFIRMATION");
        assert_eq!(problems(&app.api, RETRY, json!({ "id": canceled["id"] })).await, ["NOT_RETRYABLE id"]);
        app.end().await;
    }

    async fn what_became_of_a_token_is_remembered_for_a_month(app) {
        want(&app, "LINK").await;
        let receiver = app.receiver().await;
        let [first, second, third] = [app.subscribe(receiver.url()).await, app.subscribe(receiver.url()).await, app.subscribe(receiver.url()).await];
        let sent = messages(&receiver, 3).await;
        let of = |id: &str| link(sent.iter().find(|message| message.data()["subscription"]["id"] == id).expect("each has its own")).1;
        app.deliveries_in("SUCCEEDED", 3).await;
        assert_eq!(opened(&of(&first.id)).await, (200, json!("CONFIRMED")));
        app.api.data("mutation($id: ID!) { webhookSubscriptionDelete(id: $id) { userErrors { code } } }", json!({ "id": second.id })).await;
        assert_eq!(opened(&of(&second.id)).await, (404, json!("TOKEN_INVALID")));
        app.clock.advance(Duration::from_hours(29 * 24));
        assert_eq!(opened(&of(&first.id)).await, (409, json!("ALREADY_CONFIRMED")));
        assert_eq!(opened(&of(&third.id)).await, (410, json!("TOKEN_EXPIRED")));
        let left = async |count_left: u64| {
            let left = async || (count::<confirmation::Entity>(&app).await == count_left).then_some(());
            eventually(&format!("{count_left} are left"), left).await;
        };
        left(3).await;
        app.clock.advance(Duration::from_hours(24));
        app.clock.advance(Duration::from_secs(16));
        left(1).await;
        assert_eq!(opened(&of(&first.id)).await, (404, json!("TOKEN_INVALID")));
        assert_eq!(status(&app, &first.id).await, "ACTIVE");
        app.end().await;
    }

    async fn a_replaced_message_is_not_sent_again_whoever_dies(mut app) {
        want(&app, "CHALLENGE").await;
        let receiver = app.receiver().await.answer_statuses([500, 204, 204]);
        let subscribed = app.subscribe(receiver.url()).await;
        let first = app.delivery_in("RETRYING").await;
        // As if the process had died between the commit of another message and the end of this one.
        let row = confirmation::Entity::find().one(app.state().db.read()).await.expect("an answer").expect("a message");
        confirmation::close(app.state().db.write(), row.subscription_id, app.state().now()).await.expect("it is ended");
        app.restart().await;
        assert_eq!(app.delivery_in("CANCELED").await["id"], first["id"]);
        app.clock.advance(Duration::from_mins(1));
        assert_eq!(problems(&app.api, RESEND, json!({ "id": subscribed.id })).await, [] as [&str; 0]);
        let sent = messages(&receiver, 2).await;
        assert_ne!(sent[0].data()["challenge"], sent[1].data()["challenge"]);
        app.deliveries_in("RETRYING", 1).await;
        app.end().await;
    }

    async fn another_url_has_to_be_confirmed_anew_and_gets_nothing_before(app) {
        want(&app, "LINK").await;
        let (old, new, third) = (app.receiver().await.answer_statuses([204, 204, 500]), app.receiver().await, app.receiver().await);
        let subscribed = app.subscribe(old.url()).await;
        let beside = builder::subscribe(&app.api, json!({ "eventTypes": ["sms.outbound"], "endpoint": { "id": subscribed.endpoint } })).await;
        let sent = messages(&old, 2).await;
        let of = |id: &str| link(sent.iter().find(|message| message.data()["subscription"]["id"] == id).expect("each has its own")).1;
        assert_eq!(opened(&of(&subscribed.id)).await, (200, json!("CONFIRMED")));
        assert_eq!((status(&app, &subscribed.id).await, status(&app, &beside.id).await), ("ACTIVE".to_owned(), "PENDING_CONFIRMATION".to_owned()));
        assert_eq!(opened(&of(&beside.id)).await, (200, json!("CONFIRMED")));
        app.publish(json!("secret")).await;
        old.expect_requests(3).await;
        app.delivery_in("RETRYING").await;
        // Retries wait too: they are not for whoever is at the new URL until that is confirmed.
        let data = app.api.data(UPDATE_ENDPOINT, json!({ "id": subscribed.endpoint, "input": { "url": new.url() } })).await;
        assert_eq!(data["webhookEndpointUpdate"]["userErrors"], json!([]));
        let sent = messages(&new, 2).await;
        assert_eq!(status(&app, &subscribed.id).await, "PENDING_CONFIRMATION");
        let held = app.api.data("{ deliveries(where: { status: [RETRYING] }) { nodes { heldBy { reason until } } } }", json!({})).await;
        assert_eq!(held["deliveries"]["nodes"], json!([{ "heldBy": { "reason": "SUBSCRIPTION_UNCONFIRMED", "until": null } }]));
        app.clock.advance(Duration::from_mins(10));
        app.publish(json!("not matched")).await;
        new.expect_requests(2).await;
        for message in &sent {
            assert_eq!(opened(&link(message).1).await.0, 200);
        }
        let arrived = new.expect_requests(3).await;
        assert_eq!(arrived.last().expect("it came").data(), json!("secret"));
        // Another name changes nothing; another URL given with the subscription does.
        app.api.data(UPDATE_ENDPOINT, json!({ "id": subscribed.endpoint, "input": { "name": "New" } })).await;
        assert_eq!(status(&app, &subscribed.id).await, "ACTIVE");
        let input = json!({ "name": "Moved", "endpoint": { "update": { "url": third.url() } } });
        let moved = app.api.data(UPDATE, json!({ "id": subscribed.id, "input": input })).await["webhookSubscriptionUpdate"].take();
        assert_eq!(moved, json!({ "webhookSubscription": { "status": "PENDING_CONFIRMATION" }, "userErrors": [] }));
        messages(&third, 2).await;
        app.deliveries_in("SUCCEEDED", 7).await;
        app.end().await;
    }

    async fn another_endpoint_has_to_confirm_as_well_and_the_old_token_dies(app) {
        want(&app, "LINK").await;
        let (old, new) = (app.receiver().await, app.receiver().await);
        let subscribed = app.subscribe(old.url()).await;
        let other = app.subscribe(new.url()).await;
        let (_, old_url) = link(&messages(&old, 1).await[0]);
        messages(&new, 1).await;
        app.deliveries_in("SUCCEEDED", 2).await;
        let input = json!({ "endpoint": { "id": other.endpoint } });
        app.api.data(UPDATE, json!({ "id": subscribed.id, "input": input })).await;
        let message = messages(&new, 2).await.remove(1);
        assert_eq!(message.data()["subscription"]["id"], subscribed.id);
        assert_eq!(opened(&old_url).await, (410, json!("TOKEN_INVALID")));
        assert_eq!(opened(&link(&message).1).await, (200, json!("CONFIRMED")));
        assert_eq!((status(&app, &subscribed.id).await, status(&app, &other.id).await), ("ACTIVE".to_owned(), "PENDING_CONFIRMATION".to_owned()));
        app.deliveries_in("SUCCEEDED", 3).await;
        app.end().await;
    }

    async fn an_endpoint_that_echoes_its_challenge_confirms_and_one_that_only_says_yes_does_not(app) {
        want(&app, "CHALLENGE").await;
        let receiver = app.receiver().await.answer([Answer::status(200).body("ok")]);
        let subscribed = app.subscribe(receiver.url()).await;
        let message = receiver.expect_requests(1).await.remove(0);
        let data = message.data();
        let challenge = text(&data["challenge"]);
        assert_eq!((data["token"].is_null(), &data["subscription"]["id"]), (true, &json!(subscribed.id)));
        let failed = app.delivery_in("RETRYING").await;
        let error = &failed["attempts"]["nodes"][0]["error"];
        assert_eq!((&error["code"], &failed["attempts"]["nodes"][0]["response"]["body"]), (&json!("CHALLENGE"), &json!("ok")));
        assert!(text(&error["message"]).contains("echo the challenge") && !failed.to_string().contains(&challenge), "{failed}");
        assert_eq!(status(&app, &subscribed.id).await, "PENDING_CONFIRMATION");
        let receiver = receiver.answer([Answer::status(200).body(&json!({ "challenge": challenge }).to_string())]);
        app.clock.advance(Duration::from_secs(6));
        assert_eq!(text(&receiver.expect_requests(2).await[1].data()["challenge"]), challenge);
        app.delivery_in("SUCCEEDED").await;
        let shown = show(&app, &subscribed.id).await;
        assert_eq!((&shown["status"], &shown["confirmedAt"], &shown["version"]), (&json!("ACTIVE"), &json!(app.state().now().to_string()), &json!(2)));
        app.publish(json!(1)).await;
        assert_eq!(receiver.expect_requests(3).await[2].data(), json!(1));
        app.deliveries_in("SUCCEEDED", 2).await;
        app.end().await;
    }

    async fn the_message_goes_past_pause_and_switch_and_the_order_of_statuses_holds(app) {
        want(&app, "LINK").await;
        let receiver = app.receiver().await;
        let input = json!({ "eventTypes": ["*"], "enabled": false, "expiresIn": "PT1H", "endpoint": { "url": receiver.url() } });
        let subscribed = builder::subscribe(&app.api, input).await;
        receiver.expect_requests(1).await;
        assert_eq!(status(&app, &subscribed.id).await, "DISABLED");
        let switch = |verb: &str| format!("mutation($ids: [ID!]!) {{ webhookSubscriptions{verb}(ids: $ids) {{ userErrors {{ code }} }} }}");
        app.api.data(&switch("Enable"), json!({ "ids": [subscribed.id] })).await;
        let pause = "mutation($id: ID!) { webhookEndpointPause(id: $id) { userErrors { code } } }";
        app.api.data(pause, json!({ "id": subscribed.endpoint })).await;
        assert_eq!(status(&app, &subscribed.id).await, "PENDING_CONFIRMATION", "which comes before PAUSED");
        app.clock.advance(Duration::from_mins(1));
        assert_eq!(problems(&app.api, RESEND, json!({ "id": subscribed.id })).await, [] as [&str; 0]);
        let url = link(&receiver.expect_requests(2).await[1]).1;
        app.deliveries_in("SUCCEEDED", 2).await;
        app.clock.advance(Duration::from_hours(1));
        assert_eq!(status(&app, &subscribed.id).await, "EXPIRED");
        assert_eq!(problems(&app.api, RESEND, json!({ "id": subscribed.id })).await, ["EXPIRED id"]);
        assert_eq!(opened(&url).await, (200, json!("CONFIRMED")));
        assert_eq!(status(&app, &subscribed.id).await, "EXPIRED");
        app.end().await;
    }

    async fn a_message_that_arrived_is_not_sent_again_by_hand_and_one_that_did_not_ten_times_a_day(app) {
        want(&app, "LINK").await;
        let receiver = app.receiver().await.answer_statuses([204, 500, 500]);
        app.subscribe(receiver.url()).await;
        let arrived = app.delivery_in("SUCCEEDED").await["id"].take();
        for minutes in [0, 2] {
            app.clock.advance(Duration::from_mins(minutes));
            assert_eq!(problems(&app.api, RETRY, json!({ "id": arrived })).await, ["NOT_RETRYABLE id"]);
        }
        let endpoint = json!({ "url": receiver.url() });
        let input = json!({ "eventTypes": ["*"], "endpoint": endpoint, "retryPolicy": { "delays": [] } });
        builder::subscribe(&app.api, input).await;
        let failed = app.delivery_in("EXHAUSTED").await["id"].take();
        let receiver = receiver.answer_statuses([500; 12]);
        for sent in 3..=12 {
            assert_eq!(problems(&app.api, RETRY, json!({ "id": failed })).await, [] as [&str; 0], "{sent}");
            messages(&receiver, sent).await;
            app.delivery_in("EXHAUSTED").await;
        }
        assert_eq!(problems(&app.api, RETRY, json!({ "id": failed })).await, ["LIMIT_REACHED id"]);
        app.clock.advance(Duration::from_hours(1));
        assert_eq!(problems(&app.api, RETRY, json!({ "id": failed })).await, ["LIMIT_REACHED id"]);
        app.end().await;
    }

    async fn urls_are_asked_no_more_than_ten_times_a_day_for_a_subscription_whichever_way_they_change(app) {
        want(&app, "LINK").await;
        let receiver = app.receiver().await;
        let subscribed = app.subscribe(receiver.url()).await;
        let other = app.subscribe(receiver.url()).await;
        let url = |n: u32| format!("{}{n}", receiver.url());
        let move_to = async |n: u32| problems(&app.api, UPDATE_ENDPOINT, json!({ "id": subscribed.endpoint, "input": { "url": url(n) } })).await;
        app.deliveries_in("SUCCEEDED", 2).await;
        for n in 1..10 {
            assert_eq!(move_to(n).await, [] as [&str; 0], "{n}");
            // One that is still on its way when the URL changes again is canceled.
            app.deliveries_in("SUCCEEDED", n as usize + 2).await;
        }
        assert_eq!(move_to(10).await, ["LIMIT_REACHED input.url"]);
        let change = |endpoint: Value| json!({ "id": subscribed.id, "input": { "endpoint": endpoint } });
        let within = change(json!({ "update": { "url": url(10) } }));
        assert_eq!(problems(&app.api, UPDATE, within).await, ["LIMIT_REACHED input.endpoint.update.url"]);
        assert_eq!(problems(&app.api, UPDATE, change(json!({ "id": other.endpoint }))).await, ["LIMIT_REACHED input.endpoint.id"]);
        // Nothing else is refused, and nothing was changed.
        let ask = "query($id: ID!) { webhookEndpoint(id: $id) { url } }";
        assert_eq!(app.api.data(ask, json!({ "id": subscribed.endpoint })).await["webhookEndpoint"]["url"], url(9));
        assert_eq!(problems(&app.api, UPDATE, json!({ "id": subscribed.id, "input": { "name": "n" } })).await, [] as [&str; 0]);
        want(&app, "NONE").await;
        assert_eq!(move_to(11).await, [] as [&str; 0], "who asks nobody asks as often as they like");
        want(&app, "LINK").await;
        app.clock.advance(Duration::from_hours(24));
        assert_eq!(move_to(12).await, [] as [&str; 0]);
        app.deliveries_in("SUCCEEDED", 12).await;
        app.end().await;
    }

    async fn without_confirmation_nothing_is_asked(app) {
        let receiver = app.receiver().await;
        let subscribed = app.subscribe(receiver.url()).await;
        let shown = show(&app, &subscribed.id).await;
        assert_eq!((&shown["status"], &shown["confirmedAt"]), (&json!("ACTIVE"), &json!(null)));
        // A later setting is for what comes later, and for URLs that change.
        want(&app, "LINK").await;
        app.publish(json!(1)).await;
        assert_eq!(receiver.expect_requests(1).await[0].data(), json!(1));
        let unknown = "sub_7zzzzzzzzzzzzzzzzzzzzzzzzz";
        assert_eq!(problems(&app.api, RESEND, json!({ "id": unknown })).await, ["NOT_FOUND id"]);
        app.delivery_in("SUCCEEDED").await;
        app.end().await;
    }
}
