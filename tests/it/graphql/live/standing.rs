//! Subscriptions and endpoints as they change.

use std::collections::BTreeMap;
use std::time::Duration;

use angarium_entity::change_log::{self, SubscriptionChange};
use angarium_entity::{Clock, SubscriptionId, subscription};
use angarium_tests::client::Stream;
use angarium_tests::{Backend, MOMENT, TestApp, builder, on_both_databases};
use sea_orm::{ActiveModelTrait, EntityTrait, IntoActiveModel, Set};
use serde_json::{Value, json};

const SUBSCRIPTIONS: &str = "subscription($where: WebhookSubscriptionWhere, $after: String, $snapshot: Boolean! = false) \
    { webhookSubscriptionUpdated(where: $where, after: $after, snapshot: $snapshot) \
    { kind cursor occurredAt deletedWebhookSubscriptionId webhookSubscription { id name status version expiresAt } } }";
const ENDPOINTS: &str = "subscription($where: WebhookEndpointWhere, $after: String, $snapshot: Boolean! = false) \
    { webhookEndpointUpdated(where: $where, after: $after, snapshot: $snapshot) \
    { kind cursor occurredAt deletedWebhookEndpointId \
    webhookEndpoint { id name status statusReason version headers { name value } signing { scheme } } } }";

const CREATE: &str = "mutation($input: WebhookSubscriptionCreateInput!) { webhookSubscriptionCreate(input: $input) { userErrors { message } } }";
const UPDATE: &str = "mutation($id: ID!, $input: WebhookSubscriptionUpdateInput!) \
    { webhookSubscriptionUpdate(id: $id, input: $input) { userErrors { message } } }";
const ENABLE: &str = "mutation($ids: [ID!]!) { webhookSubscriptionsEnable(ids: $ids) { userErrors { message } } }";
const DISABLE: &str = "mutation($ids: [ID!]!) { webhookSubscriptionsDisable(ids: $ids) { userErrors { message } } }";
const RENEW: &str =
    "mutation($id: ID!) { webhookSubscriptionRenew(id: $id, expiresIn: \"P1D\") { userErrors { message } } }";
const DELETE: &str = "mutation($id: ID!) { webhookSubscriptionDelete(id: $id) { userErrors { message } } }";
const MAKE_ENDPOINT: &str =
    "mutation($input: WebhookEndpointCreateInput!) { webhookEndpointCreate(input: $input) { userErrors { message } } }";
const CHANGE_ENDPOINT: &str = "mutation($id: ID!, $input: WebhookEndpointUpdateInput!) \
    { webhookEndpointUpdate(id: $id, input: $input) { userErrors { message } } }";
const PAUSE: &str =
    "mutation($id: ID!) { webhookEndpointPause(id: $id, reason: \"holidays\") { userErrors { message } } }";
const RESUME: &str = "mutation($id: ID!) { webhookEndpointResume(id: $id) { userErrors { message } } }";
const ROTATE: &str = "mutation($id: ID!) { webhookEndpointSecretRotate(id: $id) { userErrors { message } } }";
const DROP_ENDPOINT: &str = "mutation($id: ID!) { webhookEndpointDelete(id: $id) { userErrors { message } } }";

/// A stream with its names.
struct Watch<'a> {
    app: &'a TestApp,
    stream: Stream,
    query: &'static str,
    field: &'static str,
    object: &'static str,
    deleted: &'static str,
}

impl<'a> Watch<'a> {
    async fn subscriptions(app: &'a TestApp, variables: Value) -> Self {
        let names = ("webhookSubscriptionUpdated", "webhookSubscription", "deletedWebhookSubscriptionId");
        Self::open(app, SUBSCRIPTIONS, names, variables).await
    }

    async fn endpoints(app: &'a TestApp, variables: Value) -> Self {
        let names = ("webhookEndpointUpdated", "webhookEndpoint", "deletedWebhookEndpointId");
        Self::open(app, ENDPOINTS, names, variables).await
    }

