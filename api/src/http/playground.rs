//! `/playground/`: GraphiQL, built by Vite in `playground/`.
//!
//! With the cargo feature `playground` it is inside the binary. Without, it is served from the checkout, if it was
//! built there; and otherwise a small page loads GraphiQL from a public CDN and says so.

#[cfg(not(feature = "playground"))]
mod directory;
#[cfg(feature = "playground")]
mod embedded;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, REFERRER_POLICY,
};
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};

use super::Server;
#[cfg(not(feature = "playground"))]
use directory::Files;
#[cfg(feature = "playground")]
use embedded::Files;

/// The checkout that this binary was built in.
const CHECKOUT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../playground");
const INDEX: &str = "index.html";
/// Vite writes a hash of the content into these names.
const HASHED: &str = "assets/";
/// What `index.html` holds where our configuration goes.
const CONFIG_MARK: &str = "<!-- angarium-config -->";
const CDN_PAGE: &str = include_str!("playground/cdn.html");

const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; style-src 'self' 'unsafe-inline'; worker-src 'self' blob:; font-src 'self' data:; \
     img-src 'self' data:; connect-src 'self' ws: wss:",
);
const CDN_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; script-src 'self' 'unsafe-inline' https://esm.sh data: blob:; \
     style-src 'self' 'unsafe-inline' https://esm.sh; worker-src 'self' blob: data: https://esm.sh; \
     font-src 'self' data: https://esm.sh; img-src 'self' data:; connect-src 'self' ws: wss: https://esm.sh",
);

/// Where the files are, and what the page is told.
#[derive(Clone, Debug)]
pub(crate) struct Playground {
    /// None are there: a CDN has to help out.
    files: Option<Files>,
    /// JSON for the page, in `dev` only: it holds a key.
    config: Option<String>,
}

/// The directory of the playground's sources, if this is a checkout that needs them built.
pub(crate) fn unbuilt_sources() -> Option<PathBuf> {
    let sources = PathBuf::from(CHECKOUT);
    let is_unbuilt = Files::find().is_none() && sources.join("package.json").is_file();
    is_unbuilt.then_some(sources)
}

impl Playground {
    /// What there is, telling the page `config`.
    pub(crate) fn find(config: Option<&serde_json::Value>) -> Self {
        // Inside of a `script` element, only `<` could end it or begin a comment.
        Self { files: Files::find(), config: config.map(|config| config.to_string().replace('<', "\\u003c")) }
    }

    /// Whether the page needs the Internet.
    pub(crate) fn is_from_cdn(&self) -> bool {
        self.files.is_none()
    }

    /// The page, with our configuration if `is_trusted`.
    async fn page(&self, is_trusted: bool) -> Option<String> {
        let page = match &self.files {
            Some(files) => String::from_utf8(files.read(INDEX).await?.into_owned()).ok()?,
            None => CDN_PAGE.to_owned(),
        };
        let config = self.config.as_ref().filter(|_| is_trusted);
        let element = config
            .map(|config| format!(r#"<script type="application/json" id="angarium-config">{config}</script>"#))
            .unwrap_or_default();
        Some(page.replacen(CONFIG_MARK, &element, 1))
    }
}

/// The page.
pub(super) async fn index(State(server): State<Arc<Server>>, headers: HeaderMap) -> Response {
    let Some(page) = server.playground.page(server.origins.is_own_host(&headers)).await else { return not_found() };
    let mut tag = String::from("\"");
    for byte in &Sha256::digest(&page)[..16] {
        write!(tag, "{byte:02x}").expect("a String takes every write");
    }
    tag.push('"');
    let policy = if server.playground.is_from_cdn() { CDN_POLICY } else { POLICY };
    let is_known = headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = if is_known { StatusCode::NOT_MODIFIED.into_response() } else { page.into_response() };
    let answer = response.headers_mut();
    answer.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    // The page may hold a key: it stays with the browser that asked.
    answer.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    answer.insert(CONTENT_SECURITY_POLICY, policy);
    answer.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        answer.insert(ETAG, tag);
    }
    response
}

/// What the page loads.
pub(super) async fn file(State(server): State<Arc<Server>>, Path(path): Path<String>) -> Response {
    let found = match &server.playground.files {
        // The index comes with the headers of a page only.
        Some(files) if path != INDEX => files.read(&path).await,
        _ => None,
    };
    let Some(bytes) = found else { return not_found() };
    let age = if path.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-cache" };
    ([(CONTENT_TYPE, content_type(&path)), (CACHE_CONTROL, age)], bytes.into_owned()).into_response()
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "nothing is here\n").into_response()
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("json" | "map") => "application/json",
        Some("md" | "txt") => "text/plain; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("ttf") => "font/ttf",
        Some("wasm") => "application/wasm",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn the_page_is_told_a_key_only_by_a_name_of_the_server_and_cannot_be_broken_out_of() {
        let config = json!({ "apiKey": "k", "exampleDocument": "</script><!--" });
        let playground = Playground { files: None, config: Playground::find(Some(&config)).config };
        let page = playground.page(true).await.expect("the page is inside");
        assert!(page.contains(r#"{"apiKey":"k","exampleDocument":"\u003c/script>\u003c!--"}"#), "{page}");
        let page = playground.page(false).await.expect("the page is inside");
        assert!(!page.contains("apiKey\":\"k") && !page.contains(CONFIG_MARK));
    }
}
