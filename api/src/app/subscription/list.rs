//! Lists of subscriptions.

use angarium_entity::subscription::{self, Column, Entity};
use angarium_entity::workspace::{self, SubscriptionConfirmation};
use angarium_entity::{EndpointId, SubscriptionId, Timestamp, WorkspaceId, endpoint};
use async_graphql::Enum;
use sea_orm::sea_query::{Expr, ExprTrait as _, Query};
use sea_orm::{ColumnTrait, Condition, EntityTrait as _, QueryFilter, Select};
use uuid::Uuid;

use super::Status;
use crate::AppState;
use crate::app::AppError;
use crate::app::filter::{
    TimeRange, check_search, json_list_has_any, patterns_match_service, patterns_matching, refuse_reading_through,
    search,
};
use crate::app::list::{Listed, SortValue};

/// Fields that webhook subscriptions can be ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(name = "WebhookSubscriptionOrderField")]
pub enum Sort {
    /// Order by `createdAt`.
    CreatedAt,
    /// Order by `expiresAt`; those that never expire count as the latest.
    ExpiresAt,
    /// Order by `name`; those without one come first.
    Name,
    /// Order by `updatedAt`.
    UpdatedAt,
}

/// Conditions on subscriptions.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Exactly this name.
    pub name: Option<String>,
    /// Exactly this owner.
    pub owner_id: Option<String>,
    /// When it was made.
    pub created_at: TimeRange,
    /// Switched on or off.
    pub enabled: Option<bool>,
    /// Delivers to one of these.
    pub endpoint_ids: Option<Vec<EndpointId>>,
    /// Subscribed to this type, directly or by pattern.
    pub event_type: Option<String>,
    /// When it ends.
    pub expires_at: TimeRange,
    /// One of these.
    pub ids: Option<Vec<SubscriptionId>>,
    /// Subscribed to this channel.
    pub channel: Option<String>,
    /// Text in name, description or URL.
    pub search: Option<String>,
    /// Subscribed to a type of this service.
    pub service: Option<String>,
    /// One of these.
    pub status: Option<Vec<Status>>,
}

impl Filter {
    /// The subscriptions of a workspace that match.
    ///
    /// # Errors
    /// [`AppError::BadInput`] for a search that is too short or too long.
    pub fn select(&self, state: &AppState, workspace: WorkspaceId) -> Result<Select<Entity>, AppError> {
        self.on(Entity::of(workspace), state)
    }

    /// Those of `rows` that match. A deleted one matches as it was in the end.
    ///
    /// # Errors
    /// [`AppError::BadInput`] for a search that is too short or too long.
    pub fn on(&self, rows: Select<Entity>, state: &AppState) -> Result<Select<Entity>, AppError> {
        let backend = state.db.backend();
        let mut select =
            rows.filter(self.created_at.on(Column::CreatedAt)).filter(self.expires_at.on(Column::ExpiresAt));
        if let Some(name) = &self.name {
            select = select.filter(Entity::sort_expr(Sort::Name).eq(name.as_str()));
        }
        if let Some(owner) = &self.owner_id {
            select = select.filter(Column::OwnerId.eq(owner.as_str()));
        }
        if let Some(enabled) = self.enabled {
            select = select.filter(Column::Enabled.eq(enabled));
        }
        if let Some(ids) = &self.endpoint_ids {
            select = select.filter(Column::EndpointId.is_in(ids.iter().copied()));
        }
        if let Some(ids) = &self.ids {
            select = select.filter(Column::Id.is_in(ids.iter().copied()));
        }
        if let Some(name) = &self.event_type {
            select = select.filter(json_list_has_any(backend, Column::EventTypes, patterns_matching(name)));
        }
        if let Some(channel) = &self.channel {
            select = select.filter(json_list_has_any(backend, Column::Channels, vec![channel.clone()]));
        }
        if let Some(text) = &self.search {
            let by_url = search(backend, text, &[(endpoint::Entity, endpoint::Column::Url)])?;
            select = select.filter(
                search(backend, text, &[(Entity, Column::Name), (Entity, Column::Description)])?
                    .add(endpoint_is(by_url)),
            );
        }
        if let Some(service) = &self.service {
            select =
                select.filter(Condition::any().add(Column::Service.eq(service.as_str())).add(patterns_match_service(
                    backend,
                    Column::EventTypes,
                    service,
                )));
        }
        if let Some(wanted) = &self.status {
            let any = wanted.iter().fold(Condition::any(), |any, status| any.add(has_status(*status, state.now())));
            // `any` of nothing is true, but nothing has one of no statuses.
            select = select.filter(if wanted.is_empty() { Condition::any().add(Expr::val(1).eq(0)) } else { any });
        }
        Ok(select)
    }

