//! Where an endpoint stands: the one place where the dispatcher changes the status of an endpoint, in the transaction of
//! the result that made it do so: suspended and recovered, and paused by the end of a STRICT head. Its health is written
//! here too. What anybody can see of it goes into the change log with that result.
//!
//! Silence  no event of Angarium's own tells of it when it came of the delivery of one and nothing else waits there: an
//!          endpoint that is told of its suspension and its recovery would go on for ever to fail at the one and to take
//!          the other.

use std::collections::{BTreeMap, HashMap};

use angarium_entity::change_log::{Change, EndpointChange};
use angarium_entity::endpoint::{self, Status};
use angarium_entity::event_type::reserved::Notice;
use angarium_entity::event_type::{RESERVED_PREFIX, is_reserved};
use angarium_entity::{DeliveryId, EndpointId, Timestamp, WorkspaceId, delivery, endpoint_health};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait as _;
use sea_orm::{ConnectionTrait, DbErr, QuerySelect as _};

use super::completion::Applied;
use super::sql;
use crate::report::{EndpointHold, Report};

/// Does to the endpoints what the results that counted ask for. Answers which of them must read their rules again, and
/// adds what anybody can see of it to `changes`, and what is to be told of it to `notices`.
pub(super) async fn apply(
    db: &impl ConnectionTrait,
    counted: &[&Report],
    applied: &HashMap<DeliveryId, Applied>,
    now: Timestamp,
    changes: &mut HashMap<WorkspaceId, Vec<Change>>,
    notices: &mut Vec<Notice>,
) -> Result<Vec<EndpointId>, DbErr> {
    let mut reload = Vec::new();
    for report in counted {
        let (endpoint, workspace) = (report.job.endpoint_id, report.attempt.workspace_id);
        let mut tell = |change: EndpointChange| changes.entry(workspace).or_default().push(change.into());
        if report.hold.is_some() || report.verdict.recovered {
            reload.push(endpoint);
        }
        let changed = match &report.hold {
            Some(EndpointHold::Until(until)) => {
                let update = endpoint::Entity::update_many()
                    .col_expr(endpoint::Column::HeldUntil, Expr::value(*until))
                    .filter(endpoint::Column::Id.eq(endpoint))
                    .filter(endpoint::Column::HeldUntil.is_null().or(endpoint::Column::HeldUntil.lt(*until)));
                update.exec(db).await?;
                false
            }
            Some(EndpointHold::Suspended(reason)) => {
                set_status(db, endpoint, Status::Active, Status::Suspended, Some(reason), now).await?
            }
            // Somebody who canceled or retried the delivery meanwhile has decided what its end would have.
            Some(EndpointHold::Paused(reason)) => {
                applied.get(&report.job.delivery_id).is_some_and(|applied| applied.decided)
                    && set_status(db, endpoint, Status::Active, Status::Paused, Some(reason), now).await?
            }
            None if report.verdict.recovered => {
                set_status(db, endpoint, Status::Suspended, Status::Active, None, now).await?
            }
            None => false,
        };
        if changed {
            tell(EndpointChange::of_status(endpoint));
            let Some(row) = endpoint::Entity::find_by_id(endpoint).one(db).await? else { continue };
            let concerns_others = !is_reserved(&report.job.event.event_type) || holds_others(db, &row).await?;
            notices.extend(match row.status {
                Status::Suspended if concerns_others => Some(Notice::endpoint_suspended(&row, now)),
                Status::Active if concerns_others => Some(Notice::endpoint_recovered(&row, now)),
                _ => None,
            });
        } else if report.verdict.is_news {
            tell(EndpointChange::of(endpoint));
        }
    }
    write_health(db, counted).await?;
    Ok(reload)
}

