//! Tokens for pages: what they may do, and when they end.

use std::time::Duration;

use angarium_tests::builder::{self, problems, text};
use angarium_tests::client::Socket;
use angarium_tests::{GraphQl, TestApp, on_both_databases};
use serde_json::{Value, json};

const CREATE: &str = "mutation($input: AccessTokenCreateInput!) { accessTokenCreate(input: $input) \
    { token expiresAt userErrors { code message field } } }";
const REVOKE: &str = "mutation($id: ID!) { apiKeyRevoke(id: $id) { userErrors { code message field } } }";
const WHO: &str = "{ viewer { apiKey { id } scopes workspace { id } } }";
const LISTEN: &str = "subscription { deliveryUpdated { cursor } }";

async fn token(api: &GraphQl, input: Value) -> String {
    let data = api.data(CREATE, json!({ "input": input })).await;
    assert_eq!(data["accessTokenCreate"]["userErrors"], json!([]));
    text(&data["accessTokenCreate"]["token"])
}

fn with_token(api: &GraphQl, token: &str) -> GraphQl {
    api.with_headers(&[("authorization", &format!("Bearer {token}"))])
}

/// A socket on which a stream runs.
async fn listening(app: &TestApp, token: &str) -> Socket {
    let mut socket = Socket::open(&app.base()).await;
    let authorization = format!("Bearer {token}");
    socket.send(json!({ "type": "connection_init", "payload": { "authorization": authorization } })).await;
    assert_eq!(socket.next().await.expect("an answer")["type"], "connection_ack");
    socket.send(json!({ "id": "1", "type": "subscribe", "payload": { "query": LISTEN } })).await;
    socket
}

async fn key_id(api: &GraphQl) -> Value {
    api.data(WHO, json!({})).await["viewer"]["apiKey"]["id"].take()
}

