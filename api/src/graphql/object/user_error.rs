//! Problems that a person can act on, one type for each domain.

use async_graphql::{Interface, SimpleObject};

use crate::app::{Path, Problem, delivery, endpoint, event, event_type, subscription, workspace};

/// A problem with mutation input that a person can act on.
#[derive(Interface)]
#[graphql(
    field(
        name = "field",
        ty = "&Option<Vec<String>>",
        desc = "Path of the offending input from the mutation arguments, such as `[\"input\", \"endpoint\", \"create\", \"url\"]`; null when none."
    ),
    field(name = "message", ty = "&String", desc = "Explanation for people, in English.")
)]
pub(crate) enum UserError {
    Delivery(DeliveryUserError),
    Event(EventUserError),
    EventType(EventTypeUserError),
    WebhookEndpoint(WebhookEndpointUserError),
    WebhookSubscription(WebhookSubscriptionUserError),
    Workspace(WorkspaceUserError),
}

/// Defines the problems of a domain.
macro_rules! user_error {
    ($name:ident, $code:ty, $of:literal) => {
        #[doc = concat!("A problem with ", $of, " input.")]
        #[derive(Clone, Debug, SimpleObject)]
        pub(crate) struct $name {
            /// Machine-readable kind of problem.
            code: $code,
            /// See UserError.
            field: Option<Vec<String>>,
            /// See UserError.
            message: String,
        }

        impl From<Problem<$code>> for $name {
            fn from(problem: Problem<$code>) -> Self {
                let message = sentence(&problem.field, &problem.message);
                let steps = problem.field.into_steps();
                Self { code: problem.code, field: (!steps.is_empty()).then_some(steps), message }
            }
        }
    };
}

user_error!(DeliveryUserError, delivery::ErrorCode, "delivery");
user_error!(EventUserError, event::ErrorCode, "event");
user_error!(EventTypeUserError, event_type::ErrorCode, "event type");
user_error!(WebhookEndpointUserError, endpoint::ErrorCode, "webhook endpoint");
user_error!(WebhookSubscriptionUserError, subscription::ErrorCode, "webhook subscription");
user_error!(WorkspaceUserError, workspace::ErrorCode, "workspace or API key");

/// A sentence whose subject is the field, without the argument that all fields are in.
fn sentence(field: &Path, message: &str) -> String {
    let steps = field.clone().into_steps();
    let named = if steps.len() > 1 { &steps[1..] } else { &steps[..] };
    match named {
        [] => format!("{message}."),
        named => format!("`{}` {message}.", named.join(".")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_sentence_about_its_field() {
        let url = Path::argument("input").at("endpoint").at("url");
        assert_eq!(sentence(&url, "is empty"), "`endpoint.url` is empty.");
        assert_eq!(sentence(&Path::argument("id"), "does not exist"), "`id` does not exist.");
        assert_eq!(sentence(&Path::default(), "too many"), "too many.");
    }
}
