//! What the conditions of lists and live streams take, and what they find.

use angarium_tests::builder::{self, text};
use angarium_tests::{GraphQl, TestApp, on_both_databases};
use serde_json::{Value, json};

/// The lists, and the type of their conditions.
const LISTS: [(&str, &str); 5] = [
    ("deliveries", "DeliveryWhere"),
    ("events", "EventWhere"),
    ("eventTypes", "EventTypeWhere"),
    ("webhookEndpoints", "WebhookEndpointWhere"),
    ("webhookSubscriptions", "WebhookSubscriptionWhere"),
];
/// The live streams with conditions.
const STREAMS: [(&str, &str); 5] = [
    ("deliveryAttemptCompleted", "DeliveryWhere"),
    ("deliveryUpdated", "DeliveryWhere"),
    ("eventPublished", "EventWhere"),
    ("webhookEndpointUpdated", "WebhookEndpointWhere"),
    ("webhookSubscriptionUpdated", "WebhookSubscriptionWhere"),
];
/// How long the text of a condition may be, by the name of its field.
const LENGTHS: [(&str, usize); 7] = [
    ("channel", 128),
    ("idempotencyKey", 256),
    ("name", 256),
    ("ownerId", 256),
    ("search", 256),
    ("service", 128),
    ("url", 2083),
];

/// The conditions of a type that are one text: each with the longest that it takes.
async fn texts(api: &GraphQl, input: &str) -> Vec<(String, usize)> {
    let ask = "query($name: String!) { __type(name: $name) { inputFields { name type { name } } } }";
    let data = api.data(ask, json!({ "name": input })).await;
    let fields = data["__type"]["inputFields"].as_array().expect("fields").iter();
    let of_text = fields.filter(|field| field["type"]["name"] == "String").map(|field| text(&field["name"]));
    of_text
        .map(|name| {
            let known = LENGTHS.iter().find(|known| known.0 == name);
            let (_, length) = *known.unwrap_or_else(|| panic!("how long may {name} be?"));
            (name, length)
        })
        .collect()
}

/// The code of the first message of a stream.
async fn refusal(api: &GraphQl, query: &str, filter: &Value) -> Value {
    let mut stream = api.subscribe(query, json!({ "w": filter })).await;
    let mut message = stream.next_message().await.expect("a message");
    let errors = if message["type"] == "error" { &mut message["payload"] } else { &mut message["payload"]["errors"] };
    errors[0]["extensions"]["code"].take()
}

async fn names(app: &TestApp, search: &str) -> Vec<String> {
    let list = "query($s: String) { webhookEndpoints(where: { search: $s }) { nodes { name } } }";
    let found = app.api.data(list, json!({ "s": search })).await["webhookEndpoints"]["nodes"].take();
    found.as_array().expect("a list").iter().map(|one| text(&one["name"])).collect()
}

