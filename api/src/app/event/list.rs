//! Lists of events.

use angarium_entity::event;
use angarium_entity::{EventId, WorkspaceId};
use async_graphql::Enum;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, DbBackend, QueryFilter, Select};
use uuid::Uuid;

use crate::app::AppError;
use crate::app::filter::{TimeRange, event_type_matches, json_list_has_any};
use crate::app::list::{Listed, SortValue};

/// Fields that events can be ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(name = "EventOrderField")]
pub enum Sort {
    /// Order by `createdAt`.
    CreatedAt,
}

/// Conditions on events.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// When it was accepted.
    pub created_at: TimeRange,
    /// One of these types; patterns allowed.
    pub event_types: Option<Vec<String>>,
    /// Has this key.
    pub idempotency_key: Option<String>,
    /// One of these.
    pub ids: Option<Vec<EventId>>,
    /// Belongs to this channel.
    pub channel: Option<String>,
    /// Sent as a test.
    pub test: Option<bool>,
}

impl Filter {
    /// The events of a workspace that match.
    ///
    /// # Errors
    /// [`AppError::BadInput`] for a malformed pattern.
    pub fn select(&self, backend: DbBackend, workspace: WorkspaceId) -> Result<Select<event::Entity>, AppError> {
        use event::Column;
        let mut select = event::Entity::of(workspace).filter(self.created_at.on(Column::CreatedAt));
        if let Some(texts) = &self.event_types {
            let patterns = crate::app::filter::parse_patterns(texts)?;
            select = select.filter(event_type_matches(Column::EventType, &patterns));
        }
        if let Some(key) = &self.idempotency_key {
            select = select.filter(Column::IdempotencyKey.eq(key.as_str()));
        }
        if let Some(ids) = &self.ids {
            select = select.filter(Column::Id.is_in(ids.iter().copied()));
        }
        if let Some(channel) = &self.channel {
            select = select.filter(json_list_has_any(backend, Column::Channels, vec![channel.clone()]));
        }
        if let Some(test) = self.test {
            select = select.filter(Column::Test.eq(test));
        }
        Ok(select)
    }
}

impl Listed for event::Entity {
    type Sort = Sort;

    fn sort_name(Sort::CreatedAt: Sort) -> &'static str {
        "CREATED_AT"
    }

    fn sort_expr(Sort::CreatedAt: Sort) -> Expr {
        Expr::col((Self, event::Column::CreatedAt))
    }

    fn sort_value(Sort::CreatedAt: Sort, row: &event::Model) -> SortValue {
        SortValue::Number(row.created_at.millis())
    }

    fn id_column() -> event::Column {
        event::Column::Id
    }

    fn id(row: &event::Model) -> Uuid {
        row.id.uuid()
    }
}
