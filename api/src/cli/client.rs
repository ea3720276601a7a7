//! Calling a server as anybody else does: GraphQL over HTTP.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue, InvalidHeaderValue};
use serde_json::{Value, json};
use url::Url;

use crate::config::Client as Settings;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("the workspace cannot be the value of a header")]
    Workspace(#[from] InvalidHeaderValue),
    #[error("failed to make the HTTP client")]
    Client(#[source] reqwest::Error),
    #[error("failed to call {0}")]
    Call(Url, #[source] reqwest::Error),
    #[error("{0} answered {1}, and no GraphQL: is it the URL of an Angarium server?")]
    Foreign(Url, reqwest::StatusCode),
    #[error("refused: {0}")]
    Refused(String),
}

/// A server, and who we are to it.
pub(super) struct Client {
    http: reqwest::Client,
    graphql: Url,
}

impl Client {
    /// `workspace` is named by an administrator's key.
    pub(super) fn new(settings: &Settings, workspace: Option<&str>) -> Result<Self, CallError> {
        let mut headers = HeaderMap::new();
        let mut key = HeaderValue::from_str(settings.api_key.reveal())?;
        key.set_sensitive(true);
        headers.insert("x-api-key", key);
        if let Some(workspace) = workspace {
            headers.insert("angarium-workspace", HeaderValue::from_str(workspace)?);
        }
        let builder = http().default_headers(headers).timeout(TIMEOUT);
        let http = builder.build().map_err(CallError::Client)?;
        Ok(Self { http, graphql: graphql_url(&settings.url) })
    }

    /// The data of an operation.
    pub(super) async fn call(&self, query: &str, variables: Value) -> Result<Value, CallError> {
        let request = json!({ "query": query, "variables": variables }).to_string();
        let failed = |error| CallError::Call(self.graphql.clone(), error);
        let sent = self.http.post(self.graphql.clone()).header("content-type", "application/json").body(request);
        let response = sent.send().await.map_err(failed)?;
        let status = response.status();
        let text = response.text().await.map_err(failed)?;
        let foreign = || CallError::Foreign(self.graphql.clone(), status);
        let mut body: Value = serde_json::from_str(&text).map_err(|_| foreign())?;
        if let Some(message) = refusal(&body["errors"]) {
            return Err(CallError::Refused(message));
        }
        Some(body["data"].take()).filter(Value::is_object).ok_or_else(foreign)
    }
}

/// What is said in a list of errors, if there is anything in it.
pub(super) fn refusal(errors: &Value) -> Option<String> {
    let messages: Vec<_> = errors.as_array()?.iter().filter_map(|error| error["message"].as_str()).collect();
    (!messages.is_empty()).then(|| messages.join("; "))
}

/// A client that goes nowhere but where it is sent.
pub(super) fn http() -> reqwest::ClientBuilder {
    // Only fails if somebody else has chosen already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).redirect(reqwest::redirect::Policy::none())
}

/// `/graphql` below the URL of a server.
pub(super) fn graphql_url(server: &Url) -> Url {
    let mut url = server.clone();
    url.set_path(&format!("{}/graphql", server.path().trim_end_matches('/')));
    url
}