on_both_databases! {
    async fn a_text_longer_than_what_it_is_compared_with_is_refused_and_the_longest_is_not(app) {
        for (list, input) in LISTS {
            let query = format!("query($w: {input}) {{ {list}(where: $w) {{ nodes {{ id }} }} }}");
            for (field, length) in texts(&app.api, input).await {
                let filter = |length: usize| {
                    let mut filter = json!({ field.as_str(): "ä".repeat(length) });
                    if list == "deliveries" || list == "events" {
                        filter["ids"] = json!([]);
                    }
                    json!({ "w": filter })
                };
                app.api.data(&query, filter(length)).await;
                for longer in [length + 1, 50_000] {
                    let (_, answer) = app.api.post(&query, filter(longer)).await;
                    assert_eq!(answer["errors"][0]["extensions"]["code"], "BAD_USER_INPUT", "{list} {field}: {answer}");
                    let message = text(&answer["errors"][0]["message"]);
                    assert!(message.contains(&field) && message.contains(&length.to_string()), "{message}");
                }
            }
        }
        for (stream, input) in STREAMS {
            let query = format!("subscription($w: {input}) {{ {stream}(where: $w) {{ cursor }} }}");
            for (field, length) in texts(&app.api, input).await {
                let filter = json!({ field.as_str(): "x".repeat(length + 1) });
                assert_eq!(refusal(&app.api, &query, &filter).await, "BAD_USER_INPUT", "{stream} {field}");
            }
        }
        app.end().await;
    }

    async fn a_condition_that_takes_the_name_of_an_event_type_refuses_what_cannot_be_one(app) {
        let list = "query($w: WebhookSubscriptionWhere) { webhookSubscriptions(where: $w) { nodes { id } } }";
        let stream = "subscription($w: WebhookSubscriptionWhere) { webhookSubscriptionUpdated(where: $w) { cursor } }";
        for wrong in ["", "invoice.*", "*", "ä", "a\0b", &"x".repeat(129), &".".repeat(250_000)] {
            let filter = json!({ "eventType": wrong });
            let (_, answer) = app.api.post(list, json!({ "w": filter })).await;
            let error = &answer["errors"][0];
            assert_eq!(error["extensions"]["code"], "BAD_USER_INPUT", "{answer}");
            assert!(text(&error["message"]).contains("1 to 128 characters from `A-Z a-z 0-9 . _ -`"), "{error}");
            if wrong.len() < 1_000 {
                assert_eq!(refusal(&app.api, stream, &filter).await, "BAD_USER_INPUT", "{wrong}");
            }
        }
        let (longest, dots) = ("x".repeat(128), ".".repeat(128));
        for right in ["invoice.paid", &longest, &dots] {
            app.api.data(list, json!({ "w": { "eventType": right } })).await;
        }
        // Where a name is looked up, there is just none of that name.
        let look = "query($name: EventTypeName!) { eventType(name: $name) { id } }";
        assert_eq!(app.api.data(look, json!({ "name": ".".repeat(250_000) })).await["eventType"], Value::Null);
        app.end().await;
    }

    async fn a_search_finds_letters_in_any_case_and_everything_else_as_it_is(app) {
        let create = "mutation($input: WebhookEndpointCreateInput!) { webhookEndpointCreate(input: $input) { userErrors { code } } }";
        for name in ["Äpfel & BIRNEN", "Ночь", "ΣΊΣΥΦΟΣ", "50% of_it [x]*?", r"a\b.c(d)|{e}^$+", "Straße"] {
            let input = json!({ "url": "https://example.com/", "name": name });
            app.api.data(create, json!({ "input": input })).await;
        }
        for (search, found) in [
            ("äpf", "Äpfel & BIRNEN"),
            ("ÄPFEL & birnen", "Äpfel & BIRNEN"),
            ("НОЧЬ", "Ночь"),
            ("ночь", "Ночь"),
            ("σίσυφο", "ΣΊΣΥΦΟΣ"),
            ("50% OF_it [X]*?", "50% of_it [x]*?"),
            (r"A\B.C(D)|{E}^$+", r"a\b.c(d)|{e}^$+"),
            ("STRAßE", "Straße"),
        ] {
            assert_eq!(names(&app, search).await, [found], "{search}");
        }
        for search in ["apf", "50_", "a.b", "[^x", "...", "***", "???", "(?i)", "STRASSE", ".*."] {
            assert_eq!(names(&app, search).await, Vec::<String>::new(), "{search}");
        }
        // The same in the other lists that can be searched.
        let input = json!({ "name": "Größe", "eventTypes": ["*"], "endpoint": { "url": "https://example.com/ä" } });
        builder::subscribe(&app.api, input).await;
        let note = "mutation { eventTypeUpdate(name: \"invoice.paid\", input: { description: \"Überweisung\" }) { userErrors { code } } }";
        app.admin.data(note, json!({})).await;
        let both = "query($a: String, $b: String) { webhookSubscriptions(where: { search: $a }) { totalCount } eventTypes(where: { search: $b }) { totalCount } }";
        let counts = app.api.data(both, json!({ "a": "GRÖ", "b": "überWEIS" })).await;
        assert_eq!(counts, json!({ "webhookSubscriptions": { "totalCount": 1 }, "eventTypes": { "totalCount": 1 } }));
        app.end().await;
    }
}
