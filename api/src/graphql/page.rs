//! Connections, as Relay has them: one implementation for all lists.
//!
//! Cursor  a version byte, then JSON of the order and of the place in it, in base64url. A cursor of another list or
//!         another order is refused; so is one of a later version.
//! Source  <https://relay.dev/graphql/connections.htm>

use async_graphql::{Context, Enum, InputObject, Result, SimpleObject};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sea_orm::sea_query::SelectStatement;
use sea_orm::{Condition, Select};
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::context::CallContext as _;
use super::scalar::DateTime;
use crate::app::AppError;
use crate::app::filter::TimeRange;
use crate::app::list::{self, Key, Listed, OFFSET_MAX, PAGE_DEFAULT, PAGE_MAX, Request, Slice, SortValue, Window};

mod connection;

pub(crate) use connection::{
    ApiKeyConnection, DeliveryAttemptConnection, DeliveryConnection, EventConnection, EventTypeConnection,
    ReplayConnection, WebhookEndpointConnection, WebhookSubscriptionConnection, WorkspaceConnection,
};

const CURSOR_VERSION: u8 = 1;

/// Direction of an ordering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub(crate) enum OrderDirection {
    /// Smallest first.
    Asc,
    /// Largest first.
    Desc,
}

/// Cursor information of a page.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct PageInfo {
    /// Cursor of the last entry; null on an empty page.
    end_cursor: Option<String>,
    /// Whether entries follow this page.
    has_next_page: bool,
    /// Whether entries precede this page.
    has_previous_page: bool,
    /// Cursor of the first entry; null on an empty page.
    start_cursor: Option<String>,
}

/// A half-open range of instants.
#[derive(Clone, Debug, Default, InputObject)]
pub(crate) struct DateTimeRange {
    /// At or after this instant.
    gte: Option<DateTime>,
    /// Before this instant.
    lt: Option<DateTime>,
}

impl DateTimeRange {
    /// Reads an optional range; none is everything.
    pub(crate) fn parse(range: Option<&Self>) -> Result<TimeRange, AppError> {
        let read = |end: Option<&DateTime>| end.map(DateTime::in_filter).transpose();
        Ok(TimeRange {
            gte: read(range.and_then(|range| range.gte.as_ref()))?,
            lt: read(range.and_then(|range| range.lt.as_ref()))?,
        })
    }
}

/// The arguments of a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct PageArgs {
    pub(crate) first: Option<i32>,
    pub(crate) after: Option<String>,
    pub(crate) last: Option<i32>,
    pub(crate) before: Option<String>,
    pub(crate) offset: Option<i32>,
}

/// An order that was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ordering<S> {
    pub(crate) sort: S,
    pub(crate) descending: bool,
}

impl PageArgs {
    fn window<E: Listed>(self, order: Ordering<E::Sort>) -> Result<Window<E::Sort>, AppError> {
        let refused = |message: String| Err(AppError::BadInput(message));
        if self.first.is_some() && self.last.is_some() {
            return refused("`first` and `last` cannot be given together".to_owned());
        }
        let by_cursor = self.after.is_some() || self.before.is_some() || self.last.is_some();
        if self.offset.is_some() && by_cursor {
            return refused("`offset` cannot be combined with `after`, `last` or `before`".to_owned());
        }
        let bounded = |name: &str, given: Option<i32>, min: u64, max: u64| {
            let Some(given) = given else { return Ok(None) };
            let checked = u64::try_from(given).ok().filter(|given| (min..=max).contains(given));
            checked.map(Some).ok_or_else(|| AppError::BadInput(format!("`{name}` is not from {min} to {max}")))
        };
        let first = bounded("first", self.first, 1, PAGE_MAX)?;
        let last = bounded("last", self.last, 1, PAGE_MAX)?;
        let offset = bounded("offset", self.offset, 0, OFFSET_MAX)?;
        let cursor = |name: &str, text: Option<String>| {
            let Some(text) = text else { return Ok(None) };
            let key = decode::<E>(order, &text);
            key.map(Some).ok_or_else(|| AppError::BadInput(format!("`{name}` is not a cursor of this list and order")))
        };
        Ok(Window {
            sort: order.sort,
            descending: order.descending,
            limit: first.or(last).unwrap_or(PAGE_DEFAULT),
            from_end: last.is_some(),
            after: cursor("after", self.after)?,
            before: cursor("before", self.before)?,
            offset: offset.unwrap_or(0),
        })
    }
}