    /// A stream that says nothing at first does not say either when it has begun, and a change before that is not told. So
    /// one that is to begin now begins with a snapshot, and is here when that is over.
    async fn open(
        app: &'a TestApp,
        query: &'static str,
        (field, object, deleted): (&'static str, &'static str, &'static str),
        mut variables: Value,
    ) -> Self {
        let begins_now = variables["snapshot"].is_null() && variables["after"].is_null();
        if begins_now {
            variables["snapshot"] = json!(true);
        }
        let stream = app.api.subscribe(query, variables).await;
        let mut watch = Self { app, stream, query, field, object, deleted };
        if begins_now {
            watch.until_caught_up().await;
        }
        watch
    }

    async fn message(&mut self) -> Value {
        let message = self.stream.next().await[self.field].take();
        assert!(message["kind"] != "CHANGE" || message[self.object].is_null() != message[self.deleted].is_null());
        message
    }

    /// What a mutation is told as.
    async fn after(&mut self, mutation: &str, variables: Value) -> Value {
        change(self.app, mutation, variables).await;
        let mut message = self.message().await;
        assert_eq!(message["kind"], "CHANGE");
        if message[self.object].is_null() { message[self.deleted].take() } else { message[self.object].take() }
    }

    /// All that comes up to the mark.
    async fn until_caught_up(&mut self) -> Vec<Value> {
        let mut told = Vec::new();
        loop {
            let message = self.message().await;
            if message["kind"] == "CAUGHT_UP" {
                return told;
            }
            told.push(message);
        }
    }

    /// The same stream, behind a cursor.
    async fn resume(&mut self, cursor: &Value) {
        self.stream = self.app.api.subscribe(self.query, json!({ "after": cursor })).await;
    }
}

async fn change(app: &TestApp, mutation: &str, variables: Value) {
    let data = app.api.data(mutation, variables).await;
    let payload = data.as_object().and_then(|data| data.values().next()).expect("one mutation");
    assert_eq!(payload["userErrors"], json!([]), "{mutation}");
}

/// A subscription with its own endpoint at an address where nobody listens.
fn input(name: &str) -> Value {
    json!({ "name": name, "eventTypes": ["*"], "endpoint": { "url": "http://127.0.0.1:9/" } })
}

on_both_databases! {
    async fn every_change_of_a_subscription_is_told_and_its_end(app) {
        let mut watch = Watch::subscriptions(&app, json!({})).await;
        let made = watch.after(CREATE, json!({ "input": input("a") })).await;
        assert_eq!((&made["name"], &made["status"], &made["version"]), (&json!("a"), &json!("ACTIVE"), &json!(1)));
        let id = &made["id"];
        let one = json!({ "id": id });
        assert_eq!(watch.after(UPDATE, json!({ "id": id, "input": { "name": "b" } })).await["name"], "b");
        assert_eq!(watch.after(DISABLE, json!({ "ids": [id] })).await["status"], "DISABLED");
        assert_eq!(watch.after(ENABLE, json!({ "ids": [id] })).await["status"], "ACTIVE");
        assert!(watch.after(RENEW, one.clone()).await["expiresAt"].is_string());
        assert_eq!(watch.after(DELETE, one).await, *id);
        app.end().await;
    }

    async fn every_change_of_an_endpoint_is_told_and_its_end(app) {
        let mut watch = Watch::endpoints(&app, json!({})).await;
        let url = "http://127.0.0.1:9/";
        let headers = json!([{ "name": "authorization", "value": "Bearer secret" }]);
        let made = watch.after(MAKE_ENDPOINT, json!({ "input": { "url": url, "headers": headers } })).await;
        let query = "query($id: ID!) { webhookEndpoint(id: $id) { headers { name value } } }";
        let read = app.api.data(query, json!({ "id": made["id"] })).await;
        assert_eq!(made["headers"], read["webhookEndpoint"]["headers"], "headers look as in a query");
        let one = json!({ "id": made["id"] });
        let renamed = json!({ "id": made["id"], "input": { "name": "b" } });
        assert_eq!(watch.after(CHANGE_ENDPOINT, renamed).await["name"], "b");
        let paused = watch.after(PAUSE, one.clone()).await;
        assert_eq!((&paused["status"], &paused["statusReason"]), (&json!("PAUSED"), &json!("holidays")));
        assert_eq!(watch.after(RESUME, one.clone()).await["status"], "ACTIVE");
        assert_eq!(watch.after(ROTATE, one.clone()).await["version"], 3);
        assert_eq!(watch.after(DROP_ENDPOINT, one).await, made["id"]);
        let inline = watch.after(CREATE, json!({ "input": input("a") })).await;
        let subscriptions = app.api.data("{ webhookSubscriptions { nodes { id } } }", json!({})).await;
        let subscription = &subscriptions["webhookSubscriptions"]["nodes"][0]["id"];
        let moved = json!({ "id": subscription, "input": { "endpoint": { "update": { "name": "c" } } } });
        assert_eq!(watch.after(UPDATE, moved).await["name"], "c");
        assert_eq!(watch.after(DELETE, json!({ "id": subscription })).await, inline["id"], "it goes with its last");
        app.end().await;
    }

    async fn a_suspension_by_the_server_is_told_of_the_endpoint_and_of_its_subscriptions(app) {
        let receiver = app.receiver().await.answer_statuses([410]);
        let subscribed = app.subscribe(receiver.url()).await;
        let mut subscriptions = Watch::subscriptions(&app, json!({})).await;
        let mut endpoints = Watch::endpoints(&app, json!({})).await;
        app.publish(json!(1)).await;
        let told = endpoints.message().await["webhookEndpoint"].take();
        assert_eq!((&told["id"], &told["status"]), (&json!(subscribed.endpoint), &json!("SUSPENDED")));
        let told = subscriptions.message().await["webhookSubscription"].take();
        assert_eq!((&told["id"], &told["status"]), (&json!(subscribed.id), &json!("SUSPENDED")));
        app.end().await;
    }

    async fn an_endpoint_that_begins_to_fail_is_told_to_who_asked_for_such(app) {
        let (good, bad) = (app.receiver().await, app.receiver().await.answer_statuses([500]));
        app.subscribe(good.url()).await;
        let failing = app.subscribe(bad.url()).await.endpoint;
        let mut watch = Watch::endpoints(&app, json!({ "where": { "health": ["FAILING"] } })).await;
        app.publish(json!(1)).await;
        assert_eq!(watch.message().await["webhookEndpoint"]["id"], failing);
        app.end().await;
    }

    async fn the_end_of_a_subscription_is_told_when_it_is_there(app) {
        change(&app, CREATE, json!({ "input": input("a") })).await;
        let mut watch = Watch::subscriptions(&app, json!({ "snapshot": true })).await;
        let id = watch.until_caught_up().await[0]["webhookSubscription"]["id"].clone();
        assert_eq!(watch.after(RENEW, json!({ "id": id })).await["status"], "ACTIVE");
        app.clock.advance(Duration::from_hours(24));
        // That it is about to end may be told before.
        let mut told = watch.message().await["webhookSubscription"].take();
        if told["status"] == "ACTIVE" {
            told = watch.message().await["webhookSubscription"].take();
        }
        assert_eq!((&told["id"], &told["status"]), (&id, &json!("EXPIRED")));
        app.end().await;
    }

    async fn a_status_of_an_endpoint_with_many_subscriptions_is_told_of_each_also_after_a_break(app) {
        /// More than are loaded at once.
        const COUNT: usize = 250;
        let first = app.subscribe("http://127.0.0.1:9/").await;
        let (id, db) = (first.id.parse::<SubscriptionId>().expect("an ID"), app.state().db.write());
        let row = subscription::Entity::find_by_id(id).one(db).await.expect("it can be read").expect("it is there");
        let copy = || subscription::Model { id: SubscriptionId::new(app.clock.now()), ..row.clone() }.into_active_model();
        subscription::Entity::insert_many((1..COUNT).map(|_| copy())).exec_without_returning(db).await.expect("they are stored");
        let mut watch = Watch::subscriptions(&app, json!({})).await;
        change(&app, PAUSE, json!({ "id": first.endpoint })).await;
        let mut messages = Vec::new();
        for _ in 0..COUNT {
            messages.push(watch.message().await);
        }
        let told: BTreeMap<String, &Value> = messages.iter().map(|message| (builder::text(&message["webhookSubscription"]["id"]), &message["webhookSubscription"]["status"])).collect();
        assert!(told.len() == COUNT && told.values().all(|status| **status == "PAUSED"));
        // Who broke off before the last is told of all again, and who had the last of nothing.
        watch.resume(&messages[120]["cursor"]).await;
        assert_eq!(watch.until_caught_up().await.len(), COUNT);
        watch.resume(&messages[COUNT - 1]["cursor"]).await;
        assert_eq!(watch.until_caught_up().await, [] as [Value; 0]);
        app.end().await;
    }

    async fn a_stream_of_subscriptions_tells_only_what_matches_and_only_to_who_may_see_it(app) {
        let kept = app.subscribe("http://127.0.0.1:9/").await;
        let wanted = json!({ "where": { "endpointId": kept.endpoint, "status": ["DISABLED"] } });
        let mut watch = Watch::subscriptions(&app, wanted).await;
        let (_, key) = builder::workspace_with_key(&app.admin, "Other").await;
        let mut foreign = app.admin.with_key(&key).subscribe(SUBSCRIPTIONS, json!({})).await;
        change(&app, CREATE, json!({ "input": input("another") })).await;
        change(&app, UPDATE, json!({ "id": kept.id, "input": { "name": "still on" } })).await;
        assert_eq!(watch.after(DISABLE, json!({ "ids": [kept.id] })).await["id"], kept.id);
        assert_eq!(watch.after(DELETE, json!({ "id": kept.id })).await, kept.id, "it was off to the end");
        app.admin.with_key(&key).data(CREATE, json!({ "input": input("theirs") })).await;
        let first = foreign.next().await["webhookSubscriptionUpdated"].take();
        assert_eq!(first["webhookSubscription"]["name"], "theirs", "nothing of the other workspace came before");
        let short = app.api.subscribe(SUBSCRIPTIONS, json!({ "where": { "search": "ab" } })).await.next_message().await;
        assert!(short.expect("a message").to_string().contains("BAD_USER_INPUT"));
        let key = builder::key(&app.admin, &app.workspace, &["DELIVERY_READ"]).await;
        for query in [SUBSCRIPTIONS, ENDPOINTS] {
            let refused = app.admin.with_key(&key).subscribe(query, json!({})).await.next_message().await;
            assert!(refused.expect("a message").to_string().contains("FORBIDDEN"));
        }
        app.end().await;
    }

    async fn a_snapshot_of_what_matches_comes_first_and_a_restart_loses_nothing(mut app) {
        for name in ["a", "b", "c"] {
            change(&app, CREATE, json!({ "input": input(name) })).await;
        }
        let mut watch = Watch::subscriptions(&app, json!({ "snapshot": true })).await;
        let names = |told: &[Value]| told.iter().map(|one| one["webhookSubscription"]["name"].clone()).collect::<Vec<_>>();
        let first = watch.message().await;
        assert_eq!((&first["kind"], &first["webhookSubscription"]["name"]), (&json!("SNAPSHOT"), &json!("a")));
        let mut endpoints = Watch::endpoints(&app, json!({ "snapshot": true, "where": { "url": "http://127.0.0.1:9/" } })).await;
        let of_endpoints = endpoints.until_caught_up().await;
        assert!(of_endpoints.len() == 3 && of_endpoints.iter().all(|one| one["kind"] == "SNAPSHOT"));
        let id = first["webhookSubscription"]["id"].clone();
        let endpoint = of_endpoints[2]["cursor"].clone();
        drop((watch, endpoints));
        app.restart().await;
        change(&app, UPDATE, json!({ "id": id, "input": { "name": "d" } })).await;
        let mut watch = Watch::subscriptions(&app, json!({ "after": first["cursor"] })).await;
        assert_eq!(names(&watch.until_caught_up().await), ["b", "c"], "the snapshot goes on");
        let told = watch.message().await;
        assert_eq!((&told["kind"], &told["webhookSubscription"]["name"]), (&json!("CHANGE"), &json!("d")));
        change(&app, DELETE, json!({ "id": id })).await;
        let mut endpoints = Watch::endpoints(&app, json!({ "after": endpoint })).await;
        assert_eq!(endpoints.until_caught_up().await, [] as [Value; 0], "the snapshot was complete but for its mark");
        let gone = endpoints.message().await;
        assert_eq!(gone["deletedWebhookEndpointId"], of_endpoints[0]["webhookEndpoint"]["id"]);
        app.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_whose_change_commits_late_is_told_late_and_nobody_waits() {
    let app = TestApp::start(Backend::Postgres).await;
    let (late, other) = (app.subscribe("http://127.0.0.1:9/").await, app.subscribe("http://127.0.0.1:9/").await);
    let mut watch = Watch::subscriptions(&app, json!({})).await;
    let id = late.id.parse::<SubscriptionId>().expect("an ID");
    let (db, now) = (&app.state().db, app.clock.now());
    let row = subscription::Entity::find_by_id(id).one(db.read()).await.expect("it can be read").expect("it is there");
    let workspace = row.workspace_id;
    let held = db.begin().await.expect("a transaction");
    let entry = SubscriptionChange { subscription_id: id }.into();
    change_log::append(&held, now, workspace, [entry]).await.expect("it is logged");
    let mut changed = row.into_active_model();
    changed.name = Set(Some("late".to_owned()));
    changed.update(&held).await.expect("it is changed");
    // The stream reads past it again and again while it is open.
    let mut cursor = Value::Null;
    for n in 0..5 {
        app.clock.advance(Duration::from_secs(1));
        change(&app, UPDATE, json!({ "id": other.id, "input": { "name": format!("{n}") } })).await;
        let told = watch.message().await;
        assert_eq!(told["webhookSubscription"]["name"], format!("{n}"));
        cursor = told["cursor"].clone();
    }
    held.commit().await.expect("it commits");
    assert_eq!(watch.message().await["webhookSubscription"]["name"], "late");
    watch.resume(&cursor).await;
    let missed = watch.until_caught_up().await;
    assert_eq!(missed.len(), 1);
    assert_eq!(missed[0]["webhookSubscription"]["name"], "late");
    app.end().await;
}

/// What a client knows of each subscription.
type Known = BTreeMap<String, (Value, Value, Value)>;

fn learn(known: &mut Known, message: &Value) {
    let told = &message["webhookSubscription"];
    if let Some(id) = told["id"].as_str() {
        known.insert(id.to_owned(), (told["name"].clone(), told["status"].clone(), told["version"].clone()));
    }
    if let Some(id) = message["deletedWebhookSubscriptionId"].as_str() {
        known.remove(id);
    }
}

/// Changes subscriptions and their endpoints at random.
async fn weather(app: &TestApp, changes: u32) {
    let mut chance = 88_172_645_463_325_252_u64;
    for n in 0..changes {
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        let list = "{ webhookSubscriptions(first: 100) { nodes { id enabled endpoint { id status } } } }";
        let list = app.api.data(list, json!({})).await["webhookSubscriptions"]["nodes"].take();
        let known = list.as_array().expect("a list");
        let chosen = usize::try_from(chance >> 32).expect("a place") % known.len().max(1);
        let Some(chosen) = known.get(chosen).filter(|_| known.len() > 3 && !chance.is_multiple_of(5)) else {
            change(app, CREATE, json!({ "input": input(&n.to_string()) })).await;
            continue;
        };
        let (id, endpoint) = (&chosen["id"], &chosen["endpoint"]);
        match chance % 4 {
            0 if known.len() > 10 => change(app, DELETE, json!({ "id": id })).await,
            1 if chosen["enabled"] == true => change(app, DISABLE, json!({ "ids": [id] })).await,
            1 => change(app, ENABLE, json!({ "ids": [id] })).await,
            2 if endpoint["status"] == "ACTIVE" => change(app, PAUSE, json!({ "id": endpoint["id"] })).await,
            2 => change(app, RESUME, json!({ "id": endpoint["id"] })).await,
            _ => change(app, UPDATE, json!({ "id": id, "input": { "name": n.to_string() } })).await,
        }
    }
}

/// Watches, and breaks off after a few messages each time.
async fn watch(app: &TestApp, disconnects: u64) -> (Known, Value) {
    let (mut known, mut cursor) = (Known::new(), Value::Null);
    for n in 0..disconnects {
        let start = if cursor.is_null() { json!({ "snapshot": true }) } else { json!({ "after": cursor }) };
        let mut stream = app.api.subscribe(SUBSCRIPTIONS, start).await;
        let mut has_caught_up = false;
        for _ in 0..=n * 7 % 11 {
            let patience = if has_caught_up { Duration::from_millis(20) } else { MOMENT };
            let Ok(mut message) = tokio::time::timeout(patience, stream.next()).await else { break };
            let message = message["webhookSubscriptionUpdated"].take();
            cursor = message["cursor"].clone();
            has_caught_up |= message["kind"] == "CAUGHT_UP";
            learn(&mut known, &message);
        }
    }
    (known, cursor)
}

on_both_databases! {
    async fn a_client_that_is_cut_off_two_hundred_times_ends_with_the_subscriptions_that_are_stored(app) {
        let ((), (mut known, cursor)) = tokio::join!(weather(&app, 400), watch(&app, 200));
        let mut rest = Watch::subscriptions(&app, json!({ "after": cursor })).await;
        rest.until_caught_up().await.iter().for_each(|message| learn(&mut known, message));
        // Should the first have ended the snapshot, this one reads what was missed.
        let mut all = Watch::subscriptions(&app, json!({ "snapshot": true })).await;
        let mut stored = Known::new();
        all.until_caught_up().await.iter().for_each(|message| learn(&mut stored, message));
        assert_eq!(known, stored);
        app.end().await;
    }
}
