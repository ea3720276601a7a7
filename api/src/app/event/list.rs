//! Lists of events.

use angarium_entity::event;
use angarium_entity::subscription::event_filter::Pattern;
use angarium_entity::{EventId, Timestamp, WorkspaceId};
use async_graphql::Enum;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, Condition, DbBackend, QueryFilter, Select};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::app::AppError;
use crate::app::filter::{TimeRange, event_type_matches, exact_names, json_list_has_any, parse_patterns};
use crate::app::list::{Listed, SortValue};

/// Fields that events can be ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(name = "EventOrderField")]
pub enum Sort {
    /// Order by `createdAt`.
    CreatedAt,
}

/// Conditions on events.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
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
    /// The events of a workspace that match, if they can be listed.
    ///
    /// # Errors
    /// [`AppError::FilterTooBroad`], and [`AppError::BadInput`] for a malformed pattern.
    pub fn bounded(
        &self,
        backend: DbBackend,
        workspace: WorkspaceId,
        now: Timestamp,
    ) -> Result<Select<event::Entity>, AppError> {
        let patterns = self.event_types.as_deref().map(parse_patterns).transpose()?;
        let has_pattern = patterns.is_some_and(|list| list.iter().any(|one| !matches!(one, Pattern::Exact(_))));
        let is_bounded = self.ids.is_some() || self.idempotency_key.is_some() || self.created_at.is_short(now);
        let reads_all = [("`channel`", self.channel.is_some()), ("an `eventType` pattern", has_pattern)];
        if let Some((what, _)) = reads_all.into_iter().find(|(_, is_given)| *is_given && !is_bounded) {
            return Err(AppError::FilterTooBroad(format!(
                "{what} needs `ids`, `idempotencyKey`, or a `createdAt` range of at most 7 days"
            )));
        }
        self.select(backend, workspace)
    }

    /// Conditions of which each event that matches meets exactly one, and each is a range of an index in the order of
    /// the list; none where the list is such a range as it is.
    pub fn parts(&self) -> Vec<Condition> {
        if self.ids.is_some() || self.idempotency_key.is_some() {
            return Vec::new();
        }
        let patterns = self.event_types.as_deref().map(parse_patterns).and_then(Result::ok).unwrap_or_default();
        let of = |name| event::Column::EventType.eq(name).into();
        exact_names(&patterns).map(|names| names.map(of).collect()).unwrap_or_default()
    }

    /// The events of a workspace that match, however many are read for that.
    ///
    /// # Errors
    /// [`AppError::BadInput`] for a malformed pattern.
    pub fn select(&self, backend: DbBackend, workspace: WorkspaceId) -> Result<Select<event::Entity>, AppError> {
        use event::Column;
        let mut select = event::Entity::of(workspace).filter(self.created_at.on(Column::CreatedAt));
        if let Some(texts) = &self.event_types {
            let patterns = parse_patterns(texts)?;
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
            // In the words of the index, which holds the few that are.
            select = select.filter(if test { Expr::cust(r#""event"."test""#) } else { Column::Test.eq(false) });
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
