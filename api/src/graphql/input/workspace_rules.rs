//! What the subscriptions of a workspace may ask for.

use async_graphql::InputObject;

use crate::app::workspace::RulesDraft;

/// Limits on what subscriptions may ask for. A pattern has at most 1024 characters and matches anywhere in the text;
/// `^…$` asks for all of it.
#[derive(Clone, Debug, InputObject)]
pub(crate) struct WorkspaceRulesInput {
    /// Regular expression (RE2) that subscribed event types, names and patterns alike, must match.
    event_type_pattern: Option<String>,
    /// Longest endpoint URL, 1-2083 characters.
    #[graphql(default = 2083)]
    url_max_length: i32,
    /// Regular expression (RE2) that endpoint URLs must match.
    url_pattern: Option<String>,
}

impl From<WorkspaceRulesInput> for RulesDraft {
    fn from(input: WorkspaceRulesInput) -> Self {
        Self {
            event_type_pattern: input.event_type_pattern,
            url_max_length: input.url_max_length,
            url_pattern: input.url_pattern,
        }
    }
}
