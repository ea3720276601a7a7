//! Lists of endpoints.

use angarium_entity::endpoint::{self, Column, Entity, Status};
use angarium_entity::{EndpointId, WorkspaceId, endpoint_health, subscription, workspace};
use async_graphql::Enum;
use sea_orm::sea_query::{Expr, ExprTrait as _, Query};
use sea_orm::{ColumnTrait, DbBackend, EntityTrait as _, Iterable as _, QueryFilter, QuerySelect, QueryTrait, Select};
use uuid::Uuid;

use crate::AppState;
use crate::app::AppError;
use crate::app::filter::{TimeRange, check_search, json_list_has_any, refuse_reading_through, search};
use crate::app::list::{Listed, SortValue};

/// Fields that webhook endpoints can be ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(name = "WebhookEndpointOrderField")]
pub enum Sort {
    /// Order by `createdAt`.
    CreatedAt,
    /// Order by `name`; those without one come first.
    Name,
    /// Order by `updatedAt`.
    UpdatedAt,
}

/// Conditions on endpoints.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Has a subscription to this channel.
    pub channel: Option<String>,
    /// Exactly this name.
    pub name: Option<String>,
    /// One of these.
    pub status: Option<Vec<Status>>,
    /// Exactly this URL.
    pub url: Option<String>,
    /// When it was made.
    pub created_at: TimeRange,
    /// One of these.
    pub ids: Option<Vec<EndpointId>>,
    /// One of these; those without an attempt are unknown.
    pub health: Option<Vec<endpoint_health::Status>>,
    /// Text in name, description or URL.
    pub search: Option<String>,
}

impl Filter {
    /// The endpoints of a workspace that match.
    ///
    /// # Errors
    /// [`AppError::BadInput`] for a search that is too short or too long.
    pub fn select(&self, backend: DbBackend, workspace: WorkspaceId) -> Result<Select<Entity>, AppError> {
        self.on(Entity::of(workspace), backend, workspace)
    }

    /// Those of `rows`, all of them of this workspace, that match. A deleted one matches as it was in the end, but has
    /// lost its subscriptions.
    ///
    /// # Errors
    /// [`AppError::BadInput`] for a search that is too short or too long.
    pub fn on(
        &self,
        rows: Select<Entity>,
        backend: DbBackend,
        workspace: WorkspaceId,
    ) -> Result<Select<Entity>, AppError> {
        let mut select = rows.filter(self.created_at.on(Column::CreatedAt));
        if let Some(channel) = &self.channel {
            select = select.filter(is_subscribed(json_list_has_any(
                backend,
                subscription::Column::Channels,
                vec![channel.clone()],
            )));
        }
        if let Some(name) = &self.name {
            select = select.filter(Entity::sort_expr(Sort::Name).eq(name.as_str()));
        }
        if let Some(status) = &self.status {
            select = select.filter(Column::Status.is_in(status.iter().copied()));
        }
        if let Some(url) = &self.url {
            select = select.filter(Column::Url.eq(url.as_str()));
        }
        if let Some(ids) = &self.ids {
            select = select.filter(Column::Id.is_in(ids.iter().copied()));
        }
        if let Some(health) = &self.health {
            select = select.filter(has_health(workspace, health));
        }
        if let Some(text) = &self.search {
            select = select.filter(search(backend, text, &[Column::Name, Column::Description, Column::Url])?);
        }
        Ok(select)
    }

    /// Refuses what would read all endpoints of a workspace that has many.
    ///
    /// # Errors
    /// [`AppError::FilterTooBroad`].
    pub async fn refuse_too_broad(&self, state: &AppState, workspace: WorkspaceId, sort: Sort) -> Result<(), AppError> {
        if self.ids.is_some() || self.name.is_some() {
            return Ok(());
        }
        let conditions = [
            ("`channel`", self.channel.is_some()),
            ("`health`", self.health.is_some()),
            ("`search`", self.search.is_some()),
            ("`status`", self.status.is_some()),
            ("`url`", self.url.is_some()),
            ("`createdAt` in another order", self.created_at.is_given() && sort != Sort::CreatedAt),
        ];
        refuse_reading_through(&conditions, "`ids` or `name`", async {
            let row = workspace::Entity::find_by_id(workspace).one(state.db.read()).await?;
            Ok(row.map_or(0, |row| row.endpoint_count.cast_unsigned()))
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

/// The condition that a subscription of an endpoint meets another. Looked up for one endpoint after the other.
fn is_subscribed(condition: Expr) -> Expr {
    use subscription::Column as Of;
    let subscription = Query::select()
        .expr(Expr::cust("1"))
        .from(subscription::Entity)
        .and_where(Expr::col((subscription::Entity, Of::EndpointId)).equals((Entity, Column::Id)))
        .and_where(Of::DeletedAt.is_null())
        .and_where(condition)
        .limit(1)
        .offset(0)
        .take();
    Expr::exists(subscription)
}

/// Whether the health of an endpoint is one of these. Nothing is known of one that has no row.
fn has_health(workspace: WorkspaceId, health: &[endpoint_health::Status]) -> Expr {
    let with = |statuses: Vec<endpoint_health::Status>| {
        let rows = endpoint_health::Entity::find().select_only().column(endpoint_health::Column::EndpointId);
        let own = rows.filter(endpoint_health::Column::WorkspaceId.eq(workspace));
        own.filter(endpoint_health::Column::Status.is_in(statuses)).into_query()
    };
    if health.contains(&endpoint_health::Status::Unknown) {
        let others = endpoint_health::Status::iter().filter(|status| !health.contains(status));
        Column::Id.not_in_subquery(with(others.collect()))
    } else {
        Column::Id.in_subquery(with(health.to_vec()))
    }
}

impl Listed for Entity {
    type Sort = Sort;

    fn sort_name(sort: Sort) -> &'static str {
        match sort {
            Sort::CreatedAt => "CREATED_AT",
            Sort::Name => "NAME",
            Sort::UpdatedAt => "UPDATED_AT",
        }
    }

    fn sort_expr(sort: Sort) -> Expr {
        match sort {
            Sort::CreatedAt => Expr::col((Self, Column::CreatedAt)),
            Sort::Name => Expr::cust(r#"COALESCE("endpoint"."name", '')"#),
            Sort::UpdatedAt => Expr::col((Self, Column::UpdatedAt)),
        }
    }

    fn is_text(sort: Sort) -> bool {
        sort == Sort::Name
    }

    fn sort_value(sort: Sort, row: &endpoint::Model) -> SortValue {
        match sort {
            Sort::CreatedAt => SortValue::Number(row.created_at.millis()),
            Sort::Name => SortValue::Text(row.name.clone().unwrap_or_default()),
            Sort::UpdatedAt => SortValue::Number(row.updated_at.millis()),
        }
    }

    fn id_column() -> Column {
        Column::Id
    }

    fn id(row: &endpoint::Model) -> Uuid {
        row.id.uuid()
    }
}
