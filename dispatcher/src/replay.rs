//! What a replay is asked for, and what becomes of that.

use angarium_entity::{ApiKeyId, ReplayId, SubscriptionId, Timestamp, WorkspaceId, delivery, event, replay};
use sea_orm::{DbBackend, DbErr, Select};

/// Most replays of a workspace that run at the same time.
pub const RUNNING_MAX: u64 = 5;
/// Most events of a replay, and most pairs of event and endpoint where deliveries are chosen.
pub const ITEMS_MAX: u64 = 1_000_000;
/// Largest `rate_per_second`.
pub const RATE_MAX: i32 = 10_000;

/// A replay to start, checked by the caller.
#[derive(Clone, Debug)]
pub struct NewReplay {
    /// Its tenant.
    pub workspace_id: WorkspaceId,
    /// Which events, in the words of whoever reads them: see [`ReadTarget`].
    pub target: String,
    /// Subscriptions to send to; none means every one that matches.
    pub subscription_ids: Option<Vec<SubscriptionId>>,
    /// Deliveries made per second at most.
    pub rate_per_second: Option<i32>,
    /// The key that asked for it.
    pub created_by: Option<ApiKeyId>,
}

impl NewReplay {
    pub(crate) fn row(self, now: Timestamp) -> replay::Model {
        replay::Model {
            id: ReplayId::new(now),
            workspace_id: self.workspace_id,
            status: replay::Status::Running,
            target: self.target,
            subscription_ids: self.subscription_ids.map(replay::Subscriptions),
            rate_per_second: self.rate_per_second,
            matched_count: None,
            created_count: 0,
            item_count: 0,
            planned_at: None,
            planned_id: None,
            next_batch_at: None,
            failure_reason: None,
            created_by: self.created_by,
            created_at: now,
            completed_at: None,
        }
    }
}

/// What a replay chooses. Each is selected twice: `by_index` may hold more, but is a range of an index in the order of
/// making, so that a step of it reads no more rows than it has; `meant` holds exactly what is meant.
#[derive(Clone, Debug)]
pub enum Candidates {
    /// Events, to whoever wants them now.
    Events {
        /// See [`Candidates`].
        by_index: Select<event::Entity>,
        /// See [`Candidates`].
        meant: Select<event::Entity>,
    },
    /// The events of deliveries, to the endpoints that these went to, or that their subscriptions go to now.
    Deliveries {
        /// See [`Candidates`].
        by_index: Select<delivery::Entity>,
        /// See [`Candidates`].
        meant: Select<delivery::Entity>,
    },
}

/// Reads the target of a replay. What filters mean is the API's to know. The error is for the log.
pub type ReadTarget = fn(DbBackend, &replay::Model) -> Result<Candidates, String>;

/// Why a replay was not started or stopped. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The workspace has [`RUNNING_MAX`] that run.
    #[error("{RUNNING_MAX} replays run in the workspace")]
    LimitReached,
    /// It chooses more than [`ITEMS_MAX`], or would have to look at too much to tell.
    #[error("more than {ITEMS_MAX} events or deliveries are chosen")]
    TooBroad,
    /// No such replay in the workspace.
    #[error("the replay does not exist")]
    NotFound,
    /// It has ended.
    #[error("the replay has ended")]
    NotRunning,
    /// The target does not read.
    #[error("the target of the replay does not read: {0}")]
    Target(String),
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] DbErr),
}
