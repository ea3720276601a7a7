//! Pages of other origins, by the list in `ANGARIUM_CORS_ORIGINS`.

use angarium_tests::client::{Socket, http_client};
use angarium_tests::{Backend, TestApp};
use serde_json::json;

const PROTOCOL: (&str, &str) = ("sec-websocket-protocol", "graphql-transport-ws");
const LISTED: [&str; 2] = ["https://app.example.com", "http://localhost:3000"];
const FOREIGN: [&str; 5] = [
    "https://evil.example",
    "http://app.example.com",
    "https://app.example.com:8443",
    "https://x.app.example.com",
    "null",
];

async fn app() -> TestApp {
    TestApp::start_with(Backend::Sqlite, &[("ANGARIUM_CORS_ORIGINS", &LISTED.join(","))]).await
}

/// What a header of an answer says; nothing where it is missing.
fn header<'a>(response: &'a reqwest::Response, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().expect("a text"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_learns_before_it_calls_what_a_listed_page_may_send() {
    let app = app().await;
    let ask = |origin: &str| {
        let ask = http_client().request(http::Method::OPTIONS, format!("{}/graphql", app.base()));
        let ask = ask.header("origin", origin).header("access-control-request-method", "POST");
        ask.header("access-control-request-headers", "content-type, x-api-key").send()
    };
    for origin in LISTED {
        let answer = ask(origin).await.expect("an answer");
        assert_eq!(answer.status(), 204);
        assert_eq!(header(&answer, "access-control-allow-origin"), Some(origin));
        assert!(header(&answer, "access-control-allow-methods").is_some_and(|methods| methods.contains("POST")));
        let headers = header(&answer, "access-control-allow-headers").expect("they are listed");
        for needed in ["content-type", "x-api-key", "authorization", "angarium-workspace"] {
            assert!(headers.contains(needed), "{needed} in {headers}");
        }
        assert_eq!(header(&answer, "vary"), Some("origin"), "no cache hands it to another page");
        // Keys are sent by the page and not by the browser.
        assert_eq!(header(&answer, "access-control-allow-credentials"), None);
    }
    // The list is all: the server's own page is not on it.
    let own = app.base();
    for origin in FOREIGN.into_iter().chain([own.as_str()]) {
        let answer = ask(origin).await.expect("an answer");
        assert_eq!(header(&answer, "access-control-allow-origin"), None, "{origin}");
        assert_eq!(header(&answer, "access-control-allow-headers"), None, "{origin}");
    }
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_listed_page_may_read_an_answer_or_a_refusal() {
    let app = app().await;
    let key = &app.api.headers()[0].1;
    let call = |origin: &str, key: &str| {
        let call = http_client().post(format!("{}/graphql", app.base())).header("origin", origin);
        call.header("x-api-key", key).json(&json!({ "query": "{ viewer { scopes } }" })).send()
    };
    for (key, status) in [(key.as_str(), 200), ("wrong", 401)] {
        for origin in LISTED {
            let answer = call(origin, key).await.expect("an answer");
            assert_eq!(answer.status(), status);
            assert_eq!(header(&answer, "access-control-allow-origin"), Some(origin));
            let exposed = header(&answer, "access-control-expose-headers").expect("they are listed");
            assert!(exposed.contains("x-request-id") && exposed.contains("retry-after"), "{exposed}");
        }
        for origin in FOREIGN {
            let answer = call(origin, key).await.expect("an answer");
            assert_eq!((answer.status().as_u16(), header(&answer, "access-control-allow-origin")), (status, None));
        }
    }
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_listed_page_may_open_a_socket_and_programs_are_not_asked() {
    let app = app().await;
    for origin in LISTED {
        assert!(Socket::try_open(&app.base(), &[PROTOCOL, ("origin", origin)]).await.is_ok(), "{origin}");
    }
    let own = app.base();
    for origin in FOREIGN.into_iter().chain([own.as_str()]) {
        let refused = Socket::try_open(&app.base(), &[PROTOCOL, ("origin", origin)]).await.err();
        assert_eq!(refused, Some(403), "{origin}");
    }
    assert!(Socket::try_open(&app.base(), &[PROTOCOL]).await.is_ok());
    app.end().await;
}
