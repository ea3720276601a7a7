//! How an endpoint has been doing lately. A row exists once the first of its attempts has ended.
//!
//! Writer  the actor of the endpoint, by way of the results of its attempts: what changed is written with them, so that
//!         an endpoint that only succeeds costs a write every [`NOTED_EVERY`], and not one for each success.
//! Afresh  a person who resumes an endpoint, or gives it another URL, starts its circuit and its patience anew. That is
//!         another `generation`: what is still on its way from an older one is not written.
//! Circuit closed while `probe_at` is null; open until then; afterwards half-open: one attempt is let through.

use std::time::Duration;

use sea_orm::IntoActiveModel as _;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait as _, OnConflict};

use crate::{EndpointId, Timestamp, WorkspaceId};

/// Attempts that count as recent.
const RECENT: u32 = 10;
/// While nothing else changes, the last success is written this often.
pub const NOTED_EVERY: Duration = Duration::from_secs(10);

/// A row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "endpoint_health")]
pub struct Model {
    /// The endpoint.
    #[sea_orm(primary_key, auto_increment = false)]
    pub endpoint_id: EndpointId,
    /// Its tenant.
    pub workspace_id: WorkspaceId,
    /// Grows when a person starts it afresh.
    pub generation: i32,
    /// Summary of the recent attempts.
    pub status: Status,
    /// The recent attempts as bits below the highest one, the latest lowest; 1 is a failure.
    pub recent: i32,
    /// Failed attempts since the last success.
    pub consecutive_failures: i32,
    /// When the first of them ended, or the first after it was started afresh.
    pub failing_since: Option<Timestamp>,
    /// When the last attempt failed.
    pub last_failure_at: Option<Timestamp>,
    /// When the last attempt succeeded, to within [`NOTED_EVERY`].
    pub last_success_at: Option<Timestamp>,
    /// How often the circuit has opened since it was closed.
    pub opened: i32,
    /// When the next probe may start; null while the circuit is closed.
    pub probe_at: Option<Timestamp>,
    /// When it was last written.
    pub updated_at: Timestamp,
}

/// No relations: health is read by endpoint, many at once.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Summary of the recent attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// All failed.
    Failing,
    /// None failed.
    Healthy,
    /// There was none yet.
    Unknown,
    /// Some failed.
    Unstable,
}

/// State of the circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circuit {
    /// Deliveries go out.
    Closed,
    /// One probe at a time.
    HalfOpen,
    /// Nothing goes out until the next probe.
    Open,
}

impl Model {
    /// Nothing is known yet.
    pub fn unknown(endpoint_id: EndpointId, workspace_id: WorkspaceId) -> Self {
        Self {
            endpoint_id,
            workspace_id,
            generation: 0,
            status: Status::Unknown,
            recent: 1,
            consecutive_failures: 0,
            failing_since: None,
            last_failure_at: None,
            last_success_at: None,
            opened: 0,
            probe_at: None,
            updated_at: Timestamp::default(),
        }
    }

    /// An attempt succeeded at `at`: whatever was wrong is over.
    pub fn succeed(&mut self, at: Timestamp) {
        self.remember(false, at);
        self.consecutive_failures = 0;
        self.failing_since = None;
        self.last_success_at = Some(at);
        self.opened = 0;
        self.probe_at = None;
    }

    /// An attempt failed at `at`.
    pub fn fail(&mut self, at: Timestamp) {
        self.remember(true, at);
        self.consecutive_failures = self.consecutive_failures.saturating_add(1);
        self.failing_since = self.failing_since.or(Some(at));
        self.last_failure_at = Some(at);
    }

    /// How long it has been failing without one success.
    pub fn failing_for(&self, now: Timestamp) -> Duration {
        self.failing_since.map(|since| now.since(since)).unwrap_or_default()
    }

    /// The state of the circuit.
    pub fn circuit(&self, now: Timestamp) -> Circuit {
        match self.probe_at {
            None => Circuit::Closed,
            Some(at) if now < at => Circuit::Open,
            Some(_) => Circuit::HalfOpen,
        }
    }

    fn remember(&mut self, failed: bool, at: Timestamp) {
        let full = 1 << RECENT;
        let mut recent = self.recent << 1 | i32::from(failed);
        if recent >= full << 1 {
            recent = full | recent & (full - 1);
        }
        self.recent = recent;
        let count = i32::BITS - 1 - recent.leading_zeros();
        self.status = match recent.count_ones() - 1 {
            0 => Status::Healthy,
            failures if failures == count => Status::Failing,
            _ => Status::Unstable,
        };
        self.updated_at = at;
    }
}

/// Starts the circuit and the patience with an endpoint afresh: deliveries go out at once, and it is suspended only if
/// it fails for long from now on.
///
/// # Errors
/// Those of the database.
pub async fn start_afresh(
    db: &impl ConnectionTrait,
    endpoint: EndpointId,
    workspace: WorkspaceId,
    now: Timestamp,
) -> Result<(), DbErr> {
    let fresh = Model { generation: 1, updated_at: now, ..Model::unknown(endpoint, workspace) };
    let again = OnConflict::column(Column::EndpointId)
        .value(Column::Generation, Expr::col((Entity, Column::Generation)).add(1))
        .value(Column::FailingSince, Expr::value(Option::<Timestamp>::None))
        .value(Column::ProbeAt, Expr::value(Option::<Timestamp>::None))
        .value(Column::Opened, Expr::value(0))
        .value(Column::UpdatedAt, Expr::value(now))
        .to_owned();
    Entity::insert(fresh.into_active_model()).on_conflict(again).exec_without_returning(db).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: fn(i64) -> Timestamp = Timestamp::from_millis;

    #[test]
    fn the_summary_is_that_of_the_last_ten_attempts() {
        let mut health = Model::unknown(EndpointId::new(AT(1)), WorkspaceId::new(AT(1)));
        assert_eq!(health.status, Status::Unknown);
        health.fail(AT(2));
        assert_eq!(health.status, Status::Failing);
        health.succeed(AT(3));
        assert_eq!(health.status, Status::Unstable);
        for _ in 0..9 {
            assert_eq!(health.status, Status::Unstable);
            health.succeed(AT(4));
        }
        assert_eq!(health.status, Status::Healthy);
        let saturated = health.recent;
        health.succeed(AT(5));
        assert_eq!(health.recent, saturated, "nothing changes while all is well");
        for failures in 1..=10 {
            assert_ne!(health.status, Status::Failing);
            health.fail(AT(5 + failures));
        }
        assert_eq!((health.status, health.consecutive_failures), (Status::Failing, 10));
        assert_eq!((health.failing_since, health.failing_for(AT(16))), (Some(AT(6)), Duration::from_millis(10)));
        health.succeed(AT(20));
        assert_eq!((health.failing_for(AT(30)), health.consecutive_failures), (Duration::ZERO, 0));
    }

    #[test]
    fn the_circuit_is_open_until_the_next_probe() {
        let mut health = Model::unknown(EndpointId::new(AT(1)), WorkspaceId::new(AT(1)));
        assert_eq!(health.circuit(AT(1)), Circuit::Closed);
        health.probe_at = Some(AT(10));
        assert_eq!((health.circuit(AT(9)), health.circuit(AT(10))), (Circuit::Open, Circuit::HalfOpen));
        health.succeed(AT(11));
        assert_eq!(health.circuit(AT(11)), Circuit::Closed);
    }
}
