//! `/graphql` over HTTP.
//!
//! Of `async-graphql-axum` the answer to an executed request is in use, [`async_graphql_axum::GraphQLResponse`], with
//! its cache control and headers. Its extractor is replaced by [`super::operation`]: it runs mutations over GET, takes
//! bodies of any size and any content type, arrays of requests among them, and answers with Rust's debug text. Its
//! WebSocket is replaced by [`super::websocket`]: most of its close codes are wrong and it has no bounds.
//!
//! Source  GraphQL over HTTP: <https://graphql.github.io/graphql-over-http/draft/>; `tests/clients/audit.mjs` checks it.

use std::sync::Arc;
use std::time::Duration;

use angarium_dispatcher::Span;
use async_graphql::parser::types::OperationType;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, UPGRADE};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use futures_util::StreamExt as _;

use super::accept::{Accept, Media};
use super::answer::{self, Kind, Refusal};
use super::operation::Parameters;
use super::{RequestId, Server, event_stream, run, to_playground, trace, websocket};
use crate::Caller;
use crate::authenticate::Credentials;

/// What this is called in traces.
const ROUTE: &str = "/graphql";
/// Longest wait for the whole body of a request.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);
/// What is read of a body beyond its limit. A client that is still sending when the connection closes never sees why.
const DISCARDED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Memory that is set aside for a body because it was announced; more only as it arrives.
const BODY_BYTES_TRUSTED: usize = 64 * 1024;

pub(super) async fn handle(
    State(server): State<Arc<Server>>,
    Extension(id): Extension<RequestId>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let accept = Accept::of(&parts.headers);
    if parts.method == Method::GET && is_websocket(&parts.headers) {
        return websocket::accept(server, parts).await;
    }
    if parts.method == Method::GET && accept.prefers_html() {
        return to_playground();
    }
    let from = trace::of_caller(&parts.headers);
    let mut span = server.state.tracer.request(parts.method.as_str(), ROUTE, from, &id.0);
    let response = if parts.method == Method::POST && accept.prefers_events() {
        match read(&server, &parts, body, &id).await {
            Ok((parameters, from)) => {
                // Its head goes out now; a query or a mutation ends the span when it has been executed.
                span.answered(StatusCode::OK.as_u16());
                return event_stream::answer(server, parameters, from, id, span);
            }
            Err(refusal) => refusal.into_response(accept.json().unwrap_or_default()),
        }
    } else if let Some(media) = accept.json() {
        match answer_json(&server, &parts, body, &id, &mut span).await {
            Ok(executed) => answer::executed(executed, media),
            Err(refusal) => refusal.into_response(media),
        }
    } else {
        let message = "answers are `application/graphql-response+json`, `application/json` or `text/event-stream`";
        Refusal::new(Kind::NotAcceptable, "BAD_USER_INPUT", message).into_response(Media::default())
    };
    span.answered(response.status().as_u16());
    response
}

async fn answer_json(server: &Server, parts: &Parts, body: Body, id: &RequestId, span: &mut Span) -> run::Outcome {
    let (parameters, (_, caller)) = read(server, parts, body, id).await?;
    let operation = parameters.operation(&server.documents)?;
    match operation.ty {
        // A link must not change anything: GET is for queries.
        OperationType::Mutation if parts.method == Method::GET => {
            Err(Refusal::method("POST", "send mutations by POST"))
        }
        OperationType::Subscription => Err(Refusal::new(
            Kind::Document,
            "BAD_USER_INPUT",
            "send subscriptions over a WebSocket (graphql-transport-ws), or by POST with `Accept: text/event-stream`",
        )),
        OperationType::Query | OperationType::Mutation => run::once(server, operation, caller, id, span).await,
    }
}