/// Whether deliveries wait at an endpoint that are of nobody's own types.
async fn holds_others(db: &impl ConnectionTrait, endpoint: &endpoint::Model) -> Result<bool, DbErr> {
    use delivery::Column;
    let others = || {
        let of_endpoint = delivery::Entity::find().filter(Column::EndpointId.eq(endpoint.id));
        of_endpoint.select_only().column(Column::Id).filter(Column::EventType.not_like(format!("{RESERVED_PREFIX}%")))
    };
    // The two kinds of what is open, each by its index.
    let in_line = others()
        .filter(Column::Shard.eq(endpoint.shard))
        .filter(Column::Status.eq(delivery::Status::Pending))
        .filter(Column::NextAttemptAt.is_null());
    let due = others().filter(Column::NextAttemptAt.is_not_null());
    for open in [in_line, due] {
        if open.limit(1).into_tuple::<DeliveryId>().one(db).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Moves an endpoint that is `from`: what its owner decided meanwhile stays. Answers whether it was.
async fn set_status(
    db: &impl ConnectionTrait,
    endpoint: EndpointId,
    from: Status,
    to: Status,
    reason: Option<&String>,
    now: Timestamp,
) -> Result<bool, DbErr> {
    let moved = endpoint::Entity::update_many()
        .col_expr(endpoint::Column::Status, Expr::value(to))
        .col_expr(endpoint::Column::StatusReason, Expr::value(reason.cloned()))
        .col_expr(endpoint::Column::UpdatedAt, Expr::value(now))
        .filter(endpoint::Column::Id.eq(endpoint))
        .filter(endpoint::Column::Status.eq(from))
        .exec(db)
        .await?;
    Ok(moved.rows_affected > 0)
}

/// What a later state of health replaces.
const NEWS: [&str; 9] = [
    "status",
    "recent",
    "consecutive_failures",
    "failing_since",
    "last_failure_at",
    "last_success_at",
    "opened",
    "probe_at",
    "updated_at",
];

/// The latest of what is worth noting of each endpoint. Always in the same order, so that two writers never wait for each
/// other.
pub(super) fn latest<'a>(
    counted: impl IntoIterator<Item = &'a Report>,
) -> BTreeMap<EndpointId, endpoint_health::Model> {
    let noted = counted.into_iter().filter_map(|report| report.verdict.health);
    noted.map(|health| (health.endpoint_id, health)).collect()
}

/// The text that writes the health of endpoints from rows of `source`, in its order, unless a person has started it afresh
/// meanwhile.
pub(super) fn health_text(source: &str) -> String {
    let news = NEWS.map(|name| format!("{name} = excluded.{name}")).join(", ");
    let names = format!("endpoint_id, workspace_id, generation, {}", NEWS.join(", "));
    // SQLite takes the ON of a conflict for that of a join unless there is a WHERE before it.
    format!(
        "INSERT INTO endpoint_health ({names}) SELECT {names} FROM {source} AS new WHERE true ORDER BY endpoint_id \
         ON CONFLICT (endpoint_id) DO UPDATE SET {news} WHERE endpoint_health.generation <= excluded.generation"
    )
}

async fn write_health(db: &impl ConnectionTrait, counted: &[&Report]) -> Result<(), DbErr> {
    let latest = latest(counted.iter().copied());
    if latest.is_empty() {
        return Ok(());
    }
    let healths: Vec<_> = latest.values().collect();
    let mut query = sql::Query::on(db);
    let source = query.rows([
        sql::uuid("endpoint_id", healths.iter().map(|health| health.endpoint_id.0)),
        sql::uuid("workspace_id", healths.iter().map(|health| health.workspace_id.0)),
        sql::int("generation", healths.iter().map(|health| health.generation)),
        sql::word("status", healths.iter().map(|health| health.status)),
        sql::int("recent", healths.iter().map(|health| health.recent)),
        sql::int("consecutive_failures", healths.iter().map(|health| health.consecutive_failures)),
        sql::time("failing_since", healths.iter().map(|health| health.failing_since)),
        sql::time("last_failure_at", healths.iter().map(|health| health.last_failure_at)),
        sql::time("last_success_at", healths.iter().map(|health| health.last_success_at)),
        sql::int("opened", healths.iter().map(|health| health.opened)),
        sql::time("probe_at", healths.iter().map(|health| health.probe_at)),
        sql::time("updated_at", healths.iter().map(|health| health.updated_at)),
    ]);
    db.execute_raw(query.text(&health_text(&source))).await.map(drop)
}
