//! Ends what has waited for longer than its workspace allows (`holdMax`): for a paused or suspended endpoint to be
//! resumed, for a subscription to be switched on.
//!
//! Since   `held_since` says since when something can have waited because of its holder. A delivery that came later
//!         waits since it was ready. After a look at a holder nothing is left that is older than the instant written
//!         there then, so that it is looked at again only when something can be too old.
//! Steps   each is a transaction of its own; who waits for the sweep waits for one step.

use std::time::Duration;

use angarium_entity::clock::SharedClock;
use angarium_entity::delivery::{self, Status};
use angarium_entity::{EndpointId, SubscriptionId, Timestamp, WorkspaceId};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::LockType;
use sea_orm::{ConnectionTrait, DbErr, QueryOrder, QueryResult, QuerySelect, Select, Statement};

use super::cancel::{Canceler, end};

/// Pause between two sweeps.
const EVERY: Duration = Duration::from_mins(1);
/// Deliveries of one step.
const STEP: u64 = 500;
/// Holders that are read at once.
const HOLDERS_MAX: usize = 500;

const OF_ENDPOINT: &str = "It waited for its endpoint to be resumed for longer than the workspace allows (`holdMax`).";
const OF_SUBSCRIPTION: &str =
    "It waited for its subscription to be enabled for longer than the workspace allows (`holdMax`).";

/// Whoever holds something back without having said since when begins now; these are few and bounded by a step.
const NOTE_ENDPOINTS: &str = "UPDATE endpoint SET held_since = $1 WHERE id IN (SELECT id FROM endpoint \
    WHERE status <> 'ACTIVE' AND held_since IS NULL AND deleted_at IS NULL LIMIT 500)";
const NOTE_SUBSCRIPTIONS: &str = "UPDATE subscription SET held_since = $1 WHERE id IN (SELECT id FROM subscription \
    WHERE NOT enabled AND held_since IS NULL AND deleted_at IS NULL LIMIT 500)";
const ENDPOINTS: &str = "SELECT e.id AS endpoint_id, e.shard, e.workspace_id, e.held_since, w.hold_max_ms \
    FROM endpoint AS e JOIN workspace AS w ON w.id = e.workspace_id \
    WHERE e.status <> 'ACTIVE' AND e.held_since <= $1 - w.hold_max_ms AND e.held_since <= $1 AND e.deleted_at IS NULL \
    ORDER BY e.held_since LIMIT 500";
const SUBSCRIPTIONS: &str = "SELECT s.id AS subscription_id, e.id AS endpoint_id, e.shard, s.workspace_id, \
    s.held_since, w.hold_max_ms FROM subscription AS s JOIN workspace AS w ON w.id = s.workspace_id \
    JOIN endpoint AS e ON e.id = s.endpoint_id \
    WHERE NOT s.enabled AND s.held_since <= $1 - w.hold_max_ms AND s.held_since <= $1 AND s.deleted_at IS NULL \
    ORDER BY s.held_since LIMIT 500";

/// Something that deliveries wait for.
#[derive(Clone, Copy, Debug)]
struct Holder {
    workspace: WorkspaceId,
    endpoint: EndpointId,
    shard: i32,
    /// None when it is the endpoint.
    subscription: Option<SubscriptionId>,
    since: Timestamp,
    hold_max: Duration,
}

impl Holder {
    fn read(row: &QueryResult) -> Result<Self, DbErr> {
        let hold_max: i64 = row.try_get("", "hold_max_ms")?;
        Ok(Self {
            workspace: row.try_get("", "workspace_id")?,
            endpoint: row.try_get("", "endpoint_id")?,
            shard: row.try_get("", "shard")?,
            subscription: row.try_get("", "subscription_id").ok(),
            since: row.try_get("", "held_since")?,
            hold_max: Duration::from_millis(u64::try_from(hold_max).unwrap_or(0)),
        })
    }

