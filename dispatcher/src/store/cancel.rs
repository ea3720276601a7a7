//! Stopping open deliveries, in bounded steps: each step is a transaction of its own, so that nobody waits behind a
//! large backlog. What is in flight ends and is recorded; the state stays CANCELED.

use angarium_entity::change_log::DeliveryChange;
use angarium_entity::delivery::{self, Status, Trigger};
use angarium_entity::{
    Database, DeliveryId, EndpointId, EventId, SubscriptionId, Timestamp, WorkspaceId, confirmation, endpoint,
    subscription,
};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::LockType;
use sea_orm::{Condition, DatabaseTransaction, QueryOrder, QuerySelect, QueryTrait as _};

use super::confirmation::REPLACED;
use super::logged::Logged;
use super::sql;
use crate::Metrics;
use crate::actor::Hubs;

/// Deliveries of one step.
const STEP: u64 = 500;

/// What is to be canceled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancel {
    /// One delivery.
    Delivery(DeliveryId),
    /// All of an event.
    Event(EventId),
    /// All of a subscription.
    Subscription(SubscriptionId),
    /// What was published of a subscription before it ended.
    Expired {
        /// The subscription.
        id: SubscriptionId,
        /// Its end.
        before: Timestamp,
    },
    /// All that wait for an endpoint.
    Endpoint {
        /// The endpoint.
        id: EndpointId,
        /// Only those made before; none means all.
        before: Option<Timestamp>,
    },
}

impl Cancel {
    fn condition(self) -> Condition {
        use delivery::Column;
        match self {
            Self::Delivery(id) => Condition::all().add(Column::Id.eq(id)),
            Self::Event(id) => Condition::all().add(Column::EventId.eq(id)),
            Self::Subscription(id) => Condition::all().add(Column::SubscriptionId.eq(id)),
            Self::Expired { id, before } => {
                Condition::all().add(Column::SubscriptionId.eq(id)).add(Column::CreatedAt.lt(before))
            }
            Self::Endpoint { id, before } => Condition::all()
                .add(Column::EndpointId.eq(id))
                .add_option(before.map(|before| Column::CreatedAt.lt(before))),
        }
    }
}

/// The part that cancels.
#[derive(Clone)]
pub(crate) struct Canceler {
    pub(crate) db: Database,
    pub(crate) hubs: Hubs,
    pub(crate) logged: Logged,
    pub(crate) metrics: Metrics,
}

impl Canceler {
    /// Cancels all that is open of `what` and answers how many.
    pub(crate) async fn cancel(
        &self,
        workspace: WorkspaceId,
        what: Cancel,
        reason: &str,
        now: Timestamp,
    ) -> Result<u64, DbErr> {
        let (mut count, mut after) = (0, None);
        loop {
            let canceled = self.step(workspace, what, reason, now, after).await?;
            count += canceled.len() as u64;
            // A test waits in memory and not in the line, which is read again.
            for test in canceled.iter().filter(|row| row.trigger == Trigger::Test) {
                self.hubs.changed(test.endpoint_id, test.id);
            }
            let mut endpoints: Vec<_> = canceled.iter().map(|row| row.endpoint_id).collect();
            endpoints.sort_unstable();
            endpoints.dedup();
            for endpoint in endpoints {
                self.hubs.reload(endpoint);
            }
            match canceled.last() {
                Some(last) if canceled.len() as u64 == STEP => after = Some((last.created_at, last.id)),
                _ => return Ok(count),
            }
        }
    }

