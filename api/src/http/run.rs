//! Executing an operation, whichever way it came.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_graphql::parser::types::OperationType;
use async_graphql::{Request, Response as Executed};
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt as _, StreamExt as _};

use super::answer::{Kind, Refusal, judge};
use super::operation::Operation;
use super::{RequestId, Server};
use crate::Caller;
use crate::graphql::prepare;

/// One answer of an operation.
pub(super) type Outcome = Result<Executed, Refusal>;

/// Executes a query or a mutation.
pub(super) async fn once(server: &Server, request: Request, caller: Option<Caller>, id: &RequestId) -> Outcome {
    admit(server, caller.as_ref())?;
    let request = prepare(request, &server.state, caller, id.0.clone());
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

/// Executes any operation: a query or mutation has one answer, a subscription many. A refusal is the last.
pub(super) fn stream(
    server: Arc<Server>,
    operation: Operation,
    caller: Option<Caller>,
    id: RequestId,
) -> BoxStream<'static, Outcome> {
    let Operation { request, ty } = operation;
    if ty != OperationType::Subscription {
        return stream::once(async move { once(&server, request, caller, &id).await }).boxed();
    }
    if let Err(refusal) = admit(&server, caller.as_ref()) {
        return stream::once(std::future::ready(Err(refusal))).boxed();
    }
    let request = prepare(request, &server.state, caller, id.0.clone());
    let answers = AssertUnwindSafe(server.schema.execute_stream(request)).catch_unwind();
    answers
        .map(move |answer| answer.map_or_else(|_| Err(panicked(&id)), judge))
        .scan(false, |refused, outcome| {
            let next = (!*refused).then_some(outcome);
            *refused = matches!(next, Some(Err(_)));
            std::future::ready(next)
        })
        .boxed()
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
