//! One attempt: render, sign, send, judge.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use angarium_entity::attempt::{self, ErrorCode};
use angarium_entity::clock::Clock;
use angarium_entity::confirmation::{self, Opened};
use angarium_entity::delivery::DeliveryState;
use angarium_entity::endpoint::StrictExhaustion;
use angarium_entity::event_type::reserved::SUBSCRIPTION_CONFIRMATION;
use angarium_entity::sealer::Sealer;
use angarium_entity::{AttemptId, RetryPolicy, Timestamp, TraceContext};
use futures_util::FutureExt as _;

use crate::classify::{self, Verdict};
use crate::job::Job;
use crate::machine::breaker::{self, Ended};
use crate::render::{self, Head};
use crate::report::{EndpointHold, Report};
use crate::settings::Settings;
use crate::transport::{Answer, Failure, Request, Transport};
use crate::{Span, Tracer};

const GONE: &str = "The endpoint answered 410 Gone: it wants no more deliveries. Resume it to try again.";

/// Makes one attempt. `None` when we failed ourselves: nothing is recorded, the delivery stays as it was. A panic is our
/// own fault as well, wherever it comes from: it must not break off what else is sent to the endpoint.
pub(crate) async fn deliver_once(
    transport: &Transport,
    clock: &dyn Clock,
    sealer: &Sealer,
    tracer: &Tracer,
    settings: &Settings,
    job: Job,
) -> Option<Report> {
    let (event, delivery, endpoint) = (job.event.id, job.delivery_id, job.endpoint_id);
    let attempt = AssertUnwindSafe(attempt(transport, clock, sealer, tracer, settings, job));
    attempt.catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!(%event, %delivery, %endpoint, "an attempt panicked");
        None
    })
}

async fn attempt(
    transport: &Transport,
    clock: &dyn Clock,
    sealer: &Sealer,
    tracer: &Tracer,
    settings: &Settings,
    job: Job,
) -> Option<Report> {
    let started_at = clock.now();
    if let Some(reason) = settings.forbidden.clone() {
        return Some(refused(settings, job, started_at, reason));
    }
    let started = Instant::now();
    let Some(subscription) = settings.subscription(job.subscription_id) else {
        tracing::error!(event = %job.event.id, delivery = %job.delivery_id, endpoint = %job.endpoint_id, subscription = %job.subscription_id, "a delivery of an unknown subscription");
        return None;
    };
    let asking = match confirmation::open(sealer, &job.event, job.subscription_id, settings.url.as_str()) {
        Ok(asking) => asking,
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::error!(event = %job.event.id, delivery = %job.delivery_id, endpoint = %job.endpoint_id, error, "a confirmation message does not open for this URL; it waits");
            return None;
        }
    };
    let subscription_version = subscription.revision;
    let sent = asking.as_ref().map_or(&*job.event, |asking| &asking.event);
    let body = render::body(settings.body_format, sent, subscription.payload_fields.as_ref());
    let signature = settings.signer.sign(&job.event.id.to_string(), started_at, &body);
    let mut span = tracer.attempt(&job, settings, started_at);
    let (trace_parent, trace_state) = tracer.told(&span).map(TraceContext::into_headers).unzip();
    let trace_state = trace_state.flatten();
    let head = Head {
        event: &job.event,
        url: &settings.url,
        body_format: settings.body_format,
        body_len: body.len(),
        own: &settings.headers,
        started_at,
        scheme: settings.signature_scheme,
        signature: signature.as_deref(),
        trace_parent: trace_parent.as_deref(),
        trace_state: trace_state.as_deref(),
    };
    let request = Request { url: settings.url.clone(), headers: head.headers(), body, timeout: settings.timeout };
    let answered = transport.send(&request).await;
    if let Err(failure) = &answered {
        explain(&job, failure);
        if failure.is_ours {
            return None;
        }
    }
    let (completed_at, took) = (clock.now(), started.elapsed());
    let exchange = Exchange { started_at, completed_at, took, signature, trace_parent, subscription_version, answered };
    let report = report(settings, job, asking.as_ref(), exchange, rand::random());
    log(&report, &span);
    span.ended(&report);
    Some(report)
}

