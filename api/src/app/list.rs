//! Pages of rows, in order, for one parent or for many at once.
//!
//! Order   each list has a sort value and breaks ties by ID, so that a page starts exactly where the last one ended
//!         (keyset) whatever was added meanwhile. A sort value is never null: see [`Listed::sort_expr`].
//! Many    the pages of a hundred parents are one statement: a `UNION ALL` of one limited select for each, which both
//!         databases answer from an index. A window function would read every row of every parent.
//! Parts   where a list is several ranges of an index, such as those of two statuses, the beginnings of all are merged;
//!         else the database would sort all of them, or read past what does not match.
//! Count   stops at [`COUNT_MAX`], so that nobody can make the database count millions.

use std::fmt::Debug;

use sea_orm::sea_query::{Alias, Asterisk, Expr, ExprTrait, Order, Query, SelectStatement, UnionType};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DatabaseConnection, DbErr, EntityTrait, FromQueryResult, QueryFilter as _,
    QueryTrait as _, Select,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Entries of a page, unless asked otherwise.
pub const PAGE_DEFAULT: u64 = 20;
/// Most entries of a page.
pub const PAGE_MAX: u64 = 100;
/// Most entries skipped by number.
pub const OFFSET_MAX: u64 = 10_000;
/// Where counting stops.
pub const COUNT_MAX: u64 = 10_000;
/// Selects in one statement: four for each entry of a page. SQLite joins at most 500.
const SELECTS_MAX: usize = 400;
/// The number of the request that a row answers.
const REQUEST: &str = "request";

/// What rows are ordered by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SortValue {
    /// An instant or another number.
    Number(i64),
    /// A text.
    Text(String),
}

impl From<SortValue> for sea_orm::Value {
    fn from(value: SortValue) -> Self {
        match value {
            SortValue::Number(number) => number.into(),
            SortValue::Text(text) => text.into(),
        }
    }
}

/// A table that lists are made of.
pub trait Listed: EntityTrait<Model: FromQueryResult + Clone + Debug + Send + Sync> {
    /// What it can be ordered by.
    type Sort: Copy + Debug + Eq + Send + Sync + 'static;

    /// The name of an order, kept in its cursors.
    fn sort_name(sort: Self::Sort) -> &'static str;
    /// The sort value in SQL, never null: the databases disagree on where nulls go. Written as in the index.
    fn sort_expr(sort: Self::Sort) -> Expr;
    /// Whether the sort value is a text, and not a number.
    fn is_text(_sort: Self::Sort) -> bool {
        false
    }
    /// The same of a row.
    fn sort_value(sort: Self::Sort, row: &Self::Model) -> SortValue;
    /// The column that breaks ties.
    fn id_column() -> Self::Column;
    /// The same of a row.
    fn id(row: &Self::Model) -> Uuid;
}

/// The place of a row in an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its sort value.
    pub value: SortValue,
    /// Its ID.
    pub id: Uuid,
}

/// Which part of a list is wanted.
#[derive(Clone, Debug)]
pub struct Window<S> {
    /// The order.
    pub sort: S,
    /// Largest first.
    pub descending: bool,
    /// Entries, at most [`PAGE_MAX`].
    pub limit: u64,
    /// The last entries instead of the first.
    pub from_end: bool,
    /// Only what comes after this.
    pub after: Option<Key>,
    /// Only what comes before this.
    pub before: Option<Key>,
    /// Entries to skip.
    pub offset: u64,
}

impl<S> Window<S> {
    /// The first `limit` entries.
    pub const fn first(limit: u64, sort: S, descending: bool) -> Self {
        Self { sort, descending, limit, from_end: false, after: None, before: None, offset: 0 }
    }
}

/// A part of a list, in order.
#[derive(Clone, Debug)]
pub struct Slice<M> {
    /// The rows.
    pub rows: Vec<M>,
    /// Whether more come before.
    pub has_previous: bool,
    /// Whether more come after.
    pub has_next: bool,
}

/// A list and the part of it that is wanted.
#[derive(Clone, Debug)]
pub struct Request<E: Listed> {
    /// Everything in the list.
    pub select: Select<E>,
    /// Where the list is no range of an index: conditions of which each entry meets exactly one, and each is one.
    pub parts: Vec<Condition>,
    /// The part.
    pub window: Window<E::Sort>,
}

/// Answers every request, in their order.
///
/// # Errors
/// Those of the database.
pub async fn slices<E: Listed>(
    db: &DatabaseConnection,
    requests: &[Request<E>],
) -> Result<Vec<Slice<E::Model>>, DbErr> {
    let mut found: Vec<Vec<E::Model>> = requests.iter().map(|_| Vec::new()).collect();
    let statements: Vec<_> = requests.iter().map(limited).collect();
    for (request, row) in numbered(db, &statements).await? {
        found[request].push(E::Model::from_query_result(&row, "")?);
    }
    Ok(requests.iter().zip(found).map(|(request, rows)| slice::<E>(&request.window, rows)).collect())
}

