//! Where an endpoint stands: the one place where the dispatcher changes the status of an endpoint, in the transaction of
//! the result that made it do so. What anybody can see of it goes into the change log with that result.

use std::collections::HashMap;

use angarium_entity::change_log::{Change, EndpointChange};
use angarium_entity::endpoint::{self, Status};
use angarium_entity::event_type::reserved::Notice;
use angarium_entity::{DeliveryId, EndpointId, Timestamp, WorkspaceId};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait as _;
use sea_orm::{ConnectionTrait, DbErr, UpdateMany};

use super::completion::Applied;
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
    let mut held = Vec::new();
    for report in counted {
        let Some(hold) = &report.hold else { continue };
        let endpoint = report.job.endpoint_id;
        held.push(endpoint);
        let update = endpoint::Entity::update_many().filter(endpoint::Column::Id.eq(endpoint));
        let changed = match hold {
            EndpointHold::Until(until) => {
                let update = update
                    .col_expr(endpoint::Column::HeldUntil, Expr::value(*until))
                    .filter(endpoint::Column::HeldUntil.is_null().or(endpoint::Column::HeldUntil.lt(*until)));
                update.exec(db).await?;
                false
            }
            EndpointHold::Suspended(reason) => {
                set_status(update, Status::Suspended, reason, now).exec(db).await?.rows_affected > 0
            }
            // Somebody who canceled or retried the delivery meanwhile has decided what its end would have.
            EndpointHold::Paused(_) if !applied.get(&report.job.delivery_id).is_some_and(|applied| applied.decided) => {
                false
            }
            EndpointHold::Paused(reason) => {
                set_status(update, Status::Paused, reason, now).exec(db).await?.rows_affected > 0
            }
        };
        if changed {
            let change = EndpointChange::of_status(endpoint).into();
            changes.entry(report.attempt.workspace_id).or_default().push(change);
            let stopped = endpoint::Entity::find_by_id(endpoint).one(db).await?;
            let suspended = stopped.filter(|row| row.status == Status::Suspended);
            notices.extend(suspended.map(|row| Notice::endpoint_suspended(&row, now)));
        }
    }
    Ok(held)
}

/// Only an active endpoint is stopped: what its owner decided stays.
fn set_status(
    update: UpdateMany<endpoint::Entity>,
    status: Status,
    reason: &str,
    now: Timestamp,
) -> UpdateMany<endpoint::Entity> {
    update
        .col_expr(endpoint::Column::Status, Expr::value(status))
        .col_expr(endpoint::Column::StatusReason, Expr::value(reason))
        .col_expr(endpoint::Column::UpdatedAt, Expr::value(now))
        .filter(endpoint::Column::Status.eq(Status::Active))
}
