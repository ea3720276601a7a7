//! `eventPublishBatch`

use async_graphql::{Context, Object, Result, SimpleObject};

use super::publish::{EventPublishInput, EventPublishPayload};
use crate::app::event::{Draft, Outcome, publish_batch};
use crate::graphql::context::CallContext as _;
use crate::graphql::mutation::payload;
use crate::graphql::object::user_error::EventUserError;

/// Result of `eventPublishBatch`.
#[derive(SimpleObject)]
pub(crate) struct EventPublishBatchPayload {
    /// One result per input, in the order of the input.
    results: Vec<EventPublishPayload>,
    /// Problems with the batch as a whole; nothing is published then. Empty on success.
    user_errors: Vec<EventUserError>,
}

impl From<Outcome> for EventPublishPayload {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Ok(published) => published.into(),
            Err(problems) => Self::refused(problems.into_iter().map(Into::into).collect()),
        }
    }
}

#[derive(Default)]
pub(crate) struct EventPublishBatch;

#[Object]
impl EventPublishBatch {
    /// Publish up to 500 events (`serverInfo.maxBatch`). Each is accepted or refused on its own; the accepted are
    /// committed together and keep their order. `results` has the order of the input. Needs EVENT_PUBLISH.
    async fn event_publish_batch(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The events to publish.")] inputs: Vec<EventPublishInput>,
    ) -> Option<Result<EventPublishBatchPayload>> {
        let drafts = inputs.into_iter().map(|input| Draft { trace: ctx.trace(), ..input.into() }).collect();
        Some(
            async {
                payload(
                    publish_batch(ctx.app()?, ctx.caller()?, drafts).await,
                    |outcomes| EventPublishBatchPayload {
                        results: outcomes.into_iter().map(Into::into).collect(),
                        user_errors: Vec::new(),
                    },
                    |user_errors| EventPublishBatchPayload { results: Vec::new(), user_errors },
                )
            }
            .await,
        )
    }
}