/// Tells the operator what the owner of the endpoint is not told.
fn explain(job: &Job, failure: &Failure) {
    let Job { event, delivery_id: delivery, endpoint_id: endpoint, .. } = job;
    let (event, detail) = (event.id, failure.detail.as_deref());
    match failure.code {
        _ if failure.is_ours => {
            tracing::error!(%event, %delivery, %endpoint, detail, "this process cannot open a connection: it has too few files or too little memory");
        }
        ErrorCode::ForbiddenAddress => {
            tracing::info!(%event, %delivery, %endpoint, address = detail, "an endpoint leads to an address that is not allowed");
        }
        code => tracing::debug!(%event, %delivery, %endpoint, ?code, detail, "a request failed"),
    }
}

/// One line for each attempt, with nothing of what was sent or answered.
fn log(report: &Report, span: &Span) {
    let Report { job, attempt, next, .. } = report;
    tracing::debug!(
        trace_id = span.context().map(|context| context.parent.trace_id()),
        event = %job.event.id,
        delivery = %job.delivery_id,
        endpoint = %job.endpoint_id,
        attempt = attempt.number,
        status = attempt.response_status_code,
        error = attempt.error_code.map(tracing::field::debug),
        took_ms = attempt.duration_ms,
        next = next.status().name(),
        "an attempt has ended"
    );
}

/// What no retry can change ends without a request.
fn refused(settings: &Settings, job: Job, now: Timestamp, reason: String) -> Report {
    let nothing = Failure { code: ErrorCode::Connection, message: String::new(), detail: None, is_ours: false };
    let exchange = Exchange {
        started_at: now,
        completed_at: now,
        took: Duration::ZERO,
        signature: None,
        trace_parent: None,
        subscription_version: settings.subscription(job.subscription_id).map_or(0, |found| found.revision),
        answered: Err(nothing),
    };
    // An open delivery is all that is ever taken, so the step is allowed.
    let next = job.state().fail(now).unwrap_or(job.state());
    let attempt = attempt_row(settings, &job, exchange, None);
    let hold = pause_at(settings.on_exhausted, &job, next);
    Report {
        node: None,
        job,
        attempt,
        is_sent: false,
        next,
        reason: Some(reason),
        confirms: false,
        hold,
        ended: Ended::Failed,
        verdict: breaker::Verdict::default(),
    }
}

/// What was sent when, and what came back.
struct Exchange {
    started_at: Timestamp,
    completed_at: Timestamp,
    took: Duration,
    signature: Option<String>,
    trace_parent: Option<String>,
    subscription_version: i32,
    answered: Result<Answer, Failure>,
}

