//! Lists of deliveries. The table is the largest there is, so a condition that no index answers needs another that
//! bounds what is read.

use angarium_entity::delivery::{self, Column, Entity, Status, Trigger};
use angarium_entity::subscription::event_filter::Pattern;
use angarium_entity::{
    DeliveryId, EndpointId, EventId, ReplayId, SubscriptionId, Timestamp, WorkspaceId, attempt, event,
};
use async_graphql::Enum;
use sea_orm::sea_query::{Expr, ExprTrait as _, Query};
use sea_orm::{ColumnTrait, Condition, DbBackend, QueryFilter, Select};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::app::AppError;
use crate::app::filter::{TimeRange, event_type_matches, exact_names, json_list_has_any, parse_patterns};
use crate::app::list::{Listed, SortValue};

/// Fields that deliveries can be ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(name = "DeliveryOrderField")]
pub enum Sort {
    /// Order by `createdAt`.
    CreatedAt,
    /// Order by `nextAttemptAt`; needs `endpointId` or `subscriptionId`. Those without a next attempt count as the
    /// latest.
    NextAttemptAt,
    /// Order by `updatedAt`; only with statuses other than PENDING and SUCCEEDED, or with `endpointId` or
    /// `subscriptionId`.
    UpdatedAt,
}

/// What deliveries can be listed within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parent {
    /// An endpoint.
    Endpoint(EndpointId),
    /// An event.
    Event(EventId),
    /// A subscription.
    Subscription(SubscriptionId),
}

/// Conditions on deliveries.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// The event belongs to this channel.
    pub channel: Option<String>,
    /// When its latest attempt started.
    pub last_attempt_at: TimeRange,
    /// When its next attempt is due.
    pub next_attempt_at: TimeRange,
    /// Made by one of these.
    pub replay_ids: Option<Vec<ReplayId>>,
    /// When it was made.
    pub created_at: TimeRange,
    /// Goes to one of these.
    pub endpoint_ids: Option<Vec<EndpointId>>,
    /// Carries one of these.
    pub event_ids: Option<Vec<EventId>>,
    /// Belongs to one of these.
    pub subscription_ids: Option<Vec<SubscriptionId>>,
    /// One of these types; patterns allowed.
    pub event_types: Option<Vec<String>>,
    /// One of these.
    pub ids: Option<Vec<DeliveryId>>,
    /// One of these statuses of the latest response.
    pub response_status_codes: Option<Vec<i32>>,
    /// One of these.
    pub status: Option<Vec<Status>>,
    /// One of these.
    pub triggers: Option<Vec<Trigger>>,
}

impl Filter {
    /// The deliveries of a workspace that match, if they can be listed in this order.
    ///
    /// # Errors
    /// [`AppError::FilterTooBroad`], and [`AppError::BadInput`] for a malformed pattern.
    pub fn select(
        &self,
        backend: DbBackend,
        workspace: WorkspaceId,
        sort: Sort,
        now: Timestamp,
    ) -> Result<Select<Entity>, AppError> {
        let patterns = self.event_types.as_deref().map(parse_patterns).transpose()?;
        self.refuse_too_broad(patterns.as_deref(), sort, now)?;
        self.all_of(backend, workspace)
    }

