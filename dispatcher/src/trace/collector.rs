//! Where spans are sent: a collector that speaks OTLP over HTTP.
//!
//! Source  <https://opentelemetry.io/docs/specs/otlp/#otlphttp>

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use prost::Message as _;
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use url::Url;

use crate::render::USER_AGENT;
use crate::transport::proxy::unescaped;

/// Where traces go, below the endpoint.
const PATH: &str = "/v1/traces";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What is read of an answer.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// Where it is, and what it wants to hear. Prints no header.
#[derive(Clone)]
pub struct Collector {
    url: Url,
    headers: HeaderMap,
}

/// The URL is not that of a collector.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("must be like `http://collector.internal:4318`, without user, query and fragment; a key goes into headers")]
pub struct UrlError;

/// The text holds no headers. It is not told, since it may hold a key.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "must be like `authorization=Bearer%20abc,x-team=hooks`: names and values with commas between, `%20` for a space"
)]
pub struct HeadersError;

/// Spans did not get there.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// The HTTP client cannot be made, for example without any root certificates.
    #[error("cannot make the HTTP client")]
    Client(#[source] reqwest::Error),
    /// No answer came.
    #[error("the collector does not answer")]
    Unreachable(#[source] reqwest::Error),
    /// It answered something else than 200.
    #[error("the collector answered {0}")]
    Refused(StatusCode),
}

impl CollectorError {
    /// Whether it may be different in a moment.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Client(_) => false,
            Self::Unreachable(_) => true,
            Self::Refused(status) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
        }
    }
}

impl Collector {
    /// Reads `http://host:4318`, where traces go to `/v1/traces` below it.
    ///
    /// # Errors
    /// [`UrlError`].
    pub fn parse(endpoint: &str) -> Result<Self, UrlError> {
        let mut url = Url::parse(endpoint).map_err(|_| UrlError)?;
        let is_bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !is_bare || url.fragment().is_some() {
            return Err(UrlError);
        }
        url.set_path(&format!("{}{PATH}", url.path().trim_end_matches('/')));
        Ok(Self { url, headers: HeaderMap::new() })
    }

    /// Reads `name=value,name=value`, each value with `%` escapes.
    ///
    /// # Errors
    /// [`HeadersError`].
    pub fn parse_headers(text: &str) -> Result<HeaderMap, HeadersError> {
        let mut headers = HeaderMap::new();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or(HeadersError)?;
            let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| HeadersError)?;
            let mut value = HeaderValue::from_str(unescaped(value.trim()).trim()).map_err(|_| HeadersError)?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        Ok(headers)
    }

    /// With these headers on every request.
    #[must_use]
    pub fn with_headers(self, headers: HeaderMap) -> Self {
        Self { headers, ..self }
    }

    /// Whether it takes spans: sends it none.
    ///
    /// # Errors
    /// [`CollectorError`].
    pub async fn reach(&self) -> Result<(), CollectorError> {
        let nothing = ExportTraceServiceRequest::default().encode_to_vec();
        self.export(&Self::client()?, nothing.into()).await.map(drop)
    }

    pub(super) fn client() -> Result<Client, CollectorError> {
        // Only fails if somebody else has chosen already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().redirect(Policy::none()).retry(reqwest::retry::never());
        client.connect_timeout(CONNECT_TIMEOUT).timeout(TIMEOUT).build().map_err(CollectorError::Client)
    }

    /// Sends a request, and answers how many of its spans were refused.
    pub(super) async fn export(&self, client: &Client, body: Bytes) -> Result<usize, CollectorError> {
        let request = client
            .post(self.url.clone())
            .headers(self.headers.clone())
            .header("content-type", "application/x-protobuf")
            .header("user-agent", USER_AGENT)
            .body(body);
        let response = request.send().await.map_err(|error| CollectorError::Unreachable(error.without_url()))?;
        match response.status() {
            StatusCode::OK => Ok(refused(response).await),
            status => Err(CollectorError::Refused(status)),
        }
    }
}

/// What an answer says of spans that were not taken. It is taken at its word that the others were.
async fn refused(mut response: Response) -> usize {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return 0;
        }
        body.extend_from_slice(&chunk);
    }
    let answer = ExportTraceServiceResponse::decode(body.as_slice()).unwrap_or_default();
    answer.partial_success.and_then(|partial| usize::try_from(partial.rejected_spans).ok()).unwrap_or_default()
}

impl std::fmt::Debug for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Collector").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_go_below_the_endpoint() {
        for (endpoint, url) in [
            ("http://collector:4318", "http://collector:4318/v1/traces"),
            ("https://example.com/otlp/", "https://example.com/otlp/v1/traces"),
        ] {
            assert_eq!(Collector::parse(endpoint).expect("a URL").url.as_str(), url);
        }
        for wrong in ["collector:4318", "grpc://collector:4317", "http://user:hush@collector", "http://collector?key=x"]
        {
            assert_eq!(Collector::parse(wrong).map(|it| it.url), Err(UrlError), "{wrong}");
        }
    }

    #[test]
    fn headers_are_unescaped_and_not_printed() {
        let headers = Collector::parse_headers("authorization=Basic%20aHVzaA==, x-team = hooks,").expect("two headers");
        assert_eq!(headers["authorization"], "Basic aHVzaA==");
        assert_eq!(headers["x-team"], "hooks");
        let collector = Collector::parse("http://collector").expect("a URL").with_headers(headers);
        assert!(!format!("{collector:?}").contains("aHVzaA"), "{collector:?}");
        for wrong in ["hush", "a b=c", "a=b%0d%0ac"] {
            assert_eq!(Collector::parse_headers(wrong), Err(HeadersError), "{wrong}");
        }
    }
}