    /// What stands in the line, in its order.
    fn line(&self) -> Select<delivery::Entity> {
        use delivery::Column;
        let of_subscription = self.subscription.map(|id| Column::SubscriptionId.eq(id));
        delivery::Entity::find()
            .filter(Column::Shard.eq(self.shard))
            .filter(Column::EndpointId.eq(self.endpoint))
            .filter(Expr::cust(r#""delivery"."status" = 'PENDING'"#))
            .filter(Column::NextAttemptAt.is_null())
            .filter(sea_orm::Condition::all().add_option(of_subscription))
            .order_by_asc(Column::Seq)
    }

    /// What waits for a time, the earliest first.
    fn due(&self) -> Select<delivery::Entity> {
        use delivery::Column;
        let of_subscription = self.subscription.map(|id| Column::SubscriptionId.eq(id));
        delivery::Entity::find()
            .filter(Column::EndpointId.eq(self.endpoint))
            .filter(Column::NextAttemptAt.is_not_null())
            .filter(sea_orm::Condition::all().add_option(of_subscription))
            .order_by_asc(Column::NextAttemptAt)
    }
}

/// Sweeps for ever, at once to begin with.
pub(crate) async fn run(canceler: Canceler, clock: SharedClock) {
    loop {
        if let Err(error) = sweep(&canceler, clock.now()).await {
            tracing::error!(%error, "could not end what has waited too long; the next sweep tries again");
        }
        clock.sleep(EVERY).await;
    }
}

async fn sweep(canceler: &Canceler, now: Timestamp) -> Result<(), DbErr> {
    let db = canceler.db.write();
    let query = |text| Statement::from_sql_and_values(db.get_database_backend(), text, [now.into()]);
    for note in [NOTE_ENDPOINTS, NOTE_SUBSCRIPTIONS] {
        db.execute_raw(query(note)).await?;
    }
    for text in [ENDPOINTS, SUBSCRIPTIONS] {
        loop {
            let found = canceler.db.read().query_all_raw(query(text)).await?;
            for row in &found {
                let holder = Holder::read(row)?;
                while !step(canceler, &holder, now).await? {}
            }
            if found.len() < HOLDERS_MAX {
                break;
            }
        }
    }
    Ok(())
}

/// Ends some of what waits for a holder. Answers whether nothing is left that has waited too long.
async fn step(canceler: &Canceler, holder: &Holder, now: Timestamp) -> Result<bool, DbErr> {
    use delivery::Column;
    let too_old = now - holder.hold_max;
    let transaction = canceler.db.begin().await?;
    let line = holder.line().filter(Column::CreatedAt.lte(too_old));
    let mut open = line.limit(STEP).lock(LockType::Update).all(&transaction).await?;
    if open.is_empty() {
        let due = holder.due().filter(Column::NextAttemptAt.lte(too_old));
        open = due.limit(STEP).lock(LockType::Update).all(&transaction).await?;
    }
    if open.is_empty() {
        let next = [
            holder.line().one(&transaction).await?.map(|row| row.created_at),
            holder.due().one(&transaction).await?.and_then(|row| row.next_attempt_at),
        ];
        let since = next.into_iter().flatten().fold(now, Timestamp::min);
        note(&transaction, holder, since).await?;
        transaction.commit().await?;
        return Ok(true);
    }
    let reason = if holder.subscription.is_some() { OF_SUBSCRIPTION } else { OF_ENDPOINT };
    let logged = end(&transaction, holder.workspace, &open, (Status::Exhausted, reason), now).await?;
    transaction.commit().await?;
    canceler.metrics.ended(Status::Exhausted, open.len());
    canceler.hubs.reload(holder.endpoint);
    canceler.logged.tell(logged);
    Ok(false)
}

/// Unless somebody has let go and held again in the meantime.
async fn note(db: &impl ConnectionTrait, holder: &Holder, since: Timestamp) -> Result<(), DbErr> {
    let (table, id) = match holder.subscription {
        Some(id) => ("subscription", id.0),
        None => ("endpoint", holder.endpoint.0),
    };
    let text = format!("UPDATE {table} SET held_since = $1 WHERE id = $2 AND held_since = $3");
    let values = [since.into(), id.into(), holder.since.into()];
    db.execute_raw(Statement::from_sql_and_values(db.get_database_backend(), text, values)).await.map(drop)
}