/// What the exchange means for the delivery and its endpoint. `jitter` is in `0.0..1.0`.
fn report(settings: &Settings, job: Job, asking: Option<&Opened>, exchange: Exchange, jitter: f64) -> Report {
    let now = exchange.completed_at;
    let verdict = match &exchange.answered {
        Ok(answer) => classify::judge(answer.status, answer.retry_after.as_deref(), now),
        Err(failure) => Verdict::Retry { code: failure.code, hold: None },
    };
    // Without the echo of a challenge it is the subscription that is not confirmed; the endpoint has answered.
    let ended = match verdict {
        Verdict::Delivered => Ended::Succeeded,
        Verdict::Retry { hold: Some(_), .. } => Ended::Asked,
        Verdict::Retry { hold: None, .. } => Ended::Failed,
        Verdict::Gone => Ended::Gone,
    };
    let challenge = asking.and_then(|asking| asking.challenge.as_deref());
    let verdict = match (verdict, &exchange.answered, challenge) {
        (Verdict::Delivered, Ok(answer), Some(challenge)) if !confirmation::echoes(&answer.body, challenge) => {
            Verdict::Retry { code: ErrorCode::Challenge, hold: None }
        }
        (verdict, ..) => verdict,
    };
    let confirms = challenge.is_some() && verdict == Verdict::Delivered;
    let once = RetryPolicy::Standard { max_attempts: 1 };
    let policy = if job.event.test { &once } else { settings.retry_policy(job.subscription_id) };
    let round_attempts = u16::try_from(job.round_attempts).unwrap_or(u16::MAX).saturating_add(u16::from(!job.is_probe));
    let (next, hold, error_code) = match verdict {
        // An open delivery is all that is ever sent, so the step is allowed.
        Verdict::Delivered => (job.state().succeed(now).unwrap_or(job.state()), None, None),
        Verdict::Retry { code, hold } => {
            let after = if job.is_probe { classify::after_probe } else { classify::after_failure };
            let next = after(job.state(), policy, round_attempts, jitter, hold, now);
            (next, hold.map(|hold| EndpointHold::Until(now + hold)), Some(code))
        }
        Verdict::Gone => {
            // It keeps its place: when the endpoint is resumed, it goes before what was published after it.
            let next = DeliveryState::Retrying { next_attempt_at: job.ready_at };
            (next, Some(EndpointHold::Suspended(GONE.to_owned())), Some(ErrorCode::HttpStatus))
        }
    };
    let reason = match next {
        DeliveryState::Exhausted { .. } => Some(match round_attempts {
            1 => "The only attempt has failed.".to_owned(),
            _ => format!("All {round_attempts} attempts that the retry policy allows have failed."),
        }),
        _ => None,
    };
    let hold = hold.or_else(|| pause_at(settings.on_exhausted, &job, next));
    let mut attempt = attempt_row(settings, &job, exchange, error_code);
    if asking.is_some_and(|asking| asking.challenge.is_none()) {
        // An endpoint that echoes what it gets would tell the token to whoever may read attempts.
        attempt.response_headers = None;
        attempt.response_body_truncated = attempt.response_body.take().is_some_and(|body| !body.is_empty());
    }
    Report {
        node: None,
        job,
        attempt,
        is_sent: true,
        next,
        reason,
        confirms,
        hold,
        ended,
        verdict: breaker::Verdict::default(),
    }
}

/// With STRICT and PAUSE, what fails for good stops the line. A test skips the line, and stops nothing.
fn pause_at(on_exhausted: Option<StrictExhaustion>, job: &Job, next: DeliveryState) -> Option<EndpointHold> {
    let failed = matches!(next, DeliveryState::Exhausted { .. } | DeliveryState::Failed { .. });
    let is_aside = job.event.test || job.event.event_type == SUBSCRIPTION_CONFIRMATION;
    let pauses = failed && !is_aside && on_exhausted == Some(StrictExhaustion::Pause);
    pauses.then(|| {
        let (id, status) = (job.delivery_id, next.status().name());
        EndpointHold::Paused(format!("{id} is {status}. Retry it or not, then resume the endpoint to go on."))
    })
}

fn attempt_row(settings: &Settings, job: &Job, exchange: Exchange, error_code: Option<ErrorCode>) -> attempt::Model {
    let (answer, failure) = match exchange.answered {
        Ok(answer) => (Some(answer), None),
        Err(failure) => (None, Some(failure)),
    };
    let error_message = error_code.map(|code| match (&answer, failure) {
        (_, Some(failure)) => failure.message,
        (Some(answer), None) if code == ErrorCode::Redirect => {
            format!("answered {}, a redirect, which is not followed", answer.status)
        }
        (Some(answer), None) if code == ErrorCode::Challenge => format!(
            r#"answered {}, but the body does not echo the challenge: it must be that, or JSON such as {{"challenge": "…"}}"#,
            answer.status
        ),
        (Some(answer), None) => format!("answered {}", answer.status),
        (None, None) => String::new(),
    });
    attempt::Model {
        id: AttemptId::new(exchange.started_at),
        workspace_id: settings.workspace_id,
        delivery_id: job.delivery_id,
        number: job.attempt_count + 1,
        trigger: job.trigger(),
        started_at: exchange.started_at,
        completed_at: exchange.completed_at,
        duration_ms: i32::try_from(exchange.took.as_millis()).unwrap_or(i32::MAX),
        signature: exchange.signature,
        trace_parent: exchange.trace_parent,
        endpoint_version: settings.version,
        subscription_version: exchange.subscription_version,
        error_code,
        error_message,
        response_status_code: answer.as_ref().map(|answer| i32::from(answer.status)),
        response_body_truncated: answer.as_ref().is_some_and(|answer| answer.body_truncated),
        response_headers: answer.as_ref().map(|answer| answer.headers.clone()),
        response_body: answer.map(|answer| answer.body),
    }
}
