//! `replayCreate`

use async_graphql::{Context, ID, InputObject, Object, OneofObject, Result, SimpleObject};

use crate::app::AppError;
use crate::app::replay::{Draft, Outcome, Target, create};
use crate::graphql::context::CallContext as _;
use crate::graphql::input::{DeliveryWhere, EventWhere};
use crate::graphql::mutation::payload;
use crate::graphql::object::Replay;
use crate::graphql::object::user_error::DeliveryUserError;

/// Which events to send again.
#[derive(Clone, Debug, InputObject)]
pub(crate) struct ReplayCreateInput {
    /// Only count what would be sent; nothing is stored.
    #[graphql(default)]
    dry_run: bool,
    /// Deliveries created per second at most, 1-10,000.
    rate_per_second: Option<i32>,
    /// Subscriptions to send to, 1-100; absent means every matching one.
    subscription_ids: Option<Vec<ID>>,
    /// Which past events.
    target: ReplayTargetInput,
}

/// Past events, chosen in exactly one way. Only what was accepted before the replay belongs to it, at most 1,000,000
/// events.
#[expect(clippy::large_enum_variant, reason = "read once from a request and gone with it")]
#[derive(Clone, Debug, OneofObject)]
pub(crate) enum ReplayTargetInput {
    /// These deliveries; a `createdAt` range of at most 30 days is required. Each goes again to its endpoint, or to where
    /// its subscription delivers now.
    Deliveries(DeliveryWhere),
    /// These events, at most 100.
    EventIds(Vec<ID>),
    /// Every event that matches; a `createdAt` range of at most 30 days is required.
    Events(EventWhere),
}

impl ReplayCreateInput {
    fn draft(self) -> Result<Draft, AppError> {
        let texts = |ids: Vec<ID>| ids.into_iter().map(|id| id.0).collect();
        Ok(Draft {
            target: match self.target {
                ReplayTargetInput::Deliveries(filter) => Target::Deliveries(filter.parse()?),
                ReplayTargetInput::EventIds(ids) => Target::EventIds(texts(ids)),
                ReplayTargetInput::Events(filter) => Target::Events(filter.parse()?),
            },
            subscription_ids: self.subscription_ids.map(texts),
            rate_per_second: self.rate_per_second,
            dry_run: self.dry_run,
        })
    }
}

/// Result of `replayCreate`.
#[derive(SimpleObject)]
pub(crate) struct ReplayCreatePayload {
    /// Events that match, when `dryRun`; null otherwise.
    matched_count: Option<i32>,
    /// The replay; null on failure or when `dryRun`.
    replay: Option<Replay>,
    /// Problems with the input. Empty on success.
    user_errors: Vec<DeliveryUserError>,
}

#[derive(Default)]
pub(crate) struct ReplayCreate;

#[Object]
impl ReplayCreate {
    /// Send past events again, in the background, to the subscriptions as they are now. At most 5 replays of a workspace
    /// run at the same time. Needs DELIVERY_WRITE.
    async fn replay_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to replay.")] input: ReplayCreateInput,
    ) -> Option<Result<ReplayCreatePayload>> {
        let done = |outcome| {
            let (replay, matched_count) = match outcome {
                Outcome::Started(row) => (Some(Replay(*row)), None),
                Outcome::Counted(count) => (None, Some(i32::try_from(count).unwrap_or(i32::MAX))),
            };
            ReplayCreatePayload { matched_count, replay, user_errors: Vec::new() }
        };
        Some(
            async {
                payload(create(ctx.app()?, ctx.caller()?, input.draft()?).await, done, |user_errors| {
                    ReplayCreatePayload { matched_count: None, replay: None, user_errors }
                })
            }
            .await,
        )
    }
}
