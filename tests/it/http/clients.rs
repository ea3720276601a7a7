//! Clients that others have written: npm packages, run by node.

use std::path::Path;
use std::process::Stdio;

use angarium_tests::{Backend, TestApp};
use serde_json::json;
use tokio::process::Command;

const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/clients");

/// Runs a script of `tests/clients` with the workspace's key and answers what it printed.
async fn node(app: &TestApp, arguments: &[&str]) -> String {
    assert!(
        Path::new(CLIENTS).join("node_modules").is_dir(),
        "tests/clients/node_modules is missing: run `tests/run`, or `npm ci` in tests/clients"
    );
    let output = Command::new("node")
        .args(arguments)
        .current_dir(CLIENTS)
        .env("API_KEY", &app.api.headers()[0].1)
        .stderr(Stdio::piped())
        .output()
        .await
        .expect("node is installed");
    let (printed, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}\n{printed}\n{complained}");
    printed.into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_audits_of_graphql_over_http_pass() {
    let app = TestApp::start(Backend::Sqlite).await;
    let printed = node(&app, &["audit.mjs", &format!("{}/graphql", app.base())]).await;
    assert!(printed.contains("61"), "{printed}");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_introspection_of_graphiql_is_answered_under_the_default_limits() {
    let app = TestApp::start(Backend::Sqlite).await;
    let printed = node(&app, &["introspect.mjs", &format!("{}/graphql", app.base()), "../../schema.graphql"]).await;
    assert!(printed.contains("the same types"), "{printed}");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_npm_client_graphql_ws_watches_a_delivery_succeed() {
    let app = TestApp::start(Backend::Sqlite).await;
    let receiver = app.receiver().await;
    app.subscribe(receiver.url()).await;
    let url = format!("{}/graphql", app.base().replace("http", "ws"));
    let arguments = ["subscribe.mjs", &url, "--until-succeeded"];
    let watching = node(&app, &arguments);
    let publishing = async {
        // The client does not tell when the server has heard it, so events go out until it has seen one succeed.
        loop {
            app.publish(json!({})).await;
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    let printed = tokio::select! {
        printed = watching => printed,
        () = publishing => unreachable!("it publishes for ever"),
    };
    let last: serde_json::Value = serde_json::from_str(printed.lines().last().expect("a line")).expect("JSON");
    assert!(last.to_string().contains("CHANGE") && last.to_string().contains("SUCCEEDED"), "{printed}");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_libraries_of_frontends_do_a_query_a_mutation_and_a_subscription() {
    let app = TestApp::start(Backend::Sqlite).await;
    let printed = node(&app, &["libraries.mjs", &format!("{}/graphql", app.base())]).await;
    let names: Vec<_> = printed.lines().filter_map(|line| Some(line.split_once(':')?.0)).collect();
    assert_eq!(names, ["graphql-ws", "graphql-sse", "@urql/core", "@apollo/client"], "{printed}");
    app.end().await;
}
