//! Executing an operation, whichever way it came.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use angarium_dispatcher::Span;
use angarium_entity::TraceContext;
use async_graphql::Response as Executed;
use async_graphql::parser::types::OperationType;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt as _, StreamExt as _};
use tracing::Instrument as _;

use super::answer::{Kind, Refusal, judge};
use super::operation::Operation;
use super::{RequestId, Server};
use crate::Caller;
use crate::graphql::prepare;
use crate::metrics::Ended;

/// One answer of an operation.
pub(super) type Outcome = Result<Executed, Refusal>;

/// Executes a query or a mutation.
pub(super) async fn once(
    server: &Server,
    operation: Operation,
    caller: Option<Caller>,
    id: &RequestId,
    span: &mut Span,
) -> Outcome {
    let (ty, started) = (operation.ty, Instant::now());
    span.asks(name_of(ty), operation.name.as_deref());
    let trace = span.context();
    // Every line that is logged meanwhile carries the IDs.
    let trace_id = trace.as_ref().map(|trace| trace.parent.trace_id());
    let lines = tracing::info_span!("request", request_id = id.0, trace_id);
    let outcome = execute(server, operation, caller, id, trace).instrument(lines).await;
    server.metrics.executed(ty, ended(&outcome), started.elapsed());
    outcome
}

async fn execute(
    server: &Server,
    operation: Operation,
    caller: Option<Caller>,
    id: &RequestId,
    trace: Option<TraceContext>,
) -> Outcome {
    admit(server, caller.as_ref())?;
    let request = prepare(operation.request, &server.state, caller, id.0.clone(), trace);
    let execution = AssertUnwindSafe(server.schema.execute(request)).catch_unwind();
    match tokio::time::timeout(server.state.limits.timeout, execution).await {
        Ok(Ok(executed)) => judge(executed),
        Ok(Err(_)) => Err(panicked(id)),
        Err(_) => Err(Refusal::new(
            Kind::Unavailable,
            "TIMEOUT",
            format!(
                "not finished within {} s; what it changes may or may not come to be",
                server.state.limits.timeout.as_secs()
            ),
        )),
    }
}

/// Executes any operation: a query or mutation has one answer, a subscription many. A refusal is the last. The span of a
/// subscription ends when it begins: it may go on for days.
pub(super) fn stream(
    server: Arc<Server>,
    operation: Operation,
    caller: Option<Caller>,
    id: RequestId,
    mut span: Span,
) -> BoxStream<'static, Outcome> {
    if operation.ty != OperationType::Subscription {
        return stream::once(async move { once(&server, operation, caller, &id, &mut span).await }).boxed();
    }
    span.asks(name_of(operation.ty), operation.name.as_deref());
    let mut counted = server.metrics.stream();
    if let Err(refusal) = admit(&server, caller.as_ref()) {
        counted.ended = Ended::Refused;
        return stream::once(std::future::ready(Err(refusal))).boxed();
    }
    let request = prepare(operation.request, &server.state, caller, id.0.clone(), span.context());
    let answers = AssertUnwindSafe(server.schema.execute_stream(request)).catch_unwind();
    answers
        .map(move |answer| {
            let outcome = answer.map_or_else(|_| Err(panicked(&id)), judge);
            // The whole of it, which counts the stream as open until it is dropped, and not only what is written to.
            let counted = &mut counted;
            counted.ended = ended(&outcome);
            outcome
        })
        .scan(false, |refused, outcome| {
            let next = (!*refused).then_some(outcome);
            *refused = matches!(next, Some(Err(_)));
            std::future::ready(next)
        })
        .boxed()
}

/// The kind of an operation, as a document has it.
const fn name_of(ty: OperationType) -> &'static str {
    match ty {
        OperationType::Query => "query",
        OperationType::Mutation => "mutation",
        OperationType::Subscription => "subscription",
    }
}

fn ended(outcome: &Outcome) -> Ended {
    match outcome {
        Ok(executed) if executed.errors.is_empty() => Ended::Well,
        Ok(_) => Ended::Erroneous,
        Err(_) => Ended::Refused,
    }
}

/// Lets an operation in, unless its key has asked for too many.
fn admit(server: &Server, caller: Option<&Caller>) -> Result<(), Refusal> {
    server.throttle.take(caller, server.state.now()).map_err(Refusal::throttled)
}

fn panicked(id: &RequestId) -> Refusal {
    // The panic hook has logged where and why.
    tracing::error!(request_id = id.0, "an operation panicked");
    Refusal::internal(id)
}
