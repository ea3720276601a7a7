//! Conditions that several lists share. The one place of the API where SQLite and PostgreSQL differ.

use std::collections::BTreeSet;
use std::time::Duration;

use angarium_entity::Timestamp;
use angarium_entity::event_type::{self, NAME_LEN_MAX, RESERVED_PREFIX, is_reserved, is_valid_name};
use angarium_entity::subscription::event_filter::Pattern;
use sea_orm::sea_query::{Alias, Expr, ExprTrait, Func, Query, SelectStatement};
use sea_orm::{ColumnTrait, Condition, DbBackend, DbErr};
use serde::{Deserialize, Serialize};

use super::AppError;

mod search;

pub use search::{SEARCH_LEN_MAX, check_search, search};

/// Most entries of any list in a filter.
pub const LIST_MAX: usize = 100;

/// Most endpoints or subscriptions of a workspace, and event types, that are read through for a condition that no index
/// answers.
pub const READ_THROUGH_MAX: u64 = 10_000;

/// Longest range of instants that bounds a filter.
const SHORT_MAX: Duration = Duration::from_secs(7 * 86_400);

/// A half-open range of instants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeRange {
    /// At or after.
    pub gte: Option<Timestamp>,
    /// Before.
    pub lt: Option<Timestamp>,
}

impl TimeRange {
    /// The condition that `column` is in it.
    pub fn on(self, column: impl ColumnTrait) -> Condition {
        Condition::all()
            .add_option(self.gte.map(|start| column.gte(start)))
            .add_option(self.lt.map(|end| column.lt(end)))
    }

    /// Whether it has an end at all.
    pub fn is_given(self) -> bool {
        self != Self::default()
    }

    /// Whether something that happened at `at`, or not yet, is in it.
    pub fn contains(self, at: Option<Timestamp>) -> bool {
        let is_in = |at: Timestamp| self.gte.is_none_or(|start| start <= at) && self.lt.is_none_or(|end| at < end);
        at.map_or(!self.is_given(), is_in)
    }

    /// Whether it is short enough to be read through, up to now when it is open.
    pub fn is_short(self, now: Timestamp) -> bool {
        Self { lt: self.lt.or(Some(now)), ..self }.length().is_some_and(|length| length <= SHORT_MAX)
    }

    /// Its length, if it has both ends.
    pub fn length(self) -> Option<Duration> {
        Some(self.lt?.since(self.gte?))
    }
}

/// Refuses a list of more than [`LIST_MAX`] entries.
///
/// # Errors
/// [`AppError::BadInput`].
pub fn bounded<T>(name: &str, list: Option<Vec<T>>) -> Result<Option<Vec<T>>, AppError> {
    match list {
        Some(list) if list.len() > LIST_MAX => {
            Err(AppError::BadInput(format!("`{name}` takes at most {LIST_MAX} entries")))
        }
        list => Ok(list),
    }
}

/// Refuses the first given of `conditions`, none of which an index answers, where there is more than is read through.
///
/// # Errors
/// [`AppError::FilterTooBroad`], which says what of `instead` would do.
pub async fn refuse_reading_through(
    conditions: &[(&str, bool)],
    instead: &str,
    count: impl Future<Output = Result<u64, DbErr>> + Send,
) -> Result<(), AppError> {
    let Some((what, _)) = conditions.iter().find(|(_, is_given)| *is_given) else { return Ok(()) };
    if count.await? <= READ_THROUGH_MAX {
        return Ok(());
    }
    let message = format!("there are more than {READ_THROUGH_MAX} to look through for {what}; give {instead} with it");
    Err(AppError::FilterTooBroad(message))
}

/// Refuses a text that is longer than what it is compared with may be.
///
/// # Errors
/// [`AppError::BadInput`].
pub fn bounded_text(name: &str, text: Option<String>, len_max: usize) -> Result<Option<String>, AppError> {
    match text {
        Some(text) if text.chars().nth(len_max).is_some() => {
            Err(AppError::BadInput(format!("`{name}` takes at most {len_max} characters")))
        }
        text => Ok(text),
    }
}

/// Refuses what no event type can be called.
///
/// # Errors
/// [`AppError::BadInput`].
pub fn type_name(name: &str, text: Option<String>) -> Result<Option<String>, AppError> {
    match text {
        Some(text) if !is_valid_name(&text) => Err(AppError::BadInput(format!(
            "`{name}` takes the name of an event type: 1 to {NAME_LEN_MAX} characters from `A-Z a-z 0-9 . _ -`"
        ))),
        text => Ok(text),
    }
}

/// The condition that the JSON list in `column` holds one of `texts`.
pub fn json_list_has_any(backend: DbBackend, column: impl ColumnTrait, texts: Vec<String>) -> Expr {
    let (mut entries, entry) = json_entries(backend, column);
    Expr::exists(entries.and_where(entry.is_in(texts)).take())
}

/// The condition that one of the patterns in the JSON list in `column` matches an event type of `service`.
pub fn patterns_match_service(backend: DbBackend, column: impl ColumnTrait, service: &str) -> Expr {
    let (mut entries, pattern) = json_entries(backend, column);
    let name = event_type::Column::Name;
    let without_star = Expr::expr(Func::char_length(pattern.clone())).sub(1);
    let head = |text: Expr| Expr::expr(Func::cust("SUBSTR").args([text, Expr::val(1), without_star.clone()]));
    let is_any = pattern.clone().eq("*").and(starts_with(name, RESERVED_PREFIX).not());
    let is_prefix = pattern.clone().like("%.*").and(head(name.into_expr()).eq(head(pattern.clone())));
    entries
        .from(event_type::Entity)
        .and_where(event_type::Column::Service.eq(service))
        .and_where(name.into_expr().eq(pattern).or(is_any).or(is_prefix));
    Expr::exists(entries.take())
}

