//! What the subscriptions of a workspace may ask for.

use angarium_entity::workspace::Rules;
use async_graphql::Object;

/// As stored.
pub(crate) struct WorkspaceRules(pub(crate) Rules);

/// Limits on what subscriptions of a workspace may ask for, on top of the server's. A pattern matches anywhere in the
/// text; `^…$` asks for all of it.
#[Object]
impl WorkspaceRules {
    /// Regular expression (RE2) that subscribed event types, names and patterns alike, must match; null for none.
    async fn event_type_pattern(&self) -> Option<&str> {
        self.0.event_type_pattern.as_deref()
    }

    /// Longest endpoint URL, 1-2083 characters.
    async fn url_max_length(&self) -> u16 {
        self.0.url_max_length
    }

    /// Regular expression (RE2) that endpoint URLs must match; null for none.
    async fn url_pattern(&self) -> Option<&str> {
        self.0.url_pattern.as_deref()
    }
}
