//! The connection types. Each is the same but for its names.

use async_graphql::{Context, Object, Result};

use super::{Page, PageInfo};
use crate::app::list::COUNT_MAX;
use crate::graphql::object::{
    ApiKey, Delivery, DeliveryAttempt, Event, EventType, Replay, WebhookEndpoint, WebhookSubscription, Workspace,
};

/// Defines a connection and its edge.
macro_rules! connection {
    ($connection:ident, $edge:ident, $node:ident, $many:literal) => {
        pub(crate) struct $connection(Page<$node>);

        impl From<Page<$node>> for $connection {
            fn from(page: Page<$node>) -> Self {
                Self(page)
            }
        }

        #[doc = concat!("A page of ", $many, ".")]
        #[Object]
        impl $connection {
            /// Edges in the requested order.
            async fn edges(&self) -> Vec<$edge<'_>> {
                self.0.entries.iter().map(|(cursor, node)| $edge { cursor, node }).collect()
            }

            /// Shortcut for `edges.node`.
            async fn nodes(&self) -> Vec<&$node> {
                self.0.entries.iter().map(|(_, node)| node).collect()
            }

            /// Cursor information for this page.
            async fn page_info(&self) -> PageInfo {
                self.0.info()
            }

            #[doc = concat!(
                                "Number of ", $many,
                                " that match, ignoring pagination. Computed only when selected; stops at 10,000."
                            )]
            async fn total_count(&self, ctx: &Context<'_>) -> Result<i32> {
                Ok(i32::try_from(self.0.total(ctx).await?).unwrap_or(i32::MAX))
            }

            /// Whether `totalCount` is exact, that is below 10,000.
            async fn total_count_is_exact(&self, ctx: &Context<'_>) -> Result<bool> {
                Ok(self.0.total(ctx).await? < COUNT_MAX)
            }
        }

        pub(crate) struct $edge<'a> {
            cursor: &'a str,
            node: &'a $node,
        }

        #[doc = concat!("One entry of a ", stringify!($connection), ".")]
        #[Object]
        impl $edge<'_> {
            /// Opaque cursor of this entry.
            async fn cursor(&self) -> &str {
                self.cursor
            }

            /// The entry.
            async fn node(&self) -> &$node {
                self.node
            }
        }
    };
}

connection!(ApiKeyConnection, ApiKeyEdge, ApiKey, "API keys");
connection!(DeliveryConnection, DeliveryEdge, Delivery, "deliveries");
connection!(DeliveryAttemptConnection, DeliveryAttemptEdge, DeliveryAttempt, "attempts");
connection!(EventConnection, EventEdge, Event, "events");
connection!(EventTypeConnection, EventTypeEdge, EventType, "event types");
connection!(ReplayConnection, ReplayEdge, Replay, "replays");
connection!(WebhookEndpointConnection, WebhookEndpointEdge, WebhookEndpoint, "webhook endpoints");
connection!(WebhookSubscriptionConnection, WebhookSubscriptionEdge, WebhookSubscription, "webhook subscriptions");
connection!(WorkspaceConnection, WorkspaceEdge, Workspace, "workspaces");