/// A select over the entries of the JSON list in `column`, and an entry.
fn json_entries(backend: DbBackend, column: impl ColumnTrait) -> (SelectStatement, Expr) {
    let alias = Alias::new("entry");
    let (entries, entry) = match backend {
        DbBackend::Postgres => {
            (Func::cust("jsonb_array_elements_text").arg(as_array(column)), Expr::col(alias.clone()))
        }
        _ => (Func::cust("json_each").arg(column.into_expr()), Expr::col((alias.clone(), Alias::new("value")))),
    };
    (Query::select().expr(Expr::cust("1")).from_function(entries, alias).take(), entry)
}

/// A JSON `null` in the column has no elements, and PostgreSQL refuses to look for them.
fn as_array(column: impl ColumnTrait) -> Expr {
    let is_array = Expr::expr(Func::cust("jsonb_typeof").arg(column.into_expr())).eq("array");
    Expr::case(is_array, column.into_expr()).finally(Expr::cust("'[]'::jsonb")).into()
}

/// The condition that the event type in `column` matches one of `patterns`.
pub fn event_type_matches<C: ColumnTrait>(column: C, patterns: &[Pattern]) -> Condition {
    let mut names = Vec::new();
    let mut any = Condition::any();
    for pattern in patterns {
        any = match pattern {
            Pattern::Exact(name) => {
                names.push(name.clone());
                any
            }
            Pattern::Prefix(prefix) => any.add(starts_with(column, prefix)),
            Pattern::Any => any.add(starts_with(column, RESERVED_PREFIX).not()),
        };
    }
    if names.is_empty() { any } else { any.add(column.is_in(names)) }
}

/// Unlike LIKE the same on both databases, with every collation.
fn starts_with(column: impl ColumnTrait, prefix: &str) -> Expr {
    let length = i32::try_from(prefix.len()).unwrap_or(i32::MAX);
    Expr::expr(Func::cust("SUBSTR").args([column.into_expr(), Expr::val(1), Expr::val(length)])).eq(prefix)
}

/// The names that patterns stand for, each once, if there is none but names.
pub fn exact_names(patterns: &[Pattern]) -> Option<impl Iterator<Item = String> + '_> {
    let names: Option<BTreeSet<&String>> = patterns
        .iter()
        .map(|pattern| match pattern {
            Pattern::Exact(name) => Some(name),
            Pattern::Prefix(_) | Pattern::Any => None,
        })
        .collect();
    Some(names.filter(|names| !names.is_empty())?.into_iter().cloned())
}

/// Every pattern that an event of this type matches.
pub fn patterns_matching(event_type: &str) -> Vec<String> {
    let mut patterns = vec![event_type.to_owned()];
    patterns.extend(event_type.match_indices('.').map(|(dot, _)| format!("{}.*", &event_type[..dot])));
    if !is_reserved(event_type) {
        patterns.push("*".to_owned());
    }
    patterns
}

/// Reads patterns of event types in a filter.
///
/// # Errors
/// [`AppError::BadInput`] for one that is malformed.
pub fn parse_patterns(texts: &[String]) -> Result<Vec<Pattern>, AppError> {
    texts
        .iter()
        .map(|text| Pattern::parse(text).map_err(|error| AppError::BadInput(format!("`eventType` {text:?} {error}"))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_may_be_as_long_as_what_it_is_compared_with_and_no_longer() {
        for length in [0, 3] {
            assert!(bounded_text("name", Some("ä".repeat(length)), 3).is_ok());
        }
        assert!(matches!(bounded_text("name", Some("ä".repeat(4)), 3), Err(AppError::BadInput(_))));
    }

    #[test]
    fn only_what_can_be_a_name_is_taken_for_one() {
        assert!(type_name("eventType", Some("a.b".to_owned())).is_ok());
        for wrong in ["", "a.*", "*", "ä", &".".repeat(129)] {
            assert!(matches!(type_name("eventType", Some(wrong.to_owned())), Err(AppError::BadInput(_))), "{wrong}");
        }
    }

    #[test]
    fn a_type_is_matched_by_its_name_by_each_prefix_and_by_the_star_unless_reserved() {
        assert_eq!(patterns_matching("a.b.c"), ["a.b.c", "a.*", "a.b.*", "*"]);
        assert_eq!(patterns_matching("angarium.x"), ["angarium.x", "angarium.*"]);
        for pattern in patterns_matching("a.b.c") {
            assert!(Pattern::parse(&pattern).is_ok_and(|pattern| pattern.matches("a.b.c")), "{pattern}");
        }
    }

    #[test]
    fn a_range_with_both_ends_has_a_length() {
        let (start, end) = (Timestamp::from_millis(0), Timestamp::from_millis(1_500));
        assert_eq!(TimeRange { gte: Some(start), lt: Some(end) }.length(), Some(Duration::from_millis(1_500)));
        assert_eq!(TimeRange { gte: Some(start), lt: None }.length(), None);
    }
}