/// What a cursor belongs to.
fn place<E: Listed>(order: Ordering<E::Sort>) -> String {
    let direction = if order.descending { "DESC" } else { "ASC" };
    format!("{} {} {direction}", E::default().table_name(), E::sort_name(order.sort))
}

fn encode<E: Listed>(order: Ordering<E::Sort>, row: &E::Model) -> String {
    let content = (place::<E>(order), E::sort_value(order.sort, row), E::id(row));
    let mut bytes = vec![CURSOR_VERSION];
    bytes.extend(serde_json::to_vec(&content).unwrap_or_default());
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn decode<E: Listed>(order: Ordering<E::Sort>, text: &str) -> Option<Key> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let json = bytes.strip_prefix(&[CURSOR_VERSION])?;
    let (of, value, id): (String, SortValue, Uuid) = serde_json::from_slice(json).ok()?;
    // What somebody else has made up must not reach the database, which would not compare a number with a text.
    let is_right = match &value {
        SortValue::Number(_) => !E::is_text(order.sort),
        SortValue::Text(text) => E::is_text(order.sort) && !text.contains('\0'),
    };
    (of == place::<E>(order) && is_right).then_some(Key { value, id })
}

/// A page of objects, and what counts the whole list.
pub(crate) struct Page<T> {
    entries: Vec<(String, T)>,
    has_previous: bool,
    has_next: bool,
    counting: SelectStatement,
    total: OnceCell<u64>,
}

/// A list of rows that is going to be a page.
pub(crate) struct Listing<E: Listed> {
    pub(crate) request: Request<E>,
    counting: SelectStatement,
    order: Ordering<E::Sort>,
}

impl<E: Listed> Listing<E> {
    /// The part of `select` that `args` ask for.
    pub(crate) fn new(select: Select<E>, args: PageArgs, order: Ordering<E::Sort>) -> Result<Self, AppError> {
        let counting = list::counting(select.clone());
        Ok(Self { request: Request { select, parts: Vec::new(), window: args.window::<E>(order)? }, counting, order })
    }

    /// The same list, read from each of these parts of it.
    pub(crate) fn in_parts(mut self, parts: Vec<Condition>) -> Self {
        self.request.parts = parts;
        self
    }

    /// Reads it now. Lists within objects are read by a loader, many at once.
    pub(crate) async fn read<T: From<E::Model>>(self, ctx: &Context<'_>) -> Result<Page<T>> {
        let slice = list::slice_of(ctx.app()?.db.read(), self.request.clone()).await.map_err(AppError::from)?;
        Ok(self.dress(slice))
    }

    /// Makes a page of what was read.
    pub(crate) fn dress<T: From<E::Model>>(self, slice: Slice<E::Model>) -> Page<T> {
        Page {
            entries: slice.rows.into_iter().map(|row| (encode::<E>(self.order, &row), T::from(row))).collect(),
            has_previous: slice.has_previous,
            has_next: slice.has_next,
            counting: self.counting,
            total: OnceCell::new(),
        }
    }
}

impl<T> Page<T> {
    fn info(&self) -> PageInfo {
        PageInfo {
            end_cursor: self.entries.last().map(|(cursor, _)| cursor.clone()),
            has_next_page: self.has_next,
            has_previous_page: self.has_previous,
            start_cursor: self.entries.first().map(|(cursor, _)| cursor.clone()),
        }
    }

