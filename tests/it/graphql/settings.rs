//! What the subscriptions and deliveries of a workspace keep to.

use angarium_tests::builder::{self, problems};
use angarium_tests::on_both_databases;
use serde_json::{Value, json};

const SETTINGS: &str = "holdMax retention suspendAfter maxSubscriptionLifetime secretVisibility \
    subscriptionConfirmation rules { eventTypePattern urlMaxLength urlPattern }";

fn create() -> String {
    format!(
        "mutation($input: WorkspaceCreateInput!) {{ workspaceCreate(input: $input) \
         {{ workspace {{ {SETTINGS} }} userErrors {{ code message field }} }} }}"
    )
}

fn update() -> String {
    format!(
        "mutation($id: ID!, $input: WorkspaceUpdateInput!) {{ workspaceUpdate(id: $id, input: $input) \
         {{ workspace {{ {SETTINGS} }} userErrors {{ code message field }} }} }}"
    )
}

fn defaults() -> Value {
    json!({
        "holdMax": "P30D", "retention": "P90D", "suspendAfter": "P5D", "maxSubscriptionLifetime": null,
        "secretVisibility": "ONCE", "subscriptionConfirmation": "NONE",
        "rules": { "eventTypePattern": null, "urlMaxLength": 2083, "urlPattern": null },
    })
}

fn others() -> Value {
    json!({
        "holdMax": "PT1M", "retention": "P1D", "suspendAfter": "P365D", "maxSubscriptionLifetime": "P3650D",
        "secretVisibility": "READABLE", "subscriptionConfirmation": "CHALLENGE",
        "rules": { "eventTypePattern": "^invoice", "urlMaxLength": 100, "urlPattern": "^https://" },
    })
}

on_both_databases! {
    async fn a_workspace_has_the_default_settings_or_those_it_was_made_with(app) {
        let make = async |mut input: Value| {
            input["name"] = json!("Made");
            app.admin.data(&create(), json!({ "input": input })).await["workspaceCreate"]["workspace"].take()
        };
        assert_eq!(make(json!({})).await, defaults());
        assert_eq!(make(others()).await, others());
        assert_eq!(make(json!({ "rules": { "urlPattern": "x" } })).await["rules"]["urlMaxLength"], 2083);
        assert_eq!(app.api.data(&format!("{{ viewer {{ workspace {{ {SETTINGS} }} }} }}"), json!({})).await["viewer"]["workspace"], defaults());
        app.end().await;
    }

    async fn a_setting_is_kept_unless_it_is_given(app) {
        let change = async |input: Value| {
            let changed = app.api.data(&update(), json!({ "id": app.workspace, "input": input })).await;
            assert_eq!(changed["workspaceUpdate"]["userErrors"], json!([]));
            changed["workspaceUpdate"]["workspace"].clone()
        };
        assert_eq!(change(others()).await, others());
        assert_eq!(change(json!({})).await, others());
        for (name, value) in others().as_object().expect("an object") {
            let mut expected = others();
            expected[name] = defaults()[name].clone();
            assert_eq!(change(json!({ name: defaults()[name] })).await, expected, "{name}");
            assert_eq!(change(json!({ name: value })).await, others(), "{name}");
        }
        // All rules are replaced at once.
        let rules = change(json!({ "rules": { "eventTypePattern": "x" } })).await["rules"].clone();
        assert_eq!(rules, json!({ "eventTypePattern": "x", "urlMaxLength": 2083, "urlPattern": null }));
        let cleared = change(json!({ "maxSubscriptionLifetime": null, "rules": null })).await;
        assert_eq!((&cleared["maxSubscriptionLifetime"], &cleared["rules"]), (&json!(null), &defaults()["rules"]));
        app.end().await;
    }

    async fn each_wrong_setting_is_refused_where_it_stands(app) {
        let long = "x".repeat(1025);
        for (input, told) in [
            (json!({ "holdMax": "PT59S", "retention": "PT23H", "suspendAfter": "PT59S" }), vec!["INVALID input.holdMax", "INVALID input.retention", "INVALID input.suspendAfter"]),
            (json!({ "holdMax": "P366D", "retention": "P3651D", "suspendAfter": "P366D" }), vec!["INVALID input.holdMax", "INVALID input.retention", "INVALID input.suspendAfter"]),
            (json!({ "retention": "P1Y", "maxSubscriptionLifetime": "soon" }), vec!["INVALID input.retention", "INVALID input.maxSubscriptionLifetime"]),
            (json!({ "maxSubscriptionLifetime": "PT59S" }), vec!["INVALID input.maxSubscriptionLifetime"]),
            (json!({ "maxSubscriptionLifetime": "P3651D" }), vec!["INVALID input.maxSubscriptionLifetime"]),
            (json!({ "rules": { "eventTypePattern": "(", "urlPattern": "", "urlMaxLength": 0 } }), vec!["INVALID input.rules.eventTypePattern", "BLANK input.rules.urlPattern", "INVALID input.rules.urlMaxLength"]),
            (json!({ "rules": { "eventTypePattern": long, "urlPattern": "(.{1000}){1000}", "urlMaxLength": 2084 } }), vec!["TOO_LONG input.rules.eventTypePattern", "INVALID input.rules.urlPattern", "INVALID input.rules.urlMaxLength"]),
        ] {
            assert_eq!(problems(&app.api, &update(), json!({ "id": app.workspace, "input": input })).await, told);
            let mut input = input;
            input["name"] = json!("Made");
            assert_eq!(problems(&app.admin, &create(), json!({ "input": input })).await, told);
        }
        for name in ["holdMax", "retention", "suspendAfter", "secretVisibility", "subscriptionConfirmation"] {
            let input = json!({ "id": app.workspace, "input": { name: null, "rules": { "urlMaxLength": 9 } } });
            assert_eq!(problems(&app.api, &update(), input).await, [format!("BLANK input.{name}")]);
        }
        assert_eq!(app.api.data(&format!("{{ viewer {{ workspace {{ {SETTINGS} }} }} }}"), json!({})).await["viewer"]["workspace"], defaults());
        app.end().await;
    }

    async fn settings_need_the_scope_to_change_the_workspace(app) {
        let reader = app.admin.with_key(&builder::key(&app.admin, &app.workspace, &["WORKSPACE_READ", "WEBHOOK_SUBSCRIBE"]).await);
        let input = json!({ "id": app.workspace, "input": others() });
        assert_eq!(reader.error_code(&update(), input.clone()).await, "FORBIDDEN");
        assert_eq!(app.api.error_code(&create(), json!({ "input": { "name": "Mine" } })).await, "FORBIDDEN");
        let (_, other) = builder::workspace_with_key(&app.admin, "Other").await;
        assert_eq!(problems(&app.admin.with_key(&other), &update(), input).await, ["NOT_FOUND id"]);
        app.end().await;
    }
}