    /// One step behind the delivery `after`, oldest first.
    async fn step(
        &self,
        workspace: WorkspaceId,
        what: Cancel,
        reason: &str,
        now: Timestamp,
        after: Option<(Timestamp, DeliveryId)>,
    ) -> Result<Vec<delivery::Model>, DbErr> {
        use delivery::Column;
        let transaction = self.db.begin().await?;
        let is_later = |(created_at, id)| {
            Condition::any()
                .add(Column::CreatedAt.gt(created_at))
                .add(Condition::all().add(Column::CreatedAt.eq(created_at)).add(Column::Id.gt(id)))
        };
        let open = delivery::Entity::of(workspace)
            .filter(what.condition().add_option(after.map(is_later)))
            .filter(Column::Status.is_in([Status::Pending, Status::Retrying]))
            .order_by_asc(Column::CreatedAt)
            .order_by_asc(Column::Id)
            .limit(STEP)
            .lock(LockType::Update)
            .all(&transaction)
            .await?;
        if open.is_empty() {
            return Ok(open);
        }
        let logged = end(&transaction, workspace, &open, (Status::Canceled, reason), now).await?;
        transaction.commit().await?;
        self.metrics.ended(Status::Canceled, open.len());
        self.logged.tell(logged);
        Ok(open)
    }

    /// Goes on with what an earlier process had begun: what is open of deleted subscriptions and endpoints, and of
    /// messages that confirm nothing any more.
    pub(crate) async fn finish(self, now: Timestamp) {
        if let Err(error) = self.try_finish(now).await {
            tracing::error!(%error, "could not cancel what is open of what was deleted; the next start tries again");
        }
    }

    async fn try_finish(&self, now: Timestamp) -> Result<(), DbErr> {
        let open = |column| {
            let open = delivery::Entity::find().select_only().column(column);
            open.filter(delivery::Column::Status.is_in([Status::Pending, Status::Retrying])).into_query()
        };
        let subscriptions = subscription::Entity::find()
            .filter(subscription::Column::DeletedAt.is_not_null())
            .filter(subscription::Column::Id.in_subquery(open(delivery::Column::SubscriptionId)))
            .all(self.db.read())
            .await?;
        for deleted in subscriptions {
            let what = Cancel::Subscription(deleted.id);
            self.cancel(deleted.workspace_id, what, "The subscription was deleted.", now).await?;
        }
        let endpoints = endpoint::Entity::find()
            .filter(endpoint::Column::DeletedAt.is_not_null())
            .filter(endpoint::Column::Id.in_subquery(open(delivery::Column::EndpointId)))
            .all(self.db.read())
            .await?;
        for deleted in endpoints {
            let what = Cancel::Endpoint { id: deleted.id, before: None };
            self.cancel(deleted.workspace_id, what, "The endpoint was deleted.", now).await?;
        }
        let messages = confirmation::Entity::find()
            .filter(confirmation::Column::EndedAt.is_not_null())
            .filter(confirmation::Column::EventId.in_subquery(open(delivery::Column::EventId)))
            .all(self.db.read())
            .await?;
        for message in messages {
            self.cancel(message.workspace_id, Cancel::Event(message.event_id), REPLACED, now).await?;
        }
        Ok(())
    }
}

/// Ends open deliveries of a workspace, which the transaction has locked, without an attempt.
pub(super) async fn end(
    db: &DatabaseTransaction,
    workspace: WorkspaceId,
    open: &[delivery::Model],
    (status, reason): (Status, &str),
    now: Timestamp,
) -> Result<Vec<WorkspaceId>, DbErr> {
    use delivery::Column;
    delivery::Entity::update_many()
        .col_expr(Column::Status, Expr::value(status))
        .col_expr(Column::StatusReason, Expr::value(reason))
        .col_expr(Column::NextAttemptAt, Expr::value(Option::<Timestamp>::None))
        .col_expr(Column::CompletedAt, Expr::value(now))
        .col_expr(Column::UpdatedAt, Expr::value(now))
        .filter(Column::Id.is_in(open.iter().map(|row| row.id)))
        .exec(db)
        .await?;
    let changes = open.iter().map(|row| DeliveryChange {
        delivery_id: row.id,
        event_id: row.event_id,
        endpoint_id: row.endpoint_id,
        subscription_id: row.subscription_id,
        attempt_id: None,
        previous_status: Some(row.status.name().to_owned()),
        status: status.name().to_owned(),
    });
    sql::append_changes(db, now, [(workspace, changes.collect())]).await
}