    /// The deliveries of a workspace that match, for whoever reads them in small steps.
    ///
    /// # Errors
    /// [`AppError::BadInput`] for a malformed pattern.
    pub fn all_of(&self, backend: DbBackend, workspace: WorkspaceId) -> Result<Select<Entity>, AppError> {
        let patterns = self.event_types.as_deref().map(parse_patterns).transpose()?;
        let mut select = Entity::of(workspace)
            .filter(self.created_at.on(Column::CreatedAt))
            .filter(self.last_attempt_at.on(Column::LastAttemptAt))
            .filter(self.next_attempt_at.on(Column::NextAttemptAt))
            .filter(Condition::all().add_option(self.of_channel(backend)));
        if let Some(ids) = &self.replay_ids {
            select = select.filter(Column::ReplayId.is_in(ids.iter().copied()));
        }
        if let Some(ids) = &self.endpoint_ids {
            select = select.filter(Column::EndpointId.is_in(ids.iter().copied()));
        }
        if let Some(ids) = &self.event_ids {
            select = select.filter(Column::EventId.is_in(ids.iter().copied()));
        }
        if let Some(ids) = &self.subscription_ids {
            select = select.filter(Column::SubscriptionId.is_in(ids.iter().copied()));
        }
        if let Some(ids) = &self.ids {
            select = select.filter(Column::Id.is_in(ids.iter().copied()));
        }
        if let Some(patterns) = &patterns {
            select = select.filter(event_type_matches(Column::EventType, patterns));
        }
        if let Some(codes) = &self.response_status_codes {
            select = select.filter(Column::ResponseStatusCode.is_in(codes.iter().copied()));
        }
        if let Some(status) = &self.status {
            select = select.filter(Column::Status.is_in(status.iter().copied()));
            if !status.contains(&Status::Succeeded) {
                // Says in the words of the index what the list of statuses implies.
                select = select.filter(Expr::cust(r#""delivery"."status" <> 'SUCCEEDED'"#));
                if !status.contains(&Status::Pending) {
                    select = select.filter(Expr::cust(r#""delivery"."status" <> 'PENDING'"#));
                }
            }
        }
        if let Some(triggers) = &self.triggers {
            select = select.filter(Column::Trigger.is_in(triggers.iter().copied()));
        }
        Ok(select)
    }

    /// The condition that the event belongs to the channel. Looked up for one delivery after the other: with a limit of
    /// its own, the database does not turn it round and read every event.
    pub fn of_channel(&self, backend: DbBackend) -> Option<Expr> {
        let channel = self.channel.clone()?;
        let event = Query::select()
            .expr(Expr::cust("1"))
            .from(event::Entity)
            .and_where(Expr::col((event::Entity, event::Column::Id)).equals((Entity, Column::EventId)))
            .and_where(json_list_has_any(backend, event::Column::Channels, vec![channel]))
            .limit(1)
            .offset(0)
            .take();
        Some(Expr::exists(event))
    }

    /// Conditions of which each delivery that matches meets exactly one, and each is a range of an index in the order
    /// of the list; none where the list is such a range as it is.
    pub fn parts(&self) -> Vec<Condition> {
        let is_narrow = self.ids.is_some() || self.of_one() || self.event_ids.is_some() || self.replay_ids.is_some();
        if is_narrow {
            return Vec::new();
        }
        if let Some(status) = self.status.as_ref().filter(|list| !list.contains(&Status::Succeeded)) {
            return each_once(status).map(|status| Column::Status.eq(status).into()).collect();
        }
        let patterns = self.event_types.as_deref().map(parse_patterns).and_then(Result::ok).unwrap_or_default();
        exact_names(&patterns)
            .map(|names| names.map(|name| Column::EventType.eq(name).into()).collect())
            .unwrap_or_default()
    }

    fn of_one(&self) -> bool {
        self.endpoint_ids.is_some() || self.subscription_ids.is_some()
    }

    /// The same conditions on what belongs to `parent`. A filter for another one matches nothing.
    #[must_use]
    pub fn within(mut self, parent: Parent) -> Self {
        fn only<I: PartialEq>(given: Option<&Vec<I>>, id: I) -> Vec<I> {
            if is_one_of(given, &id) { vec![id] } else { Vec::new() }
        }
        match parent {
            Parent::Endpoint(id) => self.endpoint_ids = Some(only(self.endpoint_ids.as_ref(), id)),
            Parent::Event(id) => self.event_ids = Some(only(self.event_ids.as_ref(), id)),
            Parent::Subscription(id) => self.subscription_ids = Some(only(self.subscription_ids.as_ref(), id)),
        }
        self
    }

    fn refuse_too_broad(&self, patterns: Option<&[Pattern]>, sort: Sort, now: Timestamp) -> Result<(), AppError> {
        let of_one = self.of_one();
        let is_bounded = of_one
            || self.event_ids.is_some()
            || self.ids.is_some()
            || self.replay_ids.is_some()
            || self.created_at.is_short(now);
        let has_pattern = patterns.is_some_and(|list| list.iter().any(|one| !matches!(one, Pattern::Exact(_))));
        let reads_all = [
            ("`responseStatusCode`", self.response_status_codes.is_some()),
            ("`trigger`", self.triggers.is_some()),
            ("`channel`", self.channel.is_some()),
            ("an `eventType` pattern", has_pattern),
        ];
        if let Some((what, _)) = reads_all.into_iter().find(|(_, is_given)| *is_given && !is_bounded) {
            return Err(AppError::FilterTooBroad(format!(
                "{what} needs `endpointId`, `subscriptionId`, `eventId`, `replayId`, `ids`, or a `createdAt` range of at most 7 days"
            )));
        }
        let of_attempts = [("`lastAttemptAt`", self.last_attempt_at), ("`nextAttemptAt`", self.next_attempt_at)];
        if let Some((what, _)) = of_attempts.into_iter().find(|(_, range)| range.is_given() && !of_one) {
            return Err(AppError::FilterTooBroad(format!("{what} needs `endpointId` or `subscriptionId`")));
        }
        let is_usual = |status: &Status| matches!(status, Status::Pending | Status::Succeeded);
        let open_ended = self.status.as_ref().is_none_or(|list| list.iter().any(is_usual));
        let refused = match sort {
            Sort::CreatedAt => None,
            Sort::NextAttemptAt => (!of_one).then_some("NEXT_ATTEMPT_AT needs `endpointId` or `subscriptionId`"),
            Sort::UpdatedAt => (!of_one && open_ended).then_some(
                "UPDATED_AT needs `status` without PENDING and SUCCEEDED, or `endpointId` or `subscriptionId`",
            ),
        };
        refused.map_or(Ok(()), |message| Err(AppError::FilterTooBroad(message.to_owned())))
    }

    /// Whether a change of a delivery is meant: `status` is compared with the one before and the one after. The channel
    /// is known to [`Filter::of_channel`].
    pub fn matches_change(&self, row: &delivery::Model, before: Option<Status>, after: Status) -> bool {
        self.created_at.contains(Some(row.created_at))
            && self.last_attempt_at.contains(row.last_attempt_at)
            && self.next_attempt_at.contains(row.next_attempt_at)
            && self.replay_ids.as_ref().is_none_or(|ids| row.replay_id.is_some_and(|id| ids.contains(&id)))
            && is_one_of(self.endpoint_ids.as_ref(), &row.endpoint_id)
            && is_one_of(self.event_ids.as_ref(), &row.event_id)
            && is_one_of(self.subscription_ids.as_ref(), &row.subscription_id)
            && is_one_of(self.ids.as_ref(), &row.id)
            && is_one_of(self.triggers.as_ref(), &row.trigger)
            && self
                .response_status_codes
                .as_ref()
                .is_none_or(|codes| row.response_status_code.is_some_and(|code| codes.contains(&code)))
            && self
                .status
                .as_ref()
                .is_none_or(|wanted| wanted.contains(&after) || before.is_some_and(|before| wanted.contains(&before)))
            && self.event_types.as_ref().is_none_or(|texts| {
                texts.iter().filter_map(|text| Pattern::parse(text).ok()).any(|one| one.matches(&row.event_type))
            })
    }

    /// Refuses what [`Filter::matches_change`] would silently never match.
    ///
    /// # Errors
    /// [`AppError::BadInput`] for a malformed pattern.
    pub fn check_patterns(&self) -> Result<(), AppError> {
        self.event_types.as_deref().map(parse_patterns).transpose().map(drop)
    }
}

/// Each of a list once.
fn each_once<T: PartialEq + Copy>(list: &[T]) -> impl Iterator<Item = T> + '_ {
    list.iter().enumerate().filter(|(place, one)| !list[..*place].contains(one)).map(|(_, one)| *one)
}

fn is_one_of<T: PartialEq>(list: Option<&Vec<T>>, value: &T) -> bool {
    list.is_none_or(|list| list.contains(value))
}

impl Listed for Entity {
    type Sort = Sort;

    fn sort_name(sort: Sort) -> &'static str {
        match sort {
            Sort::CreatedAt => "CREATED_AT",
            Sort::NextAttemptAt => "NEXT_ATTEMPT_AT",
            Sort::UpdatedAt => "UPDATED_AT",
        }
    }

    fn sort_expr(sort: Sort) -> Expr {
        match sort {
            Sort::CreatedAt => Expr::col((Self, Column::CreatedAt)),
            Sort::NextAttemptAt => Expr::cust(r#"COALESCE("delivery"."next_attempt_at", 9223372036854775807)"#),
            Sort::UpdatedAt => Expr::col((Self, Column::UpdatedAt)),
        }
    }

    fn sort_value(sort: Sort, row: &delivery::Model) -> SortValue {
        match sort {
            Sort::CreatedAt => SortValue::Number(row.created_at.millis()),
            Sort::NextAttemptAt => SortValue::Number(row.next_attempt_at.map_or(i64::MAX, Timestamp::millis)),
            Sort::UpdatedAt => SortValue::Number(row.updated_at.millis()),
        }
    }

    fn id_column() -> Column {
        Column::Id
    }

    fn id(row: &delivery::Model) -> Uuid {
        row.id.uuid()
    }
}

impl Listed for attempt::Entity {
    type Sort = ();

    fn sort_name((): ()) -> &'static str {
        "NUMBER"
    }

    fn sort_expr((): ()) -> Expr {
        Expr::col((Self, attempt::Column::Number))
    }

    fn sort_value((): (), row: &attempt::Model) -> SortValue {
        SortValue::Number(row.number.into())
    }

    fn id_column() -> attempt::Column {
        attempt::Column::Id
    }

    fn id(row: &attempt::Model) -> Uuid {
        row.id.uuid()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000_000_000);

    fn is_too_broad(filter: &Filter, sort: Sort) -> bool {
        let workspace = WorkspaceId(Uuid::nil());
        matches!(filter.select(DbBackend::Sqlite, workspace, sort, NOW), Err(AppError::FilterTooBroad(_)))
    }

    #[test]
    fn what_no_index_answers_needs_a_bound() {
        let by_code = Filter { response_status_codes: Some(vec![500]), ..Filter::default() };
        let by_pattern = Filter { event_types: Some(vec!["sms.*".to_owned()]), ..Filter::default() };
        let by_trigger = Filter { triggers: Some(vec![Trigger::Test]), ..Filter::default() };
        let by_channel = Filter { channel: Some("a".to_owned()), ..Filter::default() };
        for filter in [by_code, by_pattern, by_trigger, by_channel] {
            assert!(is_too_broad(&filter, Sort::CreatedAt));
            let of_event = Filter { event_ids: Some(vec![]), ..filter.clone() };
            assert!(!is_too_broad(&of_event, Sort::CreatedAt));
            let range = |days: u64| TimeRange { gte: Some(NOW - Duration::from_secs(days * 86_400)), lt: None };
            assert!(!is_too_broad(&Filter { created_at: range(7), ..filter.clone() }, Sort::CreatedAt));
            assert!(is_too_broad(&Filter { created_at: range(8), ..filter }, Sort::CreatedAt));
        }
        let by_name = Filter { event_types: Some(vec!["sms.in".to_owned()]), ..Filter::default() };
        assert!(!is_too_broad(&by_name, Sort::CreatedAt));
    }

    #[test]
    fn times_of_attempts_need_an_endpoint_or_a_subscription() {
        let range = TimeRange { gte: Some(NOW), lt: None };
        let last = Filter { last_attempt_at: range, ..Filter::default() };
        let next = Filter { next_attempt_at: range, ..Filter::default() };
        for filter in [last, next] {
            let of_event = Filter { event_ids: Some(vec![]), created_at: range, ..filter.clone() };
            assert!(is_too_broad(&filter, Sort::CreatedAt) && is_too_broad(&of_event, Sort::CreatedAt));
            let of_subscription = Filter { subscription_ids: Some(vec![]), ..filter };
            assert!(!is_too_broad(&of_subscription, Sort::CreatedAt));
        }
    }

    #[test]
    fn orders_that_no_index_answers_need_an_endpoint_or_a_subscription() {
        let all = Filter::default();
        let of_endpoint = Filter { endpoint_ids: Some(vec![]), ..Filter::default() };
        let failed = Filter { status: Some(vec![Status::Failed]), ..Filter::default() };
        let ended = Filter { status: Some(vec![Status::Failed, Status::Succeeded]), ..Filter::default() };
        let open = Filter { status: Some(vec![Status::Retrying, Status::Pending]), ..Filter::default() };
        assert!(is_too_broad(&all, Sort::UpdatedAt) && is_too_broad(&all, Sort::NextAttemptAt));
        assert!(!is_too_broad(&of_endpoint, Sort::UpdatedAt) && !is_too_broad(&of_endpoint, Sort::NextAttemptAt));
        assert!(!is_too_broad(&failed, Sort::UpdatedAt) && is_too_broad(&failed, Sort::NextAttemptAt));
        assert!(is_too_broad(&ended, Sort::UpdatedAt) && is_too_broad(&open, Sort::UpdatedAt));
    }
}