    /// Counts when first asked.
    async fn total(&self, ctx: &Context<'_>) -> Result<u64> {
        let count = || async { Ok::<_, async_graphql::Error>(ctx.loaders()?.count(self.counting.clone()).await?) };
        self.total.get_or_try_init(count).await.copied()
    }
}

#[cfg(test)]
mod tests {
    use angarium_entity::{Timestamp, WorkspaceId, workspace};

    use super::*;

    const ORDER: Ordering<()> = Ordering { sort: (), descending: true };

    fn row() -> workspace::Model {
        let at = Timestamp::from_millis(1_700_000_000_123);
        workspace::Model {
            id: WorkspaceId::new(at),
            external_id: None,
            name: "a".to_owned(),
            retry_policy: None,
            hold_max_ms: 0,
            retention_ms: 0,
            suspend_after_ms: 0,
            max_subscription_lifetime_ms: None,
            rules: workspace::Rules::default(),
            secret_visibility: workspace::SecretVisibility::Once,
            subscription_confirmation: workspace::SubscriptionConfirmation::None,
            config_version: 0,
            endpoint_count: 0,
            subscription_count: 0,
            deleted_at: None,
            created_at: at,
            updated_at: at,
        }
    }

    fn window(args: PageArgs) -> Result<Window<()>, AppError> {
        args.window::<workspace::Entity>(ORDER)
    }

    #[test]
    fn a_cursor_leads_back_to_its_row_in_its_order_only() {
        let row = row();
        let cursor = encode::<workspace::Entity>(ORDER, &row);
        let key = Key { value: SortValue::Number(row.created_at.millis()), id: row.id.uuid() };
        assert_eq!(decode::<workspace::Entity>(ORDER, &cursor), Some(key));
        assert_eq!(decode::<workspace::Entity>(Ordering { descending: false, ..ORDER }, &cursor), None);
        assert_eq!(decode::<angarium_entity::api_key::Entity>(ORDER, &cursor), None);
        for wrong in ["", "?", "AQ", &cursor[1..], &URL_SAFE_NO_PAD.encode([2])] {
            assert_eq!(decode::<workspace::Entity>(ORDER, wrong), None, "{wrong}");
        }
        let crafted = serde_json::to_vec(&(place::<workspace::Entity>(ORDER), "text", row.id.uuid()));
        let crafted = [vec![CURSOR_VERSION], crafted.expect("it is written")].concat();
        assert_eq!(decode::<workspace::Entity>(ORDER, &URL_SAFE_NO_PAD.encode(crafted)), None);
    }

    #[test]
    fn arguments_out_of_bounds_are_refused_and_not_clamped() {
        let args = PageArgs::default;
        let cursor = || Some(encode::<workspace::Entity>(ORDER, &row()));
        for wrong in [
            PageArgs { first: Some(0), ..args() },
            PageArgs { first: Some(-1), ..args() },
            PageArgs { first: Some(101), ..args() },
            PageArgs { last: Some(101), ..args() },
            PageArgs { first: Some(1), last: Some(1), ..args() },
            PageArgs { after: Some("?".to_owned()), ..args() },
            PageArgs { offset: Some(-1), ..args() },
            PageArgs { offset: Some(10_001), ..args() },
            PageArgs { offset: Some(1), after: cursor(), ..args() },
            PageArgs { offset: Some(1), last: Some(1), ..args() },
        ] {
            assert!(matches!(window(wrong.clone()), Err(AppError::BadInput(_))), "{wrong:?}");
        }
    }

    #[test]
    fn a_page_has_twenty_entries_unless_asked_otherwise() {
        assert!(window(PageArgs::default()).is_ok_and(|window| window.limit == 20 && !window.from_end));
        let last = PageArgs { last: Some(100), ..PageArgs::default() };
        assert!(window(last).is_ok_and(|window| window.limit == 100 && window.from_end));
        let offset = PageArgs { offset: Some(10_000), first: Some(1), ..PageArgs::default() };
        assert!(window(offset).is_ok_and(|window| window.offset == 10_000));
    }
}