    /// Refuses what would read all subscriptions of a workspace that has many.
    ///
    /// # Errors
    /// [`AppError::FilterTooBroad`].
    pub async fn refuse_too_broad(&self, state: &AppState, workspace: WorkspaceId, sort: Sort) -> Result<(), AppError> {
        let is_narrow = self.ids.is_some() || self.endpoint_ids.is_some();
        if is_narrow || self.name.is_some() || self.owner_id.is_some() {
            return Ok(());
        }
        let conditions = [
            ("`channel`", self.channel.is_some()),
            ("`enabled`", self.enabled.is_some()),
            ("`eventType`", self.event_type.is_some()),
            ("`expiresAt`", self.expires_at.is_given()),
            ("`search`", self.search.is_some()),
            ("`service`", self.service.is_some()),
            ("`status`", self.status.is_some()),
            ("`createdAt` in another order", self.created_at.is_given() && sort != Sort::CreatedAt),
        ];
        refuse_reading_through(&conditions, "`ids`, `endpointId`, `name` or `ownerId`", async {
            let row = workspace::Entity::find_by_id(workspace).one(state.db.read()).await?;
            Ok(row.map_or(0, |row| row.subscription_count.cast_unsigned()))
        })
        .await
    }

    /// Refuses what can never match.
    ///
    /// # Errors
    /// [`AppError::BadInput`] for a search that is too short or too long.
    pub fn check(&self) -> Result<(), AppError> {
        self.search.as_deref().map_or(Ok(()), check_search)
    }
}

/// Those of `select` that deliver to `endpoint`.
pub fn of_endpoint(select: Select<Entity>, endpoint: EndpointId) -> Select<Entity> {
    select.filter(Column::EndpointId.eq(endpoint))
}

/// The condition that the endpoint of a subscription meets another. One that is not deleted has one that is not. Looked up
/// for one subscription after the other: with a limit of its own, the database does not turn it round and read every
/// endpoint.
fn endpoint_is(condition: Condition) -> Expr {
    let endpoint = Query::select()
        .expr(Expr::cust("1"))
        .from(endpoint::Entity)
        .and_where(Expr::col((endpoint::Entity, endpoint::Column::Id)).equals((Entity, Column::EndpointId)))
        .cond_where(condition)
        .limit(1)
        .offset(0)
        .take();
    Expr::exists(endpoint)
}

/// [`Status::of`] in SQL.
fn has_status(status: Status, now: Timestamp) -> Condition {
    let live = Condition::any().add(Column::ExpiresAt.is_null()).add(Column::ExpiresAt.gt(now));
    let on = Condition::all().add(Column::Enabled.eq(true));
    let pending = Condition::all()
        .add(Column::Confirmation.ne(SubscriptionConfirmation::None))
        .add(Column::ConfirmedAt.is_null());
    let endpoint_is = |status: endpoint::Status| endpoint_is(endpoint::Column::Status.eq(status).into());
    match status {
        Status::Disabled => Condition::all().add(Column::Enabled.eq(false)),
        Status::Expired => on.add(Column::ExpiresAt.lte(now)),
        Status::PendingConfirmation => on.add(live).add(pending),
        Status::Suspended => on.add(live).add(pending.not()).add(endpoint_is(endpoint::Status::Suspended)),
        Status::Paused => on.add(live).add(pending.not()).add(endpoint_is(endpoint::Status::Paused)),
        Status::Active => on.add(live).add(pending.not()).add(endpoint_is(endpoint::Status::Active)),
    }
}

impl Listed for Entity {
    type Sort = Sort;

    fn sort_name(sort: Sort) -> &'static str {
        match sort {
            Sort::CreatedAt => "CREATED_AT",
            Sort::ExpiresAt => "EXPIRES_AT",
            Sort::Name => "NAME",
            Sort::UpdatedAt => "UPDATED_AT",
        }
    }

    fn sort_expr(sort: Sort) -> Expr {
        match sort {
            Sort::CreatedAt => Expr::col((Self, Column::CreatedAt)),
            Sort::ExpiresAt => Expr::cust(r#"COALESCE("subscription"."expires_at", 9223372036854775807)"#),
            Sort::Name => Expr::cust(r#"COALESCE("subscription"."name", '')"#),
            Sort::UpdatedAt => Expr::col((Self, Column::UpdatedAt)),
        }
    }

    fn is_text(sort: Sort) -> bool {
        sort == Sort::Name
    }

    fn sort_value(sort: Sort, row: &subscription::Model) -> SortValue {
        match sort {
            Sort::CreatedAt => SortValue::Number(row.created_at.millis()),
            Sort::ExpiresAt => SortValue::Number(row.expires_at.map_or(i64::MAX, Timestamp::millis)),
            Sort::Name => SortValue::Text(row.name.clone().unwrap_or_default()),
            Sort::UpdatedAt => SortValue::Number(row.updated_at.millis()),
        }
    }

    fn id_column() -> Column {
        Column::Id
    }

    fn id(row: &subscription::Model) -> Uuid {
        row.id.uuid()
    }
}
