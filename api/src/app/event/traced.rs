//! What the spans of publishes say.

use angarium_dispatcher::{Published, Span, Tracer};
use async_graphql::resolver_utils::EnumType as _;

use super::{Draft, ErrorCode, Outcome};
use crate::app::{Problem, Refusal};

/// We failed ourselves.
const INTERNAL: &str = "INTERNAL";

/// Begins the publish of an event: what becomes of it belongs within the span.
pub(super) fn begin(tracer: &Tracer, draft: &mut Draft) -> Span {
    let span = tracer.publish(draft.trace.take());
    draft.trace = span.context();
    span
}

/// The same for each event of a batch; no spans when nothing is recorded.
pub(super) fn begin_all(tracer: &Tracer, drafts: &mut [Draft]) -> Vec<Span> {
    if tracer.is_on() { drafts.iter_mut().map(|draft| begin(tracer, draft)).collect() } else { Vec::new() }
}

/// Ends it.
pub(super) fn end(mut span: Span, published: &Result<Published, Refusal<ErrorCode>>) {
    match published {
        Ok(published) => span.published(&published.event, published.duplicate),
        Err(refusal) => fail(&mut span, refusal),
    }
}

/// Ends each of a batch.
pub(super) fn end_all(spans: Vec<Span>, published: &Result<Vec<Outcome>, Refusal<ErrorCode>>) {
    for (place, mut span) in spans.into_iter().enumerate() {
        match published.as_ref().map(|outcomes| outcomes.get(place)) {
            Ok(Some(Ok(published))) => span.published(&published.event, published.duplicate),
            Ok(Some(Err(problems))) => span.failed(|| first(problems).into()),
            Ok(None) => {}
            Err(refusal) => fail(&mut span, refusal),
        }
    }
}

fn fail(span: &mut Span, refusal: &Refusal<ErrorCode>) {
    span.failed(|| match refusal {
        Refusal::Problems(problems) => first(problems).into(),
        Refusal::Error(error) => error.code().unwrap_or(INTERNAL).into(),
    });
}

/// The first reason, by the code that the caller is told.
fn first(problems: &[Problem<ErrorCode>]) -> &'static str {
    let code = problems.first().map(|problem| problem.code);
    ErrorCode::items().iter().find(|item| Some(item.value) == code).map_or(INTERNAL, |item| item.name)
}