on_both_databases! {
    async fn a_token_does_what_it_was_made_for_and_no_more(app) {
        let token = token(&app.api, json!({ "scopes": ["DELIVERY_READ"] })).await;
        let page = with_token(&app.api, &token);
        let viewer = page.data(WHO, json!({})).await["viewer"].take();
        assert_eq!(viewer, json!({ "apiKey": null, "scopes": ["DELIVERY_READ"], "workspace": { "id": app.workspace } }));
        assert_eq!(page.data("{ deliveries { totalCount } }", json!({})).await["deliveries"]["totalCount"], 0);
        assert_eq!(page.error_code("{ events { totalCount } }", json!({})).await, "FORBIDDEN");
        let own = key_id(&app.api).await;
        assert_eq!(page.error_code("query($id: ID!) { node(id: $id) { id } }", json!({ "id": own })).await, "FORBIDDEN");
        let changed = with_token(&app.api, &format!("{token}x"));
        assert_eq!(changed.post(WHO, json!({})).await.0, 401);
        let elsewhere = [("authorization", format!("Bearer {token}")), ("angarium-workspace", "other".to_owned())];
        let elsewhere = app.api.with_headers(&elsewhere.each_ref().map(|(name, value)| (*name, value.as_str())));
        assert_eq!(elsewhere.post(WHO, json!({})).await.0, 403);
        app.end().await;
    }

    async fn a_token_has_no_scope_that_its_maker_lacks_and_makes_no_credentials(app) {
        let reader = builder::key(&app.admin, &app.workspace, &["DELIVERY_READ", "WORKSPACE_WRITE"]).await;
        let reader = app.admin.with_key(&reader);
        let create = async |api: &GraphQl, input: Value| problems(api, CREATE, json!({ "input": input })).await;
        let escalating = json!({ "scopes": ["DELIVERY_READ", "EVENT_READ", "ADMIN"] });
        let told = create(&reader, escalating).await;
        assert_eq!(told, ["SCOPE_ESCALATION input.scopes.1", "SCOPE_ESCALATION input.scopes.2"]);
        assert_eq!(create(&reader, json!({ "scopes": [] })).await, ["BLANK input.scopes"]);
        for wrong in ["PT59S", "PT24H1S", "P1Y", "soon", ""] {
            let input = json!({ "scopes": ["DELIVERY_READ"], "expiresIn": wrong });
            assert_eq!(create(&reader, input).await, ["INVALID input.expiresIn"], "{wrong}");
        }
        let (other, _) = builder::workspace_with_key(&app.admin, "Other").await;
        let foreign = json!({ "scopes": ["DELIVERY_READ"], "workspace": { "id": other } });
        assert_eq!(create(&reader, foreign.clone()).await, ["NOT_FOUND input.workspace"]);
        let page = with_token(&app.admin, &token(&app.admin, foreign).await);
        assert_eq!(page.data(WHO, json!({})).await["viewer"]["workspace"]["id"], other.as_str());
        let rename = "mutation($id: ID!) { workspaceUpdate(id: $id, input: { externalId: \"their-own\" }) \
            { userErrors { code message field } } }";
        assert_eq!(problems(&app.admin, rename, json!({ "id": other })).await, Vec::<String>::new());
        let by_name = json!({ "scopes": ["DELIVERY_READ"], "workspace": { "externalId": "their-own" } });
        let page = with_token(&app.admin, &token(&app.admin, by_name).await);
        assert_eq!(page.data(WHO, json!({})).await["viewer"]["workspace"]["id"], other.as_str());
        let unknown = json!({ "scopes": ["DELIVERY_READ"], "workspace": { "externalId": "nobody's" } });
        assert_eq!(create(&app.admin, unknown).await, ["NOT_FOUND input.workspace"]);
        let admin = json!({ "scopes": ["ADMIN"], "workspace": { "id": other } });
        assert_eq!(create(&app.admin, admin).await, ["INVALID input.workspace"]);

        let page = with_token(&app.api, &token(&reader, json!({ "scopes": ["DELIVERY_READ", "WORKSPACE_WRITE"] })).await);
        let input = json!({ "input": { "scopes": ["DELIVERY_READ"] } });
        assert_eq!(page.error_code(CREATE, input).await, "FORBIDDEN");
        let key = "mutation($input: ApiKeyCreateInput!) { apiKeyCreate(input: $input) { key } }";
        let input = json!({ "input": { "name": "lasting", "scopes": ["DELIVERY_READ"] } });
        assert_eq!(page.error_code(key, input).await, "FORBIDDEN");
        app.end().await;
    }

    async fn a_token_ends_in_time_and_closes_its_streams(app) {
        let data = app.api.data(CREATE, json!({ "input": { "scopes": ["DELIVERY_READ"] } })).await;
        let made = &data["accessTokenCreate"];
        let end = app.state().now() + Duration::from_hours(1);
        assert_eq!(made["expiresAt"], end.to_string());
        let token = text(&made["token"]);
        let page = with_token(&app.api, &token);
        let mut socket = listening(&app, &token).await;
        app.clock.advance(Duration::from_hours(1) - Duration::from_millis(1));
        assert_eq!(page.post(WHO, json!({})).await.0, 200);
        app.clock.advance(Duration::from_millis(1));
        assert_eq!(page.post(WHO, json!({})).await.0, 401);
        assert_eq!(socket.next().await, Err(4403));
        app.end().await;
    }

    async fn a_token_never_outlives_its_key(app) {
        let end = app.state().now() + Duration::from_mins(5);
        let make = "mutation($input: ApiKeyCreateInput!) { apiKeyCreate(input: $input) { key apiKey { id } } }";
        let input = json!({ "name": "short", "scopes": ["DELIVERY_READ"], "expiresAt": end.to_string() });
        let made = app.api.data(make, json!({ "input": input })).await["apiKeyCreate"].take();
        let maker = app.api.with_key(&text(&made["key"]));
        let data = maker.data(CREATE, json!({ "input": { "scopes": ["DELIVERY_READ"], "expiresIn": "PT24H" } })).await;
        assert_eq!(data["accessTokenCreate"]["expiresAt"], end.to_string());
        let token = text(&data["accessTokenCreate"]["token"]);
        let mut socket = listening(&app, &token).await;
        let wrong = problems(&app.api, REVOKE, json!({ "id": made["apiKey"]["id"] })).await;
        assert_eq!(wrong, Vec::<String>::new());
        assert_eq!(with_token(&app.api, &token).post(WHO, json!({})).await.0, 401);
        assert_eq!(socket.next().await, Err(4403));
        app.end().await;
    }
}