/// What is asked for, and by whom.
async fn read(
    server: &Server,
    parts: &Parts,
    body: Body,
    id: &RequestId,
) -> Result<(Parameters, (Credentials, Option<Caller>)), Refusal> {
    let refused = |error: crate::authenticate::AuthenticateError| Refusal::unauthenticated(&error, id);
    match parts.method {
        Method::GET | Method::POST => {}
        _ => return Err(Refusal::method("GET, POST", "send requests by POST, or queries by GET")),
    }
    let credentials = Credentials::from_headers(&parts.headers).map_err(|error| refused(error.into()))?;
    let caller = server.authenticator.authenticate(&credentials).await.map_err(refused)?;
    let parameters = if parts.method == Method::GET {
        Parameters::from_url(query(&parts.uri))?
    } else {
        check_content_type(&parts.headers)?;
        Parameters::from_json(&collect(&parts.headers, body, server.state.limits.body_bytes_max).await?)?
    };
    Ok((parameters, (credentials, caller)))
}

fn query(uri: &Uri) -> &str {
    uri.query().unwrap_or_default()
}

fn is_websocket(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Only JSON: browsers ask permission (a preflight) before they send it to another origin.
fn check_content_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let text = headers.get(CONTENT_TYPE).map(HeaderValue::to_str).and_then(Result::ok).unwrap_or_default();
    let mut parts = text.split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"));
    let is_utf8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    });
    if is_json && is_utf8 {
        return Ok(());
    }
    let message = "send the request as `content-type: application/json`, in UTF-8";
    Err(Refusal::new(Kind::UnsupportedMedia, "BAD_USER_INPUT", message))
}

/// The whole body, at most `bytes_max` of it.
async fn collect(headers: &HeaderMap, body: Body, bytes_max: usize) -> Result<Vec<u8>, Refusal> {
    let too_large = || {
        let message = format!("the body is larger than {bytes_max} bytes");
        Refusal::new(Kind::TooLarge, "BAD_USER_INPUT", message)
    };
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let is_announced_too_large = announced.is_some_and(|length| length > bytes_max);
    let mut bytes = Vec::with_capacity(announced.unwrap_or_default().min(BODY_BYTES_TRUSTED));
    let mut chunks = body.into_data_stream();
    let reading = async {
        let mut length = 0;
        while let Some(chunk) = chunks.next().await {
            let chunk =
                chunk.map_err(|_| Refusal::new(Kind::Malformed, "BAD_USER_INPUT", "the body ended too early"))?;
            length += chunk.len();
            if length > bytes_max.saturating_add(DISCARDED_BYTES_MAX) {
                break;
            }
            if length <= bytes_max && !is_announced_too_large {
                bytes.extend_from_slice(&chunk);
            }
        }
        if length > bytes_max || is_announced_too_large { Err(too_large()) } else { Ok(()) }
    };
    let slow = || {
        let message = format!("the body did not arrive within {} s", BODY_TIME_MAX.as_secs());
        Refusal::new(Kind::Slow, "TIMEOUT", message)
    };
    tokio::time::timeout(BODY_TIME_MAX, reading).await.map_err(|_| slow())??;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content_type(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))])
    }

    #[test]
    fn a_body_is_json_in_utf_8() {
        for right in ["application/json", "Application/JSON; charset=UTF-8", r#"application/json;charset="utf-8""#] {
            assert!(check_content_type(&content_type(right)).is_ok(), "{right}");
        }
        for wrong in ["", "text/plain", "application/json; charset=latin1", "application/x-www-form-urlencoded"] {
            assert!(check_content_type(&content_type(wrong)).is_err(), "{wrong}");
        }
        assert!(check_content_type(&HeaderMap::new()).is_err());
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        let read = |length: usize| collect_bare(Body::from(vec![b'x'; length]));
        assert_eq!(read(10).await.map(|bytes| bytes.len()).map_err(|refusal| refusal.kind), Ok(10));
        assert_eq!(read(11).await.map_err(|refusal| refusal.kind), Err(Kind::TooLarge));
    }

    async fn collect_bare(body: Body) -> Result<Vec<u8>, Refusal> {
        collect(&HeaderMap::new(), body, 10).await
    }
}