/// Answers one request.
///
/// # Errors
/// Those of the database.
pub async fn slice_of<E: Listed>(db: &DatabaseConnection, request: Request<E>) -> Result<Slice<E::Model>, DbErr> {
    let rows = limited(&request);
    let rows = db.query_all(&rows).await?;
    let rows = rows.iter().map(|row| E::Model::from_query_result(row, "")).collect::<Result<_, _>>()?;
    Ok(slice::<E>(&request.window, rows))
}

/// What counts the rows of a list, up to [`COUNT_MAX`].
pub fn counting<E: EntityTrait>(select: Select<E>) -> SelectStatement {
    let mut rows = select.into_query();
    rows.clear_selects().clear_order_by().expr(Expr::cust("1")).limit(COUNT_MAX);
    Query::select().expr_as(Expr::cust("COUNT(*)"), "value").from_subquery(rows, "counted").take()
}

/// Runs statements that each answer with one number in the column `value`.
///
/// # Errors
/// Those of the database.
pub async fn numbers(db: &DatabaseConnection, statements: &[SelectStatement]) -> Result<Vec<Option<i64>>, DbErr> {
    let mut answers = vec![None; statements.len()];
    for (request, row) in numbered(db, statements).await? {
        answers[request] = row.try_get("", "value")?;
    }
    Ok(answers)
}

/// Runs many selects as few statements; each row comes with the number of the select that it belongs to.
async fn numbered(
    db: &DatabaseConnection,
    selects: &[SelectStatement],
) -> Result<Vec<(usize, sea_orm::QueryResult)>, DbErr> {
    let mut rows = Vec::new();
    for (chunk, selects) in selects.chunks(SELECTS_MAX).enumerate() {
        let mut parts = selects.iter().enumerate().map(|(number, select)| {
            Query::select()
                .expr_as(Expr::cust(number.to_string()), REQUEST)
                .column((Alias::new("rows"), Asterisk))
                .from_subquery(select.clone(), "rows")
                .take()
        });
        let Some(mut statement) = parts.next() else { break };
        for part in parts {
            statement.union(UnionType::All, part);
        }
        for row in db.query_all(&statement).await? {
            let number: i32 = row.try_get("", REQUEST)?;
            rows.push((chunk * SELECTS_MAX + usize::try_from(number).unwrap_or_default(), row));
        }
    }
    Ok(rows)
}

/// One row more than wanted, which tells whether there are more. A list in parts is merged from the beginnings of them.
fn limited<E: Listed>(request: &Request<E>) -> SelectStatement {
    let Window { sort, descending, limit, from_end, offset, .. } = &request.window;
    let order = if *descending == *from_end { Order::Asc } else { Order::Desc };
    let mut beginnings = request.parts.iter().map(|part| {
        let select = request.select.clone().filter(part.clone());
        let rows = begun(select, &request.window, order.clone()).limit(limit + 1 + offset).take();
        Query::select().column(Asterisk).from_subquery(rows, "part").take()
    });
    let mut statement = match beginnings.next() {
        Some(first) if request.parts.len() > 1 => {
            let mut all = first;
            for next in beginnings {
                all.union(UnionType::All, next);
            }
            let mut merged = Query::select().column(Asterisk).from_subquery(all, E::default().table_name()).take();
            merged.order_by_expr(E::sort_expr(*sort), order.clone()).order_by_expr(E::id_column().into_expr(), order);
            merged
        }
        _ => begun(request.select.clone(), &request.window, order),
    };
    statement.limit(limit + 1);
    if *offset > 0 {
        statement.offset(*offset);
    }
    statement
}

/// The rows of a list from the beginning of a window on, in its order.
fn begun<E: Listed>(mut select: Select<E>, window: &Window<E::Sort>, order: Order) -> SelectStatement {
    let Window { sort, descending, after, before, .. } = window;
    let place = || Expr::tuple([E::sort_expr(*sort), E::id_column().into_expr()]);
    let key = |key: &Key| Expr::tuple([Expr::val(key.value.clone()), Expr::val(key.id)]);
    for (bound, goes_up) in [(after, !descending), (before, *descending)] {
        if let Some(bound) = bound {
            select = select.filter(if goes_up { place().gt(key(bound)) } else { place().lt(key(bound)) });
        }
    }
    let mut statement = select.into_query();
    statement.order_by_expr(E::sort_expr(*sort), order.clone()).order_by_expr(E::id_column().into_expr(), order);
    statement
}

/// Takes off the row too many. Rows come in the order of their select: a union appends whole selects, and even in
/// parallel a limited one is read by one worker.
fn slice<E: Listed>(window: &Window<E::Sort>, mut rows: Vec<E::Model>) -> Slice<E::Model> {
    let wanted = usize::try_from(window.limit).unwrap_or(usize::MAX);
    let has_more = rows.len() > wanted;
    rows.truncate(wanted);
    let (before, after) = (window.after.is_some() || window.offset > 0, window.before.is_some());
    if window.from_end {
        rows.reverse();
        Slice { rows, has_previous: has_more, has_next: after }
    } else {
        Slice { rows, has_previous: before, has_next: has_more }
    }
}

#[cfg(test)]
mod tests;
