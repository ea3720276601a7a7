//! Tenants. Everything else belongs to exactly one.

use std::time::Duration;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait as _, SelectStatement};
use sea_orm::{QuerySelect as _, QueryTrait as _};

use crate::{RetryPolicy, Timestamp, WorkspaceId};

pub mod rules;

pub use rules::Rules;

/// Most characters of an external identifier.
pub const EXTERNAL_ID_LEN_MAX: usize = 256;
/// Default of `hold_max_ms`: 30 days.
pub const HOLD_MAX: Duration = Duration::from_hours(30 * 24);
/// Default of `retention_ms`: 90 days.
pub const RETENTION: Duration = Duration::from_hours(90 * 24);
/// Default of `suspend_after_ms`: 5 days.
pub const SUSPEND_AFTER: Duration = Duration::from_hours(5 * 24);
/// Shortest and longest `hold_max_ms` and `suspend_after_ms`.
pub const PATIENCE: std::ops::RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(365 * 24);
/// Shortest and longest `retention_ms`.
pub const RETENTION_RANGE: std::ops::RangeInclusive<Duration> =
    Duration::from_hours(24)..=Duration::from_hours(3650 * 24);
/// Shortest and longest lifetime of a subscription, and so of `max_subscription_lifetime_ms`.
pub const LIFETIME: std::ops::RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(3650 * 24);

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "workspace")]
pub struct Model {
    /// Key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: WorkspaceId,
    /// The operator's own identifier, unique.
    pub external_id: Option<String>,
    /// Display name.
    pub name: String,
    /// Policy of subscriptions that set none; null for the standard one.
    pub retry_policy: Option<RetryPolicy>,
    /// How long a held delivery waits before it becomes EXHAUSTED.
    pub hold_max_ms: i64,
    /// How long events and deliveries are kept.
    pub retention_ms: i64,
    /// How long an endpoint may fail without a success before it is suspended.
    pub suspend_after_ms: i64,
    /// Default and longest lifetime of a subscription; null when subscriptions need no end.
    pub max_subscription_lifetime_ms: Option<i64>,
    /// What subscriptions may ask for.
    pub rules: Rules,
    /// Whether signing secrets can be read after creation.
    pub secret_visibility: SecretVisibility,
    /// How new subscriptions are confirmed.
    pub subscription_confirmation: SubscriptionConfirmation,
    /// Grows in the transaction of every change to what matches an event: subscriptions and their endpoints.
    /// A publish compares it with the version it matched by.
    pub config_version: i64,
    /// How many endpoints it has, without those that are deleted; see [`count`].
    pub endpoint_count: i64,
    /// How many subscriptions it has, without those that are deleted.
    pub subscription_count: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When it was deleted: from then on nobody sees it, and its rows go one after the other.
    pub deleted_at: Option<Timestamp>,
}

/// No relations: what belongs to a workspace is read by its ID.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The workspaces that are not deleted: where every query starts.
    pub fn live() -> Select<Self> {
        Self::find().filter(Column::DeletedAt.is_null())
    }
}

impl Model {
    /// Default and longest lifetime of a subscription; none when subscriptions need no end.
    pub fn max_subscription_lifetime(&self) -> Option<Duration> {
        self.max_subscription_lifetime_ms.map(|millis| Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
    }
}

/// Whether signing secrets can be read after creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SecretVisibility {
    /// Shown once, when created or rotated.
    Once,
    /// Whenever a caller asks who may read secrets.
    Readable,
}

/// How a new subscription is confirmed by its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SubscriptionConfirmation {
    /// The endpoint echoes a challenge in its response.
    Challenge,
    /// The endpoint is sent a link that must be opened, or a token.
    Link,
    /// Not at all.
    None,
}

/// Whether `text` can be an operator's own identifier: it names the workspace in a header, so it is printable ASCII
/// without a space at its ends, and it must not be taken for the ID of another workspace.
pub fn is_external_id(text: &str) -> bool {
    let looks_like_an_id = text.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("ws_"));
    !looks_like_an_id && text.trim() == text && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// Grows `config_version` of a workspace; call it in the transaction of the change.
///
/// # Errors
/// Those of the database.
pub async fn bump_config_version(db: &impl ConnectionTrait, id: WorkspaceId) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(Column::ConfigVersion, Expr::col(Column::ConfigVersion).add(1))
        .filter(Column::Id.eq(id))
        .exec(db)
        .await
        .map(drop)
}

/// The IDs of the workspaces that are deleted and not gone yet; few.
pub fn deleted() -> SelectStatement {
    Entity::find().select_only().column(Column::Id).filter(Column::DeletedAt.is_not_null()).into_query()
}

/// Counts what a workspace has one more or less of, in the transaction of the change; `column` is
/// [`Column::EndpointCount`] or [`Column::SubscriptionCount`]. Counted here, a limit costs the same however many there
/// are.
///
/// # Errors
/// Those of the database.
pub async fn count(db: &impl ConnectionTrait, id: WorkspaceId, column: Column, by: i64) -> Result<(), DbErr> {
    let update = Entity::update_many().col_expr(column, Expr::col(column).add(by)).filter(Column::Id.eq(id));
    update.exec(db).await.map(drop)
}

/// A workspace that is not deleted, as it is now that nobody else changes it, its subscriptions or its endpoints until the transaction ends.
/// Grows its `config_version`.
///
/// # Errors
/// Those of the database.
pub async fn take(db: &impl ConnectionTrait, id: WorkspaceId) -> Result<Option<Model>, DbErr> {
    bump_config_version(db, id).await?;
    Entity::live().filter(Column::Id.eq(id)).one(db).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_external_id_is_never_taken_for_an_id_and_fits_into_a_header() {
        for right in ["acme", "Acme Inc. 42", "wsx", "tenant/7"] {
            assert!(is_external_id(right), "{right}");
        }
        for wrong in ["ws_01m7yzkexned0bt7dpgg9yvmgm", "WS_1", " acme", "acme ", "a\nb", "ü"] {
            assert!(!is_external_id(wrong), "{wrong}");
        }
    }
}
