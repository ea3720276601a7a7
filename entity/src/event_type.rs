//! The catalogue of event types, kept by the operator for every workspace.

use sea_orm::entity::prelude::*;

use crate::{EventTypeId, Timestamp};

pub mod reserved;

/// Most characters of a name.
pub const NAME_LEN_MAX: usize = 128;
/// Names that only Angarium publishes start so.
pub const RESERVED_PREFIX: &str = "angarium.";

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "event_type")]
pub struct Model {
    /// Key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: EventTypeId,
    /// Unique dotted name.
    pub name: String,
    /// The service that emits it.
    pub service: Option<String>,
    /// What it means.
    pub description: Option<String>,
    /// An example payload, as its text.
    pub sample_payload: Option<String>,
    /// JSON Schema that payloads must satisfy, as its text.
    pub schema: Option<String>,
    /// When it was archived; null while it can be subscribed to.
    pub archived_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// No relations: events keep the name.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Whether `name` is 1 to 128 characters from `A-Z a-z 0-9 . _ -`.
pub fn is_valid_name(name: &str) -> bool {
    (1..=NAME_LEN_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// Whether only Angarium may publish under `name`.
pub fn is_reserved(name: &str) -> bool {
    name.starts_with(RESERVED_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_small_alphabet_and_a_length() {
        for right in ["sms.outbound", "a", "A_b-9.c", &"x".repeat(128)] {
            assert!(is_valid_name(right), "{right}");
        }
        for wrong in ["", "sms outbound", "sms.*", "ü", &"x".repeat(129)] {
            assert!(!is_valid_name(wrong), "{wrong}");
        }
    }
}
